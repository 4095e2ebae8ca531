"""Dense scores in the order of these queries and documents: names are followed, pieces are summed."""

from collections.abc import Iterator, Sequence

import numpy as np

from jax_tda.artifacts.dense_scores import DenseScores
from jax_tda.core.errors import InputError
from jax_tda.data.corpus import Corpus

_FLOATS_AT_ONCE = 2**24


class ByDocument:
    """Scores [queries, documents], some queries at a time; a document's score is the sum of its pieces'.

    NaN, a passage that is not scored, counts 0 and is counted in `unscored`; a query of which nothing is scored is NaN.

    Args:
      name: how messages call them.
      scores: as they lie.
      corpus: the passages, by row.
      queries: the queries, by row.
      documents: ids of the documents, in the order of the corpus.

    Raises:
      InputError: shape or names are those of another corpus or other queries.
    """

    def __init__(self, name: str, scores: DenseScores, corpus: Corpus, queries: Corpus, documents: Sequence[str]):
        self._scores, self.unscored = scores, 0
        wide = scores.shape[1] == corpus.count
        if scores.shape[0] != queries.count or (not wide and scores.shape[1] != len(documents)):
            raise InputError(
                f"the scores {name} do not belong to these queries and this corpus",
                got=f"shape {list(scores.shape)}",
                expected=f"[{queries.count}, {len(documents)}] by document, or {corpus.count} columns by piece",
                remedy=f"give scores of every document for every query, rows being queries: {scores.path}",
            )
        self._rows = _order(name, scores.query_ids, list(queries.ids), "queries")
        columns = list(corpus.ids) if wide else list(documents)
        if scores.ids is not None and not wide and set(scores.ids) != set(columns):
            columns = list(corpus.ids)
        self._columns = _order(name, scores.ids, columns, "documents")
        numbers = {document: number for number, document in enumerate(documents)}
        self._of_column = np.array([numbers[d] for d in corpus.documents] if wide else range(len(documents)))
        self._count = len(documents)

    def parts(self) -> Iterator[tuple[slice, np.ndarray]]:
        """(queries, float64 [n, documents]) over all queries."""
        self.unscored, total = 0, len(self._rows)
        step = max(1, _FLOATS_AT_ONCE // max(1, self._scores.shape[1]))
        for start in range(0, total, step):
            found = self._scores.rows(self._rows[start : start + step])[:, self._columns]
            missing = np.isnan(found)
            none = missing.all(axis=1)
            self.unscored += int(missing[~none].sum())
            found[missing] = 0
            summed = found
            if self._count < found.shape[1] or not np.array_equal(self._of_column, np.arange(self._count)):
                summed = np.zeros((len(found), self._count))
                np.add.at(summed.T, self._of_column, found.T)
            summed[none] = np.nan
            yield slice(start, start + len(found)), summed


def _order(name: str, given: Sequence[str] | None, wanted: Sequence[str], what: str) -> np.ndarray:
    """Where each wanted one stands."""
    if given is None:
        return np.arange(len(wanted))
    place = {one: number for number, one in enumerate(given)}
    if missing := [one for one in wanted if one not in place]:
        raise InputError(
            f"the scores {name} do not belong to these {what}",
            got=f"no {missing[0]!r}, nor {len(missing) - 1} others, among its names",
            expected=f"the names of these {what}",
            remedy=f"score these {what}",
        )
    return np.array([place[one] for one in wanted])
