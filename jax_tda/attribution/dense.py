"""score_densely: from two encodings artifacts to the score of every pair, streamed over the corpus's shards."""

import dataclasses

import numpy as np

from jax_tda.artifacts.artifact import Reader, begin
from jax_tda.artifacts.encodings import OK, check_joinable, open_encodings
from jax_tda.artifacts.together import by_first
from jax_tda.attribution import comparison, scan
from jax_tda.attribution.run import correction_facts
from jax_tda.core.config import input_path, machine, settings
from jax_tda.core.declared import declared
from jax_tda.core.mesh import MeshConfig
from jax_tda.core.quantities import Path, QueriesAtOnce

KIND = "scores"


@dataclasses.dataclass(frozen=True)
@declared("score_densely")
class ScoreDenselyConfig:
    """Which encodings are compared, and how.

    Args:
      train: the corpus's encodings.
      query: the queries' encodings.
      correction: R^(-1/2) from `mix_curvature`, with these encodings' norms or without; empty for the identity.
      unit_norm: whether scores are cosines.
      queries_at_once: queries scored per pass over a shard.
      mesh: how devices share the work.
    """

    train: Path = input_path(required=True)
    query: Path = input_path(required=True)
    correction: Path = input_path()
    unit_norm: bool = True
    queries_at_once: QueriesAtOnce = 1024
    mesh: MeshConfig = machine(MeshConfig())


def plan(config: ScoreDenselyConfig, output: str) -> str:
    """What the job would do."""
    said = f"score_densely: every pair of {config.query} and {config.train} → {output}"
    if config.train and config.query:
        queries, examples = open_encodings(config.query).count, open_encodings(config.train).count
        said += f"\n  {queries:,} queries × {examples:,} examples = {4 * queries * examples / 2**20:,.1f} MiB"
    return said


@by_first
def run(config: ScoreDenselyConfig, output: str) -> Reader:
    """Writes `scores` float32 [queries, examples], NaN where an example or a query is not ranked, and the ids of both.

    A killed run goes on at the shard of the corpus that was in flight. A row, one query's scores, is read alone.
    """
    train, query = open_encodings(config.train), open_encodings(config.query)
    check_joinable(train.reader, query.reader)
    inputs = {"train": train.reader, "query": query.reader}
    correction = None
    if config.correction:
        correction = inputs["correction"] = comparison.open_correction(config.correction, query, train)
    writer = begin(output, KIND, settings(config), inputs)
    if isinstance(writer, Reader):
        return writer
    size = min(train.shard_rows, train.count)
    array = writer.array("scores", (query.count, train.count), "float32", 1, shard_columns=size)
    compared = comparison.between(query, correction, config.unit_norm, config.queries_at_once, train)
    finished = writer.finished_units()
    for shard in scan.shards(train, "score_densely", skip={int(unit.removeprefix("shard_")) for unit in finished}):
        # Overflow is not ranked either.
        found = np.concatenate([np.asarray(part) for part in compared.scores(shard)])[:, : shard.filled]
        array.write_columns(shard.start, np.where(np.isfinite(found), found, np.float32(np.nan)))
        writer.finish_unit(f"shard_{shard.start}", {})
    writer.write_lines("query_ids.jsonl", ({"id": name} for name in query.ids))
    writer.write_lines("ids.jsonl", ({"id": name} for name in train.ids))
    left_out = {"queries": int(np.sum(query.status != OK)), "examples": train.facts["left_out"]}
    return writer.finish(
        {"queries": query.count, "examples": train.count, "left_out": left_out} | correction_facts(correction)
    )
