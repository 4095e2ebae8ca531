"""One binding against the config it speaks of: an unknown name is refused with the nearest known one, so is a type."""

import dataclasses
import difflib
import typing
from collections.abc import Iterable
from typing import Any

from jax_tda.core.errors import InputError
from jax_tda.jobs.bindings import Binding
from jax_tda.jobs.values import MismatchError, conform, describe


def unknown(what: str, got: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not among the known ones."""
    known = sorted(known)
    near = difflib.get_close_matches(got, known, n=1, cutoff=0.5)
    remedy = f"did you mean `{near[0]}`?" if near else "take a name from the list, or delete the line"
    return InputError(what, got=got, expected="one of " + ", ".join(known), remedy=remedy)


def parameters(config: type) -> dict[str, Any]:
    """The fields that a binding may set, with their annotations; a field that is itself a config has its own name."""
    annotations = typing.get_type_hints(config)
    fields = [field.name for field in dataclasses.fields(config) if field.init]
    return {name: annotations[name] for name in fields if not dataclasses.is_dataclass(annotations[name])}


def checked(binding: Binding, config: type) -> Any:
    """The binding's value as the type of its parameter."""
    known, full = parameters(config), f"{binding.name}.{binding.parameter}"
    if binding.parameter not in known:
        raise unknown(f"{binding.place}: `{full}` does not exist", binding.parameter, known)
    try:
        return conform(binding.value, known[binding.parameter])
    except MismatchError:
        raise InputError(
            f"{binding.place}: `{full}` has the wrong type",
            got=f"{binding.value!r} ({type(binding.value).__name__})",
            expected=describe(known[binding.parameter]),
            remedy="write a value of that type; text stands in quotes",
        ) from None
