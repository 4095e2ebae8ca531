"""rescore: the exact influence of candidates, or of the whole corpus, on every query, without projection or store."""

import dataclasses
import io
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

import jax
import numpy as np

from jax_tda.artifacts import arrays
from jax_tda.artifacts.artifact import Reader, Writer, begin
from jax_tda.artifacts.together import by_first
from jax_tda.core import files, processes
from jax_tda.core import mesh as meshes
from jax_tda.core.bounds import Bound
from jax_tda.core.config import input_path, machine, settings
from jax_tda.core.declared import declared
from jax_tda.core.mesh import MeshConfig
from jax_tda.core.progress import Progress
from jax_tda.core.quantities import MOST_AT_ONCE, Buckets, Damping, Path, Patterns, ShardRows, TokensAtOnce
from jax_tda.data import corpus as corpora
from jax_tda.data.batches import bucket_lengths, sweep
from jax_tda.encoding.directed import DirectionScorer, Matrices
from jax_tda.models import checkpoint_artifact
from jax_tda.models.own_model import OwnModelConfig, code_of
from jax_tda.rescoring import directions
from jax_tda.rescoring import inputs as inputs_of
from jax_tda.rescoring.pairs import Pairs

KIND = "scores"
_ROWS = "rows"
UNIT = "nats of the target's log-probability for a unit of the document's weight along the direction"


@dataclasses.dataclass(frozen=True)
@declared("rescore")
class RescoreConfig:
    """What is scored, with which model, along which directions.

    Args:
      corpus: the tokenized corpus.
      queries: the tokenized queries.
      checkpoint: the model.
      direction: `gradient` divides by nothing; `second_moments` by V^(2·power); `kfac` and `ekfac` by the damped Fisher
        matrix of `factors`.
      moments: of `estimate_second_moments`, for `second_moments`; empty for those of the checkpoint's optimizer.
      factors: of `estimate_factors`, for `kfac` and `ekfac`.
      power: of V, on either side of the product.
      damping: added to eigenvalues, as a share of each layer's mean.
      candidates: a ranking, `RANKINGS/METHOD.jsonl`, whose first passages are scored; empty for the whole corpus.
      candidates_each: how many of each query's first.
      exclude: patterns of parameters that are left out; empty for the default of `encode`.
      memory: for the directions of the queries that are scored at once.
      buckets: how many padded lengths; each costs a compilation.
      tokens_per_batch: padded tokens at once.
      examples_at_once: how many examples of a batch each device has in flight; 0 takes all, None what ran fastest.
      unroll_layers: whether layers are compiled one by one; None what ran fastest.
      shard_rows: examples between two times that scores are kept.
      own_model: the user's own code that makes the model, where it is no decoder.
      mesh: how devices share the work.
    """

    corpus: Path = input_path(required=True)
    queries: Path = input_path(required=True)
    checkpoint: Path = input_path(required=True)
    direction: Literal["gradient", "second_moments", "kfac", "ekfac"] = "ekfac"
    moments: Path = input_path()
    factors: Path = input_path()
    power: Annotated[float, Bound(0, 1)] = 0.25
    damping: Damping = 0.1
    candidates: Path = input_path()
    candidates_each: Annotated[int, Bound(1, MOST_AT_ONCE, unit="passages")] = 1000
    exclude: Patterns = ()
    memory: Annotated[float, Bound(above=0, at_most=1e6, unit="GiB")] = machine(2.0)
    buckets: Buckets = 3
    tokens_per_batch: TokensAtOnce = 1024
    examples_at_once: Annotated[int, Bound(0, MOST_AT_ONCE, unit="examples", meaning="0 for all")] | None = None
    unroll_layers: bool | None = None
    shard_rows: ShardRows = machine(1024)
    own_model: OwnModelConfig = machine(OwnModelConfig())
    mesh: MeshConfig = machine(MeshConfig())


