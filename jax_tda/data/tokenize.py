"""Turns text into a tokenized-corpus artifact: stable ids, deterministic order, exact shards."""

import dataclasses
from collections import Counter
from typing import Any, Literal

from jax_tda.artifacts.artifact import Reader, Writer, begin, open_artifact
from jax_tda.core import processes
from jax_tda.core.config import input_path, settings
from jax_tda.core.declared import declared
from jax_tda.core.errors import InputError
from jax_tda.core.quantities import Context, Module, Path, ShardRows, Split
from jax_tda.data import assembly, corpus, distinct, making, records, sources, split, train_vocabulary
from jax_tda.data.fields import FieldMap
from jax_tda.data.segments import Kept
from jax_tda.data.vocabulary import Vocabulary


@dataclasses.dataclass(frozen=True)
@declared("tokenize")
class TokenizeConfig:
    """Which text, by which vocabulary, cut how.

    Args:
      source: a file, a folder or a pattern of shards in a layout that docs/data.md lists, or `seqio:NAME`.
      fields: which column holds what, `'text=COLUMN'` (also `id`, `tokens`; of queries `prompt`, `target`, `gold`,
        `weak`, `prompt_tokens`, `target_tokens`); `'=COLUMN'` leaves one out, `'=*'` all that are not named.
      seqio_module: module that registers the Task.
      seqio_split: its split, or that of a cached Task.
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
    fields: FieldMap = ()
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
    source = sources.described(config.source, config.seqio_split)
    return f"tokenize: {config.kind} of {source}, context {config.context}, long ones: {config.on_long} → {output}"


def run(config: TokenizeConfig, output: str) -> Reader:
    """Writes the corpus artifact: stretches of the source become segments, segments the corpus.

    Input shards are dealt over the processes of a run, and so are the shards that are written; in memory is one segment
    of each. What is finished is not done again. The order is that of the shards' names and of the rows in each, and the
    artifact's bytes are the same however many processes there were and wherever a run was stopped.
    """
    inputs = {"vocabulary": open_artifact(config.vocabulary)}
    if config.queries:
        inputs["queries"] = open_artifact(config.queries, corpus.KIND)
    identity = processes.agree(lambda: sources.identity(config.source, config.seqio_module, config.seqio_split))
    writer = begin(output, corpus.KIND, settings(config) | {"source": identity}, inputs)
    if isinstance(writer, Reader):
        return writer
    try:
        return _made(config, writer, inputs)
    except InputError:
        # What is mended is read anew, under the same command. Others may still be writing where there are several.
        if processes.count() == 1:
            writer.start_over()
        raise


def _made(config: TokenizeConfig, writer: Writer, inputs: dict[str, Reader]) -> Reader:
    vocabulary = corpus.read_vocabulary(inputs["vocabulary"])
    context = _context(config, inputs)
    work = sources.Work(config.source, config.seqio_module, config.seqio_split, config.kind, config.fields)
    if processes.index() == 0:
        print(f"tokenize: {work}", flush=True)
    making.make(writer, work, lambda record: _pieces(record, vocabulary, context, config), config.on_bad_record)
    chosen = processes.agree(lambda: _chosen(writer, work, config))
    segments = making.kept(writer, {tuple(place): documents for place, documents in chosen["dropped"]})
    longest = max((facts["longest"] for facts in chosen["counted"]), default=0)
    examples = [facts["examples"] for facts in chosen["counted"]]
    assembly.write(writer, segments, examples, longest, config.shard_rows)
    train_vocabulary.write(writer, vocabulary)

    def total(name: str) -> int:
        return sum(facts[name] for facts in chosen["counted"])

    return writer.finish(
        {name: total(name) for name in ("examples", "documents", "tokens")}
        | {
            "longest": longest,
            "kind": config.kind,
            "context": max(context if context < _UNLIMITED else 0, longest),
            "vocabulary": vocabulary.digest,
            "vocabulary_size": vocabulary.size,
            "layout": work.layout,
            "input_shards": work.count,
            "ids": work.ids,
            "rejected": chosen["rejected"],
            "doubtful": chosen["doubtful"],
            "documents_split": total("split"),
            "tokens_left_out": total("left_out"),
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
    record: records.Record, vocabulary: Vocabulary, context: int, config: TokenizeConfig
) -> tuple[records.Record, list[split.Piece]]:
    spelt = split.spelt(record, vocabulary)
    return spelt, split.pieces(spelt, vocabulary, context, config.on_long)


def _chosen(writer: Writer, work: sources.Work, config: TokenizeConfig) -> dict[str, Any]:
    """What is left of the segments when every id stands once, and what is said of it on screen."""
    segments = making.kept(writer, {})
    repeated = distinct.repeated(segments)
    if repeated.documents and config.on_bad_record == "refuse":
        later, first = repeated.documents[0]
        raise records.Rejected(
            _where(work, segments, later),
            "duplicate id",
            got=f"{segments[later.segment].name_of(later.document)!r}, first at {_where(work, segments, first)}",
            expected="an id of its own for every record",
        )
    if repeated.pieces:
        piece, document = repeated.pieces
        raise InputError(
            "pieces of a split document cannot be told from another document",
            got=f"2 examples called {segments[document.segment].name_of(document.document)!r}: of "
            f"{_where(work, segments, piece)} and of {_where(work, segments, document)}",
            expected="one id for each example",
            remedy="rename the document whose id ends like a piece's (#0, #1, …)",
        )
    dropped = dict[int, list[int]]()
    for later, _ in repeated.documents:
        dropped.setdefault(later.segment, []).append(later.document)
    for number, documents in dropped.items():
        segments[number].dropped = tuple(documents)
    counted = assembly.counted(segments)
    rejected, doubtful = Counter[str](), Counter[str]()
    for facts in counted:
        rejected.update(facts["rejected"])
        doubtful.update(facts.pop("doubtful"))
    if repeated.documents:
        rejected["duplicate id"] += len(repeated.documents)
    records.tell("tokenize", rejected)
    if not (examples := sum(facts["examples"] for facts in counted)):
        raise records.nothing_usable(config.source, rejected)
    for reason, count in doubtful.items():
        print(f"tokenize: warning: {count} of {examples} queries: {reason}; a leading space belongs to the target")
    return {
        "counted": counted,
        "rejected": dict(rejected),
        "doubtful": dict(doubtful),
        "dropped": [[segments[number].place, documents] for number, documents in dropped.items()],
    }


def _where(work: sources.Work, segments: list[Kept], place: distinct.Place) -> str:
    return work.where(segments[place.segment].place[0], place.row)
