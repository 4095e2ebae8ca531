"""Records of ArrayRecord files, which grain reads: each a tf.train.Example or a JSON object."""

import functools
from collections.abc import Iterator
from typing import Any

from jax_tda.core import files
from jax_tda.core.errors import InputError
from jax_tda.data import packages, tf_examples
from jax_tda.data.rows import Row, Wanted


def rows(path: str, wanted: Wanted) -> Iterator[Row]:
    """The rows of one file, from 0."""
    what = f"{path} cannot be read"
    module = packages.need("array_record.python.array_record_module", "records", what)
    packages.need("google.protobuf", "records", what)
    with files.local(path) as place:
        # Neither reading groups ahead nor several at a time: each is unpacked whole.
        reader = module.ArrayRecordReader(place, options="readahead_buffer_size:0,max_parallelism:0")
        try:
            # A damaged file opens as one without records, and only this tells.
            if not reader.ok():
                raise _damaged(path, 0, _said_at_closing(reader))
            for number in range(reader.num_records()):
                yield number, functools.partial(tf_examples.row, _next(reader, path, number), wanted)
        finally:
            _said_at_closing(reader)


def _said_at_closing(reader: Any) -> str:
    """What is wrong with a file, which the reader keeps until then."""
    try:
        reader.close()
    except RuntimeError as problem:
        return str(problem)
    return "no ArrayRecord file, or one that is truncated"


def _next(reader: Any, path: str, number: int) -> bytes:
    # One after another: a range would unpack its whole group of records, 65,536 by default, each time.
    try:
        record: bytes = reader.read()
    except (RuntimeError, IndexError, ValueError) as problem:
        raise _damaged(path, number, str(problem)) from problem
    if not reader.ok():
        raise _damaged(path, number, "an end before the last record")
    return record


def _damaged(path: str, number: int, got: str) -> InputError:
    return InputError(
        f"{path} is damaged at record {number} or after it",
        got=got,
        expected="a whole ArrayRecord file",
        remedy="fetch the file again, or write it anew",
    )
