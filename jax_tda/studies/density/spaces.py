"""Where examples are points: in the text space, in that of gradients, and in TrackStar's, which is whitened besides."""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from jax_tda.artifacts.artifact import open_artifact
from jax_tda.artifacts.encodings import OK, open_encodings
from jax_tda.attribution import mix, similarity
from jax_tda.data import corpus as corpora
from jax_tda.studies.density.settings import DensityConfig
from jax_tda.studies.density.stages import Stages
from jax_tda.studies.density.text_space import TextSpace, unit

STREAMS = ("corpus", "queries", "tuning")


@dataclasses.dataclass(frozen=True)
class Space:
    """Points of length 1 of the three streams, float32 [N, D], and which rows have one.

    Length 1, because the length of a gradient is a measure of its example's loss: a density that knew it would predict
    the loss by knowing it already.
    """

    points: Mapping[str, np.ndarray]
    usable: Mapping[str, np.ndarray]

    def rows(self, stream: str) -> np.ndarray:
        """The usable points of a stream."""
        return self.points[stream][self.usable[stream]]


def build(config: DensityConfig, seed: int, stages: Stages) -> dict[str, Space]:
    """The spaces of one seed: `text`, with a sentence encoder `embedding`, `gradient` and `trackstar`."""
    texts = {stream: texts_of(stages, stream) for stream in STREAMS}
    words = TextSpace(texts["corpus"], config.text_size, seed)
    points = {stream: words.embed(texts[stream]) for stream in STREAMS}
    found = {"text": Space(points, {stream: np.any(value, axis=1) for stream, value in points.items()})}
    if config.sentence_encoder:
        found["embedding"] = _stored(stages, "embeddings")
    correction = open_artifact(stages.path("correction"), mix.KIND).array("inverse_root")
    root = jnp.asarray(correction.read(0, correction.shape[0]), jnp.float32)
    gradients = _stored(stages, "encodings")
    whitened = {
        stream: unit(np.asarray(similarity.whiten(jnp.asarray(points.reshape(len(points), *root.shape[:2])), root)))
        for stream, points in gradients.points.items()
    }
    return found | {"gradient": gradients, "trackstar": dataclasses.replace(gradients, points=whitened)}


def _stored(stages: Stages, kind: str) -> Space:
    """The space of what `encode` or `embed` stored."""
    stores = {stream: open_encodings(stages.path(f"{kind}_{stream}")) for stream in STREAMS}
    points = {stream: unit(store.read(0, store.count)) for stream, store in stores.items()}
    return Space(points, {stream: store.status == OK for stream, store in stores.items()})


def texts_of(stages: Stages, stream: str) -> list[str]:
    """The text of every row of a stream; of a query, its sentence."""
    records = corpora.open_corpus(stages.path(stream)).records
    return [record["fields"]["sentence"] if stream == "queries" else record["text"] for record in records]
