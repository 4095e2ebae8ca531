"""Turns text into a tokenized-corpus artifact: stable ids, deterministic order, exact shards."""

import dataclasses
from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from jax_tda.artifacts.artifact import Reader, Writer, begin, open_artifact
from jax_tda.artifacts.together import by_first
from jax_tda.core.config import input_path, settings
from jax_tda.core.declared import declared
from jax_tda.core.errors import InputError
from jax_tda.core.progress import Progress
from jax_tda.core.quantities import Context, Module, Path, ShardRows, Split
from jax_tda.data import corpus, records, sources, split, train_vocabulary
from jax_tda.data.vocabulary import Vocabulary


@dataclasses.dataclass(frozen=True)
@declared("tokenize")
class TokenizeConfig:
    """Which text, by which vocabulary, cut how.

    Args:
      source: a file of JSON lines, or `seqio:NAME`.
      seqio_module: module that registers the Task.
      seqio_split: its split.
      kind: `passages` or `queries`.
      vocabulary: the artifact that holds the vocabulary: one of `train_vocabulary`, or a checkpoint, whose context then
        is the limit.
      queries: a tokenized set of queries, for passages: the context is at least its longest query.
      context: longest passage in tokens, beginning and end included; queries are limited by a checkpoint alone.
      on_long: passages longer than the context are `split`, `truncate`d, or make the job `refuse`.
      on_bad_record: `refuse`, or `skip` and count by reason.
      shard_rows: examples per shard.
    """

    source: Path = input_path(required=True)
    seqio_module: Module = "jax_tda.data.facts.tasks"
    seqio_split: Split = "train"
    kind: records.Kind = "passages"
    vocabulary: Path = input_path(required=True)
    queries: Path = input_path()
    context: Context = 64
    on_long: Literal["split", "truncate", "refuse"] = "split"
    on_bad_record: records.OnBadRecord = "refuse"
    shard_rows: ShardRows = 4096


def plan(config: TokenizeConfig, output: str) -> str:
    """What the job would do."""
    return (
        f"tokenize: {config.kind} of {config.source}, context {config.context}, long ones: {config.on_long} → {output}"
    )


@by_first
def run(config: TokenizeConfig, output: str) -> Reader:
    """Writes the corpus artifact."""
    inputs = {"vocabulary": open_artifact(config.vocabulary)}
    if config.queries:
        inputs["queries"] = open_artifact(config.queries, corpus.KIND)
    identity = sources.identity(config.source, config.seqio_module, config.seqio_split)
    writer = begin(output, corpus.KIND, settings(config) | {"source": identity}, inputs)
    if isinstance(writer, Reader):
        return writer
    vocabulary = corpus.read_vocabulary(inputs["vocabulary"])
    context = _context(config, inputs)
    rejected: Counter[str] = Counter()
    doubtful: Counter[str] = Counter()
    found = sources.read(
        config.source, config.seqio_module, config.seqio_split, config.kind, config.on_bad_record, rejected
    )
    pieces, described = [], []
    for piece, record in _pieces(found, vocabulary, context, config, rejected):
        pieces.append(piece)
        described.append(_described(piece, record))
        if reason := split.doubt(record):
            doubtful[reason] += 1
    records.tell("tokenize", rejected)
    _check_unique(described)
    for reason, count in doubtful.items():
        print(f"tokenize: warning: {count} of {len(pieces)} queries: {reason}; a leading space belongs to the target")
    facts = _write(writer, pieces, described, config)
    train_vocabulary.write(writer, vocabulary)
    split_documents = sum(1 for piece in pieces if piece.id != piece.document and piece.id.endswith("#0"))
    return writer.finish(
        facts
        | {
            "kind": config.kind,
            "context": max(context if context < _UNLIMITED else 0, facts["longest"]),
            "vocabulary": vocabulary.digest,
            "vocabulary_size": vocabulary.size,
            "rejected": dict(rejected),
            "doubtful": dict(doubtful),
            "documents_split": split_documents,
            "tokens_left_out": sum(piece.left_out for piece in pieces),
        }
    )


_UNLIMITED = 2**31


def _context(config: TokenizeConfig, inputs: dict[str, Reader]) -> int:
    made = inputs["vocabulary"].manifest
    if made.kind == "checkpoint":
        return int(made.facts["context"])
    if config.kind == "queries":
        return _UNLIMITED
    longest_query = int(inputs["queries"].manifest.facts["longest"]) if "queries" in inputs else 0
    return max(config.context, longest_query)


def _pieces(
    found: Iterator[records.Record],
    vocabulary: Vocabulary,
    context: int,
    config: TokenizeConfig,
    rejected: Counter[str],
) -> Iterator[tuple[split.Piece, records.Record]]:
    for record in found:
        try:
            made = split.pieces(record, vocabulary, context, config.on_long)
        except records.Rejected as problem:
            if config.on_bad_record == "refuse":
                raise
            rejected[problem.reason] += 1
            continue
        for piece in made:
            yield piece, record


def _described(piece: split.Piece, record: records.Record) -> dict[str, Any]:
    row: dict[str, Any] = {"id": piece.id, "document": piece.document, "text": piece.text}
    if isinstance(record, records.Query):
        row |= {"prompt": record.prompt, "target": record.target, "gold": list(record.gold)}
        if record.weak is not None:
            row["weak"] = list(record.weak)
    return row | {"fields": dict(record.fields)}


def _check_unique(described: list[dict[str, Any]]) -> None:
    counts = Counter(row["id"] for row in described)
    name, count = counts.most_common(1)[0] if counts else ("", 0)
    if count != 1:
        raise InputError(
            "pieces of a split document cannot be told from another document" if counts else "there is no example",
            got=f"{count} examples called {name!r}" if counts else "every record was left out",
            expected="one id for each example",
            remedy="rename the document whose id ends like a piece's (#0, #1, …)" if counts else "mend the source",
        )


def _write(
    writer: Writer, pieces: list[split.Piece], described: list[dict[str, Any]], config: TokenizeConfig
) -> dict[str, Any]:
    longest = max(len(piece.tokens) for piece in pieces)
    shard = config.shard_rows
    tokens = writer.array("tokens", (len(pieces), longest), "int32", shard, compressed=True)
    spans = writer.array("spans", (len(pieces), 2), "int32", shard)
    progress = Progress("tokenize", len(pieces), "examples")
    for start in range(0, len(pieces), shard):
        part = pieces[start : start + shard]
        rows = np.zeros((len(part), longest), np.int32)
        for row, piece in zip(rows, part, strict=True):
            row[: len(piece.tokens)] = piece.tokens
        tokens.write_shard(start, rows)
        spans.write_shard(start, np.array([(len(piece.tokens), piece.loss_start) for piece in part], np.int32))
        progress.advance(len(part))
    writer.write_lines("records.jsonl", described)
    total = sum(len(piece.tokens) for piece in pieces)
    return {
        "examples": len(pieces),
        "documents": len({p.document for p in pieces}),
        "longest": longest,
        "tokens": total,
    }
