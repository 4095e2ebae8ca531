"""The study on one page that opens without a network: the question, the figures, the tables, and what was left out."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from jax_tda.studies.acquisition.directions import CALLED
from jax_tda.studies.acquisition.knowledge import KINDS

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #20252b; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; } svg { width: 100%; height: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .6rem 0; }
th, td { padding: .2rem .7rem .2rem 0; text-align: left; border-bottom: 1px solid #80889133; }
small { color: #66707a; } .wide { overflow-x: auto; }
@media (prefers-color-scheme: dark) { body { background: #14181d; color: #dde3ea; } }
"""
_ASKED = (
    "How does a model acquire a fact that it meets once, again and again, or in ever new words, and how does it "
    "forget? Invented passages are put into its training; queries ask for them word for word (memorisation), reworded "
    "(semantic), and for what follows from them (composition). Measures: Chang et al., arXiv 2406.11813."
)


def shown(one: Mapping[str, Any] | None, form: str = ".3f") -> str:
    """A figure with its interval; a dash where there is none."""
    if not one or one["value"] is None:
        return "–"
    return f"{one['value']:{form}} [{one['low']:{form}}, {one['high']:{form}}]".replace("-", "−")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An HTML table."""
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def effectivity_rows(results: Mapping[str, Any]) -> list[list[str]]:
    """Run, schedule, and E of each kind."""
    rows = []
    for name, run in results["runs"].items():
        for schedule in dict.fromkeys(key.split("/")[0] for key in run["effectivity"]):
            cells = [shown(run["effectivity"].get(f"{schedule}/{kind}")) for kind in KINDS]
            rows.append([name, schedule, *cells])
    return rows


def forgetting_rows(results: Mapping[str, Any]) -> list[list[str]]:
    """Run, schedule, kind, decay, R², and the threshold in steps and tokens."""
    rows = []
    for name, run in results["runs"].items():
        for key, fit in run["forgetting"].items():
            schedule, kind = key.split("/")
            tokens = fit["log10_threshold_tokens"]
            rows.append(
                [
                    name, schedule, CALLED[kind], shown(fit["decay"]), shown(fit["r_squared"], ".2f"),
                    shown(fit["x_intercept"], ".2f"), "–" if tokens is None else f"{tokens:.2f}",
                ]
            )  # fmt: skip
    return rows


def direction_rows(results: Mapping[str, Any]) -> list[list[str]]:
    """Claim, difference, verdict."""
    return [[one["claim"], shown(one, "+.3f"), one["verdict"]] for one in results["directions"]]


def influence_rows(results: Mapping[str, Any]) -> list[list[str]]:
    """Method, and its rank correlations with effectivity."""
    figures = ("all", *KINDS, "first_encounter", "over_training", "own_mrr")
    found = results["influence"]
    return [[method, *(shown(found[method][figure], ".2f") for figure in figures)] for method in ("trackstar", "dot")]


def count_rows(results: Mapping[str, Any]) -> list[list[str]]:
    """Everything that was counted: what stands behind each figure, and what was left out."""
    names = next(iter(results["runs"].values()))["counts"]
    fields = list(next(iter(names.values())))
    return [
        [run, key, *(f"{counts[field]:,}" for field in fields)]
        for run, found in results["runs"].items()
        for key, counts in found["counts"].items()
    ]


def page(results: Mapping[str, Any], drawings: Mapping[str, str]) -> str:
    """The HTML file."""
    fields = list(next(iter(next(iter(results["runs"].values()))["counts"].values())))
    kinds = [CALLED[kind] for kind in KINDS]
    influence = ["", "all", *kinds, "first encounter", "over training", "own passage, MRR"]
    chosen = [
        [str(seed["seed"]), *(f"{seed[name]:,}" for name in ("in_file", "fitting", "with_paraphrases", "chosen"))]
        for seed in results["seeds"]
    ]
    parts = [
        f"<h1>Acquisition</h1><p>{escape(_ASKED)}</p>",
        f"<h2>Over training</h2>{drawings['curves']}",
        f"<h2>Effectivity</h2>{drawings['effectivity']}",
        table(["run", "schedule", *kinds], effectivity_rows(results)),
        f"<h2>Forgetting</h2>{drawings['forgetting']}",
        table(
            ["run", "schedule", "kind", "decay", "R²", "threshold, log10 steps", "log10 tokens"],
            forgetting_rows(results),
        ),
        "<h2>What the paper found, here</h2>",
        table(["finding, as a difference above 0", "difference", ""], direction_rows(results)),
        f"<h2>Does influence track effectivity?</h2>{drawings['influence']}",
        "<p><small>Spearman’s rank correlation of a passage’s influence on its queries, just before the round of an "
        "encounter, with their effectivity at it. Over training: the mean over queries of the correlation over the "
        "encounters of one.</small></p>",
        table(influence, influence_rows(results)),
        "<h2>Counts</h2>",
        table(["seed", "passages in the file", "fitting", "of these with paraphrases", "chosen"], chosen),
        table(["run", "queries", *(field.replace("_", " ") for field in fields)], count_rows(results)),
        f"<p><small>Square brackets: {100 * results['level']:g} % percentile bootstrap over passages.</small></p>",
    ]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Acquisition</title><style>{_STYLE}</style><body>{''.join(parts)}</body></html>\n"
    )
