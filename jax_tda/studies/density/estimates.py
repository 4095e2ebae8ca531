"""A figure over seeds: their mean, the interval of its draws, and each seed's own."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its percentile interval; None where there is nothing to estimate."""

    mean: float | None
    low: float | None
    high: float | None
    seeds: list[float]

    def as_dict(self) -> dict[str, Any]:
        """The form that stands in results.json."""
        return dataclasses.asdict(self)


def over_seeds(draws: Sequence[np.ndarray], level: float) -> Estimate:
    """The estimate whose draws are the means, draw by draw, of those of each seed; of nothing where a seed has none.

    The interval says how far other queries would move the figure for models like these; how far other seeds would, the
    seeds' own figures say.

    Args:
      draws: for each seed the figure itself, then its bootstrap draws.
      level: how much of the draws the interval holds.
    """
    if any(np.isnan(one[0]) for one in draws):
        return Estimate(None, None, None, [])
    means = np.mean(np.stack(draws), axis=0)
    low, high = np.quantile(means[1:], [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(means[0]), float(low), float(high), [float(one[0]) for one in draws])