def plan(config: RescoreConfig, output: str) -> str:
    """What the job would do."""
    what = f"the first {config.candidates_each:,} of {config.candidates}" if config.candidates else "all"
    said = f"rescore: {what} of {config.corpus} for {config.queries} along {config.direction} → {output}"
    if config.checkpoint and config.queries:
        queries, scorer = corpora.open_corpus(config.queries), inputs_of.scorer_of(config, DirectionScorer)
        each, at_once = inputs_of.direction_bytes(scorer), inputs_of.at_once(config, scorer)
        visits = -(-queries.count // at_once)
        said += f"\n  {queries.count:,} queries, {at_once:,} at once of {each / 2**20:,.1f} MiB each"
        said += f"; {visits} visits of the corpus, each of one exact encode and Q/T of a forward pass more"
    return said


@by_first
def run(config: RescoreConfig, output: str) -> Reader:
    """Writes `scores` float32 [queries, examples], NaN where a pair was no candidate, and the ids of both.

    A positive score says: training on this passage makes the target likelier.
    """
    meshes.one_cpu_device_per_core()
    checkpoint = checkpoint_artifact.open_checkpoint(config.checkpoint, config.own_model)
    corpus, queries = corpora.open_corpus(config.corpus), corpora.open_corpus(config.queries)
    inputs = {"corpus": corpus.reader, "queries": queries.reader, "checkpoint": checkpoint.reader}
    for made in (corpus.reader, queries.reader):
        checkpoint_artifact.check_fits(checkpoint.reader, made)
    described, chosen = settings(config) | code_of(config.own_model), None
    if config.candidates:
        chosen, readers, foreign = inputs_of.ranked(
            config.candidates, config.candidates_each, corpus, queries, "rescore"
        )
        inputs |= readers
        # A ranking without a manifest has no digest among the inputs.
        described["foreign_candidates"] = foreign
    given = inputs_of.direction(config, inputs)
    writer = begin(output, KIND, described, inputs)
    if isinstance(writer, Reader):
        return writer
    scorer = inputs_of.scorer_of(config, DirectionScorer)
    made_with = given(scorer)
    # A run that goes on where there is more or less memory keeps to the rows that the first one took at once.
    units = writer.finished_units()
    size = units[_ROWS]["at_once"] if _ROWS in units else min(inputs_of.at_once(config, scorer), queries.count)
    writer.finish_unit(_ROWS, {"at_once": size})
    array = writer.array("scores", (queries.count, corpus.count), "float32", size)
    blocks = [np.arange(start, min(start + size, queries.count)) for start in range(0, queries.count, size)]
    visits = [
        np.arange(corpus.count) if chosen is None else np.unique(np.concatenate([chosen[int(row)] for row in block]))
        for block in blocks
    ]
    progress = Progress("rescore", sum(map(len, visits)), "passages")
    for number, (block, rows) in enumerate(zip(blocks, visits, strict=True)):
        unit = f"block_{number:06d}"
        if unit in units:
            progress.advance(len(rows))
            continue
        values = np.full((len(block), corpus.count), np.nan, np.float32)
        along = directions.make(config.direction, _gradients(scorer, queries, block), made_with)
        placed = scorer.place(along)
        pairs = None if chosen is None else Pairs.of([chosen[int(query)] for query in block])
        for columns, found in _kept_scores(
            writer, (number, len(block)), scorer, placed, corpus, rows, pairs, config, progress
        ):
            values[:, columns] = found
        asked = len(block) * len(rows) if chosen is None else sum(len(chosen[int(row)]) for row in block)
        finite = np.isfinite(values)
        array.write_shard(int(block[0]), np.where(finite, values, np.float32(np.nan)))
        units[unit] = {"not_finite": asked - int(finite.sum())}
        writer.finish_unit(unit, units[unit])
    writer.write_lines("query_ids.jsonl", ({"id": name} for name in queries.ids))
    writer.write_lines("ids.jsonl", ({"id": name} for name in corpus.ids))
    lost = sum(facts["not_finite"] for name, facts in units.items() if name != _ROWS)
    if lost:
        print(f"rescore: {lost:,} scores are not finite; those pairs have none")
    facts = {"queries": queries.count, "examples": corpus.count, "unit": UNIT, "sign": "positive: makes likelier"}
    facts |= {"not_finite": lost, "excluded": scorer.plan.excluded, "parameters": scorer.plan.counts}
    return writer.finish(facts | {"checkpoint": checkpoint.reader.manifest.digest})


def _gradients(scorer: DirectionScorer, queries: corpora.Corpus, block: np.ndarray) -> Matrices:
    length = int(-(-queries.spans[:, 0].max() // 8) * 8)
    rows = list(scorer.gradients(queries.examples(block, length, len(block))))
    return {path: np.stack([row[path] for row in rows]) for path in rows[0]}


def _kept_scores(
    writer: Writer,
    block: tuple[int, int],
    scorer: DirectionScorer,
    placed: Mapping[str, jax.Array],
    corpus: corpora.Corpus,
    rows: np.ndarray,
    pairs: Pairs | None,
    config: RescoreConfig,
    progress: Progress,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows of the corpus, scores [Q, n]) part after part; a part that was kept is read instead of computed.

    Args:
      block: the number of the block, and how many queries are in it.
      pairs: which scores are wanted; None for all.
    """
    number, count = block
    lengths = corpus.spans[:, 0]
    buckets = bucket_lengths(lengths, config.buckets)
    with processes.stoppable() as stop:
        for start in range(0, len(rows), config.shard_rows):
            part = rows[start : start + config.shard_rows]
            path = str(writer.scratch() / f"block_{number:06d}_{config.shard_rows}_{start:09d}.npy")
            if files.exists(path):
                yield part, np.load(io.BytesIO(files.read(path)), allow_pickle=False)
                progress.advance(len(part))
                continue
            place = {int(row): at for at, row in enumerate(part)}
            found = np.full((count, len(part)), np.nan, np.float32)
            for batch, length, size in sweep(part, lengths[part], buckets, config.tokens_per_batch):
                columns = [place[int(row)] for row in batch]
                examples = corpus.examples(batch, length, size)
                if pairs is None:
                    found[:, columns] = scorer.scores(placed, examples)[: len(batch)].T
                else:
                    for column, (asked, scores) in zip(
                        columns, pairs.scores(scorer, placed, examples, batch), strict=True
                    ):
                        found[asked, column] = scores
                progress.advance(len(batch))
            data = io.BytesIO()
            np.save(data, found)
            arrays.write_atomically(path, data.getvalue())
            yield part, found
            if stop.asked():
                stop.now()
