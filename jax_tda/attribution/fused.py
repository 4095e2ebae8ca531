"""score_corpus: from a tokenized corpus and a checkpoint to one ranking; every encoding is scored and forgotten."""

import dataclasses
import io
from typing import Any

import numpy as np

from jax_tda.artifacts import arrays, ranking
from jax_tda.artifacts.artifact import Reader, Writer, begin, open_artifact
from jax_tda.artifacts.encodings import OK, EncodingStore, check_facts, open_encodings
from jax_tda.artifacts.method_words import MethodWords, as_facts
from jax_tda.artifacts.together import by_first
from jax_tda.attribution import comparison, lines, scan
from jax_tda.attribution.run import correction_facts
from jax_tda.attribution.top_k import Best, Ends
from jax_tda.core import files
from jax_tda.core import mesh as meshes
from jax_tda.core.config import complete_part, input_path, naming, settings
from jax_tda.core.declared import declared
from jax_tda.core.quantities import Name, Path, QueriesAtOnce, TopK
from jax_tda.data import corpus as corpora
from jax_tda.encoding import run as encoding
from jax_tda.encoding.run import EncodeConfig
from jax_tda.models import checkpoint_artifact
from jax_tda.models.own_model import code_of


@dataclasses.dataclass(frozen=True)
@declared("score_corpus")
class ScoreCorpusConfig:
    """Which corpus is ranked for which queries, how it is encoded, and how the two are compared.

    Args:
      query: the queries' encodings, of the same checkpoint and settings.
      correction: R^(-1/2) from `mix_curvature`, whose norms, if any, are not used; empty for the identity.
      answers: which queries the model answers exactly, carried into the ranking.
      encode: the corpus, the checkpoint and how it is encoded, as the job `encode` takes them.
      method: the ranking's name.
      unit_norm: whether scores are cosines.
      top_k: how many of each end are kept.
      queries_at_once: queries scored per pass over a shard.
      words: how tables and pages show the method.
    """

    query: Path = input_path(required=True)
    correction: Path = input_path()
    answers: Path = input_path(required=True)
    encode: EncodeConfig = complete_part(EncodeConfig)
    method: Name = "trackstar"
    unit_norm: bool = True
    top_k: TopK = 100
    queries_at_once: QueriesAtOnce = 1024
    words: MethodWords = naming(MethodWords())


def plan(config: ScoreCorpusConfig, output: str) -> str:
    """What the job would do."""
    return (
        f"score_corpus: {config.method}, top {config.top_k} of {config.encode.examples} for {config.query}, "
        f"encoded with {config.encode.checkpoint} and not stored → {output}"
    )


@by_first
def run(config: ScoreCorpusConfig, output: str) -> Reader:
    """Writes one ranking, `METHOD.jsonl`, with a line for every query; a killed run redoes at most the shard in flight.

    The ranking is that of `encode` and `score` with the same settings, the store's format included, up to rounding.
    """
    meshes.one_cpu_device_per_core()
    config.encode.store.parts(1, config.encode.projected_size)
    examples, query = corpora.open_corpus(config.encode.examples), open_encodings(config.query)
    checkpoint = open_artifact(config.encode.checkpoint, checkpoint_artifact.KIND)
    checkpoint_artifact.check_fits(checkpoint, examples.reader)
    inputs = {"examples": examples.reader, "checkpoint": checkpoint, "query": query.reader}
    inputs |= {"answers": open_artifact(config.answers, "answers")} | encoding.moments_of(config.encode)
    correction = None
    if config.correction:
        correction = inputs["correction"] = comparison.open_correction(config.correction, query, None)
    exact = lines.answered_exactly(inputs["answers"], query)
    encoder = encoding.make_encoder(config.encode)
    facts = encoding.facts_of(encoder, checkpoint, config.encode)
    check_facts(f"the encodings of {examples.reader}", facts, query.reader)
    described = settings(config) | code_of(config.encode.own_model)
    writer = begin(output, ranking.KIND, described, inputs, name=config.method)
    if isinstance(writer, Reader):
        return writer
    compared = comparison.between(query, correction, config.unit_norm, config.queries_at_once, None)
    best = [Best(side.shape[0], min(config.top_k, examples.count)) for side in compared.sides]
    finished = _resumed(writer, best)
    size = min(config.encode.shard_rows, examples.count)
    for unit, start, values, status in encoding.encoded_shards(
        encoder, examples, config.encode, finished, "score_corpus"
    ):
        # What the same `encode` would have stored, so that this ranking is the stored road's in every format.
        rows = config.encode.store.round_trip(values).reshape(*values.shape[:2], -1)
        found = compared.scores(scan.shard_of(start, rows, status == OK, size))
        for keeper, scores in zip(best, found, strict=True):
            keeper.update(scores, start)
        finished[unit] = encoding.unit_facts(examples, start, status)
        _keep(writer, unit, finished[unit], best)
    ends = [keeper.ends() for keeper in best]
    return _finish(writer, config, ends, query, examples, exact, facts, finished, correction)


def _finish(
    writer: Writer,
    config: ScoreCorpusConfig,
    ends: list[Ends],
    query: EncodingStore,
    examples: corpora.Corpus,
    exact: dict[str, bool],
    facts: dict[str, Any],
    finished: dict[str, Any],
    correction: Reader | None,
) -> Reader:
    rows = lines.of(ends, query.ids, examples.ids, exact, config.top_k)
    count = writer.write_lines(f"{config.method}.jsonl", rows)
    counts = encoding.counts_of(examples, config.encode, finished, "score_corpus")
    said = {"method": config.method, "queries": count} | correction_facts(correction) | as_facts(config.words)
    return writer.finish(facts | counts | said)


def _keep(writer: Writer, unit: str, facts: dict[str, Any], best: list[Best]) -> None:
    """Writes what is kept after a shard, and then that the shard is finished; what was kept before goes last."""
    folder, data = writer.scratch(), io.BytesIO()
    parts: dict[str, Any] = {
        f"{part}/{name}": array for part, keeper in enumerate(best) for name, array in keeper.state().items()
    }
    np.savez(data, **parts)
    arrays.write_atomically(str(folder / f"{unit}.npz"), data.getvalue())
    writer.finish_unit(unit, facts)
    for name in files.names(folder):
        if name != f"{unit}.npz":
            files.delete(folder / name)


def _resumed(writer: Writer, best: list[Best]) -> dict[str, Any]:
    """The units that an earlier run finished, with `best` as it stood after the last of them."""
    finished = writer.finished_units()
    if finished:
        with np.load(io.BytesIO(files.read(writer.scratch() / f"{max(finished)}.npz"))) as state:
            for part, keeper in enumerate(best):
                prefix = f"{part}/"
                keeper.restore({n.removeprefix(prefix): state[n] for n in state.files if n.startswith(prefix)})
    return finished
