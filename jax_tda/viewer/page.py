"""A run as one static page that opens from disk: tables with intervals, and every method's passages for every query."""

import base64
import hashlib
import importlib.resources
import string
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from jax_tda.artifacts.method_words import of_report
from jax_tda.evaluation.summary import GOLD_NOTES, counted_queries
from jax_tda.viewer import figures
from jax_tda.viewer.payload import embedded, payload
from jax_tda.viewer.settings import PageConfig


def render(
    report: Mapping[str, Any],
    queries: Sequence[Mapping[str, Any]],
    passages: Mapping[str, Mapping[str, Any]],
    rankings: Mapping[str, Sequence[Mapping[str, Any]]],
    config: PageConfig = PageConfig(),
    documents: Mapping[str, str] | None = None,
) -> dict[str, bytes]:
    """The files of the page by their path relative to its folder: `index.html`, which needs no other.

    Nothing is fetched: style, script and data stand in the file. No text of the data is ever read as markup or code;
    the page's own policy lets no script run but the one of this package.

    Args:
      report: as `evaluation.summary.report` makes it.
      queries: records with `id`, `prompt`, `target`, and where known `gold`, `weak` and further fields.
      passages: records with `text` and further fields, by the ids that the rankings use.
      rankings: by method, one record per query: `query_id`, `answered_exactly`, `proponents`, `opponents`.
      documents: document of each piece of a split document, by the piece's id; other ids are their own documents.

    Raises:
      InputError: a score is not finite.
    """
    script, style = _resource("page.js"), _resource("page.css")
    data = payload(queries, passages, rankings, config, documents or {}, of_report(report))
    page = string.Template(_resource("page.html")).substitute(
        title=escape(config.title),
        script=script,
        style=style,
        script_digest=_digest(script),
        style_digest=_digest(style),
        tiles=_tiles(report),
        tables=figures.tables(report),
        differences=figures.differences(report),
        notes=_notes(report),
        data=embedded(data),
    )
    # A lone surrogate, which JSON can carry, has no bytes; the data are ASCII already.
    return {"index.html": page.encode("utf-8", errors="replace")}


def _resource(name: str) -> str:
    return importlib.resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _tiles(report: Mapping[str, Any]) -> str:
    counts = report["queries"]
    tiles = [(f"{counts['total']:,}", "queries")]
    if report.get("exact_match") is not None:
        tiles.append((f"{100 * report['exact_match']:.1f} %", f"answered exactly ({_exact(report):,})"))
    if report.get("over") == "gained":
        count, which = counted_queries(report)
        tiles.append((f"{count:,}", which))
    if report.get("lambda") is not None:
        tiles.append((f"{report['lambda']:.3f}", "λ, the weight of the queries in R"))
    if report.get("seconds"):
        tiles.append((_clock(sum(report["seconds"].values())), "minutes of computing"))
    return "".join(f"<li><b>{escape(value)}</b><span>{escape(label)}</span></li>" for value, label in tiles)


def _exact(report: Mapping[str, Any]) -> int:
    return round(report["exact_match"] * report["queries"]["total"])


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def _notes(report: Mapping[str, Any]) -> str:
    """What every figure depends on, as a list of terms."""
    terms = [("intervals", "95 % percentile bootstrap over queries")]
    if report["queries"].get("without_gold"):
        terms.append(("without gold", f"{report['queries']['without_gold']:,} queries, left out of retrieval metrics"))
    for name, said in GOLD_NOTES.items():
        if (found := report.get(name)) and found["ids"]:
            terms.append(("gold", f"{found['ids']:,} ids of {found['queries']:,} queries {said}"))
    if report.get("tail_patch"):
        terms.append(("tail-patch", ", ".join(f"{name} {value}" for name, value in report["tail_patch"].items())))
    for name in ("lambda", "lambda_component", "damping", "seed"):
        if report.get(name) is not None:
            terms.append((name.replace("_", " "), str(report[name])))
    if report.get("seconds"):
        spent = ", ".join(f"{stage} {value:.0f} s" for stage, value in report["seconds"].items())
        terms.append(("time", spent))
    return "".join(f"<dt>{escape(term)}</dt><dd>{escape(meaning)}</dd>" for term, meaning in terms)
