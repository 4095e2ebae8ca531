"""From one number per method, metric and query to the report: means with intervals, paired differences, and a table."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from jax_tda.artifacts import method_words
from jax_tda.artifacts.method_words import MethodWords
from jax_tda.core.errors import InputError
from jax_tda.evaluation.bootstrap import BootstrapConfig, Interval, mean_interval, paired

# {method: {metric: {query id: value, or None where the metric does not apply}}}
PerQuery = Mapping[str, Mapping[str, Mapping[str, float | None]]]

RETRIEVAL = ("mrr", "recall_at_10", "precision_at_10")
JUDGED = (*RETRIEVAL, "tail_patch")
WEAK = tuple(f"{metric}_weak" for metric in RETRIEVAL)

METRICS = {
    "mrr": "MRR",
    "recall_at_10": "recall@10",
    "precision_at_10": "precision@10",
    "tail_patch": "tail-patch (pp)",
}
# What retraining says, in reports with a bank.
BANKED = {"lds_half": "LDS half", "lds_drop": "LDS drop", "loo": "LOO", "qld": "QLD (nats)"}
COLUMNS = METRICS | BANKED


# Which queries the main figures are over, as a sentence about queries says it.
OVER = {
    "answered_exactly": "answered exactly",
    "gained": "whose target gained probability",
    "all": "asked",
}
GOLD_NOTES = {
    "gold_missing": "mean no document of the corpus and count as never found",
    "gold_pieces": "name a piece and count as its document",
}
# Of fewer queries a bootstrap knows too little: no interval is given, and no paired difference is shown.
FEWEST = 20
TOO_FEW = f"fewer than {FEWEST} queries, too few for an interval"


def _over(report: Mapping[str, Any]) -> str:
    return str(report.get("over", "answered_exactly"))


def counted_queries(report: Mapping[str, Any]) -> tuple[int, str]:
    """How many queries the report's main figures are over, and what they have in common."""
    return report["queries"][_over(report)], OVER[_over(report)]


def few(report: Mapping[str, Any]) -> bool:
    """Whether the main figures are over so few queries that all queries must speak first."""
    return _over(report) != "all" and counted_queries(report)[0] < min(FEWEST, report["queries"]["total"])


def report(
    per_query: PerQuery,
    counted: Collection[str],
    settings: Mapping[str, Any],
    seed: int,
    config: BootstrapConfig = BootstrapConfig(),
    words: Mapping[str, MethodWords] | None = None,
) -> dict[str, Any]:
    """The report of a run, ready for JSON.

    `METRIC` is over the counted queries, `METRIC_all` over all, `METRIC_weak` over the counted queries with gold and
    weak passages both correct. Every one is `{"mean", "low", "high", "n"}`, null where n is 0; of fewer than `FEWEST`
    queries `low` and `high` are null, and `reason` says so.

    Args:
      per_query: one table per metric of `JUDGED` and `WEAK`; a metric that was not judged may be absent. Values are for
        every query, whether counted or not.
      counted: ids of the queries that the main figures are over: those whose target the model produces greedily, or, as
        the setting `over` says, those whose target gained probability in training.
      settings: further entries of the report (exact_match, lambda, damping, tail_patch, seconds, …).
      seed: root seed of the bootstrap.
      words: what methods say of themselves: their order, and the pairs whose difference is reported, but for those with
        a method that was not judged. The report carries them.

    Raises:
      InputError: an unknown metric, or a setting that JSON cannot hold.
    """
    _check(per_query, settings)
    chosen = frozenset(counted)
    known = method_words.in_order({method: (words or {}).get(method, MethodWords()) for method in per_query})
    methods = {
        method: {
            name: as_reported(mean_interval(table.values(), seed, config))
            for name, table in _tables(per_query[method], chosen).items()
        }
        for method in known
    }
    differences = {}
    for left, right in ((left, right) for left, said in known.items() for right in said.compared_with):
        if right in per_query:
            a, b = _tables(per_query[left], chosen), _tables(per_query[right], chosen)
            differences[f"{left}-{right}"] = {
                name: as_reported(paired(a[name], b[name], seed, config)) for name in a if name in b
            }
    said = {name: method_words.as_facts(known[name]) for name in known}
    said = {name: facts["words"] for name, facts in said.items() if facts}
    counts = _counts(per_query, chosen, settings)
    return {"methods": methods, "words": said, "paired": differences, "queries": counts, **settings}


def as_reported(interval: Interval) -> dict[str, Any]:
    """The interval as it stands in a report: without ends, and with the reason, where the queries are few."""
    if 0 < interval.n < FEWEST:
        return interval.as_dict() | {"low": None, "high": None, "reason": TOO_FEW}
    return interval.as_dict()


def _tables(tables: Mapping[str, Mapping[str, float | None]], counted: Collection[str]) -> dict[str, dict]:
    chosen: dict[str, dict] = {}
    judged = (*JUDGED, *(metric for metric in BANKED if metric in tables))
    for metric in judged:
        chosen[metric] = _only(tables.get(metric, {}), counted)
    for metric in judged:
        chosen[f"{metric}_all"] = dict(tables.get(metric, {}))
    for metric in WEAK:
        chosen[metric] = _only(tables.get(metric, {}), counted)
    return chosen


def _only(table: Mapping[str, float | None], counted: Collection[str]) -> dict[str, float | None]:
    return {query_id: value for query_id, value in table.items() if query_id in counted}


