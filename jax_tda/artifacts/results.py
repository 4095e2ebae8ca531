"""Results files: rankings with their queries and texts in one file of JSON lines, which any tool can write.

The first line is `{"format": "jax_tda.results", "version": 1, "methods": [{"name": …}, …]}`; every other one is a
passage, `{"passage": {"id", "text", "fields"}}`, or a query with its rankings, `{"query": {…}, "rankings": {METHOD:
{"proponents", "opponents", …}}}`. docs/page.md describes every field.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from etils import epath

from jax_tda.artifacts import foreign_ranking
from jax_tda.artifacts.method_words import MethodWords
from jax_tda.core import files
from jax_tda.core.errors import InputError

FORMAT, VERSION = "jax_tda.results", 1
_ANSWER: dict[str, Callable[[Any], bool]] = {
    "answer": lambda value: isinstance(value, str),
    "probability": lambda value: foreign_ranking.is_score(value) and 0 <= value <= 1,
    "answered_exactly": lambda value: isinstance(value, bool),
}
_SAID = tuple(field.name for field in dataclasses.fields(MethodWords))


@dataclasses.dataclass
class Results:
    """What results files say together.

    Args:
      queries: records by id: `id`, `prompt`, `target`, and where known `gold`, `weak` and further fields.
      passages: `text`, and further fields, by id.
      rankings: by method, rows as in a ranking; an entry may have `correct`, `note` and `shares`.
      words: by method, what it says of itself.
      answers: by query, `likeliest`, `probability` and `answered_exactly` where known.
    """

    queries: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    passages: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    rankings: dict[str, list[dict[str, Any]]] = dataclasses.field(default_factory=dict)
    words: dict[str, MethodWords] = dataclasses.field(default_factory=dict)
    answers: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)

    def add_query(self, place: str, query: Mapping[str, Any]) -> None:
        """Takes a query; another file may name it again with the same prompt and target.

        Raises:
          InputError: it has another prompt or target there.
        """
        known = self.queries.setdefault(query["id"], dict(query))
        for name in ("prompt", "target"):
            if known[name] != query[name]:
                raise _wrong(
                    place, f"another {name} of the query {query['id']!r}: {query[name]!r}, not {known[name]!r}"
                )
        known.update({name: value for name, value in query.items() if name not in known})

    def add_passage(self, place: str, passage: str, text: str | None, fields: Mapping[str, Any]) -> None:
        """Takes a passage; a text that is null says nothing.

        Raises:
          InputError: it has another text already.
        """
        if text is None:
            return
        known = self.passages.setdefault(passage, {"text": text})
        if known["text"] != text:
            raise _wrong(place, f"another text of the passage {passage!r}")
        known.update({name: value for name, value in fields.items() if name != "text"})


def lines(file: epath.Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each line's place and object.

    Raises:
      InputError: a line is no JSON object.
    """
    for number, line in enumerate(files.read(file).splitlines(), 1):
        place = f"line {number} of {file}"
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as problem:
            raise _wrong(place, f"no JSON ({problem})") from problem
        if not isinstance(found, dict):
            raise _wrong(place, "no JSON object")
        yield place, found


def is_ours(first: Mapping[str, Any]) -> bool:
    """Whether a file that begins with this line is of this format."""
    return first.get("format") == FORMAT


def read(file: epath.Path, into: Results) -> None:
    """Adds what a results file says.

    Raises:
      InputError: a line is not as described, of a version that is not known, or contradicts another file.
    """
    every = lines(file)
    place, head = next(every)
    if head.get("version") != VERSION:
        raise _wrong(place, f"version {head.get('version')!r}, where this jax_tda knows {VERSION}")
    rows: dict[str, list[dict[str, Any]]] = {}
    for method in _listed(place, head, "methods"):
        name = _text(place, method, "name")
        if name in into.rankings:
            raise _wrong(place, f"the method {name!r}, which another file has too")
        rows[name] = into.rankings[name] = []
        said: dict[str, Any] = {key: method[key] for key in _SAID if method.get(key) is not None}
        if isinstance(others := said.get("compared_with"), list):
            said["compared_with"] = tuple(others)
        into.words[name] = MethodWords(**said)
    seen: set[str] = set()
    for place, line in every:
        if "passage" in line:
            passage = _object(place, line, "passage")
            text = passage.get("text")
            if not isinstance(text, str | None):
                raise _wrong(place, "a text that is neither text nor null")
            into.add_passage(place, _text(place, passage, "id"), text, _object(place, passage, "fields", {}))
        elif "query" in line:
            query = _query(place, _object(place, line, "query"), into)
            if query in seen:
                raise _wrong(place, f"the query {query!r} again")
            seen.add(query)
            for method, ranking in _object(place, line, "rankings").items():
                if method not in rows:
                    raise _wrong(place, f"a ranking of {method!r}, which the first line does not name")
                rows[method].append(_row(place, query, ranking, into))
        else:
            raise _wrong(place, f"neither a passage nor a query but {', '.join(line) or 'nothing'}")


