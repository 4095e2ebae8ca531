"""The study as a page: what was asked, what came out, four figures and the tables behind them."""

from collections.abc import Mapping
from typing import Any

from jax_tda.studies.density import drawing, tables
from jax_tda.studies.density.tables import COLOURS, figure, label, slope, space_name

Results = Mapping[str, Any]
_OTHER, _LEAK = "#808891", "#3a9a50"
_STYLE = """
:root { color-scheme: light dark; --ink: #1d2126; --soft: #5d6670; --page: #f7f6f3; --line: #d5d2ca; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7e9ec; --soft: #9fa8b3; --page: #14171b; --line: #343b44; } }
body { margin: 0 auto; max-width: 860px; padding: 24px; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 28px; } h2 { font-size: 20px; margin-top: 36px; } p { color: var(--soft); }
svg { width: 100%; height: auto; } .wide { overflow-x: auto; margin: 12px 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13.5px; }
th, td { text-align: left; padding: 5px 14px 5px 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
"""
_LEDES = {
    "perplexity": """Log perplexity of a query’s target on the log density of its point among the training passages’,
beside the lengths of query and target and the target’s unigram frequency. Partial R² is the share of what the controls
leave unexplained. Grey rows are what a density competes with; the number of the fact’s passages was drawn by lot, and a
density can only estimate it. A slope is in standard deviations. The last table is over the queries whose fact has a
passage at all.""",
    "bandwidth": """Held-out likelihood chooses it, never the outcome.
The correlation of log perplexity with the log density is shown under every bandwidth that was tried; below it the
sampled estimator beside the exact density.""",
    "leak": """Facts that the model had never read were put into tuning data, verbatim or reworded, each beside a
control of the same relation that was not. Differences are paired. Then: does the density after the leak tell
the gain?""",
    "proponents": """Tail-patch of TrackStar’s first ten proponents by fifths of the log density, from the emptiest
fifth to the fullest; and regressions of it beside the controls and the likelihood itself.""",
}


def figures(results: Results) -> dict[str, str]:
    """SVGs by name."""
    found = results["pretraining"]["predictors"]
    leaks = [cell for cell in results["leakage"]["cells"] if cell["pairs"]]
    return {
        "predictors": drawing.dots(
            "What explains log perplexity beside the controls",
            [(label(name), one["partial"], _colour(name)) for name, one in found.items()],
            "partial R²",
        ),
        "bandwidths": _bandwidths(results),
        "leakage": drawing.dots(
            "Gain in log probability of the target, leaked minus control",
            [(f"{cell['kind']} × {cell['copies']}", cell["gain"]["difference"], _LEAK) for cell in leaks],
            "nats",
        ),
        "strong_proponents": _fifths(results),
    }


def render(results: Results, drawn: Mapping[str, str]) -> str:
    """The page, which needs no other file."""
    leak = results["leakage"]
    sections = (
        (
            "Does a query’s likelihood follow the density around it?",
            "perplexity",
            drawn["predictors"]
            + tables.regression(results["pretraining"])
            + tables.coverage(results)
            + tables.regression(results["pretraining_covered"]),
        ),
        ("Which bandwidth?", "bandwidth", drawn["bandwidths"] + tables.sampled(results)),
        (
            "What does a leak do?",
            "leak",
            drawn["leakage"] + tables.cells(results) + tables.regression(leak["prediction"], known=True),
        ),
        (
            "Does density tell which queries have strong proponents?",
            "proponents",
            drawn["strong_proponents"] + tables.regression(results["influence"]["tail_patch"]),
        ),
    )
    body = "".join(f"<h2>{title}</h2><p>{_LEDES[lede]}</p>{content}" for title, lede, content in sections)
    level = results["settings"]["bootstrap"]["level"]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Density</title><style>{_STYLE}</style></head><body><h1>Density</h1>"
        "<p>Does performance follow the density of training data, as LMD3 (arXiv 2405.06331) says, and in which space? "
        f"Seeds {', '.join(map(str, results['seeds']))}; brackets hold {level:.0%} bootstrap intervals over subjects, "
        f"of the leak over pairs.</p>{body}</body></html>\n"
    )


def summary(results: Results) -> str:
    """What the job prints at its end."""
    lines = []
    leak = results["leakage"]
    for title, found in (
        ("log perplexity", results["pretraining"]),
        ("log perplexity of facts with a passage", results["pretraining_covered"]),
        ("gain by a leak, leaked and controls", leak["prediction"]),
        ("gain by a leak, leaked alone", leak["leaked_alone"]),
        ("tail-patch of the first ten", results["influence"]["tail_patch"]),
        ("score of the first ten", results["influence"]["strength"]),
    ):
        lines.append(f"{title} on: R² alone, partial R², partial R² within relations")
        for name, one in (found["predictors"] | found["differences"]).items():
            shares = "  ".join(figure(one[s]) for s in ("r_squared", "partial", "within_relation"))
            if "slope" in one:
                more = f"slope {slope(one['slope'])}  p {max(one['p']):.3f}"
            else:
                more = f"adds {figure(one['added'])} and {figure(one['added_by_other'])}"
            lines.append(f"  {label(name):44} {shares}  {more}")
    lines.append(
        f"known dose: {figure(leak['prediction']['known_dose'])}, {figure(leak['leaked_alone']['known_dose'])}"
    )
    for title, found in (("answered exactly", results["correctness"]), ("after a leak", leak["correct_after"])):
        lines += [f"{title} on {label(name)}: log-odds {figure(one['log_odds'])}" for name, one in found.items()]
    lines.append("leak minus control: gain in log p, answered exactly, rise of the log density")
    for cell in leak["cells"]:
        if cell["pairs"]:
            rises = "  ".join(f"{s} {figure(cell[f'rise/{s}']['difference'], 1)}" for s in results["spaces"])
            paired = f"{figure(cell['gain']['difference'], 2)}  {figure(cell['right']['difference'])}"
            lines.append(f"  {cell['kind']} × {cell['copies']} ({cell['pairs']} pairs)  {paired}  {rises}")
    return "\n".join(lines)


def _colour(predictor: str) -> str:
    kind, _, space = predictor.partition("/")
    return COLOURS[space] if kind == "density" else _OTHER


def _bandwidths(results: Results) -> str:
    kernel, factors = results["settings"]["kernel"], sorted(results["settings"]["bandwidth_factors"])
    series = []
    for space in results["spaces"]:
        sweeps = [seed[space][kernel] for seed in results["sweeps"].values()]
        means = [sum(sweep["correlations"][n] for sweep in sweeps) / len(sweeps) for n in range(len(factors))]
        chosen = ", ".join(f"{factors[place]:g}" for place in sorted({sweep["best"] for sweep in sweeps}))
        series.append((f"{space_name(space)} ({chosen})", list(enumerate(means)), COLOURS[space]))
    names = [f"{factor:g}" for factor in factors]
    return drawing.lines(
        "Correlation of log perplexity with the log density, by bandwidth",
        series,
        names,
        (f"bandwidth ({kernel} kernel) over what suits one neighbour; in brackets the likeliest", "correlation"),
    )


def _fifths(results: Results) -> str:
    series = []
    for space, rows in results["fifths"].items():
        points = [(n, row["tail_patch"]["mean"]) for n, row in enumerate(rows) if row["tail_patch"]["mean"] is not None]
        series.append((space_name(space), points, COLOURS[space]))
    axes = ("fifth of the log density, from empty to full", "tail-patch of the first ten, percentage points")
    return drawing.lines("Strong proponents by density", series, ["1", "2", "3", "4", "5"], axes)
