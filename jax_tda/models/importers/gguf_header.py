"""The head of a GGUF file: metadata, and where each tensor lies; no number in it is trusted beyond the file's own size.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
"""

import dataclasses
import mmap
import struct
from pathlib import Path
from typing import Any

import numpy as np

from jax_tda.core.errors import InputError

_TEXT, _LIST = 8, 9
_NUMBERS = {number: letter for number, letter in enumerate("BbHhIif?") if letter} | {10: "Q", 11: "q", 12: "d"}
_MOST_AXES = 4
# Metadata of the tokenizer, which others read; a whole vocabulary is only walked over here.
_TOKENIZER = "tokenizer."


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One tensor.

    Args:
      shape: its shape, the last axis the one whose numbers lie side by side.
      kind: the number of its type.
      offset: where its bytes begin in the file.
    """

    shape: tuple[int, ...]
    kind: int
    offset: int


@dataclasses.dataclass(frozen=True)
class Header:
    """What a file says before its tensors' values; `size` is its length in bytes."""

    fields: dict[str, Any]
    tensors: dict[str, Tensor]
    size: int


class _DamagedError(ValueError):
    """What is wrong, in words."""


class _Cursor:
    """Reads on and on, and never behind the end."""

    def __init__(self, content: mmap.mmap, size: int):
        self.content, self.size, self.at = content, size, 0

    def demand(self, count: int, each: int, what: str) -> None:
        if count * each > self.size - self.at:
            raise _DamagedError(f"{what} at byte {self.at:,} would need {count:,} × {each} bytes or more")

    def take(self, length: int, what: str) -> bytes:
        self.demand(length, 1, what)
        self.at += length
        return self.content[self.at - length : self.at]

    def number(self, letter: str, what: str) -> Any:
        return struct.unpack(f"<{letter}", self.take(struct.calcsize(f"<{letter}"), what))[0]

    def text(self, what: str) -> str:
        return self.take(self.number("Q", what), what).decode("utf-8", "replace")

    def name(self, what: str) -> str:
        """A key's or a tensor's name: a text that other readers decode strictly."""
        held = self.take(self.number("Q", what), what)
        try:
            return held.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _DamagedError(f"{what} before byte {self.at:,} is no UTF-8") from error

    def value(self, kind: int, key: str, keep: bool) -> Any:
        if kind == _TEXT:
            return self.text(key)
        if kind == _LIST:
            return self._values(self.number("I", key), self.number("Q", key), key, keep)
        if kind not in _NUMBERS:
            raise _DamagedError(f"{key} has a value of the unknown type {kind}")
        return self.number(_NUMBERS[kind], key)

    def _values(self, kind: int, count: int, key: str, keep: bool) -> Any:
        if kind == _TEXT:
            self.demand(count, 8, key)
            found = [self.text(key) for _ in range(count)]
            return found if keep else None
        if kind not in _NUMBERS:
            raise _DamagedError(f"{key} is a list of the type {kind}")
        each = struct.calcsize(f"<{_NUMBERS[kind]}")
        self.demand(count, each, key)
        held = self.take(count * each, key)
        return np.frombuffer(held, np.dtype(_NUMBERS[kind]).newbyteorder("<")).tolist() if keep else None


def read(path: str) -> Header:
    """The head of a file.

    Raises:
      InputError: it is no regular file, no GGUF file, of another version or byte order, truncated or damaged.
    """
    if not Path(path).is_file():
        raise InputError(
            f"{path} is no file",
            got="something else" if Path(path).exists() else "nothing",
            expected="a GGUF file",
            remedy="check the path",
        )
    size = Path(path).stat().st_size
    try:
        if size < 24:
            raise _DamagedError("it is shorter than any such file")
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _parsed(path, _Cursor(content, size))
    except (_DamagedError, OSError, OverflowError, MemoryError) as problem:
        raise InputError(
            f"the GGUF file {path} is truncated or damaged",
            got=f"{size:,} bytes; reading them: {problem}",
            expected="a whole GGUF file",
            remedy="copy or download the file again",
        ) from problem


def _parsed(path: str, cursor: _Cursor) -> Header:
    if (magic := cursor.take(4, "the first word")) != b"GGUF":
        raise _DamagedError(f"they begin with {magic!r} instead of b'GGUF'")
    version = cursor.number("I", "the version")
    if version & 0xFFFF == 0 and version:
        raise InputError(
            f"{path} is a big-endian GGUF file",
            got=f"the version {version:#010x}, which is {version >> 24} with its bytes turned round",
            expected="a little-endian file",
            remedy=f"`gguf-convert-endian {path} little` of the package gguf turns it round, in place",
        )
    if version not in (2, 3):
        raise _DamagedError(f"version {version}, where 2 and 3 are known")
    tensors, entries = cursor.number("Q", "the number of tensors"), cursor.number("Q", "the number of entries")
    cursor.demand(entries, 13, "the metadata")
    fields: dict[str, Any] = {}
    for _ in range(entries):
        key = cursor.name("a key")
        if key in fields:
            raise _DamagedError(f"{key} is there twice")
        fields[key] = cursor.value(cursor.number("I", key), key, not key.startswith(_TOKENIZER))
    cursor.demand(tensors, 24, "the list of tensors")
    listed = [_tensor(cursor) for _ in range(tensors)]
    alignment = fields.get("general.alignment", 32)
    if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
        raise _DamagedError(f"an alignment of {alignment}")
    start = -(-cursor.at // alignment) * alignment
    found = {name: dataclasses.replace(tensor, offset=start + tensor.offset) for name, tensor in listed}
    if len(found) < tensors:
        raise _DamagedError("two tensors have one name")
    return Header(fields, found, cursor.size)


def _tensor(cursor: _Cursor) -> tuple[str, Tensor]:
    name = cursor.name("a tensor's name")
    axes = cursor.number("I", name)
    if axes > _MOST_AXES:
        raise _DamagedError(f"the tensor {name} has {axes} axes")
    shape = tuple(cursor.number("Q", name) for _ in range(axes))[::-1]
    return name, Tensor(shape, cursor.number("I", name), cursor.number("Q", name))
