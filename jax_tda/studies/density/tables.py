"""The results as HTML tables, and what things are called there."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

Results = Mapping[str, Any]
COLOURS = {"text": "#8a6fd1", "embedding": "#c2569b", "gradient": "#2f7fd6", "trackstar": "#d6822f"}
_SPACES = {
    "text": "text (TF-IDF)",
    "embedding": "text (sentence encoder)",
    "gradient": "gradient",
    "trackstar": "gradient, whitened",
}
_WORDS = {
    "density": "log density",
    "tuning": "log density",
    "nearest": "nearest cosine",
    "mean_nearest": "mean of nearest cosines",
    "overlap": "overlap of pairs of words",
    "wordings": "number of the fact's passages, known",
}
_SHARES = ("r_squared", "partial", "within_relation")


def space_name(space: str) -> str:
    """A space in words."""
    return _SPACES.get(space, space)


def label(predictor: str) -> str:
    """A predictor, or a difference of two, in words."""
    one, _, other = predictor.partition("-")
    if other:
        return " − ".join(space_name(name.partition("/")[2]) for name in (one, other))
    kind, _, space = predictor.partition("/")
    return f"{_WORDS.get(kind, kind)}{f', {space_name(space)}' if space else ''}"


def figure(estimate: Mapping[str, Any], digits: int = 3) -> str:
    """A mean and its interval."""
    if estimate["mean"] is None:
        return "–"
    mean, low, high = (f"{estimate[name]:.{digits}f}" for name in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def slope(estimate: Mapping[str, Any]) -> str:
    """A slope's mean, with its sign."""
    return "–" if estimate["mean"] is None else f"{estimate['mean']:+.2f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of text."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def regression(found: Mapping[str, Any], known: bool = False) -> str:
    """What predictors explain, then their differences; `known` adds what the leak's own dose explains."""
    rows = []
    for name, one in found["predictors"].items():
        p = ", ".join(f"{value:.3f}" for value in one["p"])
        rows.append([label(name), *(figure(one[s]) for s in _SHARES), slope(one["slope"]), p])
    if known:
        rows.append(["kind and number of copies, known", "", figure(found["known_dose"]), "", "", ""])
    for name, one in found["differences"].items():
        rows.append([label(name), *(figure(one[s]) for s in _SHARES), "", ""])
    head = ["predictor", "R²", "partial R²", "within relations", "slope", "permutation p by seed"]
    return table(head, [[cell.replace("-", "−") for cell in row] for row in rows])


def coverage(results: Results) -> str:
    """Perplexity, answers and densities by the number of a fact's passages."""
    spaces = results["spaces"]
    rows = [
        [
            str(row["wordings"]),
            f"{row['queries']:,}",
            f"{row['perplexity']:.2f}",
            f"{row['right']:.3f}",
            *(f"{row[f'density/{space}']:.1f}" for space in spaces),
        ]
        for row in results["coverage"]
    ]
    head = ["passages of the fact", "queries", "log perplexity", "answered exactly"]
    return table([*head, *(f"log density, {space_name(space)}" for space in spaces)], rows)


def cells(results: Results) -> str:
    """Gain and rise by kind and number of copies."""
    spaces = results["spaces"]
    rows = [
        [
            f"{cell['kind']} × {cell['copies']}",
            str(cell["pairs"]),
            figure(cell["gain"]["leaked"], 2),
            figure(cell["gain"]["control"], 2),
            figure(cell["right"]["difference"]),
            *(figure(cell[f"rise/{space}"]["difference"], 1) for space in spaces),
        ]
        for cell in results["leakage"]["cells"]
        if cell["pairs"]
    ]
    head = ["leak", "pairs", "gain in log p", "of the control", "answered exactly, difference"]
    return table([*head, *(f"rise of log density, difference, {space_name(space)}" for space in spaces)], rows)


def sampled(results: Results) -> str:
    """The sampled estimator over the exact density: mean, spread over draws, and its own error bar, by seed's mean."""
    rows = []
    for space in results["spaces"]:
        for which in ("likeliest", "widest"):
            seeds = [seed[space][which] for seed in results["sampled"].values() if space in seed]
            if seeds:
                means = [sum(one[n] for one in seeds) / len(seeds) for n in ("mean_ratio", "spread", "error_bar")]
                rows.append(
                    [space_name(space), which, *(f"{value:.2g}" if value < 0.1 else f"{value:.5f}" for value in means)]
                )
    head = ["sampled estimator", "bandwidth", "mean over the exact density", "spread over samples", "its own error bar"]
    return table(head, rows)
