"""The study as a page: two figures and the tables behind them."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from jax_tda.studies.scaling.kinds import KINDS

Results = Mapping[str, Any]
_INK, _COLOURS = "#808891", ("#8a6fd1", "#2f7fd6", "#3a9a50", "#d6822f", "#c2569b")
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 320, 64, 190, 34, 50
_STYLE = """
:root { color-scheme: light dark; --ink: #1d2126; --soft: #5d6670; --page: #f7f6f3; --line: #d5d2ca; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7e9ec; --soft: #9fa8b3; --page: #14171b; --line: #343b44; } }
body { margin: 0 auto; max-width: 900px; padding: 24px; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
p { color: var(--soft); } svg { width: 100%; height: auto; } .wide { overflow-x: auto; margin: 12px 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13.5px; }
th, td { text-align: left; padding: 5px 14px 5px 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
"""


def figures(results: Results) -> dict[str, str]:
    """SVGs by name."""
    return {
        "mrr": _lines(results, "mrr", "MRR over all queries"),
        "tail_patch": _lines(results, "tail_patch", "tail-patch of the first proponents, percentage points"),
    }


def render(results: Results, drawn: Mapping[str, str]) -> str:
    """The page, which needs no other file."""
    level = results["settings"]["bootstrap"]["level"]
    head = [
        "model",
        "steps",
        "answered",
        "MRR",
        "MRR, answered",
        "BM25",
        "difference",
        "tail-patch",
        "BM25",
        "difference",
    ]
    rows = [
        [
            f"{row['layers']} × {row['width']} ({row['parameters']:,})",
            f"{row['steps']:,}",
            ", ".join(f"{share:.3f}" for share in row["answered_exactly"]),
            *(figure(row[f"mrr/{n}"]) for n in ("trackstar", "trackstar (answered)", "bm25", "difference")),
            *(figure(row[f"tail_patch/{n}"], 2) for n in ("trackstar", "bm25", "difference")),
        ]
        for row in results["rows"]
    ]
    kinds = [
        [f"{row['layers']} × {row['width']}, {row['steps']:,} steps", method]
        + [_share(row["kinds"][method], kind) for kind in KINDS]
        for row in results["rows"]
        for method in ("trackstar", "bm25")
    ]
    patched = [
        [
            f"{row['layers']} × {row['width']}, {row['steps']:,} steps",
            *(figure(row[f"tail_patch/{k}"], 2) for k in KINDS),
        ]
        for row in results["rows"]
    ]
    body = (
        f"{drawn['mrr']}{drawn['tail_patch']}{_table(head, rows)}<h2>What the first ten proponents are</h2>"
        f"{_table(['model', 'method', *KINDS], kinds)}<h2>What a step on them does, by kind (TrackStar)</h2>"
        f"<p>Percentage points of the target’s probability, over the queries that have such a proponent.</p>"
        f"{_table(['model', *KINDS], patched)}"
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Scaling</title><style>{_STYLE}</style></head><body><h1>Scaling</h1>"
        "<p>How do influence and attribution (TrackStar, arXiv 2410.17413) change with the size of the model and the "
        f"length of its training? Seeds {', '.join(map(str, results['seeds']))}; brackets hold {level:.0%} bootstrap "
        f"intervals over the queries of all seeds.</p>{body}</body></html>\n"
    )


def summary(results: Results) -> str:
    """What the job prints at its end."""
    lines = ["model, steps: answered, MRR TrackStar, BM25, difference; tail-patch TrackStar, BM25, difference"]
    for row in results["rows"]:
        answered = sum(row["answered_exactly"]) / len(row["answered_exactly"])
        shown = [f"{row['layers']} × {row['width']}, {row['steps']:,}: {answered:.3f}"]
        shown += [figure(row[f"mrr/{n}"]) for n in ("trackstar", "bm25", "difference")]
        shown += [figure(row[f"tail_patch/{n}"], 2) for n in ("trackstar", "bm25", "difference")]
        shown += [f"{kind} {_share(row['kinds']['trackstar'], kind)}" for kind in KINDS]
        lines.append("  ".join(shown))
    return "\n".join(lines)


def figure(estimate: Mapping[str, Any], digits: int = 3) -> str:
    """A mean and its interval."""
    if estimate["mean"] is None:
        return "–"
    mean, low, high = (f"{estimate[name]:.{digits}f}".replace("-", "−") for name in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def _share(counts: Mapping[str, int], kind: str) -> str:
    total = sum(counts.values())
    return f"{counts[kind] / total:.3f}" if total else "–"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _lines(results: Results, metric: str, axis: str) -> str:
    """TrackStar (whole) and BM25 (broken) of each size over its checkpoints, with the intervals."""
    steps = sorted({row["steps"] for row in results["rows"]})
    sizes = list(dict.fromkeys((row["layers"], row["width"]) for row in results["rows"]))
    drawn = [(row, method, row[f"{metric}/{method}"]) for row in results["rows"] for method in ("trackstar", "bm25")]
    drawn = [one for one in drawn if one[2]["mean"] is not None]
    # A change starts from 0; ranks that lie close together are told apart.
    low = min([*([0.0] if metric == "tail_patch" else []), *(one[2]["low"] for one in drawn)] or [0.0])
    high = max([one[2]["high"] for one in drawn] or [1.0])
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT

    def across(number: int) -> float:
        return _LEFT + 20 + (right - _LEFT - 40) * steps.index(number) / max(len(steps) - 1, 1)

    def down(value: float) -> float:
        return bottom - (bottom - _TOP) * (value - low) / max(high - low, 1e-9)

    parts = [_text(_LEFT, 18, axis, "start", _INK, 13), _text((_LEFT + right) / 2, _HEIGHT - 10, "steps of training")]
    for tick in (low, (low + high) / 2, high):
        parts.append(f'<path d="M{_LEFT} {down(tick):.1f}H{right}" stroke="{_INK}" stroke-opacity="0.25"/>')
        parts.append(_text(_LEFT - 8, down(tick) + 4, f"{tick:.2f}".replace("-", "−"), "end"))
    parts += [_text(across(number), bottom + 18, f"{number:,}") for number in steps]
    for place, size in enumerate(sizes):
        colour = _COLOURS[place % len(_COLOURS)]
        for method, dash in (("trackstar", ""), ("bm25", ' stroke-dasharray="4 4"')):
            mine = [(r["steps"], e) for r, m, e in drawn if m == method and (r["layers"], r["width"]) == size]
            path = " L".join(f"{across(n):.1f} {down(e['mean']):.1f}" for n, e in mine)
            parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.8"{dash}/>' if mine else "")
            for number, e in mine if method == "trackstar" else ():
                bar = f"M{across(number):.1f} {down(e['low']):.1f}V{down(e['high']):.1f}"
                parts.append(f'<path d="{bar}" stroke="{colour}" stroke-width="4" stroke-opacity="0.35"/>')
        words = f"{size[0]} layer{'s' * (size[0] != 1)} of {size[1]}"
        parts.append(_text(right + 16, _TOP + 20 + 20 * place, words, "start", colour))
    parts.append(_text(right + 16, _TOP + 28 + 20 * len(sizes), "broken: BM25", "start"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'font-family="system-ui, sans-serif">\n<title>{escape(axis)}</title>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _text(x: float, y: float, words: str, anchor: str = "middle", fill: str = _INK, size: int = 12) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"'
    return f'<text {place} fill="{fill}">{escape(words)}</text>'
