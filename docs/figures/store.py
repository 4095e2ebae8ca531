"""Draws bytes against overlap, from docs/store.md: `python docs/figures/store.py > docs/figures/store.svg`.

Lines and letters are chosen to be read on a light page and on a dark one.
"""

import math
import re
from pathlib import Path

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 380, 64, 24, 24, 52
FAMILIES = {
    "floats": ("#8a929b", lambda name: name in ("float32", "bfloat16")),
    "int8": ("#2f7fd6", lambda name: name.startswith("int8") and "rank" not in name),
    "int4": ("#d6822f", lambda name: name.startswith("int4") and "rank" not in name),
    "factors": ("#9a5fc7", lambda name: "rank" in name),
}
TICKS, LEVELS = (1, 2, 4, 8, 16, 24), (0.70, 0.75, 0.80, 0.85, 0.90, 0.95, 1.00)


def points():
    """(format, times smaller than float32, overlap of the first ten) of every row of the first table."""
    curve, _, _ = (Path(__file__).parents[1] / "store.md").read_text("utf-8").partition("`--both`")
    rows = re.findall(r"^\| `([^`]+)` \|[^|]*\| 1/([\d.]+) \|[^|]*\| ([\d.]+) \|", curve, re.MULTILINE)
    return [(name, float(ratio), float(overlap)) for name, ratio, overlap in rows]


def across(ratio):
    """Bytes as times smaller than float32, on a scale of doublings."""
    return LEFT + (WIDTH - LEFT - RIGHT) * math.log(ratio) / math.log(TICKS[-1])


def down(overlap):
    """Overlap, the best on top."""
    share = (overlap - LEVELS[0]) / (LEVELS[-1] - LEVELS[0])
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share


def text(x, y, words, anchor="middle", fill="#808891", size=12):
    """Words at a place."""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{fill}">{words}</text>'


def frame():
    """Axes, their ticks, and the bar of one eighth at 0.95."""
    parts = []
    for level in LEVELS:
        y = down(level)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#80889144"/>')
        parts.append(text(LEFT - 8, y + 4, f"{level:.2f}", "end"))
    for tick in TICKS:
        x = across(tick)
        parts.append(f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#80889144"/>')
        parts.append(text(x, HEIGHT - BOTTOM + 18, f"1/{tick}" if tick > 1 else "1"))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, "bytes, as a share of float32's"))
    parts.append(text(LEFT, TOP - 8, "share of float32's ten best passages kept", "start"))
    x, y = across(8), down(0.95)
    box = f'x="{x:.1f}" y="{TOP}" width="{WIDTH - RIGHT - x:.1f}" height="{y - TOP:.1f}"'
    return [f'<rect {box} fill="#3a9a5022"/>', *parts]


def series(found):
    """One line and its dots for each family."""
    parts = []
    for number, (family, (colour, belongs)) in enumerate(FAMILIES.items()):
        mine = sorted((across(ratio), down(overlap)) for name, ratio, overlap in found if belongs(name))
        if family != "factors":
            path = " L".join(f"{x:.1f} {y:.1f}" for x, y in mine)
            parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.6" fill="{colour}"/>' for x, y in mine]
        y = HEIGHT - BOTTOM - 16 - 20 * (len(FAMILIES) - 1 - number)
        parts.append(f'<circle cx="{LEFT + 16}" cy="{y - 4}" r="3.6" fill="{colour}"/>')
        parts.append(text(LEFT + 28, y, family, "start", colour, 13))
    return parts


if __name__ == "__main__":
    body = "\n".join([*frame(), *series(points())])
    print(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'font-family="system-ui, sans-serif">\n<title>Bytes of a store against its ranking</title>\n{body}\n</svg>'
    )
