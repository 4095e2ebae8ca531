"""The study as a page: what was asked, what came out, four figures and the tables behind them."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from jax_tda.studies.density import drawing

Results = Mapping[str, Any]
COLOURS = {"text": "#8a6fd1", "gradient": "#2f7fd6", "trackstar": "#d6822f"}
NAMES = {"text": "text (TF-IDF)", "gradient": "gradient", "trackstar": "gradient, whitened"}
_OTHER = "#808891"
_STYLE = """
:root { color-scheme: light dark; --ink: #1d2126; --soft: #5d6670; --page: #f7f6f3; --line: #d5d2ca; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7e9ec; --soft: #9fa8b3; --page: #14171b; --line: #343b44; } }
body { margin: 0 auto; max-width: 860px; padding: 24px; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 28px; } h2 { font-size: 20px; margin-top: 36px; } p, td small { color: var(--soft); }
p b { color: var(--ink); } svg { width: 100%; height: auto; } .wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13.5px; }
th, td { text-align: left; padding: 5px 14px 5px 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
"""


def figures(results: Results) -> dict[str, str]:
    """SVGs by name."""
    return {
        "predictors": _predictors(results),
        "bandwidths": _bandwidths(results),
        "leakage": _leakage(results),
        "strong_proponents": _quintiles(results),
    }


def render(results: Results, drawn: Mapping[str, str]) -> str:
    """The page, which needs no other file."""
    sections = [
        (
            "Does a query's likelihood follow the density around it?",
            "Log perplexity of a query's target on the log density of its embedding among the training passages, beside "
            "the lengths of query and target and the target's unigram frequency. Partial R²: the share of what the "
            "controls leave unexplained. Grey rows are what density competes with; <b>wordings</b> is the number of the "
            "fact's passages in the corpus, which was drawn by lot and which a density can only estimate.",
            drawn["predictors"] + _regression(results["pretraining"]) + _coverage(results),
        ),
        (
            "Which bandwidth?",
            "Held-out likelihood chooses it, never the outcome. R² of log perplexity under every bandwidth that was tried.",
            drawn["bandwidths"],
        ),
        (
            "What does a leak do?",
            "Facts that the model had never read were put into tuning data, verbatim or reworded, each beside a control "
            "of the same relation that was not. Differences are paired.",
            drawn["leakage"] + _cells(results["leakage"]) + _prediction(results["leakage"]),
        ),
        (
            "Does density tell which queries have strong proponents?",
            "Tail-patch of TrackStar's first ten proponents by fifths of the log density, from the emptiest fifth to the "
            "fullest.",
            drawn["strong_proponents"] + _regression(results["influence"]["tail_patch"]),
        ),
    ]
    body = "".join(f"<h2>{title}</h2><p>{lede}</p>{content}" for title, lede, content in sections)
    seeds = ", ".join(map(str, results["seeds"]))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Density</title><style>{_STYLE}</style></head><body><h1>Density</h1>"
        f"<p>Does performance follow the density of training data (LMD3, arXiv 2405.06331), and in which space? "
        f"Seeds {seeds}; brackets hold {results['settings']['bootstrap']['level']:.0%} bootstrap intervals over "
        f"subjects, or over pairs for the leak.</p>{body}</body></html>\n"
    )


def summary(results: Results) -> str:
    """What the job prints at its end."""
    lines = ["log perplexity on log density: R² alone, partial R², partial R² within relations"]
    for name, one in results["pretraining"]["predictors"].items():
        figures_of = "  ".join(figure(one[s]) for s in ("r_squared", "partial", "within_relation"))
        lines.append(f"{label(name):32} {figures_of}  slope {one['slope']['mean']:+.2f}")
    for pair, one in results["pretraining"]["differences"].items():
        lines.append(f"{pair:32} {'  '.join(figure(one[s]) for s in ('r_squared', 'partial', 'within_relation'))}")
    lines.append("leak: gain in log p, and rise of the log density, minus the control's")
    for cell in results["leakage"]["cells"]:
        if cell["pairs"]:
            rises = "  ".join(f"{space} {figure(cell[f'rise/{space}']['difference'])}" for space in NAMES)
            lines.append(
                f"{cell['kind']} × {cell['copies']} ({cell['pairs']} pairs)  {figure(cell['gain']['difference'])}  {rises}"
            )
    lines.append("gain on log density after the leak: partial R²")
    for part in ("prediction", "leaked_alone"):
        for space, one in results["leakage"][part]["spaces"].items():
            lines.append(f"{part} {space:20} {figure(one['partial'])}  slope {one['slope']['mean']:+.2f}  p {one['p']}")
        lines += [f"{part} {pair}: {figure(one)}" for pair, one in results["leakage"][part]["differences"].items()]
    for outcome, found in results["influence"].items():
        for name, one in found["predictors"].items():
            lines.append(
                f"{outcome} on {label(name):28} {figure(one['partial'])}  slope {one['slope']['mean']:+.2f}  p {one['p']}"
            )
    return "\n".join(lines)


def figure(estimate: Mapping[str, Any], digits: int = 3) -> str:
    """A mean and its interval."""
    if estimate["mean"] is None:
        return "–"
    return "{mean:.{d}f} [{low:.{d}f}, {high:.{d}f}]".format(
        d=digits, **{k: estimate[k] for k in ("mean", "low", "high")}
    )


def label(predictor: str) -> str:
    """A predictor in words."""
    kind, _, space = predictor.partition("/")
    words = {"density": "log density", "nearest": "nearest cosine", "mean_nearest": "mean of nearest cosines"}
    return f"{words.get(kind, kind)}{f', {NAMES.get(space, space)}' if space else ''}"


def _colour(predictor: str) -> str:
    kind, _, space = predictor.partition("/")
    return COLOURS[space] if kind == "density" else _OTHER


def _predictors(results: Results) -> str:
    found = results["pretraining"]["predictors"]
    rows = [(label(name), one["partial"], _colour(name)) for name, one in found.items()]
    return drawing.dots("What explains log perplexity beside the controls", rows, "partial R²")


def _bandwidths(results: Results) -> str:
    kernel, factors = results["settings"]["kernel"], sorted(results["settings"]["bandwidth_factors"])
    series, marks = [], []
    for space, colour in COLOURS.items():
        sweeps = [seed[space][kernel] for seed in results["sweeps"].values()]
        means = [sum(sweep["r_squared"][place] for sweep in sweeps) / len(sweeps) for place in range(len(factors))]
        series.append((NAMES[space], list(enumerate(means)), colour))
        marks.append(
            (f"{NAMES[space]}: × {', '.join(f'{factors[s]:g}' for s in sorted({w['best'] for w in sweeps}))}", colour)
        )
    names = [f"{factor:g}" for factor in factors]
    axes = (f"bandwidth of the {kernel} kernel, in units of what suits one neighbour", "R² of log perplexity")
    drawn = drawing.lines("R² by bandwidth", series, names, axes)
    notes = [drawing.text(622, 130 + 16 * n, words, "start", colour, 10) for n, (words, colour) in enumerate(marks)]
    likeliest = [drawing.text(622, 114, "likeliest:", "start", size=10), *notes]
    return drawn.replace("\n</svg>", "\n" + "\n".join(likeliest) + "\n</svg>")


def _leakage(results: Results) -> str:
    rows = [
        (f"{cell['kind']} × {cell['copies']}", cell["gain"]["difference"], "#3a9a50")
        for cell in results["leakage"]["cells"]
        if cell["pairs"]
    ]
    return drawing.dots("Gain in log probability of the target, leaked minus control", rows, "nats")


def _quintiles(results: Results) -> str:
    series = [
        (NAMES[space], [(n, row["tail_patch"]["mean"]) for n, row in enumerate(rows) if row["tail_patch"]["mean"] is not None], COLOURS[space])
        for space, rows in results["quintiles"].items()
    ]  # fmt: skip
    axes = ("fifth of the log density, from empty to full", "tail-patch of the first ten proponents, percentage points")
    return drawing.lines("Strong proponents by density", series, ["1", "2", "3", "4", "5"], axes)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _regression(found: Mapping[str, Any]) -> str:
    columns = ("r_squared", "partial", "within_relation")
    rows = [
        [label(name), *(figure(one[s]) for s in columns), f"{one['slope']['mean']:+.2f}", ", ".join(f"{p:.3f}" for p in one["p"])]
        for name, one in found["predictors"].items()
    ]  # fmt: skip
    rows += [
        [f"{pair} (paired)", *(figure(one[s]) for s in columns), "", ""] for pair, one in found["differences"].items()
    ]
    return _table(["predictor", "R²", "partial R²", "within relations", "slope", "permutation p by seed"], rows)


def _coverage(results: Results) -> str:
    rows = [
        [str(row["wordings"]), f"{row['queries']:,}", f"{row['outcome']:.2f}", f"{row['right']:.3f}"]
        + [f"{row[f'density/{space}']:.1f}" for space in NAMES]
        for row in results["coverage"]
    ]
    head = ["passages of the fact", "queries", "log perplexity", "answered exactly"]
    return _table([*head, *(f"log density, {name}" for name in NAMES.values())], rows)


def _cells(leak: Mapping[str, Any]) -> str:
    rows = [
        [f"{cell['kind']} × {cell['copies']}", str(cell["pairs"]), figure(cell["gain"]["leaked"], 2), figure(cell["gain"]["control"], 2)]
        + [figure(cell[f"rise/{space}"]["difference"], 1) for space in NAMES]
        for cell in leak["cells"]
        if cell["pairs"]
    ]  # fmt: skip
    head = ["leak", "pairs", "gain in log p", "of the control"]
    return _table([*head, *(f"rise of log density − control's, {name}" for name in NAMES.values())], rows)


def _prediction(leak: Mapping[str, Any]) -> str:
    rows = []
    for part, words in (("prediction", "leaked and controls"), ("leaked_alone", "leaked alone")):
        for space, one in leak[part]["spaces"].items():
            p = ", ".join(f"{value:.3f}" for value in one["p"])
            rows.append(
                [
                    words,
                    NAMES[space],
                    figure(one["r_squared"]),
                    figure(one["partial"]),
                    f"{one['slope']['mean']:+.2f}",
                    p,
                ]
            )
        rows += [
            [words, f"{pair} (paired)", "", figure(one), "", ""] for pair, one in leak[part]["differences"].items()
        ]
        rows.append([words, "kind and number of copies, known", "", figure(leak[part]["known_dose"]), "", ""])
    return _table(
        ["gain in log p of", "log density in the tuning data", "R²", "partial R²", "slope", "permutation p by seed"],
        rows,
    )
