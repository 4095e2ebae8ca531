"""The figures of one kind of run, of all seeds: effectivity and forgetting by schedule and kind, with counts."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jax_tda.evaluation.bootstrap import BootstrapConfig
from jax_tda.studies.acquisition import measures
from jax_tda.studies.acquisition.knowledge import KINDS
from jax_tda.studies.acquisition.sample import Sample, fit, interval, intervals, mean_gain, mean_retained
from jax_tda.studies.acquisition.selection import SCHEDULES

# Both schedules that come back; the paper's order of kinds is looked at over them together.
REPEATED = ("paraphrased", "duplicated")


def run_results(
    sample: Sample, tokens: int, factor: float, bootstrap: BootstrapConfig, injected: bool = True
) -> dict[str, Any]:
    """Effectivity, forgetting and counts, by "schedule/kind".

    Args:
      sample: the run of all seeds.
      tokens: tokens per step.
      factor: of the outlier rule.
      bootstrap: how intervals are drawn.
      injected: whether the passages were; where not, there is nothing to forget.
    """
    gains, forgotten, counts = {}, {}, {}
    for schedule in SCHEDULES:
        for kind in KINDS:
            rows, name = sample.rows((schedule,), (kind,)), f"{schedule}/{kind}"
            if not rows.size:
                continue
            gains[name] = interval(sample, mean_gain(sample, (schedule,), (kind,), factor), bootstrap)
            gains[name]["by_encounter"] = _by_encounter(sample.gains[rows], factor)
            counts[name] = _counts(sample, rows, schedule, factor)
            if injected and schedule != "placebo" and counts[name]["retained"]:
                forgotten[name] = _forgotten(sample, (schedule,), kind, tokens, factor, bootstrap)
    for kind in KINDS:
        if injected and np.isfinite(sample.retained[sample.rows(REPEATED, (kind,)), 0]).any():
            forgotten[f"repeated/{kind}"] = _forgotten(sample, REPEATED, kind, tokens, factor, bootstrap)
    return {"tokens_per_step": tokens, "effectivity": gains, "forgetting": forgotten, "counts": counts}


def _by_encounter(gains: np.ndarray, factor: float) -> list[float | None]:
    columns = [column[np.isfinite(column)] for column in gains.T]
    return [_known(float(measures.usual_mean(column, factor))) for column in columns if column.size]


def _counts(sample: Sample, rows: np.ndarray, schedule: str, factor: float) -> dict[str, int]:
    """What stands behind a figure, and what was left out of it, by reason."""
    gains = sample.gains[rows][np.isfinite(sample.gains[rows])]
    shares = sample.retained[rows]
    kept = shares[np.isfinite(shares[:, 0])]
    outside = int((~measures.usual(kept, factor)).sum()) if len(kept) else 0
    return {
        "passages": int(np.sum(sample.schedule == schedule)),
        "queries": int(rows.size),
        "gains": int(gains.size),
        "gains_outside": int((~measures.usual(gains, factor)).sum()),
        "zero_denominators": int((sample.total[rows] == 0).sum()),
        "negative_denominators": int((sample.total[rows] < 0).sum()),
        "retained": len(kept),
        "retained_values": int(kept.size),
        "retained_values_outside": outside,
    }


def _forgotten(
    sample: Sample, schedules: Sequence[str], kind: str, tokens: int, factor: float, bootstrap: BootstrapConfig
) -> dict[str, Any]:
    figures = intervals(sample, fit(sample, schedules, (kind,), factor), bootstrap)
    found: dict[str, Any] = dict(zip(measures.Forgetting._fields, figures, strict=True))
    crossing = found["x_intercept"]["value"]
    found["log10_threshold_tokens"] = None if crossing is None else crossing + float(np.log10(tokens))
    curve = mean_retained(sample, sample.rows(schedules, (kind,)), factor)
    return found | {"mean_retained": [_known(float(value)) for value in curve]}


def _known(value: float) -> float | None:
    """JSON has no NaN: a mean over nothing is no number."""
    return value if np.isfinite(value) else None
