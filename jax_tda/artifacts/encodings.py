"""The schema of an encodings artifact: `encodings`, `status` [examples], `ids.jsonl`, for integers also `scales`.

`encodings` is [examples, blocks, p, p], or what its format makes of that (`formats.StoreConfig`, `store` in the
manifest). Vectors that are no gradients, those of a sentence encoder, are [examples, 1, 1, d] (`matrix` [1, d] in the
manifest). Row i is the example on line i of `ids.jsonl`. `status` says whether a row may be used: a gradient of zero
has no direction, and one that is not finite is stored as NaN; both are left out of R and of rankings.
"""

import functools
import itertools
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from jax_tda.artifacts.arrays import Array
from jax_tda.artifacts.artifact import Reader, Writer, open_artifact
from jax_tda.artifacts.formats import StoreConfig
from jax_tda.artifacts.lines import Names
from jax_tda.core.errors import InputError

KIND = "encodings"
OK, ZERO, NOT_FINITE = 0, 1, 2
STATUS_NAMES = {ZERO: "zero_gradient", NOT_FINITE: "not_finite"}


class EncodingWriter:
    """The arrays of an unfinished encodings artifact, written a shard at a time.

    Args:
      writer: the claimed artifact.
      store: the format.
      shape: (examples, blocks, p, p), or (examples, 1, 1, d).
      shard_rows: examples per shard.
    """

    def __init__(self, writer: Writer, store: StoreConfig, shape: tuple[int, ...], shard_rows: int):
        count, blocks, rows, p = shape
        self._format = store
        self._parts = {
            name: writer.array(name, (count, *part.shape), part.dtype, shard_rows, **part.options)
            for name, part in store.parts(blocks, p, rows).items()
        }
        self._status = writer.array("status", (count,), "int8", shard_rows)

    def write_shard(self, start: int, values: np.ndarray, status: np.ndarray) -> None:
        """Writes float32 [n, blocks, p, p] and their status as one whole shard."""
        for name, rows in self._format.encode(values).items():
            self._parts[name].write_shard(start, rows)
        self._status.write_shard(start, status)


