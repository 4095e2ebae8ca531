"""Records from JSON lines: one object a line, UTF-8, read as a stream."""

import functools
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from etils import epath

from jax_tda.core import files
from jax_tda.core.errors import InputError
from jax_tda.data import records


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


def _parse(raw: bytes, kind: records.Kind, where: str) -> records.Record:
    try:
        line = raw.decode("utf-8")
    except UnicodeDecodeError as problem:
        raise records.Rejected(where, "invalid UTF-8", got=str(problem), expected="a line in UTF-8") from None
    try:
        row = json.loads(line, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError) as problem:
        expected = "one whole JSON object on the line"
        raise records.Rejected(
            where, "broken JSON", got=f"{line.strip()[:60]!r} ({problem})", expected=expected
        ) from None
    # Half a surrogate pair is legal JSON but no text; it can only come from an escape, so most lines need no look.
    if "\\u" in line and not _whole_characters(row):
        raise records.Rejected(where, "invalid UTF-8", got="half a surrogate pair", expected="whole characters")
    return records.parse(row, kind, where)


def read(
    path: epath.PathLike, kind: records.Kind, on_bad_record: str, rejected: Counter[str]
) -> Iterator[records.Record]:
    """Yields the records of a file in its order; lines of nothing but spaces hold none.

    Args:
      path: the file, local or in any store that epath reads.
      kind: "passages" or "queries".
      on_bad_record: "refuse" or "skip".
      rejected: receives the number of records left out by reason.

    Raises:
      InputError: naming file and line at a bad record that may not be skipped; if there is no file or no record.
    """
    file = files.at(path)
    files.demand_regular(file)
    if not files.is_file(file):
        raise InputError(
            f"no file of {kind} at {file}",
            got="a directory" if files.is_folder(file) else "nothing",
            expected="a file of JSON lines",
            remedy="check the path",
        )

    def rows() -> Iterator[tuple[str, Callable[[], records.Record]]]:
        for number, raw in enumerate(files.lines(file), start=1):
            if number == 1:
                raw = raw.removeprefix(b"\xef\xbb\xbf")
            if raw.strip():
                where = f"{file}, line {number}"
                yield where, functools.partial(_parse, raw, kind, where)

    return records.admit(str(file), rows(), on_bad_record, rejected)
