"""Records from JSON lines: one object a line, UTF-8, read as a stream."""

import functools
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from jax_tda.data import compressed, records
from jax_tda.data.rows import Row, Wanted


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large a number")
    return value


def _whole_characters(row: Any) -> bool:
    try:
        json.dumps(row, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def row(raw: bytes, where: str) -> Mapping[str, Any]:
    """The object on one line.

    Raises:
      Rejected: it is no UTF-8, no JSON or no object.
    """
    try:
        line = raw.decode("utf-8")
    except UnicodeDecodeError as problem:
        raise records.Rejected(where, "invalid UTF-8", got=str(problem), expected="a line in UTF-8") from None
    try:
        found = json.loads(line, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError) as problem:
        expected = "one whole JSON object on the line"
        raise records.Rejected(
            where, "broken JSON", got=f"{line.strip()[:60]!r} ({problem})", expected=expected
        ) from None
    # Half a surrogate pair is legal JSON but no text; it can only come from an escape, so most lines need no look.
    if "\\u" in line and not _whole_characters(found):
        raise records.Rejected(where, "invalid UTF-8", got="half a surrogate pair", expected="whole characters")
    if not isinstance(found, Mapping):
        raise records.Rejected(where, "not an object", got=repr(found)[:80], expected='an object: {"id": …, …}')
    return found


def rows(path: str, wanted: Wanted) -> Iterator[Row]:
    """The lines of a file, from 1, decompressed where its name says so; lines of nothing but spaces hold none."""
    del wanted  # A line is parsed whole.
    for number, raw in enumerate(compressed.lines(path), start=1):
        if number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        if raw.strip():
            yield number, functools.partial(row, raw)
