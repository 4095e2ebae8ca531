"""Percentile bootstrap over queries: how far a mean, or a difference of two means, could move with other queries."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Annotated

import numpy as np

from jax_tda.core.bounds import Bound
from jax_tda.core.declared import declared
from jax_tda.core.errors import InputError
from jax_tda.core.seeds import generator

# Indices drawn at once: 32 MiB of int64, whatever the number of queries.
_DRAWN_AT_ONCE = 2**22


@dataclasses.dataclass(frozen=True)
@declared("bootstrap")
class BootstrapConfig:
    """How intervals are drawn.

    Args:
      resamples: how many times the queries are drawn anew.
      level: how much of the outcomes the interval holds.
    """

    resamples: Annotated[int, Bound(1, 10**6, unit="draws")] = 2000
    level: Annotated[float, Bound(above=0, below=1)] = 0.95


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean over n queries with its percentile interval; all three are None when n is 0."""

    mean: float | None
    low: float | None
    high: float | None
    n: int

    def as_dict(self) -> dict[str, float | int | None]:
        """The form that stands in a report."""
        return dataclasses.asdict(self)


def mean_interval(values: Iterable[float | None], seed: int, config: BootstrapConfig = BootstrapConfig()) -> Interval:
    """Mean over the queries that have a value, with its bootstrap interval.

    n values are drawn with replacement from the n given ones and averaged, `resamples` times; the interval holds the
    middle `level` of those averages (Efron's percentile interval). The result does not depend on the order of the
    values.

    Args:
      values: one number per query; None where the metric does not apply.
      seed: root seed.

    Raises:
      InputError: a value is not finite.
    """
    present = np.sort(np.asarray([value for value in values if value is not None], dtype=np.float64))
    if not np.isfinite(present).all():
        raise InputError(
            "A per-query value is not finite.",
            got=f"{int((~np.isfinite(present)).sum())} of {present.size} values are NaN or infinite",
            expected="finite numbers, or None where a metric does not apply",
            remedy="Look for the query whose metric overflowed; a smaller tail-patch rate is the usual cure.",
        )
    n = int(present.size)
    if n == 0:
        return Interval(None, None, None, 0)
    random = generator(seed, "bootstrap")
    rows = max(1, _DRAWN_AT_ONCE // n)
    means = np.concatenate(
        [
            present[random.integers(0, n, size=(min(rows, config.resamples - start), n))].mean(axis=1)
            for start in range(0, config.resamples, rows)
        ]
    )
    tail = (1.0 - config.level) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return Interval(float(present.mean()), float(low), float(high), n)


def paired(
    a: Mapping[str, float | None],
    b: Mapping[str, float | None],
    seed: int,
    config: BootstrapConfig = BootstrapConfig(),
) -> Interval:
    """Mean of a - b over the queries where both have a value; queries are resampled, so what they share cancels.

    Args:
      a, b: value by query id; None, or no entry, where the metric does not apply.
      seed: root seed.
    """
    differences = []
    for query_id, left in a.items():
        right = b.get(query_id)
        if left is not None and right is not None:
            differences.append(left - right)
    return mean_interval(differences, seed, config)
