"""What the frozen dataclasses that steer jobs have in common: which fields are no settings, and those that remain."""

import dataclasses
from typing import Any

from jax_tda.core.errors import InputError

_INPUT, _MACHINE, _REQUIRED = "input", "machine", "required"


def input_path(default: str = "", *, required: bool = False) -> Any:
    """A config field that names an artifact or file read by the job.

    Its path says nothing about the result: the manifest records the input's digest instead.

    Args:
      required: whether the job cannot run without it; a dry run and a job that merely contains the config may.
    """
    return dataclasses.field(default=default, metadata={_INPUT: True, _REQUIRED: required})


def is_input(field: dataclasses.Field) -> bool:
    """Whether a field was made by `input_path`."""
    return bool(field.metadata.get(_INPUT))


def is_required(field: dataclasses.Field) -> bool:
    """Whether a job cannot run without a value in this field."""
    return bool(field.metadata.get(_REQUIRED))


def complete_part(config: Any) -> Any:
    """A config field that is a config itself, and whose required inputs the job that contains it needs too."""
    return dataclasses.field(default_factory=config, metadata={_REQUIRED: True})


def check_complete(job: str, config: Any) -> None:
    """Refuses to run a job without an input that it needs.

    Raises:
      InputError: naming the first that is empty.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if not is_required(field):
            continue
        if dataclasses.is_dataclass(value):
            check_complete(field.name, value)
        elif not value:
            raise InputError(
                f"{job}.{field.name} is not set",
                got="no path",
                expected="the path of what the job reads",
                remedy=f"add `{job}.{field.name} = 'PATH'` to the config, or give it as --gin_bindings",
            )


def machine(default: Any) -> Any:
    """A config field that says how a machine is used; it changes no number, and a run may go on with another value."""
    return dataclasses.field(default=default, metadata={_MACHINE: True})


def naming(default: Any) -> Any:
    """A config field that says how a result is called; it changes no number, and is recorded beside the result."""
    return dataclasses.field(default=default, metadata={_MACHINE: True})


def settings(config: Any) -> dict[str, Any]:
    """Every field of a config dataclass that can change a number: neither inputs' paths, machines nor names."""
    kept = {}
    for field in dataclasses.fields(config):
        if field.metadata.get(_INPUT) or field.metadata.get(_MACHINE):
            continue
        value = getattr(config, field.name)
        kept[field.name] = settings(value) if dataclasses.is_dataclass(value) else value
    return kept
