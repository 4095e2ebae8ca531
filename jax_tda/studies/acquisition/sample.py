"""The queries of one kind of run over all seeds, what was measured, and how far figures move with other passages."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jax_tda.core import seeds
from jax_tda.evaluation.bootstrap import BootstrapConfig
from jax_tda.studies.acquisition import measures
from jax_tda.studies.acquisition.selection import SCHEDULES


@dataclasses.dataclass(frozen=True)
class Sample:
    """Q queries of P passages, seeds one behind the other.

    Attributes:
      passage: [Q] int, 0 … P − 1.
      kind: [Q] text, one of `knowledge.KINDS`.
      schedule: [P] text, one of `selection.SCHEDULES`.
      gains: [Q, N], E(q, i); NaN where there is no such encounter.
      retained: [Q, horizon + 1], R(q, t); NaN in the rows of queries that gained nothing.
      total: [Q], the gain that R is a share of.
    """

    passage: np.ndarray
    kind: np.ndarray
    schedule: np.ndarray
    gains: np.ndarray
    retained: np.ndarray
    total: np.ndarray

    def rows(self, schedules: Sequence[str], kinds: Sequence[str]) -> np.ndarray:
        """The queries of these schedules and kinds."""
        return np.flatnonzero(np.isin(self.schedule[self.passage], schedules) & np.isin(self.kind, kinds))


def measured(
    curves: np.ndarray, met: Sequence[tuple[int, ...]], passage: np.ndarray, window: int, horizon: int, most: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """E, R and the total gain of every query of one run.

    Args:
      curves: [steps + 1, Q].
      met: for each passage the steps at which it is met.
      passage: [Q].
      window: steps.
      horizon: steps.
      most: N, columns of E.
    """
    count = curves.shape[1]
    gains, retained = np.full((count, most), np.nan), np.full((count, horizon + 1), np.nan)
    total = np.full(count, np.nan)
    for query in range(count):
        curve, steps = measures.filled(np.asarray(curves[:, query], np.float64)), met[passage[query]]
        gains[query, : len(steps)] = [measures.effectivity(curve, step, window) for step in steps]
        retained[query], total[query] = measures.retainability(curve, steps, window, horizon)
    return gains, retained, total


def joined(parts: Sequence[Sample]) -> Sample:
    """The samples of several seeds as one."""
    offsets = np.cumsum([0, *(len(part.schedule) for part in parts)])
    passage = np.concatenate([part.passage + offset for part, offset in zip(parts, offsets, strict=False)])

    def one(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts])

    return Sample(passage, one("kind"), one("schedule"), one("gains"), one("retained"), one("total"))


# Which queries a figure is made of: rows, each as often as its passage was drawn.
Draw = Callable[[np.ndarray], np.ndarray]
# A figure, or several at once.
Statistic = Callable[[Draw], float | Sequence[float]]


def mean_gain(sample: Sample, schedules: Sequence[str], kinds: Sequence[str], factor: float) -> Callable[[Draw], float]:
    """The mean of E over queries and encounters, outliers left out."""
    rows = sample.rows(schedules, kinds)

    def statistic(draw: Draw) -> float:
        values = sample.gains[draw(rows)]
        return float(measures.usual_mean(values[np.isfinite(values)], factor))

    return statistic


def mean_retained(sample: Sample, rows: np.ndarray, factor: float) -> np.ndarray:
    """Mean R(t) of these queries, outliers left out at each t; [horizon + 1]."""
    shares = sample.retained[rows]
    return measures.usual_mean(shares[np.isfinite(shares[:, 0])], factor)


def fit(
    sample: Sample, schedules: Sequence[str], kinds: Sequence[str], factor: float
) -> Callable[[Draw], measures.Forgetting]:
    """The forgetting fit of mean R; all its figures are NaN where no query gained anything."""
    rows = sample.rows(schedules, kinds)

    def statistic(draw: Draw) -> measures.Forgetting:
        shares = mean_retained(sample, draw(rows), factor)
        return measures.forgetting(shares) if np.isfinite(shares).all() else measures.Forgetting(*[float("nan")] * 4)

    return statistic


def intervals(sample: Sample, statistic: Statistic, config: BootstrapConfig) -> list[dict[str, Any]]:
    """Each figure with its percentile bootstrap interval over passages, drawn anew within each schedule.

    A draw that gives no number (no query gained anything) is left out and counted. `value` is None where the sample
    itself gives none.
    """
    generator = seeds.generator(0, "bootstrap")
    groups = [np.flatnonzero(sample.schedule == schedule) for schedule in SCHEDULES]
    values = np.atleast_1d(statistic(_drawing(sample, np.arange(len(sample.schedule)))))
    rows = []
    for _ in range(config.resamples):
        passages = np.concatenate([generator.choice(group, group.size) for group in groups if group.size])
        rows.append(np.atleast_1d(statistic(_drawing(sample, passages))))
    drawn = np.array(rows)
    return [_interval(float(value), column, config.level) for value, column in zip(values, drawn.T, strict=True)]


def interval(sample: Sample, statistic: Statistic, config: BootstrapConfig) -> dict[str, Any]:
    """The only figure of a statistic; as in `intervals`."""
    (one,) = intervals(sample, statistic, config)
    return one


def _interval(value: float, drawn: np.ndarray, level: float) -> dict[str, Any]:
    kept = drawn[np.isfinite(drawn)]
    undefined = int(drawn.size - kept.size)
    if not np.isfinite(value) or not kept.size:
        return {"value": None, "low": None, "high": None, "undefined_draws": undefined}
    low, high = np.quantile(kept, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return {"value": value, "low": float(low), "high": float(high), "undefined_draws": undefined}


def _drawing(sample: Sample, passages: np.ndarray) -> Draw:
    times = np.bincount(passages, minlength=len(sample.schedule))

    def draw(rows: np.ndarray) -> np.ndarray:
        return np.repeat(rows, times[sample.passage[rows]])

    return draw
