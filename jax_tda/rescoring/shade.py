"""shade: which tokens of a passage, and of the query's target, the exact score of the passage comes from."""

import dataclasses
import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import jax
import numpy as np

from jax_tda.artifacts import arrays
from jax_tda.artifacts.artifact import Reader, begin
from jax_tda.artifacts.together import by_first
from jax_tda.core import files, processes
from jax_tda.core import mesh as meshes
from jax_tda.core.bounds import Bound
from jax_tda.core.config import input_path, machine, settings
from jax_tda.core.declared import declared
from jax_tda.core.errors import InputError
from jax_tda.core.mesh import MeshConfig
from jax_tda.core.progress import Progress
from jax_tda.core.quantities import MOST_AT_ONCE, Buckets, Damping, Path, Patterns, TokensAtOnce
from jax_tda.data import corpus as corpora
from jax_tda.data.batches import bucket_lengths, sweep
from jax_tda.encoding.token_shares import TokenScorer
from jax_tda.models import checkpoint_artifact
from jax_tda.models.own_model import OwnModelConfig, code_of
from jax_tda.rescoring import directions
from jax_tda.rescoring import inputs as inputs_of
from jax_tda.rescoring.run import UNIT

KIND = "shades"
# Kept in every artifact, so that a reader need not guess what a position means.
MEANING = {
    "read": "by the token that is read at the position, of what follows it",
    "foretold": "by the token of the passage whose own loss it is",
    "target": "by the token of the query's target whose own loss it is, from `target_start` on",
    "elsewhere": "of the parameters in `untold`, which have no positions; read and elsewhere add up to the score",
}


@dataclasses.dataclass(frozen=True)
@declared("shade")
class ShadeConfig:
    """Whose scores are told apart, with which model, along which directions.

    Args:
      corpus: the tokenized corpus.
      queries: the tokenized queries.
      checkpoint: the model.
      ranking: one ranking, `RANKINGS/METHOD.jsonl`, of this corpus for these queries.
      passages_each: how many of each query's first.
      direction: as of `rescore`.
      moments: of `estimate_second_moments`, for `second_moments`; empty for those of the checkpoint's optimizer.
      factors: of `estimate_factors`, for `kfac` and `ekfac`.
      power: of V, on either side of the product.
      damping: added to eigenvalues, as a share of each layer's mean.
      exclude: patterns of parameters that are left out; empty for the default of `encode`.
      memory: for the directions of one query's target tokens that are scored at once.
      buckets: how many padded lengths; each costs a compilation.
      tokens_per_batch: padded tokens at once.
      examples_at_once: how many examples of a batch each device has in flight; 0 takes all, None what ran fastest.
      unroll_layers: whether layers are compiled one by one; None what ran fastest.
      own_model: the user's own code that makes the model, where it is no decoder.
      mesh: how devices share the work.
    """

    corpus: Path = input_path(required=True)
    queries: Path = input_path(required=True)
    checkpoint: Path = input_path(required=True)
    ranking: Path = input_path(required=True)
    passages_each: Annotated[int, Bound(1, MOST_AT_ONCE, unit="passages")] = 20
    direction: Literal["gradient", "second_moments", "kfac", "ekfac"] = "ekfac"
    moments: Path = input_path()
    factors: Path = input_path()
    power: Annotated[float, Bound(0, 1)] = 0.25
    damping: Damping = 0.1
    exclude: Patterns = ()
    memory: Annotated[float, Bound(above=0, at_most=1e6, unit="GiB")] = machine(2.0)
    buckets: Buckets = 3
    tokens_per_batch: TokensAtOnce = 1024
    examples_at_once: Annotated[int, Bound(0, MOST_AT_ONCE, unit="examples", meaning="0 for all")] | None = None
    unroll_layers: bool | None = None
    own_model: OwnModelConfig = machine(OwnModelConfig())
    mesh: MeshConfig = machine(MeshConfig())


def plan(config: ShadeConfig, output: str) -> str:
    """What the job would do."""
    said = f"shade: the first {config.passages_each:,} of {config.ranking} along {config.direction} → {output}"
    if config.queries:
        queries = corpora.open_corpus(config.queries)
        targets = int((queries.spans[:, 0] - queries.spans[:, 1]).sum())
        said += f"\n  {queries.count:,} queries with {targets:,} target tokens, a backward pass and a direction each"
        said += f"\n  at most {queries.count * config.passages_each:,} pairs, of some eight forward passes each"
    return said


