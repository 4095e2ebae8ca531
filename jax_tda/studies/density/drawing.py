"""Two kinds of chart as SVG by hand: dots with their intervals, and lines; for light pages and for dark ones."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

INK, WIDTH, LEFT, RIGHT = "#808891", 760, 310, 30
_ROW, _TOP, _BOTTOM, _LEGEND = 24, 34, 48, 200
Point = tuple[float, float]


def text(x: float, y: float, words: str, anchor: str = "middle", fill: str = INK, size: int = 12) -> str:
    """Words at a place."""
    place = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"'
    return f'<text {place} fill="{fill}">{escape(words)}</text>'


def svg(title: str, height: float, parts: Sequence[str]) -> str:
    """A whole picture."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" role="img" '
        f'font-family="system-ui, sans-serif">\n<title>{escape(title)}</title>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def dots(title: str, rows: Sequence[tuple[str, Mapping[str, Any], str]], axis: str) -> str:
    """A row for each (label, estimate, colour): a dot at the mean, a line over the interval; zero is marked."""
    drawn = [row for row in rows if row[1]["mean"] is not None]
    low = min([0.0, *(row[1]["low"] for row in drawn)])
    high = max([0.0, *(row[1]["high"] for row in drawn)])
    ticks = ticks_between(low, high if high > low else low + 1)
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    bottom = _TOP + _ROW * len(rows)

    def across(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (value - low) / (high - low)

    parts = [text(LEFT, 18, title, "start", size=13)]
    for tick in ticks:
        opacity = 0.8 if tick == 0 else 0.25
        parts.append(f'<path d="M{across(tick):.1f} {_TOP}V{bottom}" stroke="{INK}" stroke-opacity="{opacity}"/>')
        parts.append(text(across(tick), bottom + 18, f"{tick:g}".replace("-", "−")))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, bottom + 38, axis))
    for number, (label, estimate, colour) in enumerate(rows):
        y = _TOP + _ROW * (number + 0.5)
        parts.append(text(LEFT - 12, y + 4, label, "end", colour))
        if estimate["mean"] is not None:
            line = f"M{across(estimate['low']):.1f} {y:.1f}H{across(estimate['high']):.1f}"
            parts.append(f'<path d="{line}" stroke="{colour}" stroke-width="5" stroke-opacity="0.4"/>')
            parts.append(f'<circle cx="{across(estimate["mean"]):.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')
    return svg(title, bottom + _BOTTOM, parts)


def lines(
    title: str, series: Sequence[tuple[str, Sequence[Point], str]], names: Sequence[str], axes: tuple[str, str]
) -> str:
    """Lines over numbered places: `names` are those of the places 0, 1, …, `axes` what x and y are."""
    left, height, bottom = 70, 320, 270
    values = [y for _, points, _ in series for _, y in points]
    ticks = ticks_between(min(values), max(values) if max(values) > min(values) else min(values) + 1)
    low, high = min(*ticks, *values), max(*ticks, *values)

    def place(point: Point) -> Point:
        x = left + (WIDTH - left - _LEGEND) * point[0] / max(len(names) - 1, 1)
        return x, bottom - (bottom - _TOP - 16) * (point[1] - low) / (high - low)

    parts = [text(left, 18, title, "start", size=13), text((left + WIDTH - _LEGEND) / 2, height - 8, axes[0])]
    for tick in ticks:
        y = place((0, tick))[1]
        parts.append(f'<path d="M{left} {y:.1f}H{WIDTH - _LEGEND}" stroke="{INK}" stroke-opacity="0.25"/>')
        parts.append(text(left - 8, y + 4, f"{tick:g}".replace("-", "−"), "end"))
    parts.append(text(left, _TOP + 2, axes[1], "start", size=11))
    parts += [text(place((number, low))[0], bottom + 18, name) for number, name in enumerate(names)]
    for number, (label, points, colour) in enumerate(series):
        path = " L".join(f"{x:.1f} {y:.1f}" for x, y in map(place, points))
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in map(place, points)]
        parts.append(text(WIDTH - _LEGEND + 12, _TOP + 16 + 18 * number, label, "start", colour, 12))
    return svg(title, height, parts)


def ticks_between(low: float, high: float) -> list[float]:
    """Up to nine round numbers that cover [low, high]."""
    steps = [mantissa * 10.0**power for power in range(-9, 10) for mantissa in (1, 2, 5)]
    step = next((s for s in steps if (high - low) / s <= 7), steps[-1])
    first, last = int(low // step), -int(-high // step)
    return [round(number * step, 12) for number in range(first, last + 1)]