def write(results: Results) -> Iterator[dict[str, Any]]:
    """The lines of one file with everything."""
    methods = [{"name": name} | _said(results.words.get(name, MethodWords())) for name in results.rankings]
    yield {"format": FORMAT, "version": VERSION, "methods": methods}
    for name, passage in results.passages.items():
        fields = {key: value for key, value in passage.items() if key not in ("id", "text")}
        yield {"passage": {"id": name, "text": passage["text"], "fields": fields}}
    by_query = {name: {row["query_id"]: row for row in rows} for name, rows in results.rankings.items()}
    known = ("id", "prompt", "target", "gold", "weak")
    for name, query in results.queries.items():
        asked = {key: query[key] for key in known if key in query}
        answer = {"answer" if key == "likeliest" else key: v for key, v in results.answers.get(name, {}).items()}
        fields = {key: value for key, value in query.items() if key not in known}
        rankings = {method: _ranking(rows[name]) for method, rows in by_query.items() if name in rows}
        yield {"query": asked | answer | {"fields": fields}, "rankings": rankings}


def _said(words: MethodWords) -> dict[str, Any]:
    return {name: value for name, value in dataclasses.asdict(words).items() if value not in ("", ())}


def _ranking(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("query_id", "answered_exactly")}


def _query(place: str, query: Mapping[str, Any], into: Results) -> str:
    known = {name: _text(place, query, name) for name in ("id", "prompt", "target")}
    golden = {name: _listed(place, query, name, str) for name in ("gold", "weak") if name in query}
    into.add_query(place, _object(place, query, "fields", {}) | known | golden)
    answer: dict[str, Any] = {}
    for name, is_right in _ANSWER.items():
        if (value := query.get(name)) is None:
            continue
        if not is_right(value):
            raise _wrong(place, f"{name} {value!r}")
        answer["likeliest" if name == "answer" else name] = value
    if answer:
        into.answers.setdefault(known["id"], {}).update(answer)
    return known["id"]


def _row(place: str, query: str, ranking: Any, into: Results) -> dict[str, Any]:
    row: dict[str, Any] = {"query_id": query} | (ranking if isinstance(ranking, dict) else {})
    if wrong := foreign_ranking.fault_of(row):
        raise _wrong(place, wrong)
    for end in foreign_ranking.ENDS:
        for entry in row.get(end, []):
            if not isinstance(entry.get("correct"), bool | None) or not isinstance(entry.get("note"), str | None):
                raise _wrong(place, f"`correct` or `note` of the passage {entry['id']!r}")
            _check_shares(place, entry)
            if isinstance(text := entry.pop("text", None), str):
                into.add_passage(place, entry["id"], text, {})
        if end in row:
            row[end] = foreign_ranking.in_order(row[end], falling=end == "proponents")
    _check_shares(place, row)
    _check_histogram(place, row.get("histogram"))
    return row


def _check_shares(place: str, holder: Mapping[str, Any]) -> None:
    """[start, end, share] each, over characters of a text."""
    shares = holder.get("shares")
    right = shares is None or (
        isinstance(shares, list)
        and all(isinstance(one, list) and len(one) == 3 and all(map(_is_number, one)) for one in shares)
    )
    if not right:
        raise _wrong(place, f"shares that are no [start, end, share]: {str(shares)[:60]}")


def _check_histogram(place: str, bins: Any) -> None:
    right = bins is None or (
        isinstance(bins, dict)
        and _is_number(bins.get("low"))
        and _is_number(bins.get("high"))
        and bins["low"] <= bins["high"]
        and isinstance(bins.get("counts"), list)
        and len(bins["counts"]) > 0
        and all(_is_number(one) and one >= 0 for one in bins["counts"])
    )
    if not right:
        raise _wrong(place, f"a histogram without low, high and counts: {str(bins)[:60]}")


def _is_number(value: Any) -> bool:
    return foreign_ranking.is_score(value)


def _text(place: str, holder: Any, name: str) -> str:
    found = holder.get(name) if isinstance(holder, dict) else None
    if not isinstance(found, str):
        raise _wrong(place, f"no text {name!r}")
    return found


def _object(place: str, holder: Mapping[str, Any], name: str, default: Any = None) -> dict[str, Any]:
    found = holder.get(name, default)
    if not isinstance(found, dict):
        raise _wrong(place, f"{name!r} is no object")
    return found


def _listed(place: str, holder: Mapping[str, Any], name: str, kind: type = dict) -> list[Any]:
    found = holder.get(name)
    if not isinstance(found, list) or not all(isinstance(one, kind) for one in found):
        raise _wrong(place, f"{name!r} is no list of {'texts' if kind is str else 'objects'}")
    return found


def _wrong(place: str, got: str) -> InputError:
    return InputError(
        f"{place} is not a line of a results file",
        got=got,
        expected=f"{FORMAT}, version {VERSION}",
        remedy="mend the line as docs/page.md describes it",
    )
