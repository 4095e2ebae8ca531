"""What the page carries of queries, passages and rankings: every text once, in parts that are loaded when looked at."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from jax_tda.artifacts.method_words import MethodWords, in_order
from jax_tda.viewer import hubs, rankings
from jax_tda.viewer.material import Material
from jax_tda.viewer.overview import overview
from jax_tda.viewer.rankings import Judge
from jax_tda.viewer.settings import PageConfig
from jax_tda.viewer.texts import Texts, plain

VERSION = 1
# How many queries' rankings one part holds.
QUERIES_PER_PART = 50

_QUERY_FIELDS = {"id", "prompt", "target", "gold", "weak"}


def payload(material: Material, config: PageConfig) -> dict[str, Any]:
    """The page's data by the name of their part, ready for JSON.

    `index` holds all that the list of queries, its search and its filters need, in columns; `rankings-I` the I-th fifty
    queries' rankings, in columns too (`viewer/rankings.py`); `texts-I` texts and fields of passages from
    `index.text_starts[I]` on; `hubs` the passages that serve many queries. Passages, queries and methods are named by
    their place in a list.

    Raises:
      InputError: a score is not finite.
    """
    known = in_order({name: material.words.get(name, MethodWords()) for name in material.rankings})
    methods = list(known)
    shown = material.queries[: config.shown_queries]
    texts = Texts(material.passages, config.shown_characters)
    lines = [{line["query_id"]: line for line in material.rankings[method]} for method in methods]
    rows = [[own.get(query["id"]) for query in shown] for own in lines]
    judges = [Judge(query, material.documents) for query in shown]
    # Query by query, so that passages of one query, whatever the method, have numbers and parts near each other.
    by_query = [
        [line and rankings.listed(line, judge, texts, config) for line in own]
        for own, judge in zip(zip(*rows, strict=True), judges, strict=bool(rows))
    ]
    listed = [[own[method] for own in by_query] for method in range(len(methods))]
    parts: dict[str, Any] = {}
    for start in range(0, len(shown), QUERIES_PER_PART):
        some = slice(start, start + QUERIES_PER_PART)
        parts[f"rankings-{start // QUERIES_PER_PART}"] = [rankings.columns(own[some]) for own in listed]
    starts, text_parts = texts.parts()
    parts |= {f"texts-{number}": part for number, part in enumerate(text_parts)}
    parts["hubs"] = hubs.found(listed)
    index = {
        "version": VERSION,
        "title": config.title,
        "total": len(material.queries),
        "queries_per_part": QUERIES_PER_PART,
        "text_starts": starts,
        "passages": texts.count,
        "methods": [_described(name, said) for name, said in known.items()],
        "columns": [methods.index(method) for method in config.columns or _opened(known) if method in methods]
        or [*range(len(methods))][:1],
        "overview": overview(material.report) if material.report else None,
        "kinds": [hubs.kinds(own) for own in listed],
        "queries": _columns(shown, judges, rows, material.answers),
    }
    return {"index": index} | parts


def _described(name: str, said: MethodWords) -> dict[str, str]:
    label = said.label.strip(" +") or name
    return {"name": name, "label": label, "about": said.about, "score": said.score, "unit": said.unit}


def _opened(words: Mapping[str, MethodWords]) -> list[str]:
    """What stands side by side where nobody said: what others are compared with, and those; else the first three."""
    compared = [name for name, said in words.items() if said.compared_with]
    others = [other for name in compared for other in words[name].compared_with]
    return list(dict.fromkeys([*compared, *others]) if compared else words)[:3]


def _columns(
    shown: Sequence[Mapping[str, Any]],
    judges: Sequence[Judge],
    rows: Sequence[Sequence[Mapping[str, Any] | None]],
    answers: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """The queries in columns, with what the list, the filters and the metrics need of every ranking."""
    names = list(dict.fromkeys(name for query in shown for name in query if name not in _QUERY_FIELDS))
    first, right, returned, judged = [], [], [], [bool(judge.gold) for judge in judges]
    for own in rows:
        found = []
        for number, (line, judge) in enumerate(zip(own, judges, strict=True)):
            found.append("" if line is None else judge.marks(line["proponents"]))
            judged[number] = judged[number] or (line is not None and judge.knows(line))
        first.append(
            [-1 if line is None else marks.find(rankings.GOLD) + 1 for line, marks in zip(own, found, strict=True)]
        )
        right.append([marks[:10].count(rankings.GOLD) for marks in found])
        returned.append([len(marks) for marks in found])
    said = [answers.get(query["id"], {}) for query in shown]
    return {
        "id": [query["id"] for query in shown],
        "prompt": [query["prompt"] for query in shown],
        "target": [query["target"] for query in shown],
        "judged": judged,
        "exact": [_exact([own[number] for own in rows], said[number]) for number in range(len(shown))],
        "answer": [found.get("likeliest") for found in said] if answers else None,
        "probability": [_rounded(found.get("probability")) for found in said] if answers else None,
        "fields": [field for name in names if (field := _field(name, [query.get(name) for query in shown]))],
        "first": first,
        "right": right,
        "returned": returned,
    }


def _exact(lines: Sequence[Mapping[str, Any] | None], said: Mapping[str, Any]) -> bool | None:
    if "answered_exactly" in said:
        return bool(said["answered_exactly"])
    return next((bool(line["answered_exactly"]) for line in lines if line and "answered_exactly" in line), None)


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _field(name: str, values: Sequence[Any]) -> dict[str, Any] | None:
    """A field of the queries: its different values, and each query's place among them, -1 where it has none."""
    said = [None if _empty(value) else plain(value) for value in values]
    different = {
        value: place for place, value in enumerate(dict.fromkeys(value for value in said if value is not None))
    }
    if not different:
        return None
    numeric = all(
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        for value in values
        if not _empty(value)
    )
    codes = [-1 if value is None else different[value] for value in said]
    return {"name": str(name), "numeric": numeric, "values": list(different), "codes": codes}


def _empty(value: Any) -> bool:
    """Whether a field says nothing."""
    return value is None or (isinstance(value, str | Collection) and len(value) == 0)
