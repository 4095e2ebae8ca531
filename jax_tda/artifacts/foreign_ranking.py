"""A ranking that somebody else made: every line is checked, and lists are put in the order of their scores."""

import json
import math
from typing import Any

from etils import epath

from jax_tda.core import files
from jax_tda.core.errors import InputError

ENDS = ("proponents", "opponents")
_FORM = '{"query_id": str, "proponents": [{"id": str, "score": number}, …]}, each query and id once'


class Rows(list[dict[str, Any]]):
    """The rows of a ranking of somebody else's; `places` says where each query's line stands.

    `sorted` counts the lists that did not stand in the order of their scores.
    """

    def __init__(self) -> None:
        super().__init__()
        self.places: dict[str, str] = {}
        self.sorted = 0


def read(file: epath.Path) -> Rows:
    """The rows of a file of JSON lines.

    Proponents are sorted by falling score, opponents by rising, ties as listed; lists without scores stay as they are.

    Raises:
      InputError: a line is not a ranking row, naming file, line and what is wrong.
    """
    rows = Rows()
    for number, line in enumerate(files.read(file).splitlines(), 1):
        if not line.strip():
            continue
        place = f"line {number} of {file}"
        try:
            row = json.loads(line, object_pairs_hook=_once)
            wrong = fault_of(row)
        except (ValueError, RecursionError) as problem:
            wrong = f"no JSON object ({problem})"
        if not wrong and row["query_id"] in rows.places:
            wrong = f"the query {row['query_id']!r} again, first at {rows.places[row['query_id']]}"
        if wrong:
            raise InputError(
                f"{place} is not a ranking row",
                got=f"{wrong}: {line[:120].decode(errors='replace')}",
                expected=f"{_FORM}; opponents likewise and answered_exactly true or false, if they are there",
                remedy="mend or drop the line",
            )
        for end in ENDS:
            if end in row:
                ordered = in_order(row[end], falling=end == "proponents")
                rows.sorted += ordered != row[end]
                row[end] = ordered
        rows.places[row["query_id"]] = place
        rows.append(row)
    return rows


def place(rows: Any, query_id: str) -> str:
    """Where a query's line stands, ready to follow a sentence; empty for a ranking of ours."""
    found = rows.places.get(query_id, "") if isinstance(rows, Rows) else ""
    return f" ({found})" if found else ""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a field stands twice")
    return dict(pairs)


def fault_of(row: Any) -> str:
    """What is wrong with a row of a ranking, in words; empty when it is one."""
    if not isinstance(row, dict):
        return "no JSON object"
    if not isinstance(row.get("query_id"), str) or not row["query_id"]:
        return "query_id is not a text"
    if "proponents" not in row:
        return "no proponents"
    if not isinstance(row.get("answered_exactly", False), bool):
        return "answered_exactly is neither true nor false"
    return next(filter(None, (_wrong_list(end, row[end]) for end in ENDS if end in row)), "")


def _wrong_list(end: str, entries: Any) -> str:
    if not isinstance(entries, list):
        return f"{end} are no list"
    seen: set[str] = set()
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
            return f"an entry of {end} without a text id"
        if entry["id"] in seen:
            return f"{entry['id']!r} twice among {end}"
        seen.add(entry["id"])
        if "score" in entry and not is_score(entry["score"]):
            return f"the score of {entry['id']!r} is no finite number"
    scored = sum("score" in entry for entry in entries)
    return f"{scored} of {len(entries)} {end} have a score" if 0 < scored < len(entries) else ""


def is_score(value: Any) -> bool:
    """Whether it is a finite number."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # An integer beyond the greatest float.
        return False


def in_order(entries: list[dict[str, Any]], falling: bool) -> list[dict[str, Any]]:
    """Entries in the order of their scores, ties as listed; as they are where they have none."""
    if not entries or "score" not in entries[0]:
        return entries
    return sorted(entries, key=lambda entry: -entry["score"] if falling else entry["score"])
