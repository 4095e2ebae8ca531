"""What the encodings say of the same corpora: scores of every query and training document, by the ordinary rooms.

A corpus's influence on a query is the sum over its documents, of TrackStar's cosines or of plain dot products. Beside
it stands its share of the query's ten best proponents, which is how a ranking is usually read.
"""

from collections.abc import Mapping

import numpy as np

from jax_tda.artifacts.artifact import open_artifact
from jax_tda.attribution import dense, estimate, mix
from jax_tda.encoding import run as encoding
from jax_tda.studies.unlearning.ground import Ground

# What is summed, and what is counted.
KINDS = {
    "trackstar": "summed cosines under the mixed curvature",
    "dot": "summed dot products",
    "proponents": "share of TrackStar's ten best proponents",
}
_SCORES = ("trackstar", "dot")
_FIRST = 10


def scores(ground: Ground, projected_size: int, damping: float) -> dict[str, np.ndarray]:
    """Scores `trackstar` and `dot` of every pair: float64 [queries, documents], 0 where one could not be encoded.

    Args:
      ground: texts and model.
      projected_size: of the encodings.
      damping: of the curvature.
    """
    place = ground.place
    paths = {name: str(place / name) for name in ("corpus", "queries", "checkpoint", "correction")}
    for name in ("corpus", "queries"):
        encoding.run(
            encoding.EncodeConfig(
                examples=paths[name],
                checkpoint=paths["checkpoint"],
                projected_size=projected_size,
                seed=ground.seed,
                buckets=1,
                tokens_per_batch=4096,
            ),
            str(place / "encodings" / name),
        )
        estimate.run(
            estimate.EstimateCurvatureConfig(encodings=str(place / "encodings" / name), seed=ground.seed),
            str(place / "curvature" / name),
        )
    train, query = (str(place / "encodings" / name) for name in ("corpus", "queries"))
    mix.run(
        mix.MixCurvatureConfig(
            train=str(place / "curvature" / "corpus"),
            query=str(place / "curvature" / "queries"),
            encodings=train,
            damping=damping,
        ),
        paths["correction"],
    )
    found = {}
    for kind in _SCORES:
        config = dense.ScoreDenselyConfig(
            train=train,
            query=query,
            correction=paths["correction"] if kind == "trackstar" else "",
            unit_norm=kind == "trackstar",
        )
        dense.run(config, str(place / "scores" / kind))
        array = open_artifact(str(place / "scores" / kind), dense.KIND).array("scores")
        found[kind] = np.nan_to_num(np.asarray(array.read(0, array.shape[0]), np.float64))
    return found


def by_corpus(scores: Mapping[str, np.ndarray], members: Mapping[str, np.ndarray]) -> dict[str, dict[str, list[float]]]:
    """The influence of each corpus on each query, by kind: Σ over its documents, or its share of the ten best.

    Args:
      scores: `trackstar` and `dot`, [queries, documents] each.
      members: by corpus, which documents are its own, bool [documents].
    """
    best = np.argsort(-scores["trackstar"], axis=1, kind="stable")[:, :_FIRST]
    found = {
        kind: {name: one[:, mine].sum(axis=1).tolist() for name, mine in members.items()}
        for kind, one in scores.items()
    }
    return found | {"proponents": {name: mine[best].mean(axis=1).tolist() for name, mine in members.items()}}
