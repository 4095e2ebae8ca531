"""What a report says, as the page's overview draws it: tables of methods by metrics, differences, notes, no markup."""

from collections.abc import Mapping, Sequence
from typing import Any

from jax_tda.artifacts.method_words import of_report
from jax_tda.evaluation.summary import COLUMNS, FEWEST, GOLD_NOTES, counted_queries, few

# Which queries, and which passages count as correct: the ending of a metric's name, and what the page calls it.
_VIEWS = (
    ("", "queries {which}", "Over the queries {which}."),
    ("_all", "all queries", "Over every query, whether or not the model knows the answer."),
    ("_weak", "gold or weak", "Over the queries {which}; a weak passage counts as correct too."),
)


def overview(report: Mapping[str, Any]) -> dict[str, Any]:
    """`figures` (value, label), `views` and `differences` (tables), `notes` (term, meaning).

    A table is `caption`, `metrics` (name, label) and `rows`: `label`, `about`, `step` (whether it adds to the row
    above), `chosen` (whether others are compared with it) and one interval, or null, for each metric.
    """
    return {
        "figures": _figures(report),
        "views": _views(report),
        "differences": _differences(report),
        "notes": _notes(report),
    }


def _views(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    which = counted_queries(report)[1]
    # Where few queries count, all of them stand first.
    order = sorted(_VIEWS, key=lambda view: view[0] != "_all") if few(report) else _VIEWS
    views = [view for view in order if _numbers(report["methods"], view[0])] or order[:1]
    rows = [
        (said.label or name, said.about, report["methods"][name], bool(said.compared_with))
        for name, said in of_report(report).items()
    ]
    return [
        {"label": label.format(which=which)} | _table(rows, ending, caption.format(which=which))
        for ending, label, caption in views
    ]


def _differences(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """The table of paired differences, over the counted queries; none when no pair was judged."""
    ending, words = "_all" if few(report) else "", of_report(report)
    labels = {
        f"{left}-{right}": f"{said.label.strip(' +') or left} − {words[right].label.strip(' +') or right}"
        for left, said in words.items()
        for right in said.compared_with
        if right in words
    }
    rows = [
        (labels.get(pair, pair), "", _sure(intervals), False)
        for pair, intervals in report["paired"].items()
        if any((intervals.get(metric + ending) or {"n": 0})["n"] >= FEWEST for metric in COLUMNS)
    ]
    which = "all queries" if ending else f"the queries {counted_queries(report)[1]}"
    caption = (
        f"Paired differences over {which}. The line is zero: a difference whose interval holds it is grey, because "
        "these queries cannot tell its sign."
    )
    return _table(rows, ending, caption) if rows else None


def _sure(intervals: Mapping[str, Any]) -> dict[str, Any]:
    """Those of enough queries: a difference of fewer is not shown."""
    return {name: found for name, found in intervals.items() if found and found["n"] >= FEWEST}


def _table(rows: Sequence[tuple[str, str, Mapping[str, Any], bool]], ending: str, caption: str) -> dict[str, Any]:
    metrics = [metric for metric in COLUMNS if any((metric + ending) in intervals for _, _, intervals, _ in rows)]
    return {
        "caption": caption,
        "metrics": [[metric, COLUMNS[metric]] for metric in metrics],
        "rows": [
            {
                "label": label.strip(),
                "about": about,
                "step": label.startswith(" "),
                "chosen": chosen,
                "cells": [_cell(intervals.get(metric + ending)) for metric in metrics],
            }
            for label, about, intervals, chosen in rows
        ],
    }


def _cell(interval: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return {name: interval[name] for name in ("mean", "low", "high", "n")} if interval and interval["n"] else None


def _figures(report: Mapping[str, Any]) -> list[list[str]]:
    counts = report["queries"]
    figures = [[f"{counts['total']:,}", "queries"]]
    if report.get("exact_match") is not None:
        exact = round(report["exact_match"] * counts["total"])
        figures.append([f"{100 * report['exact_match']:.1f} %", f"answered exactly ({exact:,})"])
    if report.get("over") == "gained":
        count, which = counted_queries(report)
        figures.append([f"{count:,}", which])
    if report.get("lambda") is not None:
        figures.append([f"{report['lambda']:.3f}", "λ, the weight of the queries in R"])
    if report.get("seconds"):
        figures.append([_clock(sum(report["seconds"].values())), "minutes of computing"])
    return figures


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def _notes(report: Mapping[str, Any]) -> list[list[str]]:
    """What every figure depends on, as terms and their meaning."""
    terms = [["intervals", "95 % percentile bootstrap over queries"]]
    if report["queries"].get("without_gold"):
        terms.append(["without gold", f"{report['queries']['without_gold']:,} queries, left out of retrieval metrics"])
    for name, said in GOLD_NOTES.items():
        if (found := report.get(name)) and found["ids"]:
            terms.append(["gold", f"{found['ids']:,} ids of {found['queries']:,} queries {said}"])
    if report.get("tail_patch"):
        terms.append(["tail-patch", ", ".join(f"{name} {value}" for name, value in report["tail_patch"].items())])
    for name in ("lambda", "lambda_component", "damping", "seed"):
        if report.get(name) is not None:
            terms.append([name.replace("_", " "), str(report[name])])
    if report.get("seconds"):
        terms.append(["time", ", ".join(f"{stage} {value:.0f} s" for stage, value in report["seconds"].items())])
    return terms


def _numbers(methods: Mapping[str, Any], ending: str) -> bool:
    return any(
        intervals.get(metric + ending) and intervals[metric + ending]["n"]
        for intervals in methods.values()
        for metric in COLUMNS
    )
