"""The report as HTML: tables whose cells are a number, its interval, and the same drawn to the scale of the column."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from jax_tda.artifacts.method_words import of_report
from jax_tda.evaluation.summary import COLUMNS, FEWEST, counted_queries, few

_WIDTH, _HEIGHT = 168, 14
# Which queries, and which passages count as correct: the ending of a metric's name, and what the page calls it.
_VIEWS = (
    ("", "queries {which}", "Over the queries {which}."),
    ("_all", "all queries", "Over every query, whether or not the model knows the answer."),
    ("_weak", "gold or weak", "Over the queries {which}; a weak passage counts as correct too."),
)


def tables(report: Mapping[str, Any]) -> str:
    """One table of methods by metrics for each view that holds a number, headed by a button per view."""
    which = counted_queries(report)[1]
    # Where few queries count, all of them stand first.
    order = sorted(_VIEWS, key=lambda view: view[0] != "_all") if few(report) else _VIEWS
    views = [(end, label.format(which=which), about.format(which=which)) for end, label, about in order]
    views = [view for view in views if _numbers(report["methods"], view[0])] or views[:1]
    buttons = "".join(
        f'<button type="button" data-view="{name or "exactly"}" aria-pressed="false">{label}</button>'
        for name, label, _ in views
    )
    switch = f'<div class="switch" role="group" aria-label="Which queries">{buttons}</div>' if len(views) > 1 else ""
    return switch + "".join(_methods(report, *view) for view in views)


def differences(report: Mapping[str, Any]) -> str:
    """The table of paired differences, over the counted queries; empty when no pair was judged."""
    ending, words = "_all" if few(report) else "", of_report(report)
    labels = {
        f"{left}-{right}": f"{said.label.strip(' +') or left} − {words[right].label.strip(' +') or right}"
        for left, said in words.items()
        for right in said.compared_with
        if right in words
    }
    rows = [
        (labels.get(pair, pair), "", intervals, False)
        for pair, intervals in report["paired"].items()
        if any((intervals.get(metric + ending) or {"n": 0})["n"] >= FEWEST for metric in COLUMNS)
    ]
    if not rows:
        return ""
    which = "all queries" if ending else f"the queries {counted_queries(report)[1]}"
    caption = (
        f"Paired differences over {which}. The line is zero: a difference whose "
        "interval holds it is grey, because these queries cannot tell its sign."
    )
    return _table(rows, ending, caption, "difference", signed=True)


def _methods(report: Mapping[str, Any], ending: str, label: str, caption: str) -> str:
    rows = [
        (said.label or name, said.about, report["methods"][name], bool(said.compared_with))
        for name, said in of_report(report).items()
    ]
    return f'<div data-table="{ending or "exactly"}">{_table(rows, ending, caption, "method")}</div>'


def _table(
    rows: Sequence[tuple[str, str, Mapping[str, Any], bool]],
    ending: str,
    caption: str,
    heading: str,
    signed: bool = False,
) -> str:
    metrics = [metric for metric in COLUMNS if any((metric + ending) in intervals for _, _, intervals, _ in rows)]
    scales = {metric: _scale([intervals.get(metric + ending) for _, _, intervals, _ in rows]) for metric in metrics}
    head = "".join(f'<th scope="col">{escape(COLUMNS[metric])}</th>' for metric in metrics)
    body = []
    for label, about, intervals, chosen in rows:
        small = f"<small>{escape(about)}</small>" if about else ""
        indent = ' class="step"' if label.startswith(" ") else ""
        cells = "".join(_cell(intervals.get(metric + ending), metric, scales[metric], signed) for metric in metrics)
        row = f'<th scope="row"{indent}>{escape(label.strip())}{small}</th>{cells}'
        body.append(f'<tr class="chosen">{row}</tr>' if chosen else f"<tr>{row}</tr>")
    return (
        f'<div class="wide" tabindex="0"><table><caption>{escape(caption)}</caption>'
        f'<thead><tr><th scope="col">{heading}</th>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'
    )


def _cell(interval: Mapping[str, Any] | None, metric: str, scale: tuple[float, float], signed: bool) -> str:
    if not interval or not interval["n"] or (signed and interval["n"] < FEWEST):
        return '<td class="none">–</td>'
    form = "+.2f" if metric == "tail_patch" else "+.3f" if signed else ".3f"
    if interval["n"] < FEWEST:
        mean = f"{interval['mean']:{form}}".replace("-", "−")
        return f"<td><b>{mean}</b> <span>n {interval['n']:,}, too few for an interval</span></td>"
    mean, low, high = (f"{interval[name]:{form}}".replace("-", "−") for name in ("mean", "low", "high"))
    unclear = ' class="unclear"' if signed and interval["low"] <= 0 <= interval["high"] else ""
    return (
        f"<td{unclear}><b>{mean}</b> <span>{low} … {high}</span>"
        f"<div>{_drawn(interval, scale)}<span>n {interval['n']:,}</span></div></td>"
    )


def _drawn(interval: Mapping[str, Any], scale: tuple[float, float]) -> str:
    """A bar over the interval, a dot at the mean, and a tick at zero, on the scale of the column."""
    low, high = scale
    inset = 4

    def place(value: float) -> str:
        return f"{inset + (_WIDTH - 2 * inset) * (value - low) / (high - low):.1f}"

    left, right, middle = place(interval["low"]), place(interval["high"]), _HEIGHT / 2
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}" aria-hidden="true">'
        f'<line class="track" x1="{inset}" x2="{_WIDTH - inset}" y1="{middle}" y2="{middle}"/>'
        f'<line class="zero" x1="{place(0.0)}" x2="{place(0.0)}" y1="1" y2="{_HEIGHT - 1}"/>'
        f'<line class="interval" x1="{left}" x2="{right}" y1="{middle}" y2="{middle}"/>'
        f'<circle cx="{place(interval["mean"])}" cy="{middle}" r="3.5"/></svg>'
    )


def _scale(intervals: Sequence[Mapping[str, Any] | None]) -> tuple[float, float]:
    """The span of all intervals of a column and zero."""
    judged = [interval for interval in intervals if interval and interval["n"] >= FEWEST]
    low = min([0.0, *(interval["low"] for interval in judged)])
    high = max([0.0, *(interval["high"] for interval in judged)])
    return (low, high) if high > low else (-1.0, 1.0)


def _numbers(methods: Mapping[str, Any], ending: str) -> bool:
    return any(
        intervals.get(metric + ending) and intervals[metric + ending]["n"]
        for intervals in methods.values()
        for metric in COLUMNS
    )
