"""Panels with axes, lines, dots and intervals, as SVG that is read on a light page and on a dark one."""

import math
from collections.abc import Mapping, Sequence
from html import escape

GREY = "#808891"
COLOURS = {
    "paraphrased": "#2f7fd6",
    "duplicated": "#d6822f",
    "once": "#3a9a50",
    "placebo": "#8a929b",
    "control": "#b04a6f",
    "mem": "#2f7fd6",
    "gen": "#d6822f",
    "hard_gen": "#3a9a50",
}


def text(x: float, y: float, words: str, anchor: str = "middle", fill: str = GREY, size: int = 12) -> str:
    """Words at a place."""
    placed = f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{fill}">'
    return f"{placed}{escape(words)}</text>"


def document(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    """A whole SVG."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
    body = "\n".join(parts)
    return f'{head}font-family="system-ui, sans-serif">\n<title>{escape(title)}</title>\n{body}\n</svg>\n'


def legend(x: float, y: float, names: Mapping[str, str]) -> list[str]:
    """A dot and what it is called for each series, side by side; `names` are keys of COLOURS and words."""
    parts = []
    for name, called in names.items():
        parts.append(f'<circle cx="{x:.1f}" cy="{y - 4:.1f}" r="4" fill="{COLOURS[name]}"/>')
        parts.append(text(x + 9, y, called, "start", COLOURS[name]))
        x += 30 + 7 * len(called)
    return parts


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers within a span, about `count` of them."""
    step = 10 ** math.floor(math.log10((high - low) / count))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= count + 1)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


class Panel:
    """One pair of axes, at a place of the drawing.

    Args:
      x, y: the upper left corner of the plotted area.
      width, height: of the plotted area.
      across, down: the spans of both axes.
      marks: what stands below the horizontal axis, by place; None for round numbers.
    """

    def __init__(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        across: tuple[float, float],
        down: tuple[float, float],
        marks: Mapping[float, str] | None = None,
    ):
        self._x, self._y, self._width, self._height = x, y, width, height
        self._across, self._down = _wide(across), _wide(down)
        self._marks = {value: f"{value:g}" for value in ticks(*self._across)} if marks is None else marks

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the data lies in the drawing; what lies outside is moved to the edge."""
        shares = [
            min(max((value - low) / (high - low), 0.0), 1.0)
            for value, (low, high) in ((x, self._across), (y, self._down))
        ]
        return self._x + self._width * shares[0], self._y + self._height * (1 - shares[1])

    def frame(self, title: str, label: str) -> list[str]:
        """Grid, ticks, the panel's title above and the label of the horizontal axis below."""
        parts = [text(self._x + self._width / 2, self._y - 8, title, size=13)]
        bottom = self._y + self._height
        for value in ticks(*self._down):
            y = self.place(self._across[0], value)[1]
            heavy = "0.7" if abs(value) < 1e-12 else "0.25"
            parts.append(
                f'<path d="M{self._x:.1f} {y:.1f}h{self._width:.1f}" stroke="{GREY}" stroke-opacity="{heavy}"/>'
            )
            parts.append(text(self._x - 6, y + 4, f"{value:g}" if abs(value) > 1e-12 else "0", "end", size=11))
        for value, words in self._marks.items():
            parts.append(text(self.place(value, self._down[0])[0], bottom + 16, words, size=11))
        return [*parts, text(self._x + self._width / 2, bottom + 34, label)]

    def line(self, xs: Sequence[float], ys: Sequence[float], colour: str, dashed: bool = False) -> str:
        """A line through points."""
        places = [self.place(x, y) for x, y in zip(xs, ys, strict=True)]
        path = " L".join(f"{left:.1f} {top:.1f}" for left, top in places)
        dash = ' stroke-dasharray="4 3"' if dashed else ""
        return f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.5"{dash}/>'

    def dots(self, xs: Sequence[float], ys: Sequence[float], colour: str, radius: float = 2.0) -> list[str]:
        """Faint dots."""
        return [
            f'<circle cx="{left:.1f}" cy="{top:.1f}" r="{radius}" fill="{colour}" fill-opacity="0.45"/>'
            for left, top in (self.place(x, y) for x, y in zip(xs, ys, strict=True))
        ]

    def interval(self, x: float, low: float, value: float, high: float, colour: str) -> list[str]:
        """A dot on an upright bar."""
        (left, top), (_, bottom), (_, middle) = self.place(x, high), self.place(x, low), self.place(x, value)
        bar = f'<path d="M{left:.1f} {top:.1f}V{bottom:.1f}" stroke="{colour}" stroke-width="2"/>'
        return [bar, f'<circle cx="{left:.1f}" cy="{middle:.1f}" r="3.5" fill="{colour}"/>']


def _wide(span: tuple[float, float]) -> tuple[float, float]:
    low, high = span
    return (low, high) if high > low else (low - 0.5, high + 0.5)