def _counts(per_query: PerQuery, counted: Collection[str], settings: Mapping[str, Any]) -> dict[str, int]:
    """How many queries were judged, are counted, and had no gold; the last have no retrieval metric."""
    judged = {query_id for tables in per_query.values() for table in tables.values() for query_id in table}
    reciprocal = [tables["mrr"] for tables in per_query.values() if "mrr" in tables]
    with_gold = {query_id for table in reciprocal for query_id, value in table.items() if value is not None}
    without = {query_id for table in reciprocal for query_id in table} - with_gold
    return {"total": len(judged), _over(settings): len(judged & set(counted)), "without_gold": len(without)}


def _check(per_query: PerQuery, settings: Mapping[str, Any]) -> None:
    known = {*JUDGED, *WEAK, *BANKED}
    for method, tables in per_query.items():
        if unknown := sorted(set(tables) - known):
            raise InputError(
                f"The ranking {method!r} was judged by a metric that no report has.",
                got=", ".join(unknown),
                expected=", ".join((*JUDGED, *WEAK, *BANKED)),
                remedy="Name the per-query tables by these metrics.",
            )
    if taken := sorted({"methods", "words", "paired", "queries"} & set(settings)):
        raise InputError(
            "A setting bears the name of a part of the report.",
            got=", ".join(taken),
            expected="names other than methods, words, paired and queries",
            remedy="Rename the setting.",
        )
    try:
        json.dumps(settings, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(
            "A setting of the report does not fit into JSON.",
            got=str(error),
            expected="strings, finite numbers, booleans, null, lists and objects of these",
            remedy="Give null where a number does not exist.",
        ) from error


def table(report: Mapping[str, Any]) -> str:
    """The report as plain text: methods by metrics, paired differences, and what the figures were taken with.

    Where fewer than `FEWEST` queries count, a table over all queries comes first, with a sentence.
    """
    main = _methods(report, "")
    if few(report):
        count, which = counted_queries(report)
        total = report["queries"]["total"]
        lines = [f"Only {count:,} of {total:,} queries {which}, too few to compare methods by. Over all queries:", ""]
        lines += [*_methods(report, "_all"), "", *_differences(report, "_all")]
        lines += ["", f"Over the {count:,} queries {which}, without intervals:", "", *main] if count else []
    else:
        lines = [*main, "", *_differences(report, "")]
    while lines[-1] == "":
        lines.pop()
    return "\n".join([*lines, "", *_notes(report)])


def columns(report: Mapping[str, Any]) -> dict[str, str]:
    """The metrics of a report by name: those of retraining where some method has them."""
    there = {metric for intervals in report["methods"].values() for metric in intervals}
    return {metric: label for metric, label in COLUMNS.items() if metric in METRICS or metric in there}


def _methods(report: Mapping[str, Any], ending: str) -> list[str]:
    """A line for each method, over the queries that the ending of a metric's name says."""
    metrics = columns(report)
    rows = [
        [said.label or name, *(_cell(report["methods"][name].get(m + ending), m) for m in metrics)]
        for name, said in method_words.of_report(report).items()
    ]
    return _aligned([["method", *metrics.values()], *rows])


def _differences(report: Mapping[str, Any], ending: str) -> list[str]:
    """A line for each pair of which some difference has queries enough."""
    metrics = columns(report)
    rows = [
        [pair.replace("-", " - "), *(_cell(found.get(m + ending), m, signed=True) for m in metrics)]
        for pair, found in report["paired"].items()
        if any((found.get(m + ending) or {"n": 0})["n"] >= FEWEST for m in metrics)
    ]
    return _aligned([["paired difference, same queries", *metrics.values()], *rows]) if rows else []


def _cell(interval: Mapping[str, Any] | None, metric: str, signed: bool = False) -> str:
    """A mean with its interval; without one where it is over few queries, and no difference then."""
    if not interval or not interval["n"] or (signed and interval["n"] < FEWEST):
        return "-"
    form = "+.2f" if metric == "tail_patch" else "+.3f" if signed else ".3f"
    if interval["n"] < FEWEST:
        return f"{interval['mean']:{form}} (n = {interval['n']})"
    return f"{interval['mean']:{form}} [{interval['low']:{form}}, {interval['high']:{form}}]"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]


def _notes(report: Mapping[str, Any]) -> list[str]:
    queries, (count, which) = report["queries"], counted_queries(report)
    notes = [
        f"{count:,} of {queries['total']:,} queries {which}: the table is over {'all' if few(report) else 'these'}; "
        f"{queries['without_gold']:,} without gold have no retrieval metric.",
        "95 % bootstrap intervals over queries; n: " + ", ".join(_samples(report, "_all" if few(report) else "")) + ".",
    ]
    for name, said in GOLD_NOTES.items():
        if (found := report.get(name)) and found["ids"]:
            notes.append(f"{found['ids']:,} ids in the gold of {found['queries']:,} queries {said}.")
    if report.get("exact_match") is not None:
        notes.append(f"exact match {report['exact_match']:.3f}")
    if report.get("lambda") is not None:
        component = report.get("lambda_component")
        origin = "fixed" if component is None else f"component {component}"
        notes.append(f"lambda {report['lambda']:.4f} ({origin}), damping {report.get('damping')}")
    if report.get("tail_patch"):
        notes.append("tail-patch: " + ", ".join(f"{name} {value}" for name, value in report["tail_patch"].items()))
    return notes


def _samples(report: Mapping[str, Any], ending: str) -> list[str]:
    """The number of queries behind each column: one number, or a span where the methods differ."""
    samples = []
    for metric, label in columns(report).items():
        counts = sorted({(intervals.get(metric + ending) or {"n": 0})["n"] for intervals in report["methods"].values()})
        span = "" if not counts else f" {counts[0]:,}" if len(counts) == 1 else f" {counts[0]:,} to {counts[-1]:,}"
        samples.append(label.removesuffix(" (pp)") + span)
    return samples
