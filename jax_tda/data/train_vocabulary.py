"""Makes the vocabulary artifact: SentencePiece trained on a corpus, plain bytes, or the user's own model."""

import dataclasses
from collections import Counter
from typing import Annotated, Literal

from jax_tda.artifacts.artifact import Reader, Writer, begin
from jax_tda.artifacts.together import by_first
from jax_tda.core import files
from jax_tda.core.bounds import Bound
from jax_tda.core.config import input_path, settings
from jax_tda.core.declared import declared
from jax_tda.core.errors import InputError
from jax_tda.core.quantities import Module, Path, Split
from jax_tda.data import records, sources, vocabulary
from jax_tda.data.fields import FieldMap

KIND = "vocabulary"


@dataclasses.dataclass(frozen=True)
@declared("train_vocabulary")
class TrainVocabularyConfig:
    """How text becomes tokens.

    Args:
      source: the corpus to train on, as `tokenize` takes it.
      fields: which column holds the text, as of `tokenize`.
      seqio_module: module that registers the Task.
      seqio_split: its split.
      kind: `sentencepiece` trains one; `bytes` needs no training; `file` takes `model`, `task` the Task's own.
      size: number of pieces.
      model: the user's SentencePiece `.model` file, for kind `file`.
      on_bad_record: `refuse`, or `skip` and count.
    """

    source: Path = input_path()
    fields: FieldMap = ()
    seqio_module: Module = "jax_tda.data.facts.tasks"
    seqio_split: Split = "train"
    kind: Literal["sentencepiece", "bytes", "file", "task"] = "sentencepiece"
    size: Annotated[int, Bound(1, 2**24, unit="pieces")] = 2048
    model: Path = input_path()
    on_bad_record: records.OnBadRecord = "refuse"


def plan(config: TrainVocabularyConfig, output: str) -> str:
    """What the job would do."""
    source = sources.described(config.source, config.seqio_split)
    return f"train_vocabulary: {config.kind} vocabulary of {config.size} pieces from {source} → {output}"


@by_first
def run(config: TrainVocabularyConfig, output: str) -> Reader:
    """Writes the vocabulary artifact."""
    described = settings(config) | {
        "source": sources.identity(config.source, config.seqio_module, config.seqio_split),
        "model": sources.identity(config.model, "", "") if config.model else {},
    }
    writer = begin(output, KIND, described, {})
    if isinstance(writer, Reader):
        return writer
    rejected: Counter[str] = Counter()
    made = _make(config, rejected)
    records.tell("train_vocabulary", rejected)
    write(writer, made)
    return writer.finish({"size": made.size, "vocabulary": made.digest, "rejected": dict(rejected)})


def write(writer: Writer, made: vocabulary.Vocabulary) -> None:
    """Puts a vocabulary into an artifact, below `vocabulary/`."""
    for name, data in made.files().items():
        writer.write_bytes(f"vocabulary/{name}", data)


def _make(config: TrainVocabularyConfig, rejected: Counter[str]) -> vocabulary.Vocabulary:
    if config.kind == "bytes":
        return vocabulary.ByteVocabulary()
    if config.kind == "file":
        if not config.model or not files.is_file(config.model):
            raise InputError(
                "there is no SentencePiece model to take",
                got=config.model or "no path",
                expected="the path of a .model file",
                remedy="set train_vocabulary.model",
            )
        return vocabulary.SentencePieceVocabulary(files.read(config.model))
    if config.kind == "task" and (own := sources.own_vocabulary(config.source, config.seqio_module)):
        return own
    if config.kind != "sentencepiece":
        raise InputError(
            "unknown kind of vocabulary",
            got=config.kind,
            expected="sentencepiece, bytes, file, or task with a seqio source",
            remedy="set train_vocabulary.kind to one of them",
        )
    found = sources.read(
        *(config.source, config.seqio_module, config.seqio_split, "passages", config.on_bad_record, rejected),
        config.fields,
    )
    texts = (records.demand_text(record, "train_vocabulary").text for record in found)
    model = vocabulary.train_sentencepiece(texts, config.size)
    return vocabulary.SentencePieceVocabulary(model)
