"""Records of TFRecord files: length, its checksum, the bytes, their checksum; without TensorFlow.

Source of the form: tensorflow.org/tutorials/load_data/tfrecord, "TFRecords format details".
"""

import functools
import struct
from collections.abc import Iterator
from typing import Any

from jax_tda.core.errors import InputError
from jax_tda.data import compressed, packages, tf_examples
from jax_tda.data.rows import Row, Wanted

_HEAD = struct.Struct("<QI")
_LARGEST = 2**31


def _masked(checksum: int) -> int:
    return (((checksum >> 15) | (checksum << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def rows(path: str, wanted: Wanted) -> Iterator[Row]:
    """The rows of one file, from 0."""
    crc = packages.need("google_crc32c", "records", f"{path} cannot be read")
    packages.need("google.protobuf", "records", f"{path} cannot be read")
    for number, record in enumerate(_framed(path, crc)):
        yield number, functools.partial(tf_examples.row, record, wanted)


def _framed(path: str, crc: Any) -> Iterator[bytes]:
    held, number = bytearray(), 0
    for block in compressed.blocks(path):
        held += block
        at = 0
        while len(held) - at >= _HEAD.size:
            head = bytes(held[at : at + 8])
            length, checksum = _HEAD.unpack_from(held, at)
            if _masked(crc.value(head)) != checksum or length > _LARGEST:
                raise _damaged(path, number, "a length that does not match its checksum")
            stop = at + _HEAD.size + length + 4
            if len(held) < stop:
                break
            record = bytes(held[at + _HEAD.size : stop - 4])
            if _masked(crc.value(record)) != int.from_bytes(held[stop - 4 : stop], "little"):
                raise _damaged(path, number, "bytes that do not match their checksum")
            yield record
            at, number = stop, number + 1
        del held[:at]
    if held:
        raise _damaged(path, number, f"an end in its midst, {len(held):,} bytes after its beginning")


def _damaged(path: str, number: int, got: str) -> InputError:
    return InputError(
        f"{path} is damaged at record {number}",
        got=got,
        expected="whole TFRecord frames to the end of the file",
        remedy="fetch the file again, or write it anew",
    )
