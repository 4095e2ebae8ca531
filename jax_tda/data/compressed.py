"""The bytes of a file that may be compressed by gzip or zstd, and its lines, as a stream."""

import zlib
from collections.abc import Callable, Iterator
from typing import Any

from jax_tda.core import files
from jax_tda.core.errors import InputError
from jax_tda.data import packages

# What each begins with, by the ending of its name.
MARKS = {".gz": b"\x1f\x8b", ".zst": b"\x28\xb5\x2f\xfd"}


def ending(path: object) -> str:
    """`.gz`, `.zst`, or nothing, by the file's name."""
    return next((one for one in MARKS if str(path).lower().endswith(one)), "")


def _inflate() -> Any:
    return zlib.decompressobj(wbits=31)


def _zstandard(path: object) -> Callable[[], Any]:
    package = packages.need("zstandard", "zstd", f"{path} cannot be read")
    # A frame may ask for a window of 2 GiB (`zstd --ultra --long=31`); by itself the package takes 128 MiB.
    reader = package.ZstdDecompressor(max_window_size=2**31)
    return lambda: reader.decompressobj()


def blocks(path: str) -> Iterator[bytes]:
    """A file's bytes in blocks, decompressed where its name says so; several frames follow each other as one.

    Raises:
      InputError: it is truncated, damaged, or not compressed as its name says.
    """
    kind = ending(path)
    if not kind:
        yield from files.blocks(path)
        return
    yield from _decompressed(path, kind, _inflate if kind == ".gz" else _zstandard(path))


def _decompressed(path: str, kind: str, begin: Callable[[], Any]) -> Iterator[bytes]:
    frame, given = None, 0
    for block in files.blocks(path):
        if not given and not block.startswith(MARKS[kind]):
            raise _damaged(path, kind, f"a file that begins with {block[:4]!r}", "rename it, or compress it")
        while block:
            if frame is None:
                if kind == ".gz" and given and not block.strip(b"\0"):
                    break  # Zeros behind the last member are padding.
                frame = begin()
            try:
                made = frame.decompress(block)
            except Exception as problem:  # zlib.error, or zstandard's own.
                raise _damaged(path, kind, f"{problem}, after {given:,} bytes of text") from problem
            given += len(made)
            if made:
                yield made
            block, frame = (frame.unused_data, None) if frame.eof else (b"", frame)
    if frame is not None:
        raise _damaged(path, kind, f"an end in the midst of the compressed data, after {given:,} bytes of text")


def lines(path: str) -> Iterator[bytes]:
    """The lines of a file, decompressed, with their ends."""
    rest = b""
    for block in blocks(path):
        *whole, rest = (rest + block).split(b"\n")
        for line in whole:
            yield line + b"\n"
    if rest:
        yield rest


def _damaged(path: str, kind: str, got: str, remedy: str = "fetch the file again, or write it anew") -> InputError:
    name = "gzip" if kind == ".gz" else "zstd"
    return InputError(f"{path} is no whole {name} file", got=got, expected=f"{name} data to its end", remedy=remedy)
