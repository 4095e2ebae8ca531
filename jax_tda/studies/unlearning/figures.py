"""The study's pictures, drawn by hand as SVG, to be read on a light page and on a dark one."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from jax_tda.studies.unlearning.results import WAYS

_INK, _DOWN, _UP = "#808891", "#c2493d", "#2f7fd6"
_COLOURS = {"unlearn": "#c2493d", "retrain": "#2f7fd6"}
_KINDS = {"trackstar": "summed influence (TrackStar)", "proponents": "share of the ten best proponents"}
_FAINT = f'stroke="{_INK}" stroke-opacity="0.3"'


def _text(x: float, y: float, words: str, anchor: str = "middle", fill: str = _INK, size: int = 12) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{fill}">{escape(words)}</text>'
    )


def _svg(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'font-family="system-ui, sans-serif">\n<title>{escape(title)}</title>\n{body}\n</svg>\n'
    )


def signed(value: float) -> str:
    """A whole number with its sign; 0 has none."""
    return f"{value:+.0f}".replace("-", "−") if round(value) else "0"


def _grid(
    left: float, top: float, heading: str, rows: Mapping[str, Sequence[float]], columns: Sequence[str], most: float
) -> list[str]:
    """Cells coloured by sign and size; `most` is the size of full colour."""
    wide, high = 46, 24
    parts = [_text(left + wide * len(columns) / 2, top - 64, heading, size=14)]
    for place, name in enumerate(columns):
        x, y = left + wide * (place + 0.5), top - 8
        parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="12" fill="{_INK}" '
            f'transform="rotate(-45 {x:.1f} {y:.1f})">{escape(name)}</text>'
        )
    for line, values in enumerate(rows.values()):
        for place, value in enumerate(values):
            x, y, strength = left + wide * place, top + high * line, min(1.0, abs(value) / most)
            colour = _DOWN if value < 0 else _UP
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide - 2}" height="{high - 2}" fill="{colour}" '
                f'fill-opacity="{0.06 + 0.9 * strength:.2f}"/>'
            )
            parts.append(_text(x + wide / 2 - 1, y + 16, signed(value), fill="#fff" if strength > 0.45 else _INK))
    return parts


def matrices(results: Mapping[str, Any]) -> str:
    """The impact of every removal on every ability, by unlearning and by training without, in points."""
    names, measured = results["abilities"], results["likelihood"]
    removals, left, top = results["removals"], 110, 100
    parts = [_text(left - 10, top + 24 * line + 16, name, "end") for line, name in enumerate(removals)]
    for number, (way, label) in enumerate(WAYS.items()):
        rows = {name: [100 * measured["impact"][way][name][a]["mean"] for a in names] for name in removals}
        parts += _grid(left + number * (46 * len(names) + 30), top, f"{label} (points)", rows, names, 100)
    return _svg(left + 2 * (46 * len(names) + 30), top + 24 * len(removals) + 10, "Impact of every corpus", parts)


def influences(results: Mapping[str, Any]) -> str:
    """Influence of every corpus on every ability, in percent of the greatest of each ability, by kind."""
    names, measured, left, top = results["abilities"], results["likelihood"], 110, 100
    parts = [_text(left - 10, top + 24 * line + 16, name, "end") for line, name in enumerate(names)]
    for number, kind in enumerate(_KINDS):
        rows = measured["influence"][kind]
        greatest = [max(max(abs(rows[n][place]) for n in names), 1e-30) for place in range(len(names))]
        shares = {n: [100 * value / most for value, most in zip(rows[n], greatest, strict=True)] for n in names}
        parts += _grid(
            left + number * (46 * len(names) + 30), top, f"{_KINDS[kind]}, % of greatest", shares, names, 100
        )
    return _svg(left + 2 * (46 * len(names) + 30), top + 24 * len(names) + 10, "Influence of every corpus", parts)


class _Frame:
    """A square of two axes with a span each."""

    def __init__(self, left: float, top: float, size: float, across: tuple[float, float], up: tuple[float, float]):
        self.left, self.top, self.size, self._across, self._up = left, top, size, across, up

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The place of a point."""
        (a, b), (c, d) = self._across, self._up
        return self.left + self.size * (x - a) / (b - a), self.top + self.size * (1 - (y - c) / (d - c))

    def axes(self, below: str, beside: str, ticks: Sequence[float]) -> list[str]:
        """Lines and numbers at the same ticks on both sides, and what they mean."""
        parts = []
        for tick in ticks:
            x, y = self.at(tick, tick)
            parts.append(f'<path d="M{x:.1f} {self.top}v{self.size}M{self.left} {y:.1f}h{self.size}" {_FAINT}/>')
            parts.append(_text(x, self.top + self.size + 16, signed(tick)))
            parts.append(_text(self.left - 6, y + 4, signed(tick), "end"))
        parts.append(_text(self.left + self.size / 2, self.top + self.size + 36, below))
        parts.append(_text(self.left, self.top - 10, beside, "start"))
        return parts


