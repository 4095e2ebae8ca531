"""What a declared type allows: a value against an annotation with its bounds, and the annotation in plain words."""

import dataclasses
import math
import numbers
import re
import types
import typing
from typing import Any, Protocol

_SCALARS = {bool: "True or False", int: "a whole number", float: "a finite number", str: "text"}


class MismatchError(TypeError):
    """A value that an annotation does not allow."""


class Rule(Protocol):
    """What stands behind the type in `Annotated[type, rule]`."""

    @property
    def said(self) -> str:
        """What the rule asks, as it follows the words for the type."""

    def allows(self, value: Any) -> bool:
        """Whether a value of the type obeys."""


@dataclasses.dataclass(frozen=True)
class Bound:
    """Limits of a number.

    Args:
      at_least: the smallest that is allowed.
      at_most: the greatest that is allowed.
      above: what it must be greater than.
      below: what it must be smaller than.
      also: further values that are allowed and have a meaning of their own.
      unit: what is counted or measured.
      meaning: what the limits do not say by themselves.
    """

    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    below: float | None = None
    also: tuple[float, ...] = ()
    unit: str = ""
    meaning: str = ""

    def allows(self, value: Any) -> bool:
        """Whether the number lies within the limits."""
        low = (self.at_least is None or value >= self.at_least) and (self.above is None or value > self.above)
        high = (self.at_most is None or value <= self.at_most) and (self.below is None or value < self.below)
        return (low and high) or value in self.also

    @property
    def said(self) -> str:
        """The limits in words."""
        limits = {"at least": self.at_least, "above": self.above, "at most": self.at_most, "below": self.below}
        words = " and ".join(f"{name} {_number(limit)}" for name, limit in limits.items() if limit is not None)
        others = "".join(f", or {_number(value)}" for value in self.also)
        return f"{words}{others}{f' ({self.meaning})' if self.meaning else ''}"


@dataclasses.dataclass(frozen=True)
class Items:
    """How many items a list has, and in which order."""

    at_least: int = 0
    at_most: int = 4096
    different: bool = False
    order: str = ""

    def allows(self, value: Any) -> bool:
        """Whether the list has so many items, none twice, in order, where that is asked."""
        if not self.at_least <= len(value) <= self.at_most or (self.different and len(set(value)) < len(value)):
            return False
        return not self.order or list(value) == sorted(value, reverse=self.order == "falling")

    @property
    def said(self) -> str:
        """The number and the order in words."""
        words = [f"{self.at_least or 'no'} to {self.at_most:,} items"]
        words += ["none twice"] if self.different else []
        return ", ".join([*words, f"in {self.order} order"] if self.order else words)


@dataclasses.dataclass(frozen=True)
class Text:
    """A pattern that the whole text matches, and what it asks in words."""

    pattern: str
    said: str

    def allows(self, value: Any) -> bool:
        """Whether the text matches."""
        return re.fullmatch(self.pattern, value, re.DOTALL) is not None


@dataclasses.dataclass(frozen=True)
class Expression:
    """A text that Python's `re` can compile."""

    said: str = "that is a regular expression"

    def allows(self, value: Any) -> bool:
        """Whether it compiles."""
        try:
            re.compile(value)
        except (re.error, RecursionError, OverflowError):
            return False
        return True


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def rules(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """The bare type of an annotation, and the rules behind it."""
    if typing.get_origin(annotation) is typing.Annotated:
        bare, *behind = typing.get_args(annotation)
        return bare, tuple(behind)
    return annotation, ()


def unit(annotation: Any) -> str:
    """What a number of this annotation counts or measures; empty where nothing is said."""
    bare, behind = rules(annotation)
    own = [rule.unit for rule in behind if isinstance(rule, Bound) and rule.unit]
    inner = typing.get_args(bare) if typing.get_origin(bare) is not typing.Literal else ()
    return next(iter([*own, *filter(None, (unit(one) for one in inner if one is not Ellipsis))]), "")


def choices(annotation: Any) -> tuple[Any, ...]:
    """The values of a `Literal`, also where it stands inside a list or beside None; none for anything else."""
    bare, _ = rules(annotation)
    if typing.get_origin(bare) is typing.Literal:
        return typing.get_args(bare)
    return tuple(value for one in typing.get_args(bare) for value in choices(one))


def describe(annotation: Any) -> str:
    """An annotation in words that say what a user may write."""
    bare, behind = rules(annotation)
    origin, arguments = typing.get_origin(bare), typing.get_args(bare)
    if origin is typing.Literal:
        words = " or ".join(map(repr, arguments))
    elif origin in (typing.Union, types.UnionType):
        words = ", or ".join("None" if one is type(None) else describe(one) for one in arguments)
    elif origin is tuple:
        words = f"a list, each item {describe(arguments[0])}"
    else:
        words = _SCALARS.get(bare, getattr(bare, "__name__", str(bare)))
    said = "".join(f"{'; ' if origin is tuple else ' '}{rule.said}" for rule in behind if rule.said)
    measured = next((f", in {rule.unit}" for rule in behind if isinstance(rule, Bound) and rule.unit), "")
    return words + said + measured


def conform(value: Any, annotation: Any) -> Any:
    """The value as the annotated type, or MismatchError: a bool is no number, an integer may stand for a float.

    Raises:
      MismatchError: another type, a number that is not finite, or one that its bounds do not allow.
    """
    bare, behind = rules(annotation)
    made = _typed(value, bare)
    if not all(rule.allows(made) for rule in behind):
        raise MismatchError
    return made


def _typed(value: Any, annotation: Any) -> Any:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Any or (annotation in (None, type(None)) and value is None):
        return value
    if annotation in (bool, str) and type(value) is annotation:
        return value
    if annotation in (int, float) and not isinstance(value, bool):
        return _as_number(value, annotation)
    if origin is typing.Literal and any(value == allowed and type(value) is type(allowed) for allowed in arguments):
        return value
    if origin in (typing.Union, types.UnionType):
        return _first(value, arguments)
    if origin is tuple and isinstance(value, tuple | list):
        return tuple(conform(item, arguments[0]) for item in value)
    if dataclasses.is_dataclass(annotation) and isinstance(annotation, type) and isinstance(value, annotation):
        return value
    raise MismatchError


def _as_number(value: Any, annotation: Any) -> int | float:
    """NumPy's integers and floats are numbers too."""
    if annotation is int and isinstance(value, numbers.Integral):
        return int(value)
    if annotation is float and isinstance(value, numbers.Real):
        try:
            number = float(value)
        except OverflowError:  # An integer beyond the greatest float.
            raise MismatchError from None
        if math.isfinite(number):
            return number
    raise MismatchError


def _first(value: Any, annotations: tuple[Any, ...]) -> Any:
    for annotation in annotations:
        try:
            return conform(value, annotation)
        except MismatchError:
            continue
    raise MismatchError
