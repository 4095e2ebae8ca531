"""Retrieval metrics of one query: where the correct documents stand in a ranking.

A ranking is a list of document ids, best first; a long document may stand there several times, once per piece. A query
without gold has no retrieval metric: every function then returns None, and the caller counts such queries.
"""

from collections.abc import Collection, Sequence

from jax_tda.core.errors import InputError


def reciprocal_rank(ranked_documents: Sequence[str], gold: Collection[str]) -> float | None:
    """1 / (rank of the first correct entry), counted from 1; 0 when the ranking holds none.

    Args:
      ranked_documents: document ids, best first.
      gold: ids of the correct documents.
    """
    correct = _correct(ranked_documents, gold)
    if correct is None:
        return None
    return 1.0 / (correct.index(True) + 1) if any(correct) else 0.0


def recall_at(k: int, ranked_documents: Sequence[str], gold: Collection[str]) -> float | None:
    """1 if any of the first k entries is correct, else 0: a hit rate, as in TrackStar (arXiv 2410.17413)."""
    correct = _correct(_top(k, ranked_documents), gold)
    return None if correct is None else float(any(correct))


def precision_at(k: int, ranked_documents: Sequence[str], gold: Collection[str]) -> float | None:
    """(correct entries among the first k) / k.

    A ranking of fewer than k entries is still divided by k, so returning less is never rewarded. Two pieces of one gold
    document are two correct entries.
    """
    correct = _correct(_top(k, ranked_documents), gold)
    return None if correct is None else sum(correct) / k


def _top(k: int, ranked_documents: Sequence[str]) -> Sequence[str]:
    if k < 1:
        raise InputError(
            "A cut-off of a retrieval metric is not positive.", got=k, expected="k >= 1", remedy="Set k to 1 or more."
        )
    return ranked_documents[:k]


def _correct(ranked_documents: Sequence[str], gold: Collection[str]) -> list[bool] | None:
    known = set(gold)
    return [document in known for document in ranked_documents] if known else None
