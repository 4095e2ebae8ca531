"""Where all scores of a query lie: bins over the whole corpus, of which a ranking holds only both ends."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jax_tda.artifacts.dense_scores import DenseScores
from jax_tda.core.errors import InputError

_BINS = 40
_ROWS_AT_ONCE = 64

Rows = Sequence[Mapping[str, Any]]


def added(rankings: Mapping[str, Rows], dense: Mapping[str, DenseScores], queries: Sequence[str]) -> dict[str, Rows]:
    """The rankings; each row of a method with scores gets a `histogram` of equal bins from its least to its greatest.

    Args:
      rankings: rows by method.
      dense: scores by method; NaN where a document is not scored.
      queries: ids in the order of scores that do not name them.

    Raises:
      InputError: scores of a method are of other queries.
    """
    for name in sorted(set(dense) - set(rankings)):
        print(f"scores of {name} belong to no ranking that is shown, and give no histogram")
    return {
        name: _of_method(name, rows, dense[name], queries) if name in dense else rows for name, rows in rankings.items()
    }


def _of_method(name: str, rows: Rows, scores: DenseScores, queries: Sequence[str]) -> Rows:
    places = {query: place for place, query in enumerate(scores.query_ids or queries)}
    lacking = [row["query_id"] for row in rows if row["query_id"] not in places]
    if lacking or len(places) != scores.shape[0]:
        raise InputError(
            f"the scores of {name} at {scores.path} are of other queries than its ranking",
            got=f"{scores.shape[0]} rows" + (f", none for {lacking[0]!r}" if lacking else ""),
            expected=f"a row for each of {len(places)} queries",
            remedy="score these queries, or leave show.scores empty",
        )
    found: list[Mapping[str, Any]] = []
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        some = rows[start : start + _ROWS_AT_ONCE]
        values = scores.rows(np.array([places[row["query_id"]] for row in some]))
        found += [dict(row) | _bins(own[~np.isnan(own)]) for row, own in zip(some, values, strict=True)]
    return found


def _bins(values: np.ndarray) -> dict[str, Any]:
    if not values.size:
        return {}
    counts, edges = np.histogram(values, _BINS)
    low, high = (float(f"{edge:.5g}") for edge in (edges[0], edges[-1]))
    return {"histogram": {"low": low, "high": high, "counts": counts.tolist()}}