@by_first
def run(config: ShadeConfig, output: str) -> Reader:
    """Writes `shades.jsonl`, a line for each pair, and the tokens of `passages.jsonl` and `queries.jsonl` by id.

    A pair's line: query_id, id, score, `read` and `foretold` by position of the passage, `target` by token of the
    target, `elsewhere`; signs and unit as of `rescore`, nothing rounded. A line of tokens: id, the tokens' ids, their
    texts, and their (start, stop) in the record's text, or null where the text does not give these tokens again.
    """
    meshes.one_cpu_device_per_core()
    checkpoint = checkpoint_artifact.open_checkpoint(config.checkpoint, config.own_model)
    corpus, queries = corpora.open_corpus(config.corpus), corpora.open_corpus(config.queries)
    inputs = {"corpus": corpus.reader, "queries": queries.reader, "checkpoint": checkpoint.reader}
    for made in (corpus.reader, queries.reader):
        checkpoint_artifact.check_fits(checkpoint.reader, made)
    chosen, readers, foreign = inputs_of.ranked(config.ranking, config.passages_each, corpus, queries, "shade")
    inputs |= {"ranking": readers["candidates"]} if readers else {}
    if not any(map(len, chosen.values())):
        raise InputError(
            f"the ranking {config.ranking} has no passages",
            got="no proponent of any query",
            expected="at least one",
            remedy="give another ranking",
        )
    given = inputs_of.direction(config, inputs)
    described = settings(config) | code_of(config.own_model)
    # A ranking without a manifest has no digest among the inputs.
    writer = begin(output, KIND, described | {"foreign_ranking": foreign}, inputs)
    if isinstance(writer, Reader):
        return writer
    tokens = inputs_of.scorer_of(config, TokenScorer)
    if tokens.untold:
        print(f"shade: of {len(tokens.untold)} parameters no position has a share: {', '.join(tokens.untold[:6])}")
    work = _Work(config, corpus, queries, tokens, given(tokens.scorer), chosen)
    progress = Progress("shade", sum(map(len, chosen.values())), "passages")
    units = writer.finished_units()
    # Shares that add up need products of float32 that are such, on accelerators too.
    with jax.default_matmul_precision("highest"), processes.stoppable() as stop:
        for query, rows in chosen.items():
            unit = f"query_{query:08d}"
            if unit not in units:
                lines, lost = work.of(query)
                data = "".join(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in lines)
                arrays.write_atomically(str(writer.scratch() / f"{unit}.jsonl"), data.encode())
                units[unit] = {"not_finite": lost}
                writer.finish_unit(unit, units[unit])
                if stop.asked():
                    stop.now()
            progress.advance(len(rows))
    writer.write_parts("shades.jsonl", (files.read(writer.scratch() / f"query_{q:08d}.jsonl") for q in chosen))
    asked = np.unique(np.concatenate(list(chosen.values())))
    without = 0

    def texts(of: corpora.Corpus, rows: np.ndarray) -> Iterator[dict[str, Any]]:
        nonlocal without
        for row in rows:
            line = texts_of(of, int(row))
            without += line["spans"] is None
            yield line

    writer.write_lines("passages.jsonl", texts(corpus, asked))
    writer.write_lines("queries.jsonl", texts(queries, np.arange(queries.count)))
    if without:
        print(f"shade: of {without:,} examples the text does not give their tokens again; they have no spans")
    lost = sum(facts["not_finite"] for facts in units.values())
    if lost:
        print(f"shade: {lost:,} pairs have shares that are not finite and are left out")
    facts = {"pairs": sum(map(len, chosen.values())) - lost, "unit": UNIT, "sign": "positive: makes likelier"}
    facts |= {"not_finite": lost, "without_spans": without, "untold": tokens.untold, "meaning": MEANING}
    facts |= {"excluded": tokens.scorer.plan.excluded, "checkpoint": checkpoint.reader.manifest.digest}
    return writer.finish(facts)


