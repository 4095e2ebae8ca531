"""The study's four figures: log-probabilities over training, forgetting, effectivity by batch size, influence."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jax_tda.studies.acquisition.directions import CALLED
from jax_tda.studies.acquisition.draw import COLOURS, Panel, document, legend, text
from jax_tda.studies.acquisition.knowledge import KINDS
from jax_tda.studies.acquisition.selection import SCHEDULES

_WIDTH, _HEIGHT, _LEFT, _TOP = 250, 220, 46, 56
_INJECTED = SCHEDULES[:3]


def _panels(
    spans: Sequence[tuple[tuple[float, float], tuple[float, float]]],
    titles: Sequence[str],
    labels: Sequence[str],
    marks: Sequence[Mapping[float, str] | None] = (),
) -> tuple[list[Panel], list[str]]:
    panels = [
        Panel(_LEFT + i * (_WIDTH + _LEFT + 8), _TOP, _WIDTH, _HEIGHT, across, down, marks[i] if marks else None)
        for i, (across, down) in enumerate(spans)
    ]
    framed = [panel.frame(title, label) for panel, title, label in zip(panels, titles, labels, strict=True)]
    return panels, [part for parts in framed for part in parts]


def _drawn(title: str, names: Mapping[str, str], note: str, parts: Sequence[str], count: int) -> str:
    width = _LEFT + count * (_WIDTH + _LEFT + 8) - 24
    key = legend(_LEFT, 20, names)
    words = [text(width - 8, 20, note, "end")] if note else []
    return document(width, _TOP + _HEIGHT + 46, title, [*key, *words, *parts])


def _known(xs: Sequence[float], values: Sequence[float | None]) -> tuple[list[float], list[float]]:
    """The points that have a number."""
    kept = [(x, value) for x, value in zip(xs, values, strict=True) if value is not None and np.isfinite(value)]
    return [x for x, _ in kept], [value for _, value in kept]


def curves(series: Mapping[str, Mapping[str, np.ndarray]]) -> str:
    """Mean ℓ since the first encounter, one panel for each kind; `series` by kind, then by schedule or "control"."""
    spans = [_span(found.values()) for found in series.values()]
    titles, below = [CALLED[kind] for kind in series], ["steps since the first encounter"] * len(series)
    panels, parts = _panels(spans, titles, below)
    names = {name: name for name in next(iter(series.values()))}
    for panel, found in zip(panels, series.values(), strict=True):
        for name, curve in found.items():
            dashed = name in ("placebo", "control")
            parts.append(panel.line(list(range(len(curve))), [float(v) for v in curve], COLOURS[name], dashed))
    note = "nats per token above the first encounter"
    return _drawn("Log-probability of the queries over training", names, note, parts, len(panels))


def _span(found: Any) -> tuple[tuple[float, float], tuple[float, float]]:
    values = [np.asarray(curve) for curve in found]
    low, high = min(float(v.min()) for v in values), max(float(v.max()) for v in values)
    return (0.0, float(max(len(v) for v in values) - 1)), (min(low, 0.0), high)


def forgetting(results: Mapping[str, Any]) -> str:
    """Mean R against log10 t with the fitted lines, one panel for each kind, of one run."""
    found = results["forgetting"]
    parts: list[str] = []
    lines = {kind: [s for s in _INJECTED if f"{s}/{kind}" in found] for kind in KINDS}
    shares = [found[f"{s}/{kind}"]["mean_retained"][1:] for kind in KINDS for s in lines[kind]]
    if not shares:
        return _drawn("Forgetting", {}, "no query gained anything", [], 1)
    fits = {(s, kind): _fitted(found[f"{s}/{kind}"]) for kind in KINDS for s in lines[kind]}
    drawn = [*shares, *([y for _, y in fit] for fit in fits.values())]
    values = [value for one in drawn for value in one if value is not None]
    low, high = min([0.0, *values]), max([1.0, *values])
    across = (0.0, float(np.log10(max(len(one) for one in shares))))
    decades = {float(decade): f"{10**decade:,}" for decade in range(int(across[1]) + 1)}
    titles, below = [CALLED[kind] for kind in KINDS], ["steps t since the last local maximum"] * 3
    panels, parts = _panels([(across, (low, high))] * 3, titles, below, [decades] * 3)
    for panel, kind in zip(panels, KINDS, strict=True):
        for schedule in lines[kind]:
            one = found[f"{schedule}/{kind}"]
            time = np.log10(np.arange(1, len(one["mean_retained"])))
            known = _known(list(time), one["mean_retained"][1:])
            if not known[0]:
                continue
            parts.append(panel.line(*known, COLOURS[schedule]))
            fit = fits[schedule, kind]
            if fit:
                parts.append(panel.line([x for x, _ in fit], [y for _, y in fit], COLOURS[schedule], dashed=True))
    return _drawn(
        "Retained share of the gain", {s: s for s in _INJECTED}, "mean R, and its line in log10 t (dashed)", parts, 3
    )


def _fitted(one: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Both ends of a fitted line, over log10 t; none where there is no fit."""
    if one["intercept"]["value"] is None:
        return []
    ends = 0.0, float(np.log10(len(one["mean_retained"]) - 1))
    return [(end, one["intercept"]["value"] - one["decay"]["value"] * end) for end in ends]


