"""Configs whose fields declare what they may hold: checked once when a config is made, however it is made."""

import dataclasses
import difflib
import inspect
import os
import re
import typing
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

from jax_tda.core import bounds
from jax_tda.core.config import is_input
from jax_tda.core.errors import InputError

Config = TypeVar("Config")


def declared(name: str) -> Callable[[type[Config]], type[Config]]:
    """Below `@dataclasses.dataclass(frozen=True)`: a config that refuses what its annotations do not allow.

    Every field is checked before the class's own `__post_init__`, which then holds only what concerns several fields.

    Args:
      name: what a config file calls it.
    """

    def decorate(config: type[Config]) -> type[Config]:
        own = config.__dict__.get("__post_init__")

        def check(self: Any) -> None:
            for field, annotation in annotations(type(self)).items():
                value = getattr(self, field.name)
                if is_input(field) and isinstance(value, os.PathLike):
                    value = os.fspath(value)
                object.__setattr__(self, field.name, checked(f"{name}.{field.name}", value, annotation))
            if own:
                own(self)

        for attribute, value in {"__post_init__": check, "config_name": name}.items():
            setattr(config, attribute, value)
        return config

    return decorate


def annotations(config: type) -> dict[dataclasses.Field, Any]:
    """The fields of a config with their annotations, bounds included."""
    if "_annotations" not in config.__dict__:
        found = typing.get_type_hints(config, include_extras=True)
        fields = {field: found[field.name] for field in dataclasses.fields(config) if field.init}
        type.__setattr__(config, "_annotations", fields)
    return config.__dict__["_annotations"]


def checked(name: str, value: Any, annotation: Any, place: str = "") -> Any:
    """The value as its declared type.

    Args:
      name: the setting, `job.parameter`.
      value: what was given.
      annotation: what is declared.
      place: file and line where it stands, if it stands in one.

    Raises:
      InputError: the annotation does not allow the value.
    """
    try:
        return bounds.conform(value, annotation)
    except bounds.MismatchError:
        pass
    known = [choice for choice in bounds.choices(annotation) if isinstance(choice, str)]
    texts = [text for text in (value if isinstance(value, tuple | list) else [value]) if isinstance(text, str)]
    near = [found for text in texts if text not in known for found in difflib.get_close_matches(text, known, n=1)]
    raise InputError(
        f"{place}{': ' if place else ''}{name} is not possible",
        got=f"{_shown(value)} ({type(value).__name__})",
        expected=bounds.describe(annotation),
        remedy=f"did you mean {near[0]!r}?" if near else f"set {name} to such a value; text stands in quotes",
    )


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python spells no integer of more than 4,300 digits.
        return "a number of very many digits"
    return text if len(text) <= 200 else f"{text[:200]}…"


def demand(config: Any, holds: bool, field: str, expected: str, remedy: str = "") -> None:
    """Refuses a config whose field does not go with others.

    Args:
      config: a declared config.
      holds: whether all is well.
      field: the name of the field that can be changed.
      expected: what would go, in words.
      remedy: what to do, where that is not to change the field.

    Raises:
      InputError: `holds` is false.
    """
    if not holds:
        name = f"{config.config_name}.{field}"
        raise InputError(
            f"{name} is not possible",
            got=_shown(getattr(config, field)),
            expected=expected,
            remedy=remedy or f"change {name}",
        )


class Setting(NamedTuple):
    """What there is to say of a field; its type says the bounds, its meaning is the docstring's."""

    name: str
    type: str
    default: Any
    unit: str
    meaning: str


def described(config: type) -> list[Setting]:
    """Every field of a declared config that is no config itself, as a help page would print it."""
    meanings = dict(_meanings(config))
    found = []
    for field, annotation in annotations(config).items():
        if not dataclasses.is_dataclass(annotation):
            default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
            kind, measured = bounds.describe(annotation), bounds.unit(annotation)
            found.append(Setting(field.name, kind, default, measured, meanings.get(field.name, "")))
    return found


def _meanings(config: type) -> Iterator[tuple[str, str]]:
    """(field, meaning) of each entry under Args or Attributes; an entry may name several fields."""
    text = inspect.getdoc(config) or ""
    section = re.search(r"^(?:Args|Attributes):\n((?:  .*\n?|\n)+)", text, re.MULTILINE)
    for entry in re.findall(r"^  (\w.*(?:\n {3,}.*)*)", section[1] if section else "", re.MULTILINE):
        names, _, meaning = entry.partition(":")
        for name in names.split(","):
            yield name.strip(), " ".join(meaning.split())