class _Encodings:
    """The stored arrays, read as float32 [n, blocks, p, p] whatever the format."""

    def __init__(self, reader: Reader):
        facts = reader.manifest.facts
        # An artifact that says nothing of its format holds plain float32.
        self.store = StoreConfig(**facts.get("store", {}))
        self._parts = {"encodings": reader.array("encodings")}
        p = facts.get("projected_size", self._parts["encodings"].shape[-1])
        # An artifact that says nothing of its matrices holds projected gradients, which are square.
        rows, self._p = facts.get("matrix", (p, p))
        for name in self.store.parts(len(facts["blocks"]), self._p, rows):
            self._parts.setdefault(name, reader.array(name))
        self.shape = (self._parts["encodings"].shape[0], len(facts["blocks"]), rows, self._p)
        self.shard_rows = self._parts["encodings"].shard_rows

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows [start, stop)."""
        return self._decoded(lambda array: array.read(start, stop))

    def read_rows(self, rows: np.ndarray) -> np.ndarray:
        """The rows at the given positions, in that order."""
        return self._decoded(lambda array: array.read_rows(rows))

    def _decoded(self, read: Callable[[Array], np.ndarray]) -> np.ndarray:
        return self.store.decode({name: read(array) for name, array in self._parts.items()}, self._p)


class EncodingStore:
    """A finished encodings artifact, read by rows."""

    def __init__(self, reader: Reader):
        self.reader = reader
        self.facts: dict[str, Any] = reader.manifest.facts
        self._encodings = _Encodings(reader)
        self.store = self._encodings.store
        self.count: int = self._encodings.shape[0]
        self.blocks: tuple[str, ...] = tuple(self.facts["blocks"])
        self.projected_size: int = self._encodings.shape[-1]
        self.block_dimension: int = self._encodings.shape[2] * self._encodings.shape[3]
        self.dimension = len(self.blocks) * self.block_dimension
        self.shard_rows: int = self._encodings.shard_rows

    @functools.cached_property
    def ids(self) -> Names:
        """Example ids by row."""
        return Names(self.reader.lines("ids.jsonl"))

    @functools.cached_property
    def status(self) -> np.ndarray:
        """int8 [examples]: OK, ZERO or NOT_FINITE."""
        return self.reader.array("status").read(0, self.count)

    def read(self, start: int, stop: int) -> np.ndarray:
        """float32 [n, blocks, p²] of rows [start, stop); rows that may not be used are NaN."""
        return self._usable(self._encodings.read(start, stop), self.status[start:stop])

    def read_rows(self, rows: np.ndarray) -> np.ndarray:
        """float32 [n, blocks, p²] of the rows at the given positions."""
        return self._usable(self._encodings.read_rows(rows), self.status[rows])

    def shards(self, skip: Collection[int] = (), ahead: int = 2) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Every shard once, in order; while the caller works on one, the next `ahead` are being read.

        Args:
          skip: first rows of shards that are left out.
          ahead: shards.

        Yields:
          (start, rows float32 [n, blocks, p²], usable bool [n]). Rows are as stored, without a copy: what stands in a
          row that may not be used is not said.
        """

        def read(start: int) -> tuple[int, np.ndarray, np.ndarray]:
            stop = min(start + self.shard_rows, self.count)
            rows = self._encodings.read(start, stop).reshape(stop - start, len(self.blocks), self.block_dimension)
            return start, rows, status[start:stop] == OK

        status = self.status
        starts = (start for start in range(0, self.count, self.shard_rows) if start not in skip)
        with ThreadPoolExecutor(ahead) as pool:
            reading = deque(pool.submit(read, start) for start in itertools.islice(starts, ahead))
            while reading:
                shard = reading.popleft().result()
                reading.extend(pool.submit(read, start) for start in itertools.islice(starts, 1))
                yield shard

    def _usable(self, values: np.ndarray, status: np.ndarray) -> np.ndarray:
        rows = values.reshape(values.shape[0], len(self.blocks), self.block_dimension)
        return np.where((status == OK)[:, None, None], rows, np.float32(np.nan))


def open_encodings(path: str) -> EncodingStore:
    """Opens a finished encodings artifact.

    Raises:
      InputError: it is missing, unfinished or damaged.
    """
    return EncodingStore(open_artifact(path, KIND))


# What two artifacts must share before their numbers may be multiplied.
_JOINED = ("embedding", "checkpoint", "projection", "second_moments", "blocks", "matmul_precision")


def shared_facts(store: EncodingStore) -> dict[str, Any]:
    """What an artifact made from encodings must say of them, so that it can be joined with others."""
    return joined_facts(store.reader)


def joined_facts(reader: Reader) -> dict[str, Any]:
    """The same, of any artifact that holds it."""
    return {name: reader.manifest.facts.get(name) for name in _JOINED}


def check_joinable(first: Reader, second: Reader) -> None:
    """Refuses to join artifacts of different checkpoints, projections, second moments or blocks.

    Raises:
      InputError: naming both artifacts and what differs.
    """
    check_facts(str(first), first.manifest.facts, second)


def check_facts(first: str, facts: Mapping[str, Any], second: Reader) -> None:
    """`check_joinable` for encodings that are only being made: `facts` are what their manifest would say.

    Raises:
      InputError: naming both artifacts and what differs.
    """
    for name in _JOINED:
        one, other = facts.get(name), second.manifest.facts.get(name)
        if one != other:
            raise InputError(
                f"{first} and {second} cannot be joined: they differ in {name}",
                got=f"{one} and {other}",
                expected=f"the same {name}",
                remedy="encode both with the same checkpoint, seed, blocks, projected_size and second moments; "
                "or embed both with the same sentence encoder",
            )
