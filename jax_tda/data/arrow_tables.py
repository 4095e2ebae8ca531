"""Rows of Parquet files, and of Arrow files and streams (what `save_to_disk` of Hugging Face's datasets writes)."""

import contextlib
import functools
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

from jax_tda.core import files
from jax_tda.core.errors import InputError
from jax_tda.data import packages, plain_values
from jax_tda.data.rows import Row, Wanted

# Rows that are Python objects at a time.
_AT_ONCE = 256
# Of a file, read at a time.
_BUFFER = 1 << 20
_FILE_MARK, _STREAM_END = b"ARROW1", b"\xff\xff\xff\xff\0\0\0\0"


def parquet(path: str, wanted: Wanted) -> Iterator[Row]:
    """The rows of a Parquet file, from 0; columns that are not wanted are not read."""
    reader = packages.need("pyarrow.parquet", "arrow", f"{path} cannot be read")

    def batches(place: str) -> Iterator[Any]:
        options = {"buffer_size": _BUFFER, "pre_buffer": False, "page_checksum_verification": True}
        with reader.ParquetFile(place, **options) as file:
            yield from file.iter_batches(_AT_ONCE, columns=[name for name in file.schema_arrow.names if wanted(name)])

    return _rows(path, batches, "a whole Parquet file")


def arrow(path: str, wanted: Wanted) -> Iterator[Row]:
    """The rows of an Arrow file or stream, from 0; a stream must have its end, or a part of it could be lost unsaid."""
    package = packages.need("pyarrow", "arrow", f"{path} cannot be read")
    importing = packages.need("pyarrow.ipc", "arrow", f"{path} cannot be read")

    def batches(place: str) -> Iterator[Any]:
        size = files.size_of(place)
        is_file = files.read_range(place, 0, len(_FILE_MARK)) == _FILE_MARK
        if not is_file and files.read_range(place, max(0, size - len(_STREAM_END)), size) != _STREAM_END:
            raise ValueError("a stream without its end")
        # Not mapped into memory: pages that were read would count as ours.
        with package.OSFile(place) as file:
            if is_file:
                reader = importing.open_file(file)
                yield from (_chosen(reader.get_batch(n), wanted) for n in range(reader.num_record_batches))
            else:
                yield from (_chosen(batch, wanted) for batch in importing.open_stream(file))

    return _rows(path, batches, "a whole Arrow file or stream")


def _chosen(batch: Any, wanted: Wanted) -> Any:
    return batch.select([name for name in batch.schema.names if wanted(name)])


def _rows(path: str, batches: Callable[[str], Iterator[Any]], expected: str) -> Iterator[Row]:
    number = 0
    with files.local(path) as place, contextlib.closing(_parts(batches(place))) as parts:
        while True:
            try:
                values = next(parts, None)
            except (OSError, ValueError, KeyError, TypeError, RuntimeError, MemoryError) as problem:
                said = str(problem).strip().splitlines() or [type(problem).__name__]
                raise InputError(
                    f"{path} is damaged, or no such file",
                    got=f"{said[0]}, after row {number:,}",
                    expected=expected,
                    remedy="fetch the file again, or write it anew",
                ) from problem
            if values is None:
                return
            for row in values:
                yield number, functools.partial(_read, row)
                number += 1


def _parts(batches: Iterator[Any]) -> Generator[list[dict[str, Any]], None, None]:
    """Rows as Python has them, some at a time."""
    for batch in batches:
        # Places beyond the end of the data, read unchecked, would end the process.
        batch.validate(full=True)
        for start in range(0, batch.num_rows, _AT_ONCE):
            yield batch.slice(start, _AT_ONCE).to_pylist()


def _read(values: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    # A column of all rows says nothing of the rows that leave it empty.
    return {name: plain_values.plain(value, name, where) for name, value in values.items() if value is not None}
