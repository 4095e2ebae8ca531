"""One gate for a foreign model's settings: what each entry may be, what a missing one is, what is done with it.

An entry is read, or may only have values that the decoder can follow, or has no effect on logits. Whatever the table of
its family does not know is kept by name, to be printed.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from jax_tda.core.errors import InputError

_MOST = 2**31 - 1


class Missing:
    """What stands for a default where there is none."""

    def __init__(self, words: str):
        self.words = words

    def __repr__(self) -> str:
        return self.words


ABSENT, REQUIRED = Missing("–"), Missing("required")


def _whole(value: Any, least: int) -> bool:
    return type(value) is int and least <= value <= _MOST


def _number(value: Any) -> bool:
    return (type(value) is int and abs(value) <= 2**63) or (type(value) is float and math.isfinite(value))


# What a value may be: in words, and whether it is.
KINDS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "size": (f"a whole number from 1 to {_MOST}", lambda value: _whole(value, 1)),
    "count": (f"a whole number from 0 to {_MOST}", lambda value: _whole(value, 0)),
    "positive": ("a finite number above 0", lambda value: _number(value) and value > 0),
    "not negative": ("a finite number, at least 0", lambda value: _number(value) and value >= 0),
    "share": ("a number above 0, at most 1", lambda value: _number(value) and 0 < value <= 1),
    "switch": ("true or false", lambda value: type(value) is bool),
    "text": ("a text", lambda value: isinstance(value, str)),
    "texts": (
        "a list of texts",
        lambda value: isinstance(value, list) and all(isinstance(entry, str) for entry in value),
    ),
    "object": ("an object", lambda value: isinstance(value, dict)),
    "off": ("0, false or nothing", lambda value: not value or (isinstance(value, list) and not any(value))),
    "scale": ("0 or 1", lambda value: _number(value) and value in (0, 1)),
    "anything": ("anything", lambda value: True),
}


@dataclasses.dataclass(frozen=True)
class Field:
    """One entry.

    Args:
      kind: what its values may be, one of KINDS.
      default: what the reference takes where the entry is missing; ABSENT for nothing, REQUIRED where it must be there.
      null: whether null is a value.
      only: the values that the decoder can follow, where it cannot follow all of the kind; empty for all.
      asks: what other values than those would ask for.
      idle: whether it has no effect on logits.
      own: whether it is a field of the reference's own class, and not of an older version or a base.
    """

    kind: str
    default: Any = ABSENT
    null: bool = False
    only: tuple[Any, ...] = ()
    asks: str = ""
    idle: bool = False
    own: bool = True

    def allows(self, value: Any) -> bool:
        """Whether the value is of the kind."""
        return self.null if value is None else KINDS[self.kind][1](value)

    @property
    def words(self) -> str:
        """What its values may be."""
        if self.only:
            return " or ".join(map(json.dumps, self.only))
        return KINDS[self.kind][0] + (" or null" if self.null else "")

    @property
    def use(self) -> str:
        """What is done with it."""
        return "no effect" if self.idle else "must be" if self.only or self.kind in ("off", "scale") else "read"


@dataclasses.dataclass
class Settings:
    """What was read of a foreign configuration.

    Args:
      where: the file, for errors.
      values: the entries that are read, and the defaults of those that are missing.
      idle: the names of the entries that have no effect on logits.
      unknown: what no table knows.
    """

    where: str
    values: dict[str, Any]
    idle: list[str]
    unknown: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def get(self, name: str, default: Any = None) -> Any:
        """The value, or the default where the entry is neither there nor has a default of its own."""
        return self.values.get(name, default)

    def refusal(self, got: str, expected: str, what: str) -> InputError:
        """The error for a model that asks for what the decoder does not have."""
        return InputError(
            f"{self.where} asks for {what}, which the decoder does not have",
            got=got,
            expected=expected,
            remedy="this model cannot be imported; docs/models.md lists those that can",
        )

    def contradiction(self, got: str, expected: str) -> InputError:
        """The error for entries that readers of such files understand differently, or that contradict each other."""
        return InputError(
            f"{self.where} can be understood in two ways",
            got=got,
            expected=expected,
            remedy="correct the entry, or take the file from the model's own page",
        )

    def described(self) -> tuple[str, ...]:
        """A line for what has no effect, and one for each entry that is not read."""
        idle = (f"without effect on logits: {', '.join(sorted(self.idle))}",) if self.idle else ()
        unread = (f"not read: {name} = {shown(value)}, unknown for this family" for name, value in self.unknown.items())
        return (*idle, *sorted(unread))


def shown(value: Any) -> str:
    """A value on one short line."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # A number of more digits than Python writes; lists in lists without end.
        text = f"a {type(value).__name__} that is too long to show"
    return text if len(text) <= 80 else f"{text[:77]}…"


def read(fields: Mapping[str, Field], entries: Mapping[str, Any], where: str) -> Settings:
    """The entries of a foreign configuration, each of them checked.

    Args:
      fields: the table of all entries that are known.
      entries: those that are there.
      where: the file, for errors.

    Raises:
      InputError: an entry is missing, of another type or out of its range, or asks for what the decoder does not have.
    """
    settings = Settings(where, {}, [], {name: value for name, value in entries.items() if name not in fields})
    for name, field in fields.items():
        if name not in entries:
            if field.default is REQUIRED:
                raise InputError(
                    f"{where} lacks the entry {name}",
                    got=", ".join(sorted(entries)[:12]) or "nothing",
                    expected=field.words,
                    remedy="take the file from the model's own page, or check the path",
                )
            if field.default is not ABSENT and not field.idle:
                settings.values[name] = field.default
        elif field.idle:
            settings.idle.append(name)
        else:
            settings.values[name] = _checked(settings, name, field, entries[name])
    return settings


def _checked(settings: Settings, name: str, field: Field, value: Any) -> Any:
    if not field.allows(value):
        raise InputError(
            f"{settings.where}: the entry {name} cannot be used",
            got="null" if value is None else shown(value),
            expected=field.words,
            remedy="correct the entry, or take the file from the model's own page",
        )
    # 0 == False, and a list cannot be looked up in a set.
    if field.only and not any(type(value) is type(allowed) and value == allowed for allowed in field.only):
        raise settings.refusal(f"{name} = {shown(value)}", field.words, field.asks)
    return value
