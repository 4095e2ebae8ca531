"""What a curve of log-probabilities says of acquisition and forgetting (Chang et al., arXiv 2406.11813).

ℓ(q; θ) is the mean log-probability per token of a query's target, θ_t the parameters before update t, t_1 … t_N the
steps at which the passage is met. A curve holds ℓ(q; θ_t) for t = 0, 1, …; NaN where nobody looked.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


def filled(curve: np.ndarray) -> np.ndarray:
    """The curve with straight lines between the looks (our choice; the paper looked at every step)."""
    seen = np.flatnonzero(np.isfinite(curve))
    return np.interp(np.arange(curve.size), seen, curve[seen])


def local_maximum(curve: np.ndarray, met: int, window: int) -> int:
    """t_LAM = argmax over met < t ≤ met + window of ℓ(q; θ_t), the first among equals."""
    return met + 1 + int(np.argmax(curve[met + 1 : met + window + 1]))


def effectivity(curve: np.ndarray, met: int, window: int) -> float:
    """E = ℓ(q; θ_{t_LAM}) − ℓ(q; θ_met), in nats per token."""
    return float(curve[local_maximum(curve, met, window)] - curve[met])


class Retained(NamedTuple):
    """R(q, t) for t = 0 … horizon, and the gain that it is a share of; R is NaN where the gain is not positive."""

    share: np.ndarray
    gain: float


def retainability(curve: np.ndarray, met: Sequence[int], window: int, horizon: int) -> Retained:
    """R(q, t) = [ℓ(q; θ_{t_LAM(q,N) + t}) − ℓ(q; θ_{t_1})] / [ℓ(q; θ_{t_LAM(q,N)}) − ℓ(q; θ_{t_1})].

    The paper leaves out a denominator of zero; a negative one, where nothing was gained that could be kept, is left out
    as well (our choice).
    """
    top = local_maximum(curve, met[-1], window)
    gain = float(curve[top] - curve[met[0]])
    if not gain > 0:
        return Retained(np.full(horizon + 1, np.nan), gain)
    return Retained((curve[top : top + horizon + 1] - curve[met[0]]) / gain, gain)


def usual(values: np.ndarray, factor: float) -> np.ndarray:
    """Which values lie within [Q1 − factor · IQR, Q3 + factor · IQR] of their column; quartiles interpolated."""
    low, high = np.quantile(values, [0.25, 0.75], axis=0)
    reach = factor * (high - low)
    return (values >= low - reach) & (values <= high + reach)


def usual_mean(values: np.ndarray, factor: float) -> np.ndarray:
    """The mean of each column over its usual values; NaN where there is no value."""
    if not len(values):
        return np.full(values.shape[1:], np.nan)
    kept = usual(values, factor)
    return np.where(kept, values, 0.0).sum(axis=0) / kept.sum(axis=0)


class Forgetting(NamedTuple):
    """mean R ≈ intercept − decay · log10(t).

    Attributes:
      decay: a, what is forgotten per decade of steps.
      intercept: mean R at t = 1.
      x_intercept: log10 of the steps after which nothing is left; NaN where R does not fall.
      r_squared: the share of R's variance over t that the line explains.
    """

    decay: float
    intercept: float
    x_intercept: float
    r_squared: float

    @property
    def threshold(self) -> float:
        """The learnability threshold, in steps: met less often than that, a passage leaves nothing."""
        return 10.0**self.x_intercept if np.isfinite(self.x_intercept) else float("nan")


def forgetting(shares: np.ndarray) -> Forgetting:
    """Least squares of mean R on log10(t) over t = 1 … horizon.

    Args:
      shares: mean R(t) for t = 0 … horizon.
    """
    time, share = np.log10(np.arange(1, shares.size)), np.asarray(shares[1:], np.float64)
    centred, spread = time - time.mean(), share - share.mean()
    slope = float(centred @ spread / (centred @ centred))
    intercept = float(share.mean() - slope * time.mean())
    rest = spread - slope * centred
    total = float(spread @ spread)
    explained = 1.0 - float(rest @ rest) / total if total > 0 else float("nan")
    return Forgetting(-slope, intercept, -intercept / slope if slope < 0 else float("nan"), explained)


def rank_correlation(left: np.ndarray, right: np.ndarray) -> float:
    """Spearman's: Pearson's correlation of ranks, equal values sharing their mean rank; NaN where one side is flat."""
    if len(left) < 2:
        return float("nan")
    a, b = _ranks(left), _ranks(right)
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size > 0 else float("nan")


def _ranks(values: np.ndarray) -> np.ndarray:
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((last - counts + 1 + last) / 2)[group]