def texts_of(corpus: corpora.Corpus, row: int) -> dict[str, Any]:
    """A line of tokens, of the example in a row."""
    record, (length, start) = corpus.records[row], (int(value) for value in corpus.spans[row])
    ids = [int(token) for token in corpus.examples(np.array([row]), length, 1)["tokens"][0]]
    vocabulary, text = corpus.vocabulary, record["text"]
    spelt, reaches = vocabulary.encode_with_reaches(text)
    # Behind the beginning id, and perhaps before an end id, neither of which has a text.
    again = ids[1 : 1 + len(spelt)] == list(spelt) and ids[1 + len(spelt) :] in ([], [vocabulary.end_id])
    spans = [(0, 0), *map(tuple, reaches), (len(text), len(text))][:length] if again else None
    texts = [text[a:b] for a, b in spans] if spans is not None else [vocabulary.decode([token]) for token in ids]
    return {"id": corpus.ids[row], "tokens": ids, "target_start": start, "texts": texts, "spans": spans}


def _finite(line: dict[str, Any]) -> bool:
    values = (line["score"], line["elsewhere"], *line["read"], *line["foretold"], *line["target"])
    return bool(np.isfinite(values).all())


class _Work:
    """One query after the other."""

    def __init__(
        self,
        config: ShadeConfig,
        corpus: corpora.Corpus,
        queries: corpora.Corpus,
        tokens: TokenScorer,
        made_with: directions.Given,
        chosen: dict[int, np.ndarray],
    ):
        self._config, self._corpus, self._queries, self._chosen = config, corpus, queries, chosen
        self._tokens, self._scorer, self._made_with = tokens, tokens.scorer, made_with
        asked = np.unique(np.concatenate(list(chosen.values())))
        self._buckets = bucket_lengths(corpus.spans[asked, 0], config.buckets)
        self._most = max(map(len, chosen.values()))
        self._longest = int(-(-queries.spans[:, 0].max() // 8) * 8)
        self._at_once = inputs_of.at_once(config, tokens.scorer)

    def of(self, query: int) -> tuple[list[dict[str, Any]], int]:
        """The lines of a query's pairs, in the ranking's order, and how many are left out."""
        rows, (end, start) = self._chosen[query], self._queries.spans[query]
        found: dict[int, dict[str, Any]] = {int(row): {} for row in rows}
        # The whole target, and each of its tokens alone.
        whole = self._queries.examples(np.array([query]), self._longest, 1)
        weights = np.concatenate([whole["loss_weights"], np.eye(self._longest, dtype=np.float32)[start:end]])
        size = min(self._at_once, 1 << (len(weights) - 1).bit_length())
        for first in range(0, len(weights), size):
            part = weights[first : first + size]
            placed = self._placed(whole["tokens"], np.pad(part, ((0, size - len(part)), (0, 0))))
            for batch, examples in self._batches(rows):
                scores = self._scorer.scores(placed, examples)
                for at, row in enumerate(batch):
                    found[int(row)].setdefault("all", []).extend(scores[at, : len(part)].tolist())
            if not first:
                self._by_position(placed, rows, found)
        lines = [self._line(query, int(row), found[int(row)]) for row in rows]
        kept = [line for line in lines if _finite(line)]
        return kept, len(lines) - len(kept)

    def _by_position(self, placed: Any, rows: np.ndarray, found: dict[int, dict[str, Any]]) -> None:
        first = {path: own[..., :1, :, :] for path, own in placed.items()}
        for batch, examples in self._batches(rows):
            shares = self._tokens.shares(first, examples)
            for at, row in enumerate(batch):
                length = int(self._corpus.spans[row, 0])
                found[int(row)] |= {
                    "read": shares.read[at, 0, :length].tolist(),
                    "foretold": shares.foretold[at, 0, :length].tolist(),
                    "elsewhere": float(shares.elsewhere[at, 0]),
                }

    def _line(self, query: int, row: int, found: dict[str, Any]) -> dict[str, Any]:
        score, *target = found.pop("all")
        named = {"query_id": self._queries.ids[query], "id": self._corpus.ids[row], "score": score}
        return named | found | {"target": target}

    def _placed(self, tokens: np.ndarray, weights: np.ndarray) -> Any:
        examples = {"tokens": np.broadcast_to(tokens, weights.shape), "loss_weights": weights}
        gradients = list(self._scorer.gradients(examples))
        stacked = {path: np.stack([row[path] for row in gradients]) for path in gradients[0]}
        return self._scorer.place(directions.make(self._config.direction, stacked, self._made_with))

    def _batches(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        lengths = self._corpus.spans[rows, 0]
        for batch, length, size in sweep(rows, lengths, self._buckets, self._config.tokens_per_batch):
            # No batch is larger than the most passages of any query.
            yield batch, self._corpus.examples(batch, length, min(size, self._most))
