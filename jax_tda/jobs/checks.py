"""One binding against the config it speaks of: an unknown name is refused with the nearest known one."""

import dataclasses
from typing import Any

from jax_tda.core import declared
from jax_tda.core.nearest import unknown
from jax_tda.jobs.bindings import Binding


def parameters(config: type) -> dict[str, Any]:
    """The fields that a binding may set, with their annotations; a field that is itself a config has its own name."""
    fields = {field.name: annotation for field, annotation in declared.annotations(config).items()}
    return {name: annotation for name, annotation in fields.items() if not dataclasses.is_dataclass(annotation)}


def checked(binding: Binding, config: type) -> Any:
    """The binding's value as the type of its parameter, within its bounds."""
    known, full = parameters(config), f"{binding.name}.{binding.parameter}"
    if binding.parameter not in known:
        raise unknown(f"{binding.place}: `{full}` does not exist", binding.parameter, known)
    return declared.checked(full, binding.value, known[binding.parameter], binding.place)
