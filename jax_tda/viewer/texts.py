"""The passages of a page: each stored once, numbered in the order in which they first appear, divided into parts."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

_KNOWN = {"id", "text"}
# Characters of one part: small enough that a query whose passages lie far apart appears at once.
_PART = 1 << 16


class Texts:
    """Numbers passages and keeps what is shown of them.

    Args:
      passages: text and further fields by corpus id; one that is missing is shown without text.
      characters: of each text, at most.
    """

    def __init__(self, passages: Mapping[str, Mapping[str, Any]], characters: int):
        self._passages, self._characters = passages, characters
        self._places: dict[str, int] = {}

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._places)

    def places(self, corpus_ids: Sequence[str]) -> list[int]:
        """The numbers of passages."""
        known = self._places
        return [known.setdefault(corpus_id, len(known)) for corpus_id in corpus_ids]

    def parts(self) -> tuple[list[int], list[dict[str, Any]]]:
        """The first passage of each part, and the parts: columns `id`, `text` (null: not given), `cut`, `fields`."""
        starts: list[int] = []
        found: list[dict[str, Any]] = []
        room = 0
        for place, corpus_id in enumerate(self._places):
            passage = self._passages.get(corpus_id)
            text = None if passage is None else str(passage["text"])
            if room <= 0:
                room = _PART
                starts.append(place)
                found.append({"id": [], "text": [], "cut": [], "fields": {}})
            part = found[-1]
            part["id"].append(corpus_id)
            part["text"].append(text if text is None else text[: self._characters])
            part["cut"].append(max(0, len(text or "") - self._characters))
            for name, value in (passage or {}).items():
                if name not in _KNOWN and value is not None and value != "" and value != []:
                    column = part["fields"].setdefault(str(name), [])
                    column.extend([None] * (len(part["id"]) - 1 - len(column)))
                    column.append(plain(value))
            room -= len(part["text"][-1] or "") + 64
        return starts, found


def plain(value: Any) -> str:
    """A field's value as text."""
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return " · ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
