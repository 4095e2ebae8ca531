"""From what an array's axes mean to where its parts lie, at rest and while it is used."""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jax_tda.core import mesh as meshes

Meanings = tuple[str | None, ...]
# What a weight's axes are where it is used: gathered over the data groups, still divided over `model`.
_IN_USE = {"embed": "stream", "any": None}


def partition(
    mesh: Mesh, shape: Sequence[int], meanings: Sequence[str | None], parts: Mapping[str, int] | None = None
) -> PartitionSpec:
    """Which mesh axis each axis of an array is divided over; one that does not divide evenly is held whole.

    Args:
      mesh: the devices.
      shape: the array's shape.
      meanings: what its axes mean, keys of RULES or None.
      parts: for meanings whose axis must not be cut anywhere, such as heads, the number of parts that stay together.
    """
    return PartitionSpec(
        *(_divided(mesh, size, meaning, parts or {}) for size, meaning in zip(shape, meanings, strict=True))
    )


def _divided(mesh: Mesh, size: int, meaning: str | None, parts: Mapping[str, int]) -> str | None:
    axis = meshes.RULES[meaning] if meaning else None
    if axis is None or mesh.shape[axis] == 1:
        return None
    return None if math.gcd(size, parts.get(meaning or "", size)) % mesh.shape[axis] else axis


def whole_axes(
    mesh: Mesh, shape: Sequence[int], meanings: Sequence[str | None], parts: Mapping[str, int] | None = None
) -> list[int]:
    """The axes that the rules would divide, but that do not divide evenly."""
    wanted = [meshes.RULES[meaning] if meaning else None for meaning in meanings]
    found = partition(mesh, shape, meanings, parts)
    return [
        place
        for place, (axis, got) in enumerate(zip(wanted, found, strict=True))
        if axis is not None and mesh.shape[axis] > 1 and got is None
    ]


def in_use(meanings: Meanings) -> Meanings:
    """The meanings of a weight's axes where it is used."""
    return tuple(_IN_USE.get(meaning, meaning) if meaning else None for meaning in meanings)


def largest_axis(mesh: Mesh, shape: Sequence[int]) -> Meanings:
    """Of a weight of unnamed axes, the largest axis that divides evenly over the data groups, the last of equals.

    It alone is divided, over `data`; `model` divides no weight of such a model.
    """
    fitting = [axis for axis, size in enumerate(shape) if size > 0 and size % mesh.shape[meshes.DATA] == 0]
    best = max(fitting, key=lambda axis: (shape[axis], axis), default=None)
    return tuple("any" if axis == best else None for axis in range(len(shape)))


def constrain(mesh: Mesh | None, array: jax.Array, *meanings: str | None) -> jax.Array:
    """An activation whose last axes mean `meanings`; of more axes than that the first counts examples."""
    if mesh is None:
        return array
    spare = array.ndim - len(meanings)
    lead = ("batch", *(None,) * (spare - 1)) if spare else ()
    return jax.lax.with_sharding_constraint(
        array, NamedSharding(mesh, partition(mesh, array.shape, (*lead, *meanings)))
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def gather(weight: jax.Array, used: NamedSharding, rest: NamedSharding) -> jax.Array:
    """A weight as it is used, whole but for its division over `model`; its gradient is divided as it is at rest."""
    del rest
    return jax.lax.with_sharding_constraint(weight, used)


def _gather(weight: jax.Array, used: NamedSharding, rest: NamedSharding) -> Any:
    return gather(weight, used, rest), None


def _scatter(used: NamedSharding, rest: NamedSharding, saved: None, gradient: jax.Array) -> Any:
    del used, saved
    return (jax.lax.with_sharding_constraint(gradient, rest),)


gather.defvjp(_gather, _scatter)


def keep_no_gathered(primitive: Any, *_: Any, **__: Any) -> bool:
    """A policy of `jax.checkpoint` that keeps everything but what was gathered, which is gathered again instead."""
    # Outside a gradient `gather` is still a call with a derivative of its own; what it makes is a constraint's output.
    return primitive.name != "sharding_constraint" and not primitive.name.startswith("custom_vjp_call")


def fetch(array: Any) -> np.ndarray:
    """The whole array on this host, wherever its parts lie; every process must ask for it."""
    if isinstance(array, jax.Array) and not (array.is_fully_addressable or array.is_fully_replicated):
        mesh = array.sharding.mesh  # type: ignore[attr-defined]
        array = jax.jit(lambda x: x, out_shardings=meshes.replicated(mesh))(array)
    return np.asarray(array)


def place(array: Any, where: NamedSharding) -> jax.Array:
    """Puts an array that every process holds whole where it belongs; each device takes its own part of it."""
    if not where.mesh.is_multi_process or (isinstance(array, jax.Array) and not array.is_fully_addressable):
        return jax.device_put(array, where)
    held = np.asarray(array)
    return jax.make_array_from_callback(held.shape, where, lambda index: held[index])


def place_all(tree: Any, where: NamedSharding) -> Any:
    """`place` of every array of a tree."""
    return jax.tree.map(lambda array: place(array, where), tree)
