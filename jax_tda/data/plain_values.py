"""A column's value as JSON would hold it: what a record may carry to the page."""

import datetime
import decimal
import math
import uuid
from typing import Any

from jax_tda.data import records


def plain(value: Any, name: str, where: str) -> Any:
    """The value in text, numbers, lists and dictionaries; times as ISO 8601 and decimals as text.

    Raises:
      Rejected: bytes that are no UTF-8, a float that is no number, or a value of another kind.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _cannot(where, name, str(value))
        return value
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as problem:
            raise records.Rejected(where, "invalid UTF-8", got=str(problem), expected=f"text in {name!r}") from None
    if isinstance(value, list | tuple):
        return [plain(item, name, where) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item, name, where) for key, item in value.items()}
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta | decimal.Decimal | uuid.UUID):
        return str(value)
    raise _cannot(where, name, type(value).__name__)


def _cannot(where: str, name: str, got: str) -> records.Rejected:
    expected = f"what JSON can hold; `tokenize.fields = ('={name}',)` leaves the column out"
    return records.Rejected(where, f"ill-typed field {name!r}", got=got, expected=expected)
