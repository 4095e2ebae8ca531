"""What a curve of log-probabilities says of acquisition and forgetting (Chang et al., arXiv 2406.11813).

ℓ(q; θ) is the mean log-probability per token of a query's target, θ_t the parameters before update t, t_1 … t_N the
steps at which the passage is met. A curve holds ℓ(q; θ_t) for t = 0, 1, …; NaN where nobody looked.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jax_tda.core.errors import InputError

# Beyond ten to this no float64 goes.
_LARGEST_EXPONENT = 308


def filled(curve: np.ndarray) -> np.ndarray:
    """The curve with straight lines between the looks (our choice; the paper looked at every step).

    Raises:
      InputError: nobody looked at all, or what was seen is infinite.
    """
    seen = np.flatnonzero(~np.isnan(curve))
    if not seen.size or not np.isfinite(curve[seen]).all():
        raise InputError(
            "a curve of log-probabilities has nothing to draw lines between",
            got="no look" if not seen.size else f"{curve[seen].min()} and {curve[seen].max()} as its ends",
            expected="at least one look, and a finite log-probability at each",
            remedy="look at the query at least once; where the model broke, lower optimizer.peak_rate",
        )
    return np.interp(np.arange(curve.size), seen, curve[seen])


def local_maximum(curve: np.ndarray, met: int, window: int) -> int:
    """t_LAM = argmax over met < t ≤ met + window of ℓ(q; θ_t) where somebody looked, the first among equals.

    Raises:
      InputError: the window is empty, ends behind the curve, or nobody looked in it.
    """
    inside = curve[met + 1 : met + window + 1]
    if window < 1 or met + window >= curve.size or np.isnan(inside).all():
        looks = int(np.count_nonzero(~np.isnan(inside)))
        raise InputError(
            f"there is no local maximum after step {met}",
            got=f"a window of {window} steps with {looks} looks, on a curve that ends at step {curve.size - 1}",
            expected="a window of at least one step that ends within the curve, with a look in it",
            remedy="lower study_acquisition.window, or train and look for longer",
        )
    return met + 1 + int(np.nanargmax(inside))


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

    Raises:
      InputError: the curve ends before the horizon does; or as in `local_maximum`.
    """
    top = local_maximum(curve, met[-1], window)
    if top + horizon >= curve.size:
        raise InputError(
            "the curve ends before the horizon of R",
            got=f"a curve that ends at step {curve.size - 1}, {curve.size - 1 - top} after the last local maximum",
            expected=f"{horizon} steps after it",
            remedy="train for longer, or lower the horizon, study_acquisition.plain_steps",
        )
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
    """The mean of each column over its usual values; NaN where there is no value, or none is usual."""
    if not len(values):
        return np.full(values.shape[1:], np.nan)
    kept = usual(values, factor)
    count = kept.sum(axis=0)
    return np.where(count > 0, np.where(kept, values, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)


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
        """The learnability threshold, in steps: met less often than that, a passage leaves nothing; ∞ beyond 1e308."""
        return float("inf") if self.x_intercept > _LARGEST_EXPONENT else 10.0**self.x_intercept


def forgetting(shares: np.ndarray) -> Forgetting:
    """Least squares of mean R on log10(t) over t = 1 … horizon; a slope that rounding could make counts as 0.

    Args:
      shares: mean R(t) for t = 0 … horizon.
    """
    time, share = np.log10(np.arange(1, shares.size)), np.asarray(shares[1:], np.float64)
    centred, spread = time - time.mean(), share - share.mean()
    slope = float(centred @ spread / (centred @ centred))
    rounding = share.size * np.finfo(np.float64).eps * float(np.abs(share).max())
    if abs(slope) * float(np.ptp(time)) <= rounding:
        slope = 0.0
    intercept = float(share.mean() - slope * time.mean())
    rest = spread - slope * centred
    total = float(spread @ spread)
    explained = 1.0 - float(rest @ rest) / total if total > share.size * rounding**2 else float("nan")
    return Forgetting(0.0 - slope, intercept, -intercept / slope if slope < 0 else float("nan"), explained)


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
