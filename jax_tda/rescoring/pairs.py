"""Which queries want a score of which passage, so that a passage is contracted with its own queries alone."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jax_tda.encoding.directed import DirectionScorer

# Directions that one gathered direction costs as much as, in a product of all of them: it is read once an example.
GATHERED = 4


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """The queries of a block by passage.

    Args:
      queries: int64 [pairs], numbers within the block, one passage's after the other's.
      rows: int64 [passages], ascending.
      starts: int64 [passages + 1], where each passage's queries begin.
      count: queries of the block.
    """

    queries: np.ndarray
    rows: np.ndarray
    starts: np.ndarray
    count: int

    @classmethod
    def of(cls, candidates: Sequence[np.ndarray]) -> "Pairs":
        """From each query's candidates, rows of the corpus."""
        queries = np.repeat(np.arange(len(candidates)), [len(rows) for rows in candidates])
        passages = np.concatenate([np.asarray(rows, np.int64) for rows in candidates])
        order = np.lexsort((queries, passages))
        rows, counts = np.unique(passages, return_counts=True)
        return cls(queries[order], rows, np.concatenate([[0], np.cumsum(counts)]), len(candidates))

    def of_row(self, row: int) -> np.ndarray:
        """The queries that want this passage; none where it is nobody's candidate."""
        at = int(np.searchsorted(self.rows, row))
        found = at < len(self.rows) and self.rows[at] == row
        return self.queries[self.starts[at] : self.starts[at + 1]] if found else self.queries[:0]

    def scores(
        self,
        scorer: DirectionScorer,
        placed: Mapping[str, jax.Array],
        examples: Mapping[str, Any],
        rows: Sequence[int] | np.ndarray,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each row its queries and their scores.

        Args:
          placed: all queries' directions, from `scorer.place`.
          examples: [B, T], the passages of `rows`, and perhaps further ones.
        """
        asked = [self.of_row(int(row)) for row in rows]
        most = max(map(len, asked), default=0)
        # A power of two, so that few programs are compiled.
        size = 1 << max(0, most - 1).bit_length()
        if size * GATHERED >= self.count:
            found = scorer.scores(placed, examples)
            yield from ((queries, found[at, queries]) for at, queries in enumerate(asked))
            return
        wanted = np.zeros((len(examples["tokens"]), size), np.int32)
        for at, queries in enumerate(asked):
            wanted[at, : len(queries)] = queries
        found = scorer.scores(placed, examples, wanted)
        yield from ((queries, found[at, : len(queries)]) for at, queries in enumerate(asked))
