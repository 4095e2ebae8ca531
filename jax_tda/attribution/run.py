"""score: from two encodings artifacts to one ranking, streamed over the corpus's shards."""

import dataclasses
from typing import Any

import numpy as np

from jax_tda.artifacts import ranking
from jax_tda.artifacts.artifact import Reader, Writer, begin, open_artifact
from jax_tda.artifacts.encodings import EncodingStore, check_joinable, open_encodings
from jax_tda.artifacts.method_words import MethodWords, as_facts
from jax_tda.artifacts.shares import Kept, Shares
from jax_tda.attribution import comparison, lines, scan
from jax_tda.attribution.comparison import Comparison
from jax_tda.attribution.top_k import Best, Ends, merged
from jax_tda.core.config import input_path, machine, naming, settings
from jax_tda.core.declared import declared
from jax_tda.core.mesh import MeshConfig
from jax_tda.core.quantities import Name, Path, QueriesAtOnce, TopK


@dataclasses.dataclass(frozen=True)
@declared("score")
class ScoreConfig:
    """Which encodings are compared, and how.

    Args:
      train: the corpus's encodings.
      query: the queries' encodings.
      correction: R^(-1/2) from `mix_curvature`, with these encodings' norms or without; empty for the identity.
      answers: which queries the model answers exactly, carried into the ranking.
      method: the ranking's name.
      unit_norm: whether scores are cosines.
      top_k: how many of each end are kept.
      queries_at_once: queries scored per pass over a shard.
      words: how tables and pages show the method.
      mesh: how devices share the work.
    """

    train: Path = input_path(required=True)
    query: Path = input_path(required=True)
    correction: Path = input_path()
    answers: Path = input_path(required=True)
    method: Name = "trackstar"
    unit_norm: bool = True
    top_k: TopK = 100
    queries_at_once: QueriesAtOnce = 1024
    words: MethodWords = naming(MethodWords())
    mesh: MeshConfig = machine(MeshConfig())


def plan(config: ScoreConfig, output: str) -> str:
    """What the job would do."""
    return f"score: {config.method}, top {config.top_k} of {config.train} for {config.query} → {output}"


def run(config: ScoreConfig, output: str) -> Reader:
    """Writes one ranking, `METHOD.jsonl`, with a line for every query.

    Each process scans its own shards; what it found so far is kept, and a killed run goes on from it.
    """
    train, query = open_encodings(config.train), open_encodings(config.query)
    check_joinable(train.reader, query.reader)
    inputs = {"train": train.reader, "query": query.reader, "answers": open_artifact(config.answers, "answers")}
    correction = None
    if config.correction:
        correction = inputs["correction"] = comparison.open_correction(config.correction, query, train)
    exact = lines.answered_exactly(inputs["answers"], query)
    writer = begin(output, ranking.KIND, settings(config), inputs, name=config.method)
    if isinstance(writer, Reader):
        return writer
    compared = comparison.between(query, correction, config.unit_norm, config.queries_at_once, train)
    ends = rank_store(train, compared, config.top_k, writer)
    count = writer.write_lines(f"{config.method}.jsonl", lines.of(ends, query.ids, train.ids, exact, config.top_k))
    facts = {"method": config.method, "queries": count, "left_out": train.facts["left_out"]}
    return writer.finish(facts | correction_facts(correction) | as_facts(config.words))


def correction_facts(correction: Reader | None) -> dict[str, Any]:
    """What a ranking says of its correction."""
    names = ("query_weight", "component", "damping") if correction else ()
    return {name: correction.manifest.facts[name] for name in names if correction}


def rank_store(train: EncodingStore, compared: Comparison, top_k: int, writer: Writer | None = None) -> list[Ends]:
    """Both ends for each part of the queries, in one pass over a store.

    Args:
      train: the store.
      compared: what its passages are compared with.
      top_k: how many of each end.
      writer: the artifact whose processes share the pass, and which keeps what was found; None for one pass here.
    """

    def fresh() -> list[Best]:
        return [Best(side.shape[0], min(top_k, train.count)) for side in compared.sides]

    def state() -> dict[str, np.ndarray]:
        return {f"{part}_{name}": array for part, keeper in enumerate(best) for name, array in keeper.state().items()}

    best, starts, pace = fresh(), range(0, train.count, train.shard_rows), scan.Pace()
    shares = Shares(writer, len(starts)) if writer else None
    if shares and (kept := shares.kept()):
        _restore(best, kept)
    mine = {starts[step] for step in shares.left} if shares else set(starts)
    steps = shares.work(state) if shares else iter(starts)
    # The steps come first: when there is none left, no shard is asked for.
    for _, shard in zip(steps, scan.shards(train, "score", set(starts) - mine), strict=False):
        found = compared.scores(shard)
        for keeper, scores in zip(best, found, strict=True):
            keeper.update(scores, shard.start)
        pace.step(found)
    parts = [_restore(fresh(), part) for part in shares.whole(state)] if shares else [best]
    return [merged([part[place].ends() for part in parts]) for place in range(len(best))]


def _restore(best: list[Best], kept: Kept) -> list[Best]:
    for part, keeper in enumerate(best):
        keeper.restore({name: kept(f"{part}_{name}") for name in keeper.state()})
    return best
