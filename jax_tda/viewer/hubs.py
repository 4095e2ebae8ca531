"""Passages that serve many queries, and what the first ten are: over the proponents that the page shows."""

import heapq
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

_MOST, _QUERIES = 50, 12

Listed = Sequence[Mapping[str, Any] | None]


def found(methods: Sequence[Listed]) -> list[list[list[Any]]]:
    """By method, passages that at least two queries list, most first: passage, how many, right for how many, some."""
    return [_hubs(listed) for listed in methods]


def _hubs(listed: Listed) -> list[list[Any]]:
    asked = Counter(itertools.chain.from_iterable(line["p"] for line in listed if line))
    most = heapq.nsmallest(_MOST, asked, key=lambda place: (-asked[place], place))
    queries: dict[int, list[int]] = {place: [] for place in most if asked[place] > 1}
    right: Counter[int] = Counter()
    for number, line in enumerate(listed):
        for place, mark in zip(line["p"], line["m"], strict=True) if line else ():
            if place in queries:
                queries[place].append(number)
                right[place] += mark == "1"
    return [[place, len(found), right[place], found[:_QUERIES]] for place, found in queries.items()]


def kinds(listed: Listed) -> list[int]:
    """Among the first ten of the queries with gold: how many other, gold and weak passages."""
    marks = Counter(mark for line in listed if line for mark in line["m"][:10])
    return [marks[mark] for mark in "012"]
