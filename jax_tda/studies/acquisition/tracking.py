"""Does the influence of a passage about to be met foretell how much its queries gain from meeting it?"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jax_tda.evaluation.bootstrap import BootstrapConfig
from jax_tda.studies.acquisition.knowledge import KINDS
from jax_tda.studies.acquisition.measures import rank_correlation
from jax_tda.studies.acquisition.sample import Draw, Sample, interval

METHODS = ("trackstar", "dot")


def own_scores(scores: np.ndarray, passage: np.ndarray) -> np.ndarray:
    """[methods, Q, rounds]: the score of each query's own passage; NaN where it is not met in a round.

    Args:
      scores: [rounds, methods, Q, passages], NaN likewise.
      passage: [Q].
    """
    picked = np.take_along_axis(scores, passage[None, None, :, None], axis=-1)[..., 0]
    return np.moveaxis(picked, 0, -1)


def own_reciprocal_ranks(scores: np.ndarray, passage: np.ndarray) -> np.ndarray:
    """[methods, Q, rounds]: 1 / rank of the own passage among those met in the round, ties counting against it."""
    own = np.take_along_axis(scores, passage[None, None, :, None], axis=-1)
    rank = np.sum(scores >= own, axis=-1)
    return np.moveaxis(np.where(np.isfinite(own[..., 0]), 1.0 / np.maximum(rank, 1), np.nan), 0, -1)


def tracking(
    sample: Sample, influence: np.ndarray, ranks: np.ndarray, met: np.ndarray, bootstrap: BootstrapConfig
) -> dict[str, Any]:
    """Rank correlations of influence and effectivity, with intervals over passages.

    Args:
      sample: of the run in which both were measured.
      influence: [methods, Q, N], of a query's own passage just before the round of its i-th encounter.
      ranks: [methods, Q, N], reciprocal.
      met: [Q] bool, queries of passages that are met.
      bootstrap: how intervals are drawn.
    """
    found: dict[str, Any] = {}
    for number, method in enumerate(METHODS):
        score = influence[number]
        one: dict[str, Any] = {"all": interval(sample, _pooled(sample, score, np.flatnonzero(met)), bootstrap)}
        for kind in KINDS:
            rows = np.flatnonzero(met & (sample.kind == kind))
            one[kind] = interval(sample, _pooled(sample, score, rows), bootstrap)
        one["first_encounter"] = interval(sample, _pooled(sample, score[:, :1], np.flatnonzero(met)), bootstrap)
        one["over_training"] = interval(sample, _within(sample, score, np.flatnonzero(met)), bootstrap)
        one["own_mrr"] = interval(sample, _mean(ranks[number], np.flatnonzero(met)), bootstrap)
        one["pairs"] = int(np.isfinite(score[met]).sum())
        one["mean_by_encounter"] = _columns(score[met])
        found[method] = one
    found["effectivity_by_encounter"] = _columns(np.where(np.isfinite(influence[0]), sample.gains, np.nan)[met])
    return found


def _pooled(sample: Sample, score: np.ndarray, rows: np.ndarray) -> Callable[[Draw], float]:
    def statistic(draw: Draw) -> float:
        drawn = draw(rows)
        x, y = score[drawn], sample.gains[drawn][:, : score.shape[1]]
        both = np.isfinite(x) & np.isfinite(y)
        return rank_correlation(x[both], y[both])

    return statistic


def _within(sample: Sample, score: np.ndarray, rows: np.ndarray) -> Callable[[Draw], float]:
    """The mean over queries of the correlation over one query's encounters; at least three of them."""
    each = np.full(len(score), np.nan)
    for row in rows:
        both = np.isfinite(score[row]) & np.isfinite(sample.gains[row])
        if both.sum() > 2:
            each[row] = rank_correlation(score[row][both], sample.gains[row][both])
    return _mean(each[:, None], rows)


def _mean(values: np.ndarray, rows: np.ndarray) -> Callable[[Draw], float]:
    def statistic(draw: Draw) -> float:
        drawn = values[draw(rows)]
        drawn = drawn[np.isfinite(drawn)]
        return float(drawn.mean()) if drawn.size else float("nan")

    return statistic


def _columns(values: np.ndarray) -> Sequence[float]:
    return [float(column[np.isfinite(column)].mean()) for column in values.T if np.isfinite(column).any()]
