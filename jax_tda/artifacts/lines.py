"""The rows of a JSON-lines file by number, and what they are called, without an object for each in memory.

A file stays on disk; where each line begins is kept, 8 bytes a line. What is asked for is read and decoded then.
"""

import functools
import hashlib
import json
import operator
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, SupportsIndex, overload

import numpy as np

from jax_tda.core import files

_BLOCK = 1 << 20


class Lines(Sequence[Any]):
    """The values of a file's lines, by number.

    Args:
      path: the file; one in an object store is copied to a temporary file, which goes when this object does.
      problem: makes the error for a file that changed after it was opened, given what was found.
    """

    def __init__(self, path: Any, problem: Callable[[str], Exception]):
        self._problem = problem
        with files.local(path) as place:
            # The open file outlives its name.
            self._file = os.open(place, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)
        hasher, starts, at = hashlib.sha256(), [np.zeros(1, np.int64)], 0
        last = b""
        while block := os.pread(self._file, _BLOCK, at):
            hasher.update(block)
            starts.append(np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")) + (at + 1))
            at, last = at + len(block), block[-1:]
        if last not in (b"", b"\n"):
            starts.append(np.array([at], np.int64))
        self._starts = np.concatenate(starts)
        self.digest = hasher.hexdigest()

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, row: SupportsIndex) -> Any: ...
    @overload
    def __getitem__(self, row: slice) -> list[Any]: ...
    def __getitem__(self, row: SupportsIndex | slice) -> Any:
        if isinstance(row, slice):
            return [self[number] for number in range(*row.indices(len(self)))]
        given = operator.index(row)
        number = given + len(self) if given < 0 else given
        if not 0 <= number < len(self):
            raise IndexError(f"line {given} of {len(self)}")
        start, stop = int(self._starts[number]), int(self._starts[number + 1])
        return self._decoded(os.pread(self._file, stop - start, start))

    def __iter__(self) -> Iterator[Any]:
        # A block of lines at a time, each at least one.
        first = 0
        while first < len(self):
            start = int(self._starts[first])
            stop = max(first + 1, int(np.searchsorted(self._starts, start + _BLOCK, "right")) - 1)
            data = os.pread(self._file, int(self._starts[stop]) - start, start)
            for number in range(first, stop):
                yield self._decoded(data[int(self._starts[number]) - start : int(self._starts[number + 1]) - start])
            first = stop

    def _decoded(self, line: bytes) -> Any:
        try:
            return json.loads(line)
        except ValueError as error:
            raise self._problem(f"a line that is no JSON any more: {line[:80]!r}") from error

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]


class Names(Sequence[str]):
    """What the rows of a file are called: one field of each line.

    Args:
      lines: the rows.
      field: which field holds the name.
    """

    def __init__(self, lines: Lines, field: str = "id"):
        self._lines, self._field = lines, field

    def __len__(self) -> int:
        return len(self._lines)

    @overload
    def __getitem__(self, row: SupportsIndex) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: SupportsIndex | slice) -> Any:
        if isinstance(row, slice):
            return [value[self._field] for value in self._lines[row]]
        return self._lines[row][self._field]

    def __iter__(self) -> Iterator[str]:
        return (value[self._field] for value in self._lines)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and len(self.rows_of(name)) > 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    @functools.cached_property
    def _hashed(self) -> tuple[np.ndarray, np.ndarray]:
        """Every name's hash, ascending, and the rows in that order; 16 bytes a row, and Python's hash for this run."""
        hashes = np.fromiter((hash(name) for name in self), np.int64, len(self))
        rows = np.argsort(hashes, kind="stable")
        return hashes[rows], rows

    def rows_of(self, name: str) -> list[int]:
        """Every row of that name, ascending."""
        hashes, rows = self._hashed
        first, last = (int(np.searchsorted(hashes, hash(name), side)) for side in ("left", "right"))
        return [int(row) for row in rows[first:last] if self[int(row)] == name]

    def row_of(self, name: str) -> int | None:
        """The first row of that name, or None."""
        found = self.rows_of(name)
        return found[0] if found else None
