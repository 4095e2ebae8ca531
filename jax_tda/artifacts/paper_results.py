"""The results files of TrackStar's authors, as they describe them: a line per query, a file per method.

The fields are those that https://github.com/PAIR-code/pretraining-tda describes. A target has no leading space there:
one is put between a prompt and a target that have none, and taken off in writing.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from etils import epath

from jax_tda.artifacts import foreign_ranking
from jax_tda.artifacts.method_words import MethodWords
from jax_tda.artifacts.results import Results, lines
from jax_tda.core.errors import InputError

# What is no field of the query but something of its own.
_TAKEN = {"example_id", "inputs_plaintext", "targets_plaintext", "proponent_correct", "proponent_ais_scores"}
_LISTS = {f"{end}{what}" for end in ("proponent", "opponent") for what in ("s", "_ids", "_scores")}
# Fields of the query that the format has a name for, beside those that ours has another one for.
_NAMED = (
    "query_set", "fact_id", "relation", "8b_generations", "8b_confidence", "c4_frequency", "c4_frequency_bucket",
    "has_trex_sentence", "groundtruth",
)  # fmt: skip


def is_paper(first: Mapping[str, Any]) -> bool:
    """Whether a file that begins with this line is of this format."""
    return "inputs_plaintext" in first and "proponents" in first


def read(file: epath.Path, into: Results) -> None:
    """Adds what a file says; the method is called as the file.

    Raises:
      InputError: a line is not of this format, or contradicts another file.
    """
    name = file.name.removesuffix(".jsonl")
    if name in into.rankings:
        raise _wrong(str(file), f"the method {name!r}, which another file has too")
    rows = into.rankings[name] = []
    into.words[name] = MethodWords()
    seen: set[str] = set()
    for place, line in lines(file):
        query = _query(place, line)
        if query["id"] in seen:
            raise _wrong(place, f"the example {query['id']!r} again")
        seen.add(query["id"])
        into.add_query(place, query)
        row: dict[str, Any] = {"query_id": query["id"]}
        if isinstance(exact := line.get("is_8b_correct"), bool):
            row["answered_exactly"] = exact
            into.answers.setdefault(query["id"], {})["answered_exactly"] = exact
        for end in foreign_ranking.ENDS:
            if end in line:
                row[end] = foreign_ranking.in_order(_entries(place, line, end, into), falling=end == "proponents")
        rows.append(row)


def _query(place: str, line: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: line.get(name) for name in ("example_id", "inputs_plaintext", "targets_plaintext")}
    if isinstance(found["example_id"], int):
        found["example_id"] = str(found["example_id"])
    for name, value in found.items():
        if not isinstance(value, str):
            raise _wrong(place, f"{name} {value!r}, no text")
    prompt, target = str(found["inputs_plaintext"]), str(found["targets_plaintext"])
    apart = prompt[-1:].isspace() or target[:1].isspace() or not prompt
    fields = {name: value for name, value in line.items() if name not in _TAKEN | _LISTS}
    return fields | {"id": found["example_id"], "prompt": prompt, "target": target if apart else f" {target}"}


def _entries(place: str, line: Mapping[str, Any], end: str, into: Results) -> list[dict[str, Any]]:
    one = end.removesuffix("s")
    texts = _column(place, line, end, None)
    ids = _column(place, line, f"{one}_ids", len(texts))
    scores = _column(place, line, f"{one}_scores", len(texts))
    correct = line.get(f"{one}_correct") and _column(place, line, f"{one}_correct", len(texts))
    ais = line.get(f"{one}_ais_scores") and _column(place, line, f"{one}_ais_scores", len(texts))
    entries = []
    for number, (text, name, score) in enumerate(zip(texts, ids, scores, strict=True)):
        if not isinstance(text, str) or not isinstance(name, str | int) or not foreign_ranking.is_score(score):
            raise _wrong(place, f"entry {number} of {end}: text {str(text)[:40]!r}, id {name!r}, score {score!r}")
        entry: dict[str, Any] = {"id": str(name), "score": score}
        into.add_passage(place, str(name), text, {})
        if correct and isinstance(correct[number], bool):
            entry["correct"] = correct[number]
        if ais and foreign_ranking.is_score(ais[number]):
            entry["note"] = f"AIS {ais[number]:.2f}"
        entries.append(entry)
    return entries


def _column(place: str, line: Mapping[str, Any], name: str, count: int | None) -> list[Any]:
    found = line.get(name)
    if not isinstance(found, list) or (count is not None and len(found) != count):
        raise _wrong(place, f"{name} with {len(found) if isinstance(found, list) else 'no'} entries")
    return found


def write(results: Results, method: str) -> Iterator[dict[str, Any]]:
    """The lines of one method's file.

    Raises:
      InputError: an entry has no score, or a passage no text, without which their viewer shows nothing.
    """
    for row in results.rankings[method]:
        query = results.queries[row["query_id"]]
        prompt, target = query["prompt"], query["target"]
        answer = results.answers.get(query["id"], {})
        exact = row.get("answered_exactly", answer.get("answered_exactly"))
        line = {
            "example_id": query["id"],
            "query_set": "jax_tda",
            "inputs_plaintext": prompt,
            "targets_plaintext": target.lstrip(),
        }
        line |= {name: query[name] for name in _NAMED if query.get(name) is not None}
        if exact is not None:
            line["is_8b_correct"] = exact
        for end in foreign_ranking.ENDS:
            if end in row:
                line |= _columns(results, query, row[end], end)
        yield line


def _columns(
    results: Results, query: Mapping[str, Any], entries: Sequence[Mapping[str, Any]], end: str
) -> dict[str, list[Any]]:
    one = end.removesuffix("s")
    lacking = [e["id"] for e in entries if "score" not in e or e["id"] not in results.passages]
    if lacking:
        raise InputError(
            "A ranking cannot be written in the form of the paper's viewer.",
            got=f"{len(lacking)} passages of the query {query['id']!r} without score or text, such as {lacking[0]!r}",
            expected="a score and a text for each",
            remedy="write them in our own form, where both may be missing",
        )
    found = {
        end: [results.passages[entry["id"]]["text"] for entry in entries],
        f"{one}_ids": [entry["id"] for entry in entries],
        f"{one}_scores": [entry["score"] for entry in entries],
    }
    gold = set(query.get("gold") or ())
    if end == "proponents" and (gold or any("correct" in entry for entry in entries)):
        found["proponent_correct"] = [entry.get("correct", entry["id"] in gold) for entry in entries]
    return found


def _wrong(place: str, got: str) -> InputError:
    return InputError(
        f"{place} is not a line of the paper's results files",
        got=got,
        expected="example_id, inputs_plaintext, targets_plaintext, and proponents with as many ids and scores",
        remedy="mend or drop the line",
    )
