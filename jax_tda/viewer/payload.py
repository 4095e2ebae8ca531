"""What the page carries about queries, passages and rankings: every text once, every list cut to what is shown."""

import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from jax_tda.artifacts.method_words import MethodWords, in_order
from jax_tda.core.errors import InputError
from jax_tda.viewer.settings import PageConfig

# What a listed passage is to its query; null where the query has no gold.
OTHER, GOLD, WEAK = 0, 1, 2

_QUERY_FIELDS = {"id", "prompt", "target", "gold", "weak"}
_PASSAGE_FIELDS = {"id", "text"}
# Characters that end a script element, start an entity, or end a line of JavaScript.
_UNSAFE = re.compile("[<>&\u2028\u2029]")


def embedded(value: Any) -> str:
    """JSON that may stand inside a script element: ASCII, without `<`, `>` and `&`.

    Raises:
      ValueError: the value holds NaN or infinity.
    """
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return _UNSAFE.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def payload(
    queries: Sequence[Mapping[str, Any]],
    passages: Mapping[str, Mapping[str, Any]],
    rankings: Mapping[str, Sequence[Mapping[str, Any]]],
    config: PageConfig,
    documents: Mapping[str, str],
    words: Mapping[str, MethodWords],
) -> dict[str, Any]:
    """The data behind the list of queries, as page.js reads it.

    Passages and methods are named by their place in a list. A query's ranking is null where the method has no line for
    it, else `[rank of the first correct entry or 0, entries in the ranking, proponents, opponents]`, each entry
    `[passage, score, mark]`.

    Args:
      queries: in the order of the page.
      passages: text and further fields by corpus id; an id that is missing is shown without text.
      rankings: by method, lines in the pinned form.
      documents: document of each piece of a split document; an id that is missing is its own document.
      words: what methods say of themselves; one that is missing is called by its name.
    """
    known = in_order({name: words.get(name, MethodWords()) for name in rankings})
    methods = list(known)
    lines = [{line["query_id"]: line for line in rankings[method]} for method in methods]
    shown = queries[: config.shown_queries]
    texts: list[dict[str, Any]] = []
    places: dict[str, int] = {}

    def place(corpus_id: str) -> int:
        if corpus_id not in places:
            places[corpus_id] = len(texts)
            texts.append(_passage(corpus_id, passages.get(corpus_id), config))
        return places[corpus_id]

    records = []
    for query in shown:
        gold, weak = set(query.get("gold") or ()), set(query.get("weak") or ())
        own = [by_query.get(query["id"]) for by_query in lines]
        facet = query.get(config.facet)
        records.append(
            {
                "id": query["id"],
                "prompt": query["prompt"],
                "target": query["target"],
                "exact": next((bool(line.get("answered_exactly")) for line in own if line), None),
                "judged": bool(gold),
                "facet": None if facet is None else _plain(facet),
                "fields": _fields(query, _QUERY_FIELDS | {config.facet}),
                "rankings": [line and _ranking(line, gold, weak, place, config, documents) for line in own],
            }
        )
    return {
        "methods": [{"name": name, "label": said.label.strip(" +") or name} for name, said in known.items()],
        "columns": [methods.index(method) for method in config.columns or _opened(known) if method in methods]
        or [*range(len(methods))][:1],
        "facet": config.facet,
        "total": len(queries),
        "passages": texts,
        "queries": records,
    }


def _opened(words: Mapping[str, MethodWords]) -> list[str]:
    """What stands side by side where nobody said: the compared, what they are compared with, and the table's last."""
    compared = [name for name, said in words.items() if said.compared_with]
    others = [other for name in compared for other in words[name].compared_with]
    return list(dict.fromkeys([*compared, *others, *list(words)[-1:]])) if compared else []


def _ranking(
    line: Mapping[str, Any],
    gold: Collection[str],
    weak: Collection[str],
    place: Any,
    config: PageConfig,
    documents: Mapping[str, str],
) -> list[Any]:
    def mark(corpus_id: str) -> int | None:
        document = documents.get(corpus_id, corpus_id)
        if not gold:
            return None
        return GOLD if document in gold else WEAK if document in weak else OTHER

    def entries(listed: Sequence[Mapping[str, Any]], most: int) -> list[list[Any]]:
        return [[place(entry["id"]), _score(entry, line), mark(entry["id"])] for entry in listed[:most]]

    proponents = line["proponents"]
    correct = [rank for rank, entry in enumerate(proponents, start=1) if mark(entry["id"]) == GOLD]
    return [
        correct[0] if correct else 0,
        len(proponents),
        entries(proponents, config.shown_proponents),
        entries(line.get("opponents", []), config.shown_opponents),
    ]


def _score(entry: Mapping[str, Any], line: Mapping[str, Any]) -> float:
    score = float(entry.get("score", 0.0))
    if not math.isfinite(score):
        raise InputError(
            f"A ranking holds a score that is not a number, for query {line['query_id']!r}.",
            got=f"{score} for passage {entry['id']!r}",
            expected="finite scores",
            remedy="Leave such passages out of the ranking and count them where it is made.",
        )
    # The page shows four decimals; what it does not show it need not carry.
    return round(score, 4)


def _passage(corpus_id: str, passage: Mapping[str, Any] | None, config: PageConfig) -> dict[str, Any]:
    if passage is None:
        return {"id": corpus_id, "text": None, "cut": 0, "fields": []}
    text = str(passage["text"])
    return {
        "id": corpus_id,
        "text": text[: config.shown_characters],
        "cut": max(0, len(text) - config.shown_characters),
        "fields": _fields(passage, _PASSAGE_FIELDS),
    }


def _fields(record: Mapping[str, Any], known: Collection[str]) -> list[list[str]]:
    """Further fields of a record as pairs of plain text, in the record's order; empty ones say nothing."""
    return [
        [str(name), _plain(value)]
        for name, value in record.items()
        if name not in known and value is not None and value != "" and value != []
    ]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
