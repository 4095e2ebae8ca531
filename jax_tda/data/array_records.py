"""Records of ArrayRecord files, which grain reads: each a tf.train.Example or a JSON object."""

import functools
from collections.abc import Iterator
from typing import Any

from jax_tda.core import files
from jax_tda.core.errors import InputError
from jax_tda.data import packages, tf_examples
from jax_tda.data.rows import Row, Wanted

_AT_ONCE = 256


def rows(path: str, wanted: Wanted) -> Iterator[Row]:
    """The rows of one file, from 0."""
    what = f"{path} cannot be read"
    module = packages.need("array_record.python.array_record_module", "records", what)
    packages.need("google.protobuf", "records", what)
    with files.local(path) as place:
        # Without a buffer that reads ahead: rows come in order, a block at a time.
        reader = module.ArrayRecordReader(place, options="readahead_buffer_size:0")
        try:
            # A damaged file opens as one without records, and only this tells.
            if not reader.ok():
                raise _damaged(path, 0, _said_at_closing(reader))
            count = reader.num_records()
            for first in range(0, count, _AT_ONCE):
                for number, record in enumerate(_read(reader, path, first, min(first + _AT_ONCE, count)), start=first):
                    yield number, functools.partial(tf_examples.row, record, wanted)
        finally:
            _said_at_closing(reader)


def _said_at_closing(reader: Any) -> str:
    """What is wrong with a file, which the reader keeps until then."""
    try:
        reader.close()
    except RuntimeError as problem:
        return str(problem)
    return "no ArrayRecord file, or one that is truncated"


def _read(reader: Any, path: str, first: int, stop: int) -> list[bytes]:
    try:
        found: list[bytes] = reader.read(first, stop)
    except (RuntimeError, IndexError, ValueError) as problem:
        raise _damaged(path, first, str(problem)) from problem
    return found


def _damaged(path: str, number: int, got: str) -> InputError:
    return InputError(
        f"{path} is damaged at record {number} or after it",
        got=got,
        expected="a whole ArrayRecord file",
        remedy="fetch the file again, or write it anew",
    )
