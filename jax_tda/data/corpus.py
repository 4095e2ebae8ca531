"""The tokenized corpus: an artifact of examples with stable ids, read by row or by id.

Files: `tokens` [examples, context], `spans` [examples, 2] (length, first position whose loss counts), `records.jsonl`
(id, document, text and every further field, one line per row) and the vocabulary.
"""

import functools
from collections.abc import Iterator

import numpy as np

from jax_tda.artifacts.artifact import Reader, open_artifact
from jax_tda.artifacts.lines import Lines, Names
from jax_tda.data import vocabulary as vocabularies

KIND = "corpus"


class Corpus:
    """A finished corpus artifact: passages or queries."""

    def __init__(self, reader: Reader):
        self.reader = reader
        facts = reader.manifest.facts
        self.count: int = facts["examples"]
        self.context: int = facts["context"]
        self.longest: int = facts["longest"]
        self._tokens = reader.array("tokens")
        self._spans = reader.array("spans")

    @functools.cached_property
    def vocabulary(self) -> vocabularies.Vocabulary:
        """The vocabulary that made the tokens."""
        return read_vocabulary(self.reader)

    @functools.cached_property
    def records(self) -> Lines:
        """Every row's record: id, document, text and further fields."""
        return self.reader.lines("records.jsonl")

    @functools.cached_property
    def ids(self) -> Names:
        """Example ids by row."""
        return Names(self.records)

    @functools.cached_property
    def documents(self) -> Names:
        """By row the id of the document that an example is, or is a piece of."""
        return Names(self.records, "document")

    @functools.cached_property
    def spans(self) -> np.ndarray:
        """int32 [examples, 2]: length, and first position whose loss counts."""
        return self._spans.read(0, self.count)

    def row_of(self, example_id: str) -> int | None:
        """The row of an id, or None."""
        return self.ids.row_of(example_id)

    def document_of(self, name: str) -> str | None:
        """The document that an id means: its own, or that of its piece `ID#n`; None where there is none."""
        if name in self.documents:
            return name
        if (row := self.row_of(name)) is not None:
            return self.documents[row]
        stem, mark, number = name.rpartition("#")
        return stem if mark and number.isdecimal() and stem in self.documents else None

    def examples(self, rows: np.ndarray, length: int, size: int, loss: str = "target") -> dict[str, np.ndarray]:
        """A batch of the given rows.

        Args:
          rows: row numbers, at most `size`.
          length: T; no row may be longer.
          size: B; places beyond `rows` are padding of weight 0.
          loss: `target` counts each example's own span (all of a passage, the target of a query), `all` every token
            after the first.

        Returns:
          `tokens` int32 [B, T] and `loss_weights` float32 [B, T].

        Raises:
          ValueError: a row is longer than `length`.
        """
        if len(rows) and int(self.spans[rows, 0].max()) > length:
            raise ValueError(f"a row of {int(self.spans[rows, 0].max())} tokens does not fit into {length}")
        tokens = np.zeros((size, length), np.int32)
        stored = self._tokens.read_rows(rows)[:, :length] if len(rows) else np.zeros((0, length), np.int32)
        tokens[: len(rows), : stored.shape[1]] = stored
        ends = np.zeros(size, np.int64)
        starts = np.ones(size, np.int64)
        ends[: len(rows)] = self.spans[rows, 0]
        if loss == "target":
            starts[: len(rows)] = self.spans[rows, 1]
        position = np.arange(length)
        weights = (position >= starts[:, None]) & (position < ends[:, None])
        return {"tokens": np.where(position < ends[:, None], tokens, 0), "loss_weights": weights.astype(np.float32)}


def open_corpus(path: str) -> Corpus:
    """Opens a finished corpus artifact.

    Raises:
      InputError: it is missing, unfinished or damaged.
    """
    return Corpus(open_artifact(path, KIND))


def vocabulary_files(reader: Reader) -> Iterator[tuple[str, bytes]]:
    """The files of the vocabulary that lies in an artifact."""
    for name in reader.manifest.files:
        if name.startswith("vocabulary/"):
            yield name.removeprefix("vocabulary/"), reader.read_bytes(name)


def read_vocabulary(reader: Reader) -> vocabularies.Vocabulary:
    """The vocabulary that lies in an artifact (vocabulary, corpus or checkpoint)."""
    return vocabularies.load(dict(vocabulary_files(reader)))
