"""Which ids of a corpus stand twice, found in parts of bounded size, however many documents there are."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from jax_tda.data.segments import ENTRY, PIECE, SPLIT, WHOLE, Kept

# Entries that are sorted at a time.
_AT_ONCE = 1 << 20
_PLACED = np.dtype([*((name, ENTRY[name]) for name in ENTRY.names or ()), ("segment", "<i8")])


class Place(NamedTuple):
    """A document: its segment, its number there, its row in the shard."""

    segment: int
    document: int
    row: int


@dataclasses.dataclass(frozen=True)
class Repeated:
    """What stands twice.

    Attributes:
      documents: each later document of an id that an earlier one has, with that earlier one; in order.
      pieces: a piece and a document that are called alike, where there is one.
    """

    documents: list[tuple[Place, Place]]
    pieces: tuple[Place, Place] | None


def repeated(segments: Sequence[Kept]) -> Repeated:
    """Compares the ids of all segments."""
    pairs, alike = list[tuple[Place, Place]](), list[tuple[Place, Place]]()
    for entries in _parts(segments):
        order = np.lexsort((entries["document"], entries["segment"], entries["low"], entries["high"]))
        entries = entries[order]
        same = (np.diff(entries["high"]) == 0) & (np.diff(entries["low"]) == 0)
        # Each run of entries of one id begins where the one before differs.
        for run in _runs(entries, np.flatnonzero(same)):
            documents = run[np.isin(run["kind"], (WHOLE, SPLIT))]
            pairs += [(_place(later), _place(documents[0])) for later in documents[1:]]
            examples, pieces = run[run["kind"] == WHOLE], run[run["kind"] == PIECE]
            if len(examples) and len(pieces):
                alike.append((_place(pieces[0]), _place(examples[0])))
    later = {pair[0][:2] for pair in pairs}
    alike = [pair for pair in alike if not {place[:2] for place in pair} & later]
    return Repeated(sorted(pairs), min(alike, default=None))


def _place(entry: np.void) -> Place:
    return Place(int(entry["segment"]), int(entry["document"]), int(entry["row"]))


def _runs(entries: np.ndarray, same: np.ndarray) -> Iterator[np.ndarray]:
    """Stretches of equal entries, where `same` are the places that equal the next."""
    if len(same):
        breaks = np.flatnonzero(np.diff(same) > 1) + 1
        for run in np.split(same, breaks):
            yield entries[run[0] : run[-1] + 2]


def _parts(segments: Sequence[Kept]) -> Iterator[np.ndarray]:
    """All entries in parts, equal ids in the same one: each part is a range of hashes, in whose order segments lie."""
    total = sum(segment.facts["entries"] for segment in segments)
    count = max(1, -(-total // _AT_ONCE))
    edges = (np.arange(1, count, dtype=np.float64) / count * 2.0**64).astype(np.uint64)
    bounds = [[0, *np.searchsorted(s.entries()["high"], edges).tolist(), s.facts["entries"]] for s in segments]
    for part in range(count):
        yield np.concatenate(
            [
                np.empty(0, _PLACED),
                *(
                    _placed(segment.entries(places[part], places[part + 1]), number)
                    for number, (segment, places) in enumerate(zip(segments, bounds, strict=True))
                    if places[part] < places[part + 1]
                ),
            ]
        )


def _placed(entries: np.ndarray, number: int) -> np.ndarray:
    placed = np.empty(len(entries), _PLACED)
    for name in ENTRY.names or ():
        placed[name] = entries[name]
    placed["segment"] = number
    return placed