def agreement(results: Mapping[str, Any]) -> str:
    """Every corpus and ability: its impact by training without against its impact by unlearning."""
    names, impact = results["abilities"], results["likelihood"]["impact"]
    frame = _Frame(56, 30, 380, (-105, 25), (-105, 25))
    parts = frame.axes("trained without (points)", "unlearned (points)", (-100, -75, -50, -25, 0, 25))
    x, y = frame.at(-105, -105)
    end = frame.at(25, 25)
    parts.append(f'<path d="M{x:.1f} {y:.1f}L{end[0]:.1f} {end[1]:.1f}" stroke="{_INK}" stroke-dasharray="4 4"/>')
    for name in names:
        for ability in names:
            a, b = (100 * impact[way][name][ability]["mean"] for way in ("retrain", "unlearn"))
            x, y = frame.at(a, b)
            colour = _DOWN if name == ability else _UP
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}" fill-opacity="0.7"/>')
            if name != ability and abs(a - b) > 25:
                parts.append(_text(x + 7, y + 4, f"{name} → {ability}", "start", size=11))
    for place, (label, colour) in enumerate((("its own ability", _DOWN), ("another ability", _UP))):
        parts.append(f'<circle cx="456" cy="{50 + 20 * place}" r="4" fill="{colour}"/>')
        parts.append(_text(466, 54 + 20 * place, label, "start", colour))
    return _svg(600, 460, "Unlearning against training without", parts)


def _cells(pairs: Mapping[str, Any]) -> list[Mapping[str, float]]:
    return [cell for abilities in pairs.values() for cell in abilities.values()]


def joint(results: Mapping[str, Any]) -> str:
    """The interaction of every pair on every ability, by both ways, with intervals, in points."""
    names, found, pairs = results["abilities"], results["likelihood"]["joint"], results["pairs"]
    left, top, high, wide = 110, 40, 20, 190
    bounds = [abs(100 * row[k]) for way in WAYS for row in _cells(found[way]) for k in ("low", "mean", "high")]
    size = 20.0 * max(1, math.ceil(max(bounds, default=0.0) / 20))
    parts, block = [], high * len(names) + 46
    for number, pair in enumerate(pairs):
        x0 = left + number * (wide + 20)
        parts.append(_text(x0 + wide / 2, top - 18, pair.replace("+", " + "), size=14))
        for share in (-1.0, -0.5, 0.0, 0.5, 1.0):
            x = x0 + wide * (share + 1) / 2
            parts.append(f'<path d="M{x:.1f} {top}v{high * len(names)}" {_FAINT}/>')
            if abs(share) < 1:  # Numbers at the edges would run into the next panel's.
                parts.append(_text(x, top + high * len(names) + 16, signed(share * size), size=11))
        for line, name in enumerate(names):
            y = top + high * line + high / 2
            if not number:
                parts.append(_text(left - 10, y + 4, name, "end"))
            for shift, way in ((-4, "unlearn"), (4, "retrain")):
                cell = found[way][pair][name]
                low, middle, end = (x0 + wide * (100 * cell[k] + size) / (2 * size) for k in ("low", "mean", "high"))
                colour = _COLOURS[way]
                parts.append(f'<path d="M{low:.1f} {y + shift}H{end:.1f}" stroke="{colour}" stroke-width="1.6"/>')
                parts.append(f'<circle cx="{middle:.1f}" cy="{y + shift}" r="3.2" fill="{colour}"/>')
    for place, (way, label) in enumerate(WAYS.items()):
        x = left + place * 130
        parts.append(f'<circle cx="{x}" cy="{top + block - 12}" r="4" fill="{_COLOURS[way]}"/>')
        parts.append(_text(x + 10, top + block - 8, label, "start", _COLOURS[way]))
    return _svg(left + max(1, len(pairs)) * (wide + 20), top + block + 6, "Interaction of pairs", parts)


def trace(results: Mapping[str, Any], name: str) -> str:
    """The losses of one unlearning run over its steps of ascent, the two thresholds, and when it was retrained."""
    seen, left, top, wide, high = results["traces"][name], 50, 34, 420, 230
    last = max(1, seen["points"][-1][0])
    greatest = 1.05 * max(seen["forget_above"], *(max(p[1:]) for p in seen["points"]))

    def at(step: float, loss: float) -> str:
        return f"{left + wide * step / last:.1f} {top + high * (1 - loss / greatest):.1f}"

    parts = [_text(left, top - 14, f"{name}: loss per token", "start")]
    for tick in range(int(greatest) + 1):
        place = at(0, tick).split()
        parts.append(f'<path d="M{" ".join(place)}h{wide}" {_FAINT}/>')
        parts.append(_text(left - 6, float(place[1]) + 4, str(tick), "end"))
    for column, (label, key, colour) in enumerate(
        (("forget set", "forget_above", _DOWN), ("validation set", "validation_above", _UP)), 1
    ):
        path = "L".join(at(point[0], point[column]) for point in seen["points"])
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<path d="M{at(0, seen[key])}h{wide}" stroke="{colour}" stroke-dasharray="5 4"/>')
        parts.append(_text(left + 12 + 130 * (column - 1), top + high + 44, label, "start", colour))
    for step in seen["retrained"]:
        parts.append(f'<path d="M{at(step, 0)}v-8" stroke="{_INK}" stroke-width="2"/>')
    for step in (0, last):
        parts.append(_text(float(at(step, 0).split()[0]), top + high + 18, str(step)))
    parts.append(_text(left + wide / 2, top + high + 18, "steps of ascent; marks: retrained; dashes: thresholds"))
    return _svg(left + wide + 20, top + high + 56, f"Unlearning {name}", parts)


def drawn(results: Mapping[str, Any]) -> dict[str, str]:
    """Every picture by its name."""
    return {
        "matrices": matrices(results),
        "agreement": agreement(results),
        "joint": joint(results),
        "influences": influences(results),
        "trace": trace(results, results["abilities"][0]),
    }
