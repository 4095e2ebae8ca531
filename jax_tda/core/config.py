"""What the frozen dataclasses that steer jobs have in common: which fields are no settings, and those that remain."""

import dataclasses
from typing import Any

_INPUT, _MACHINE = "input", "machine"


def input_path(default: str = "") -> Any:
    """A config field that names an artifact or file read by the job.

    Its path says nothing about the result: the manifest records the input's digest instead.
    """
    return dataclasses.field(default=default, metadata={_INPUT: True})


def machine(default: Any) -> Any:
    """A config field that says how a machine is used; it changes no number, and a run may go on with another value."""
    return dataclasses.field(default=default, metadata={_MACHINE: True})


def settings(config: Any) -> dict[str, Any]:
    """Every field of a config dataclass that can change a number: neither inputs' paths nor how a machine is used."""
    kept = {}
    for field in dataclasses.fields(config):
        if field.metadata.get(_INPUT) or field.metadata.get(_MACHINE):
            continue
        value = getattr(config, field.name)
        kept[field.name] = settings(value) if dataclasses.is_dataclass(value) else value
    return kept
