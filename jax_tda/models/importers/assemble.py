"""From foreign tensors to our parameters, one tensor at a time: the host never holds more than one beside the model.

Each parameter is made whole on the devices and filled there, layer by layer. Every device holds a part of it where one
of its axes can be divided.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jax_tda.core import trees
from jax_tda.core.errors import InputError
from jax_tda.core.progress import Progress
from jax_tda.models.decoder import Decoder
from jax_tda.models.importers.origins import LAYER, Origin
from jax_tda.models.importers.source import Source
from jax_tda.models.layers import STACKED

Shape = tuple[int, ...]


def shapes_of(source: Source) -> dict[str, Shape]:
    """Our parameters and their shapes, by path."""
    shapes = jax.eval_shape(lambda: Decoder(source.config).init(jax.random.key(0), jnp.zeros((1, 2), jnp.int32)))
    return {path: tuple(leaf.shape) for path, leaf in trees.flatten(shapes).items()}


def check(source: Source) -> list[str]:
    """Compares what the source holds with what the decoder needs, by name and shape, before anything is read.

    Returns:
      The names of tensors that no parameter comes from, because they are none.

    Raises:
      InputError: a tensor is missing, has another shape, or belongs to nothing.
    """
    shapes = shapes_of(source)
    wanted: dict[str, tuple[str, Shape]] = {}
    for path, origin in source.find_origins(shapes).items():
        for layer, name in _names(source, path, origin):
            wanted[name] = path, origin.shape(shapes[path][1:] if layer is not None else shapes[path])
    for name, (path, shape) in wanted.items():
        if source.shapes.get(name) != shape:
            raise InputError(
                f"{source.where}: the tensor {name} {'has a wrong shape' if name in source.shapes else 'is missing'}",
                got=source.shapes.get(name, f"{len(source.shapes)} other tensors"),
                expected=f"{shape}, for {path} of a {source.family} decoder",
                remedy="the configuration and the tensors are of different models; copy both from one place",
            )
        source.check_type(name)
    left = sorted(name for name in source.shapes if name not in wanted)
    unknown = [name for name in left if not source.unused.search(name)]
    if unknown:
        raise InputError(
            f"{source.where}: the tensor {unknown[0]} belongs to nothing",
            got=f"{len(unknown)} tensors that a {source.family} decoder of this configuration has no place for",
            expected=f"{len(wanted)} tensors, such as {next(iter(wanted))}",
            remedy="the model is not what its configuration says, or a variant that docs/models.md does not list",
        )
    return left


def parameters(source: Source, devices: list[jax.Device] | None = None) -> dict[str, Any]:
    """The tree of our parameters, float32, on the devices.

    Raises:
      InputError: as `check`, or a tensor holds values that are not finite.
    """
    check(source)
    shapes = shapes_of(source)
    found = source.find_origins(shapes)
    mesh = Mesh(np.array(devices or jax.devices()), ("all",))
    progress = Progress("import_checkpoint", len(shapes), "parameters")
    leaves = {}
    for path, shape in shapes.items():
        leaves[path] = _assembled(source, path, found[path], shape, mesh)
        progress.advance()
    return trees.unflatten(leaves)


def _assembled(source: Source, path: str, origin: Origin, shape: Shape, mesh: Mesh) -> jax.Array:
    stacked = _is_stacked(path)
    whole = NamedSharding(mesh, _spread(shape, int(stacked), mesh.devices.size))
    if not stacked:
        return jax.device_put(_read(source, origin, origin.name, shape), whole)
    part = NamedSharding(mesh, PartitionSpec(*whole.spec[1:]))
    leaf = jnp.zeros(shape, jnp.float32, device=whole)
    for layer, name in _names(source, path, origin):
        leaf = _fill(leaf, jax.device_put(_read(source, origin, name, shape[1:]), part), jnp.asarray(layer))
        # Otherwise the host reads ahead of the device, and holds every layer that still waits to be copied.
        leaf.block_until_ready()
    return leaf


@functools.partial(jax.jit, donate_argnums=0)
def _fill(leaf: jax.Array, value: jax.Array, layer: jax.Array) -> jax.Array:
    return jax.lax.dynamic_update_index_in_dim(leaf, value, layer, 0)


def _read(source: Source, origin: Origin, name: str, shape: Shape) -> np.ndarray:
    tensor = source.read(name)
    with np.errstate(over="ignore"):  # What float32 cannot hold becomes infinite, and is refused.
        value = np.ascontiguousarray(origin.view(tensor), np.float32)
    if not np.isfinite(value).all():
        raise InputError(
            f"{source.where}: the tensor {name} cannot be used",
            got=f"{int((~np.isfinite(value)).sum())} values that are not finite",
            expected="finite numbers",
            remedy="copy the file again, or take another checkpoint",
        )
    assert value.shape == shape
    return value + np.float32(origin.shift) if origin.shift else value


def _spread(shape: Shape, first: int, devices: int) -> PartitionSpec:
    """Divides the last axis that can be divided evenly, the layer axis excepted."""
    axes: list[str | None] = [None] * len(shape)
    for axis in range(len(shape) - 1, first - 1, -1):
        if shape[axis] % devices == 0:
            axes[axis] = "all"
            break
    return PartitionSpec(*axes)


def _is_stacked(path: str) -> bool:
    return path.startswith(f"{STACKED}/")


def _names(source: Source, path: str, origin: Origin) -> list[tuple[int | None, str]]:
    if not _is_stacked(path):
        return [(None, origin.name)]
    return [(layer, origin.name.replace(LAYER, str(layer))) for layer in range(source.config.layers)]
