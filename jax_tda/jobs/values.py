"""Config values against annotations: a bool is no number, an integer may stand for a float, a list for a tuple."""

import types
import typing
from typing import Any

_SCALARS = (bool, int, float, str)


class MismatchError(TypeError):
    """A value that an annotation does not allow."""


def describe(annotation: Any) -> str:
    """An annotation as a user would write it: `int`, `tuple[str, ...]`, `int | None`."""
    return getattr(annotation, "__name__", str(annotation)) if annotation in _SCALARS else str(annotation)


def conform(value: Any, annotation: Any) -> Any:
    """The value as the annotated type, or MismatchError."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Any or (annotation in (None, type(None)) and value is None):
        return value
    if annotation in _SCALARS and type(value) is annotation:
        return value
    if annotation is float and type(value) is int:
        return float(value)
    if origin is typing.Literal and any(value == allowed and type(value) is type(allowed) for allowed in arguments):
        return value
    if origin in (typing.Union, types.UnionType):
        return _first(value, arguments)
    if origin is tuple and isinstance(value, tuple | list):
        return _items(value, arguments)
    raise MismatchError


def _first(value: Any, annotations: tuple[Any, ...]) -> Any:
    for annotation in annotations:
        try:
            return conform(value, annotation)
        except MismatchError:
            continue
    raise MismatchError


def _items(values: tuple | list, annotations: tuple[Any, ...]) -> tuple:
    if len(annotations) == 2 and annotations[1] is Ellipsis:
        return tuple(conform(value, annotations[0]) for value in values)
    if len(annotations) != len(values):
        raise MismatchError
    return tuple(conform(value, annotation) for value, annotation in zip(values, annotations, strict=True))
