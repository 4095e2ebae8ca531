"""The rankings of a page: what of each line is shown, what each passage is to its query, and both in columns."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from jax_tda.core.errors import InputError
from jax_tda.viewer.settings import PageConfig
from jax_tda.viewer.texts import Texts

# What a listed passage is to its query, one digit each.
OTHER, GOLD, WEAK, UNKNOWN = "0", "1", "2", "3"
# Digits of a line's greatest score that the page shows, and carries.
_DIGITS = 4
# Of proponents and of opponents: the columns of passages, of scores and of marks.
_ENDS = (("p", "s", "m"), ("o", "os", "om"))


class Judge:
    """Says what a passage is to one query."""

    def __init__(self, query: Mapping[str, Any], documents: Mapping[str, str]):
        self.gold, self.weak = set(query.get("gold") or ()), set(query.get("weak") or ())
        self._documents = documents

    def marks(self, entries: Sequence[Mapping[str, Any]]) -> str:
        """A digit for each entry."""
        if self.gold or any("correct" in entry for entry in entries):
            return "".join([self._mark(entry) for entry in entries])
        return UNKNOWN * len(entries)

    def knows(self, line: Mapping[str, Any]) -> bool:
        """Whether this query's ranking can be judged."""
        return bool(self.gold) or any(entry.get("correct") is not None for entry in line["proponents"])

    def _mark(self, entry: Mapping[str, Any]) -> str:
        if (said := entry.get("correct")) is not None:
            return GOLD if said else OTHER
        if not self.gold:
            return UNKNOWN
        name = entry["id"]
        document = self._documents.get(name, name) if self._documents else name
        return GOLD if document in self.gold else WEAK if document in self.weak else OTHER


def listed(line: Mapping[str, Any], judge: Judge, texts: Texts, config: PageConfig) -> dict[str, Any]:
    """What is shown of a line: passages `p`, scores `s` and marks `m` of proponents; `o`, `os`, `om` of opponents.

    Raises:
      InputError: a score is not finite.
    """
    worst = line.get("opponents", [])
    said: dict[str, Any] = {}
    if len(worst) > 1 and len({entry.get("score") for entry in worst}) == 1:
        # Nothing but the order of the corpus put these and no others at the end.
        said["tied"] = _scores(line, worst[:1])[0] if "score" in worst[0] else None
        worst = []
    shown = (line["proponents"][: config.shown_proponents], worst[: config.shown_opponents])
    for (places, scores, marks), entries in zip(_ENDS, shown, strict=True):
        said[places] = texts.places([entry["id"] for entry in entries])
        said[marks] = judge.marks(entries)
        if entries and "score" in entries[0]:
            said[scores] = _scores(line, entries)
        if any(len(entry) > 2 for entry in entries):
            for what in ("note", "shares"):
                if any(entry.get(what) for entry in entries):
                    said[f"{places}_{what}"] = [entry.get(what) for entry in entries]
    return said | {what: line[what] for what in ("histogram", "shares") if line.get(what)}


def _scores(line: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> list[float]:
    scores = [float(entry["score"]) for entry in entries]
    for score, entry in zip(scores, entries, strict=True):
        if not math.isfinite(score):
            raise InputError(
                f"A ranking holds a score that is not a number, for query {line['query_id']!r}.",
                got=f"{score} for passage {entry['id']!r}",
                expected="finite scores",
                remedy="Leave such passages out of the ranking and count them where it is made.",
            )
    return scores


def columns(lines: Sequence[Mapping[str, Any] | None]) -> dict[str, Any]:
    """Some queries' lines of one method, as the page reads them: what is alike stands together, and deflates well.

    `p` and `o` hold null where the method has no line. `s` and `os` hold null where a line has no scores, else its
    decimals, its first score and each further one's step from the one before, in units of the last decimal. `more`
    holds what few lines have, by the place of the line.
    """
    found: dict[str, Any] = {name: [] for end in _ENDS for name in end} | {"more": {}}
    for place, line in enumerate(lines):
        for places, scores, marks in _ENDS:
            found[places].append(line and line[places])
            found[marks].append(line[marks] if line else "")
            found[scores].append(_steps(line[scores]) if line and scores in line else None)
        if more := {name: value for name, value in (line or {}).items() if name not in found}:
            found["more"][place] = more
    return found


def _steps(scores: Sequence[float]) -> list[int]:
    greatest = max(map(abs, scores))
    decimals = _DIGITS - 1 - math.floor(math.log10(greatest)) if greatest else 0
    # A power beyond the greatest float would be needed for a number next to the least one.
    decimals = min(decimals, 300)
    units = [round(score * 10.0**decimals) for score in scores]
    return [decimals, units[0], *(later - earlier for earlier, later in itertools.pairwise(units))]
