"""Logistic regression by Newton's method: is a query answered, given the density around it?"""

from collections.abc import Sequence

import numpy as np

from jax_tda.core import seeds
from jax_tda.studies.density.regression import standardised

_STEPS, _RIDGE = 25, 1e-6
# A share of the constant model's deviance below which the controls are taken to leave nothing.
_NOTHING_LEFT = 1e-2


def fit(x_NK: np.ndarray, right_N: np.ndarray) -> tuple[np.ndarray, float]:
    """Coefficients and log likelihood of P(right) = 1 / (1 + exp(−(b₀ + x·b))).

    A ridge of 1e-6 per row keeps them finite where a column separates right from wrong; it is ours.

    Args:
      x_NK: predictors, without the constant.
      right_N: 0 or 1.

    Returns:
      ([1 + K], the sum of log probabilities).
    """
    x = np.concatenate([np.ones((len(x_NK), 1)), x_NK], axis=1)
    right = np.asarray(right_N, np.float64)
    ridge = _RIDGE * len(x) * np.diag([0.0, *np.ones(x_NK.shape[1])])
    b = np.zeros(x.shape[1])
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(x @ b, -500, 500)))
        gradient = x.T @ (right - p) - ridge @ b
        curvature = (x * (p * (1 - p))[:, None]).T @ x + ridge
        step = np.linalg.lstsq(curvature, gradient, rcond=None)[0]
        b = b + np.clip(step, -4, 4)
        if np.abs(step).max() < 1e-9:
            break
    z = x @ b
    return b, float(np.sum(right * z - np.logaddexp(0, z)))


def added_deviance(predictor: np.ndarray, right: np.ndarray, controls: Sequence[np.ndarray]) -> tuple[float, float]:
    """(log-odds per standard deviation of the predictor, share of the controls' deviance that it takes away).

    The share is McFadden's R² with the model of the controls in the place of the constant one; 0 where all are right or
    all wrong, which nothing can explain, and where the controls (nearly) separate right from wrong.
    """
    if len(set(np.asarray(right, bool).tolist())) < 2:
        return 0.0, 0.0
    columns = [standardised(column) for column in [*controls, predictor]]
    b, full = fit(np.stack(columns, axis=1), right)
    _, without = fit(np.stack(columns[:-1], axis=1) if controls else np.zeros((len(right), 0)), right)
    shares = np.mean(right), 1 - np.mean(right)
    constant = len(right) * float(np.sum(shares * np.log(shares)))
    if without > _NOTHING_LEFT * constant:
        return float(b[-1]), 0.0
    return float(b[-1]), float(np.clip(1 - full / without, 0.0, 1.0))


def bootstrap(
    predictor: np.ndarray,
    right: np.ndarray,
    controls: Sequence[np.ndarray],
    clusters: Sequence[object],
    resamples: int,
    seed: int,
) -> np.ndarray:
    """[1 + resamples, 2]: `added_deviance` of all rows, then of draws of whole clusters."""
    _, place = np.unique([str(cluster) for cluster in clusters], return_inverse=True)
    members = [np.flatnonzero(place == cluster) for cluster in range(place.max() + 1)]
    random = seeds.generator(seed, "density", "bootstrap")
    found = [added_deviance(predictor, right, controls)]
    for _ in range(resamples):
        counts = random.multinomial(len(members), np.full(len(members), 1 / len(members)))
        rows = np.concatenate([np.tile(members[c], counts[c]) for c in np.flatnonzero(counts)])
        found.append(added_deviance(predictor[rows], right[rows], [column[rows] for column in controls]))
    return np.array(found)
