"""The paper's findings, each as a difference that should be above 0, and what its interval says of it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jax_tda.evaluation.bootstrap import BootstrapConfig
from jax_tda.studies.acquisition.knowledge import KINDS
from jax_tda.studies.acquisition.sample import Draw, Sample, fit, interval, mean_gain
from jax_tda.studies.acquisition.summary import REPEATED

CALLED = {"mem": "memorisation", "gen": "semantic", "hard_gen": "composition"}
_INJECTED = (*REPEATED, "once")
Figure = Callable[[Draw], float]


def directions(
    runs: Mapping[str, Sample], tokens: Mapping[str, int], factor: float, bootstrap: BootstrapConfig
) -> list[dict[str, Any]]:
    """Every finding with its difference, the interval over passages and a verdict.

    Args:
      runs: samples of the runs with injection, the larger batch first, the smallest last. All hold the same passages,
        so that a difference between two of them is drawn in pairs.
      tokens: tokens per step of each.
      factor: of the outlier rule.
      bootstrap: how intervals are drawn.
    """
    first, last = next(iter(runs)), list(runs)[-1]

    def gain(schedules: Sequence[str], kinds: Sequence[str], run: str = first) -> Figure:
        return mean_gain(runs[run], schedules, kinds, factor)

    def forgotten(schedules: Sequence[str], kind: str, what: str = "decay", run: str = first) -> Figure:
        figures = fit(runs[run], schedules, (kind,), factor)
        return lambda draw: float(getattr(figures(draw), what))

    found: list[tuple[str, Figure, Figure]] = [
        ("effectivity: memorisation above semantic", gain(_INJECTED, ("mem",)), gain(_INJECTED, ("gen",))),
        ("effectivity: semantic above composition", gain(_INJECTED, ("gen",)), gain(_INJECTED, ("hard_gen",))),
    ]
    for kind in KINDS:
        gains = gain(("duplicated",), (kind,)), gain(("paraphrased",), (kind,))
        found.append((f"effectivity, {CALLED[kind]}: duplicated above paraphrased", *gains))
    for kind in KINDS:
        decays = forgotten(("duplicated",), kind), forgotten(("paraphrased",), kind)
        found.append((f"decay, {CALLED[kind]}: duplicated above paraphrased", *decays))
    for kind in ("mem", "gen"):
        decays = forgotten(REPEATED, kind), forgotten(REPEATED, "hard_gen")
        found.append((f"decay: {CALLED[kind]} above composition", *decays))
    shift = 0.0
    if last != first:
        shift = float(np.log10(tokens[first] / tokens[last]))
        for kind in KINDS:
            gains = gain(_INJECTED, (kind,), last), gain(_INJECTED, (kind,))
            found.append((f"effectivity, {CALLED[kind]}: smaller batch above larger", *gains))
        for kind in KINDS:
            decays = forgotten(REPEATED, kind, run=last), forgotten(REPEATED, kind)
            found.append((f"decay, {CALLED[kind]}: smaller batch above larger", *decays))
        for kind in KINDS:
            crossings = forgotten(REPEATED, kind, "x_intercept"), forgotten(REPEATED, kind, "x_intercept", last)
            found.append((f"threshold, log10 tokens, {CALLED[kind]}: larger batch above smaller", *crossings))
    return [
        _direction(runs[first], claim, left, right, shift if claim.startswith("threshold") else 0.0, bootstrap)
        for claim, left, right in found
    ]


def _direction(
    sample: Sample, claim: str, left: Figure, right: Figure, shift: float, bootstrap: BootstrapConfig
) -> dict[str, Any]:
    estimate = interval(sample, lambda draw: left(draw) - right(draw) + shift, bootstrap)
    return {"claim": claim, **estimate, "verdict": verdict(estimate)}


def verdict(estimate: Mapping[str, Any]) -> str:
    """What an interval says of a finding that puts the difference above 0."""
    if estimate["value"] is None:
        return "not measured"
    if estimate["low"] > 0:
        return "as in the paper"
    return "the other way" if estimate["high"] < 0 else "not decided"
