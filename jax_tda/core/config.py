"""What the frozen dataclasses that steer jobs have in common: which fields are inputs, and the settings that remain."""

import dataclasses
from typing import Any

_INPUT = "input"


def input_path(default: str = "") -> Any:
    """A config field that names an artifact or file read by the job.

    Its path says nothing about the result: the manifest records the input's digest instead.
    """
    return dataclasses.field(default=default, metadata={_INPUT: True})


def settings(config: Any) -> dict[str, Any]:
    """Every field of a config dataclass that can change a number: all but the paths of its inputs."""
    kept = {}
    for field in dataclasses.fields(config):
        if field.metadata.get(_INPUT):
            continue
        value = getattr(config, field.name)
        kept[field.name] = settings(value) if dataclasses.is_dataclass(value) else value
    return kept
