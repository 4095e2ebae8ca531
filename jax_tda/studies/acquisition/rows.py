"""Rows of running text, batches of them as a pure function of the step, and a passage at the head of one row."""

from collections.abc import Mapping, Sequence

import numpy as np

from jax_tda.core import seeds
from jax_tda.core.errors import InputError
from jax_tda.data import records, split
from jax_tda.data.vocabulary import Vocabulary
from jax_tda.models.interface import Examples
from jax_tda.studies.acquisition.knowledge import Passage, Query

_MULTIPLE = 16


def tokens_of(text: str, vocabulary: Vocabulary) -> np.ndarray:
    """int32: beginning, text, end."""
    return np.array([vocabulary.beginning_id, *vocabulary.encode(text), vocabulary.end_id], np.int32)


class Rows:
    """Documents in a random order, one behind the other, cut into rows; another order of rows in each epoch.

    Args:
      documents: token ids of each.
      context: tokens per row; the last tokens, which fill no row, are left out.
      seed: of both orders.

    Raises:
      InputError: the documents do not fill one row.
    """

    def __init__(self, documents: Sequence[np.ndarray], context: int, seed: int):
        tokens = sum(document.size for document in documents)
        if tokens < context:
            raise InputError(
                "the ordinary text does not fill one row",
                got=f"{tokens:,} tokens in {len(documents):,} documents",
                expected=f"at least {context:,}, the tokens of a row",
                remedy="give a longer study_acquisition.corpus, or lower study_acquisition.context",
            )
        order = seeds.generator(seed, "acquisition", "documents").permutation(len(documents))
        stream = np.concatenate([documents[i] for i in order])
        self.left_out = stream.size % context
        self._rows = stream[: stream.size - self.left_out].reshape(-1, context)
        self._seed, self._epoch, self._order = seed, -1, np.arange(0)
        self.count = len(self._rows)

    def _row(self, number: int) -> np.ndarray:
        epoch, index = divmod(number, self.count)
        if epoch != self._epoch:
            generator = seeds.generator(self._seed, "acquisition", "rows", epoch)
            self._epoch, self._order = epoch, generator.permutation(self.count)
        return self._rows[self._order[index]]

    def batch(self, first: int, count: int, head: np.ndarray | None = None) -> Examples:
        """Rows `first` … `first + count − 1` of the endless sequence; `head` goes before the first, which is cut."""
        tokens = np.stack([self._row(number) for number in range(first, first + count)])
        if head is not None:
            tokens[0] = np.concatenate([head, tokens[0]])[: tokens.shape[1]]
        return {"tokens": tokens, "loss_weights": np.ones(tokens.shape, np.float32)}


class Queries:
    """Every query of the passages that are looked at.

    Attributes:
      passage: [Q] int, which passage each belongs to.
      kind: [Q] its kind.
      tokens: [Q, T] int32.
      weights: [Q, T] float32, 1 on the target's tokens.
      lengths: [Q] int.
    """

    def __init__(self, passages: Sequence[Passage], vocabulary: Vocabulary, context: int):
        owned = [(place, query) for place, passage in enumerate(passages) for query in passage.queries]
        pieces = [_piece(passages[place].number, query, vocabulary, context) for place, query in owned]
        self.passage = np.array([place for place, _ in owned])
        self.kind = np.array([query.kind for _, query in owned])
        self.lengths = np.array([len(piece.tokens) for piece in pieces])
        # A round length, so that another seed's queries need no other program.
        longest = -(-int(self.lengths.max()) // _MULTIPLE) * _MULTIPLE
        self.tokens = np.zeros((len(pieces), longest), np.int32)
        self.weights = np.zeros(self.tokens.shape, np.float32)
        for row, piece in enumerate(pieces):
            self.tokens[row, : len(piece.tokens)] = piece.tokens
            self.weights[row, piece.loss_start : len(piece.tokens)] = 1.0


def _piece(number: int, query: Query, vocabulary: Vocabulary, context: int) -> split.Piece:
    record = records.Query(f"{query.kind} of passage {number}", query.prompt, query.target)
    return split.pieces(record, vocabulary, context, "refuse")[0]


def heads(
    passages: Sequence[Passage], schedules: Sequence[str], met: Sequence[tuple[int, ...]], vocabulary: Vocabulary
) -> Mapping[int, np.ndarray]:
    """The tokens that stand at the head of a row, by step; a placebo's stand nowhere."""
    found = {}
    for passage, schedule, steps in zip(passages, schedules, met, strict=True):
        if schedule != "placebo":
            for step, text in zip(steps, passage.versions(schedule, len(steps)), strict=True):
                found[step] = tokens_of(text, vocabulary)
    return found
