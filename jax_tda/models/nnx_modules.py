"""An nnx module as a function of its parameters by path, and tokens."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
from flax import nnx

Hook = Callable[[str], Callable[[Any], Any]]


def parameters(module: nnx.Module) -> dict[str, Any]:
    """Its `nnx.Param` values by '/'-joined path; keys of lists are numbers in nnx and text in a path."""
    parts: Any = nnx.split(module, nnx.Param, ...)
    return {"/".join(map(str, keys)): _held(leaf) for keys, leaf in nnx.to_flat_state(parts[1])}


def running(module: nnx.Module, hook: Hook | None = None) -> Callable[[Mapping[str, Any], jax.Array], Any]:
    """What the module gives for parameters by path, and tokens; a hook is handed what is read of each parameter."""
    parts: Any = nnx.split(module, nnx.Param, ...)
    definition, *states = parts

    def run(given: Mapping[str, Any], tokens: jax.Array) -> Any:
        fresh = []
        for own, state in zip((True, False), states, strict=True):
            flat = []
            for keys, leaf in nnx.to_flat_state(state):
                path = "/".join(map(str, keys))
                flat.append((keys, _renewed(leaf, given[path] if own else None, hook(path) if own and hook else None)))
            fresh.append(nnx.from_flat_state(flat))
        return nnx.merge(definition, *fresh)(tokens)

    return run


def _held(leaf: Any) -> Any:
    if not isinstance(leaf, nnx.Variable):
        return leaf
    return leaf.get_value() if hasattr(leaf, "get_value") else leaf.value


def _renewed(leaf: Any, value: Any, see: Callable[[Any], Any] | None) -> Any:
    """A variable made here and now: nnx lets a program change, and loop over, only what it made itself."""
    if not isinstance(leaf, nnx.Variable):
        return leaf if value is None else leaf.replace(value)
    kind = type(leaf) if see is None else _watched(type(leaf), see)
    return kind(_held(leaf) if value is None else value, **leaf.get_metadata())


def _watched(kind: Any, see: Callable[[Any], Any]) -> Any:
    """The kind of variable, whose value is handed to `see` wherever it is read."""
    if hasattr(kind, "get_value"):

        def get_value(self: Any, **index: Any) -> Any:
            return see(kind.get_value(self, **index))

        return type(kind.__name__, (kind,), {"get_value": get_value})
    # Flax before 0.12.
    return type(kind.__name__, (kind,), {"on_get_value": lambda self, value: see(value)})
