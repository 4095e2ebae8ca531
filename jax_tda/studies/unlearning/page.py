"""The study as one page that needs no network, and its pictures as files."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from jax_tda.studies.unlearning import figures
from jax_tda.studies.unlearning.results import WAYS

_STYLE = """
body { margin: 0 auto; max-width: 1000px; padding: 0 24px 48px; background: #fbfaf8; color: #1d2126;
  font: 15px/1.55 system-ui, sans-serif; }
h1 { font-size: 28px; margin: 32px 0 8px; } h2 { font-size: 20px; margin: 36px 0 6px; }
p { max-width: 78ch; } .soft { color: #5d6670; } svg { max-width: 100%; height: auto; display: block; margin: 12px 0; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 10px 0; }
th, td { text-align: left; padding: 4px 14px 4px 0; white-space: nowrap; border-bottom: 1px solid #dedcd5; }
th { font-weight: 600; } td.said { white-space: normal; }
@media (prefers-color-scheme: dark) { body { background: #14171b; color: #e7e9ec; } .soft { color: #9fa8b3; }
  th, td { border-color: #343b44; } }
"""
_WORDS = {"likelihood": "points of P(target | prompt)^(1/n)", "accuracy": "points of queries answered exactly"}


def files(results: Mapping[str, Any], shown: Mapping[str, Mapping[str, str]]) -> dict[str, bytes]:
    """`index.html`, and the pictures below `figures/`, by path.

    Args:
      results: as `results.gather` makes them.
      shown: by source a document, and prompt and target of a query, as examples.
    """
    pictures = figures.drawn(results)
    found = {f"figures/{name}.svg": text.encode() for name, text in pictures.items()}
    return found | {"index.html": _html(results, shown, pictures).encode()}


def _html(results: Mapping[str, Any], shown: Mapping[str, Mapping[str, str]], pictures: Mapping[str, str]) -> str:
    seeds = ", ".join(map(str, results["seeds"]))
    lede = (
        f"Seeds {seeds}. {results['documents']:,} documents, {results['parameters']:,} parameters. Every corpus, a "
        "random set of the same size and some pairs are unlearned by gradient ascent with retraining (GRACE, arXiv "
        "2402.11537), and the model is trained again without them. A cell is the mean over an ability's held-out "
        "queries; intervals are 95 % bootstrap over queries."
    )
    sections = [
        ("The corpora, and what is asked", _examples(shown)),
        ("Impact", pictures["matrices"] + _impact(results, "likelihood") + _impact(results, "accuracy")),
        ("Is it what training without would have done?", pictures["agreement"] + _agreement(results)),
        ("Two corpora together", pictures["joint"] + _pairs(results)),
        ("Summed influence", pictures["influences"]),
        ("The runs", pictures["trace"] + _runs(results)),
    ]
    body = "".join(f"<h2>{escape(heading)}</h2>{content}" for heading, content in sections)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        'content="width=device-width, initial-scale=1"><title>What each corpus contributes</title>'
        f"<style>{_STYLE}</style></head><body><h1>What each corpus contributes</h1>"
        f'<p class="soft">{escape(lede)}</p>{body}</body></html>\n'
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], said: Sequence[int] = ()) -> str:
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = []
    for row in rows:
        cells = "".join(
            f"<td{' class=said' if place in said else ''}>{escape(cell)}</td>" for place, cell in enumerate(row[1:], 1)
        )
        body.append(f'<tr><th scope="row">{escape(row[0])}</th>{cells}</tr>')
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'


def _examples(shown: Mapping[str, Mapping[str, str]]) -> str:
    rows = [[name, one["document"], f"{one['prompt']} →{one['target']}"] for name, one in shown.items()]
    return _table(("source", "a document", "a query"), rows, (1,))


def _points(cell: Mapping[str, Any]) -> str:
    mean, low, high = (figures.signed(100 * cell[name]) for name in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def _impact(results: Mapping[str, Any], measure: str) -> str:
    found = []
    for way, label in WAYS.items():
        rows = [
            [name, *(_points(results[measure]["impact"][way][name][ability]) for ability in results["abilities"])]
            for name in results["removals"]
        ]
        found.append(f"<p class=soft>{label}, {_WORDS[measure]}</p>" + _table(("removed", *results["abilities"]), rows))
    return f"<details><summary>{escape(measure)}, with intervals</summary>{''.join(found)}</details>"


def _agreement(results: Mapping[str, Any]) -> str:
    rows = []
    for seed, compared in results["likelihood"]["agreement"].items():
        for pair, statistics in compared.items():
            cells = [_interval(one) for one in statistics.values()]
            rows.append([f"{pair.replace('/', ' – ')}, seed {seed}", *cells])
    names = next(iter(next(iter(results["likelihood"]["agreement"].values())).values()))
    return _table(("two accounts", *(name.replace("_", " ") for name in names)), rows)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}".replace("-", "−")


def _interval(one: Mapping[str, Any]) -> str:
    if one["value"] is None:
        return "–"
    return f"{one['value']:.2f} [{one['low']:.2f}, {one['high']:.2f}]".replace("-", "−")


def _pairs(results: Mapping[str, Any]) -> str:
    rows = []
    for way, label in WAYS.items():
        for pair, one in results["likelihood"]["relations"][way].items():
            if one["relation"] != "neither" or pair in results["pairs"]:
                numbers = [_number(one[name]) for name in ("pearson", "spearman")]
                rows.append([f"{pair.replace('+', ' + ')}, {label}", *numbers, str(one["both_hit"]), one["relation"]])
    return _table(("pair", "Pearson", "Spearman", "abilities hit by both", "relation"), rows)


def _runs(results: Mapping[str, Any]) -> str:
    rows = []
    for seed, runs in results["runs"].items():
        for name, one in runs.items():
            losses = [
                f"{one[key][0]:.2f} → {one[key][1]:.2f} ({one[key + '_above']:.2f})" for key in ("forget", "validation")
            ]
            rows.append([f"{name}, seed {seed}", str(one["steps"]), str(one["retrained"]), one["ended"], *losses])
    head = (
        "removed",
        "steps of ascent",
        "retrained",
        "ended by",
        "forget loss (threshold)",
        "validation loss (threshold)",
    )
    return _table(head, rows)