def effectivity(runs: Mapping[str, Mapping[str, Any]]) -> str:
    """E of each schedule and kind with its interval, one panel for each run."""
    ends = [one[end] for run in runs.values() for one in run["effectivity"].values() for end in ("low", "high")]
    bounds = [bound for bound in ends if bound is not None]
    down = (min([0.0, *bounds]), max(bounds, default=1.0))
    titles = [f"{name}: {run['tokens_per_step']:,} tokens per step" for name, run in runs.items()]
    count, marks = len(runs), {float(place): schedule for place, schedule in enumerate(SCHEDULES)}
    panels, parts = _panels([((-0.5, len(SCHEDULES) - 0.5), down)] * count, titles, [""] * count, [marks] * count)
    for panel, run in zip(panels, runs.values(), strict=True):
        for place, schedule in enumerate(SCHEDULES):
            for offset, kind in zip((-0.2, 0.0, 0.2), KINDS, strict=True):
                one = run["effectivity"].get(f"{schedule}/{kind}")
                if one and one["value"] is not None:
                    bar = panel.interval(place + offset, one["low"], one["value"], one["high"], COLOURS[kind])
                    parts += bar
    return _drawn("Effectivity", CALLED, "E in nats per token, 95 % intervals over passages", parts, len(runs))


def influence(scores: np.ndarray, gains: np.ndarray, kind: np.ndarray, tracked: Mapping[str, Any]) -> str:
    """TrackStar's influence of a query's own passage against E at that encounter; and both by encounter."""
    seen = np.isfinite(scores) & np.isfinite(gains)
    spans = [(_ends(scores[seen]), _ends(gains[seen])), _round_span(tracked)]
    rho = tracked["trackstar"]["all"]
    titles = ["every query and encounter", "means over queries, the first encounter's = 1"]
    below = ["TrackStar influence; upwards effectivity", "encounter"]
    numbers = {float(i): f"{i}" for i in range(1, len(tracked["effectivity_by_encounter"]) + 1)}
    panels, parts = _panels(spans, titles, below, [None, numbers])
    for name in KINDS:
        rows = np.flatnonzero(kind == name)
        both = seen[rows]
        parts += panels[0].dots(scores[rows][both].tolist(), gains[rows][both].tolist(), COLOURS[name], 1.6)
    for values, colour, called, place in (
        (tracked["trackstar"]["mean_by_encounter"], "#9a5fc7", "influence", 0),
        (tracked["effectivity_by_encounter"], "#d6822f", "effectivity", 1),
    ):
        shares = _shares(values)
        if shares:
            parts.append(panels[1].line(list(range(1, len(shares) + 1)), shares, colour))
            parts += panels[1].dots(list(range(1, len(shares) + 1)), shares, colour, 3)
        words = called if shares else f"{called}: the first mean is not positive"
        parts.append(text(2 * (_LEFT + _WIDTH) - 8, _TOP + 20 + 16 * place, words, "end", colour))
    value = "" if rho["value"] is None else f"rank correlation {rho['value']:.2f} [{rho['low']:.2f}, {rho['high']:.2f}]"
    return _drawn("Influence against effectivity", CALLED, value.replace("-", "−"), parts, 2)


def _ends(values: np.ndarray) -> tuple[float, float]:
    """The span of all but the outermost half percent on each side, so that one query does not flatten the rest."""
    return tuple(float(v) for v in np.quantile(values, [0.005, 0.995])) if values.size else (0.0, 1.0)  # type: ignore[return-value]


def _shares(values: Sequence[float]) -> list[float]:
    """Each of the first; none where the first is not positive, since the line would be turned round or have no end."""
    return [value / values[0] for value in values] if values and values[0] > 0 else []


def _round_span(tracked: Mapping[str, Any]) -> tuple[tuple[float, float], tuple[float, float]]:
    series = [tracked["trackstar"]["mean_by_encounter"], tracked["effectivity_by_encounter"]]
    shares = [share for values in series for share in _shares(values)]
    return (1.0, float(max(2, len(series[0])))), (min([0.0, *shares]), max(shares, default=1.0))
