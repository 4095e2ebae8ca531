"""One table over the runs of several seeds, from their reports.

    python benchmarks/seeds.py out/demo-seed-0 out/demo-seed-1 out/demo-seed-2 [--json]

Hardware: none needed. `make demo-seeds` makes the runs, one after the other, and ends with this. Expected: a column for
each directory, with the figures of that run's own table.
"""

import argparse
import json
import sys
from pathlib import Path

from jax_tda.artifacts import method_words
from jax_tda.evaluation.summary import METRICS

# What the road promises on every seed: (paired difference, metric).
PROMISED = (("trackstar-grad_cosine", "mrr"), ("trackstar-bm25", "tail_patch"))


def read(directories):
    """The reports, in the order given."""
    reports = []
    for directory in directories:
        try:
            reports.append(json.loads((Path(directory) / "report.json").read_text("utf-8")))
        except (OSError, ValueError) as problem:
            raise SystemExit(
                f"no report at {directory}: {problem}\nGive directories that a road has finished."
            ) from None
    return reports


def spread(values):
    """Mean, least and greatest over the seeds that have a value; all None when none has."""
    present = [value for value in values if value is not None]
    if not present:
        return {"mean": None, "min": None, "max": None, "each": list(values)}
    mean = sum(present) / len(present)
    return {"mean": mean, "min": min(present), "max": max(present), "each": list(values)}


def combine(directories, reports):
    """Everything that is printed, ready for JSON."""
    words = method_words.in_order({n: said for report in reports for n, said in method_words.of_report(report).items()})
    pairs = list(dict.fromkeys(pair for report in reports for pair in report["paired"]))

    def value(report, part, name, metric):
        return report[part].get(name, {}).get(metric, {}).get("mean")

    def intervals(pair):
        return {metric: [report["paired"].get(pair, {}).get(metric) for report in reports] for metric in METRICS}

    return {
        "directories": [str(directory) for directory in directories],
        "seeds": [report["seed"] for report in reports],
        "exact_match": spread([report.get("exact_match") for report in reports]),
        "lambda": spread([report.get("lambda") for report in reports]),
        "seconds": spread([sum(report["seconds"].values()) for report in reports]),
        "labels": {method: said.label or method for method, said in words.items()},
        "queries": [report["queries"] for report in reports],
        "tail_patch": [report.get("tail_patch") for report in reports],
        "methods": {
            method: {metric: spread([value(r, "methods", method, metric) for r in reports]) for metric in METRICS}
            for method in words
        },
        "paired": {pair: intervals(pair) for pair in pairs},
        "holds": {f"{pair} {metric}": holds(intervals(pair)[metric]) for pair, metric in PROMISED if pair in pairs},
    }


def holds(intervals):
    """On how many seeds the whole interval of a difference lies above 0."""
    return sum(1 for one in intervals if one and one["low"] is not None and one["low"] > 0)


def number(value, metric, signed=False):
    """A figure in the form that a run's own table gives it."""
    if value is None:
        return "-"
    return f"{value:{'+.2f' if metric == 'tail_patch' else '+.3f' if signed else '.3f'}}"


def aligned(rows):
    """Rows of text in columns, with a line below the first."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]


def table(combined):
    """The combined table as plain text."""
    seeds = [f"seed {seed}" for seed in combined["seeds"]]
    rows = [["method", *METRICS.values()]]
    for method, metrics in combined["methods"].items():
        cells = []
        for metric, over in metrics.items():
            mean, least, most = (number(over[name], metric) for name in ("mean", "min", "max"))
            cells.append("-" if over["mean"] is None else f"{mean} ({least} – {most})")
        rows.append([combined["labels"][method], *cells])
    lines = [f"Mean over {len(seeds)} seeds (least – greatest)", "", *aligned(rows)]
    for metric, label in METRICS.items():
        rows = [[label, *seeds]]
        for method, metrics in combined["methods"].items():
            rows.append([combined["labels"][method], *(number(v, metric) for v in metrics[metric]["each"])])
        lines += ["", *aligned(rows)]
    rows = [["paired difference, 95 % interval", *seeds]]
    for pair, metric in PROMISED:
        if pair in combined["paired"]:
            name = f"{pair.replace('-', ' - ')}, {METRICS[metric]}"
            rows.append([name, *(interval(one, metric) for one in combined["paired"][pair][metric])])
    lines += ["", *aligned(rows)]
    rows = [["", *seeds]]
    rows.append(["exact match", *(number(v, "exact_match") for v in combined["exact_match"]["each"])])
    rows.append(
        ["queries answered exactly", *(f"{q['answered_exactly']:,} of {q['total']:,}" for q in combined["queries"])]
    )
    rows.append(["lambda", *(number(v, "lambda") for v in combined["lambda"]["each"])])
    rows.append(["seconds inside the jobs", *(f"{v:.0f}" for v in combined["seconds"]["each"])])
    lines += ["", *aligned(rows), ""]
    lines += [f"{what} above 0 on {count} of {len(seeds)} seeds" for what, count in combined["holds"].items()]
    for settings in {json.dumps(one) for one in combined["tail_patch"] if one}:
        shown = {n: v for n, v in json.loads(settings).items() if n not in ("passages", "seed")}
        line = "tail-patch: " + ", ".join(f"{name} {value}" for name, value in shown.items())
        lines += [line] if line not in lines else []
    return "\n".join(lines)


def interval(one, metric):
    """Mean and interval of a paired difference."""
    if not one or not one["n"]:
        return "-"
    mean, low, high = (number(one[name], metric, signed=True) for name in ("mean", "low", "high"))
    if one["low"] is None:
        return f"{mean} n {one['n']}"
    return f"{mean} [{low}, {high}] n {one['n']}"


def main():
    """Prints the table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directories", nargs="+", help="what a road wrote: DIR/report.json is read")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    given = parser.parse_args()
    combined = combine(given.directories, read(given.directories))
    json.dump(combined, sys.stdout, indent=1) if given.json else print(table(combined))


if __name__ == "__main__":
    main()
