"""Arrays on disk: zarr3 by TensorStore, whole shards, crc32c over data and index. Only this room knows TensorStore."""

import dataclasses
import math
import os
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorstore as ts

from jax_tda.artifacts import chunk_digests, key_value
from jax_tda.artifacts.faults import explained
from jax_tda.core import permits
from jax_tda.core.errors import InputError

# What TensorStore adds to the name of a local file while it writes it.
WRITING = ".__lock"
# Chunks that are read at once to be compared with their digests, about a megabyte each.
_AT_ONCE = 32


def _spec(path: str) -> dict[str, Any]:
    return {"driver": "zarr3", "kvstore": key_value.spec(path)}


@dataclasses.dataclass(frozen=True)
class Array:
    """One array on disk, addressed by rows of its first axis.

    Args:
      path: where it lies.
      store: TensorStore's view of it.
      shard_rows: rows per shard.
      digests: of the numbers of its chunks: while it is written those known so far, while it is read those that each
        chunk is compared with when it is first read; None where none were kept.
      written: by first row and column, in decimals with a comma, the digests of shards that nobody has recorded yet.
    """

    path: str
    store: Any
    shard_rows: int
    digests: chunk_digests.Table | None = None
    written: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape."""
        return tuple(self.store.shape)

    @property
    def shards(self) -> int:
        """How many shards, each a file, the array has when all of it is written."""
        sizes = zip(self.shape, self.store.chunk_layout.write_chunk.shape, strict=True)
        return math.prod(-(-size // shard) for size, shard in sizes)

    @property
    def dtype(self) -> np.dtype:
        """The array's element type."""
        return np.dtype(self.store.dtype.numpy_dtype)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows [start, stop).

        Raises:
          InputError: a shard does not match its checksum, or is not the one that was written; the message names it.
        """
        if self.digests is None or not self.digests.unseen(start, stop):
            return self._read(self.store[start:stop])
        # A chunk is read whole in any case.
        rows = self.digests.chunk[0]
        low, high = start // rows * rows, min(-(-stop // rows) * rows, self.shape[0])
        values = self._read(self.store[low:high])
        self.digests.compare(low, values)
        return values[start - low : stop - low]

    def read_rows(self, rows: np.ndarray) -> np.ndarray:
        """The rows at the given positions, in that order."""
        rows = np.asarray(rows, dtype=np.int64)
        if self.digests is not None and self.digests.compares:
            size = self.digests.chunk[0]
            chunks = np.unique(rows // size)
            new = chunks[~self.digests.seen[chunks].all(axis=1)]
            for first in range(0, len(new), _AT_ONCE):
                starts = [int(chunk) * size for chunk in new[first : first + _AT_ONCE]]
                reads = [self.store[start : min(start + size, self.shape[0])].read() for start in starts]
                for start, read in zip(starts, reads, strict=True):
                    self.digests.compare(start, self._result(read))
        return self._read(self.store[rows])

    def _read(self, view: Any) -> np.ndarray:
        return self._result(view.read())

    def _result(self, reading: Any) -> np.ndarray:
        try:
            return np.asarray(reading.result())
        except ValueError as error:
            raise InputError(
                f"the array {self.path} is damaged",
                got=str(error),
                expected="shards that match their crc32c",
                remedy="delete the artifact and run its job again, or restore the file from a copy",
            ) from error

    def write_shard(self, start: int, values: np.ndarray) -> None:
        """Writes one whole shard, beginning at row `start`; a shard is either written whole or not at all."""
        stop = start + values.shape[0]
        whole = start % self.shard_rows == 0 and (values.shape[0] == self.shard_rows or stop == self.shape[0])
        if not whole:
            raise ValueError(f"rows [{start}, {stop}) are not a whole shard of {self.shard_rows} rows of {self.path}")
        permits.ask(self.path)
        with explained(self.path):
            self.store[start:stop].write(values).result()
        self._note(start, 0, values)

    def write_columns(self, start: int, values: np.ndarray) -> None:
        """Writes one whole shard of an array that was created with `shard_columns`: columns from `start` on."""
        stop = start + values.shape[1]
        columns = self.store.chunk_layout.write_chunk.shape[1]
        whole = start % columns == 0 and (values.shape[1] == columns or stop == self.shape[1])
        if not whole or values.shape[0] != self.shape[0]:
            raise ValueError(f"columns [{start}, {stop}) are not a whole shard of {columns} columns of {self.path}")
        permits.ask(self.path)
        with explained(self.path):
            self.store[:, start:stop].write(values).result()
        self._note(0, start, values)

    def _note(self, row: int, column: int, values: np.ndarray) -> None:
        if self.digests is not None:
            found = chunk_digests.of(np.asarray(values, self.dtype), self.digests.chunk)
            self.digests.note(row, column, found)
            self.written[f"{row},{column}"] = found.tobytes().hex()

    def recall(self, written: dict[str, str]) -> None:
        """Takes up digests that were `written` by another process or an earlier run."""
        assert self.digests is not None
        for place, text in written.items():
            row, column = (int(number) for number in place.split(","))
            found = np.frombuffer(bytes.fromhex(text), "<u8")
            # A shard is one chunk wide.
            self.digests.note(row, column, found.reshape(-1, 1))

    def demand_digests(self) -> bytes:
        """The digests of all chunks; what nobody noted is read again."""
        assert self.digests is not None
        for chunk in np.flatnonzero(~self.digests.seen.all(axis=1)):
            start = int(chunk) * self.digests.chunk[0]
            values = self._read(self.store[start : min(start + self.digests.chunk[0], self.shape[0])])
            self.digests.note(start, 0, chunk_digests.of(values, self.digests.chunk))
        return self.digests.to_bytes()


def create(
    path: str,
    shape: tuple[int, ...],
    dtype: str,
    shard_rows: int,
    *,
    compressed: bool = False,
    level: int = 3,
    shard_columns: int | None = None,
) -> Array:
    """Makes an array whose missing rows read as NaN (floats) or −1 (integers), or opens the same one again.

    Args:
      path: directory or object prefix.
      shape: the shape, rows first.
      dtype: zarr3 data type.
      shard_rows: rows per shard, which is also the unit of writing; a shard holds chunks of at most 1 MiB.
      compressed: whether chunks are zstd-compressed.
      level: how hard zstd tries.
      shard_columns: for an array [rows, columns] that is written column by column and read row by row: columns per
        shard, which then holds every row, each in a chunk of its own.
    """
    shape = tuple(int(size) for size in shape)
    row_bytes = max(1, int(np.prod(shape[1:], dtype=np.int64)) * np.dtype(_numpy(dtype)).itemsize)
    # A chunk is the smallest thing that can be read: rows of about 1 MiB, dividing the shard evenly as zarr asks.
    chunk_rows = next(n for n in range(min(shard_rows, max(1, (1 << 20) // row_bytes)), 0, -1) if shard_rows % n == 0)
    shard, chunk = (shard_rows, *shape[1:]), (chunk_rows, *shape[1:])
    if shard_columns is not None:
        shard, chunk = (shape[0], shard_columns), (1, shard_columns)
    codecs: list[dict[str, Any]] = [{"name": "bytes", "configuration": {"endian": "little"}}]
    compression = [{"name": "zstd", "configuration": {"level": level}}] if compressed else []
    inner = [*codecs, *compression, {"name": "crc32c"}]
    spec = _spec(path) | {
        # Every shard that was written is a file, so that a lost one is missed.
        "store_data_equal_to_fill_value": True,
        "metadata": {
            "shape": list(shape),
            "data_type": dtype,
            "fill_value": "NaN" if dtype in ("float32", "float64", "bfloat16") else -1,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(shard)}},
            "codecs": [
                {
                    "name": "sharding_indexed",
                    "configuration": {
                        "chunk_shape": list(chunk),
                        "codecs": inner,
                        "index_codecs": [*codecs, {"name": "crc32c"}],
                    },
                }
            ],
        },
    }
    permits.ask(path)
    with explained(path):
        store = ts.open(spec, create=True, open=True).result()
    return Array(path, store, shard_rows, _table(path, store))


def _table(path: str, store: Any) -> chunk_digests.Table:
    chunk, shard = store.chunk_layout.read_chunk.shape, store.chunk_layout.write_chunk.shape
    columns = int(chunk[1]) if len(chunk) > 1 else 1
    return chunk_digests.Table(path, tuple(store.shape), (int(chunk[0]), columns), int(shard[0]))


def _numpy(dtype: str) -> Any:
    return ts.dtype(dtype).numpy_dtype


def open_array(path: str, digests: bytes | None = None) -> Array:
    """Opens an existing array for reading; what `demand_digests` gave is compared with each chunk that is read."""
    store = ts.open(_spec(path), open=True, read=True).result()
    shard: Any = store.chunk_layout.write_chunk.shape
    table = None
    if digests is not None:
        table = _table(path, store)
        table.load(digests)
    return Array(path, store, int(shard[0]), table)


def demand_shards(directory: str, name: str, count: int, files: Iterable[str]) -> None:
    """Refuses an array that lacks a shard, perhaps one that an earlier run recorded as finished.

    Args:
      directory: where the artifact lies.
      name: the array's path there.
      count: how many shards there must be.
      files: the path of every file of the artifact.

    Raises:
      InputError: there are fewer.
    """
    found = sum(file.startswith(f"{name}/c/") for file in files)
    if found < count:
        raise InputError(
            f"shards of {directory}/{name} are missing",
            got=f"{found} shards",
            expected=f"{count} shards",
            remedy="delete the output and run the job again; somebody deleted what was finished",
        )


def clear_interrupted_writes(directory: str) -> None:
    """Deletes the files below a directory that a killed process was writing, by TensorStore's suffix for such.

    On a local disk TensorStore writes beside a file and renames; over a leftover it would write without shortening it.
    """
    permits.ask(directory)
    if "://" not in directory:
        for folder, _, names in os.walk(directory):
            for name in names:
                if name.endswith(WRITING):
                    pathlib.Path(folder, name).unlink(missing_ok=True)


def write_atomically(path: str, data: bytes) -> None:
    """Writes a small file so that a reader sees all of it or none of it."""
    directory, _, name = path.rpartition("/")
    permits.ask(path)
    with explained(path):
        key_value.open_store(directory or ".").write(name, data).result()
