"""Where arrays live: a mesh of devices, and the one table that maps the meaning of an axis to a mesh axis."""

import contextlib
import contextvars
import dataclasses
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jax_tda.core import processes
from jax_tda.core.bounds import Bound
from jax_tda.core.declared import declared, demand
from jax_tda.core.errors import InputError

DATA, MODEL = "data", "model"

# What an axis means -> the mesh axis that it is split over; None: every device holds it whole. Weights and activations
# have names of their own for one dimension: a weight's side of the residual stream is divided like the examples are.
RULES: Mapping[str, str | None] = {
    # Weights.
    "layer": None,
    "embed": DATA,
    "heads": MODEL,
    "kv_heads": MODEL,
    "mlp": MODEL,
    "vocabulary": MODEL,
    "any": DATA,  # Of a model whose axes nobody named: the largest that can be divided.
    # Activations, and a weight's embed where it is used.
    "batch": DATA,
    "position": None,
    "stream": None,
    # A projection's p where its other side is the stream's.
    "projected": MODEL,
}

# How many devices `one_cpu_device_per_core` asked for, if it did; and, for the jobs of a pipeline that share a process,
# whether the one at work has the first of them alone.
_ours: list[int] = []
_first_alone = contextvars.ContextVar("first_alone", default=False)


def one_cpu_device_per_core(most: int = 8) -> None:
    """Lets JAX see each core of a CPU as a device, so that each works on examples of its own.

    That is faster than sharing the operations of one example among cores; every device then holds its own copy of the
    parameters, so beyond `most` devices the remaining cores share operations. A number that the user has set
    (JAX_NUM_CPU_DEVICES, or a flag of XLA) is left alone, as is a process in which JAX has looked for its devices
    already; accelerators are not affected, and no number depends on it.
    """
    given = jax.config.values["jax_num_cpu_devices"] > 0 or "host_platform_device_count" in os.environ.get(
        "XLA_FLAGS", ""
    )
    if not given:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        with contextlib.suppress(RuntimeError):  # What JAX says once it has devices.
            jax.config.update("jax_num_cpu_devices", min(cores, most))
            _ours.append(min(cores, most))


@contextlib.contextmanager
def devices_of_a_job(device_per_core: bool) -> Iterator[None]:
    """Inside, meshes are made of the devices that a process of this one job would have: of CPUs all, or only the first.

    Jobs that share a process share its devices, whose number decides in which order sums are taken; so each job takes
    its own number, and computes the same bits as alone. Devices that the user asked for are left alone.

    Args:
      device_per_core: whether the job takes each core of a CPU for a device.
    """
    token = _first_alone.set(bool(_ours) and not device_per_core)
    try:
        yield
    finally:
        _first_alone.reset(token)


def usable_devices(local: bool = False) -> list[jax.Device]:
    """The devices that the job at work may use, of all processes or of this one."""
    found = jax.local_devices() if local else jax.devices()
    return found[:1] if _first_alone.get() and found[0].platform == "cpu" else found


@dataclasses.dataclass(frozen=True)
@declared("mesh")
class MeshConfig:
    """How devices share the work; it changes no number beyond docs/precision.md, and is not part of any artifact.

    Args:
      data: the number of groups that examples are divided over; 0 takes all devices that `model` leaves.
      model: the number of devices that share heads, MLP and vocabulary of one group.
      weights: `sharded` holds every weight once among all devices and gathers a layer's where it is used, `replicated`
        holds it whole on each. Empty replicates on CPUs where `model` is 1, and shards elsewhere.
    """

    data: Annotated[int, Bound(0, 2**20, unit="groups", meaning="0 for all devices that model leaves")] = 0
    model: Annotated[int, Bound(1, 2**20, unit="devices")] = 1
    weights: Literal["", "sharded", "replicated"] = ""

    def __post_init__(self) -> None:
        goes = self.model == 1 or self.weights != "replicated"
        demand(self, goes, "weights", "'sharded' or '', as model divides weights")


def make_mesh(config: MeshConfig = MeshConfig(), *, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh of devices [data, model] whose axes the compiler may shard over as it sees fit.

    Devices of one process stand together, so that a data group's are as near to each other as can be.

    Args:
      config: the sizes of the axes. A process that works alone while others wait makes a mesh of its own devices, with
        the largest divisor of `model` that these have; no number depends on it.
      devices: the devices to use; all, of all processes, when None.

    Raises:
      InputError: if data × model is not the number of devices.
    """
    # A process that works alone while others wait has its own devices only, and of the mesh what these can be.
    alone = devices is None and processes.count() == 1
    found = list(usable_devices(alone) if devices is None else devices)
    if alone and jax.process_count() > 1:
        config = MeshConfig(0, math.gcd(config.model, len(found)), config.weights)
    if jax.process_count() > 1:
        found.sort(key=lambda device: (device.process_index, device.id))
    groups = config.data or len(found) // config.model
    if groups < 1 or groups * config.model != len(found):
        raise InputError(
            f"A mesh of data={config.data} × model={config.model} does not fit the devices.",
            got=f"{len(found)} devices",
            expected="data × model equal to the number of devices (data 0: all that remain)",
            remedy="change mesh.data or mesh.model, or set mesh.data to 0",
        )
    # A plain reshape: topology-aware orders refuse some shapes, (32, 8) on a v5e-256 among them.
    return Mesh(np.array(found).reshape(groups, config.model), (DATA, MODEL), axis_types=(AxisType.Auto,) * 2)


def splits_weights(mesh: Mesh | None, weights: str = "") -> bool:
    """Whether weights are divided over this mesh, `weights` being that of a `MeshConfig`."""
    if mesh is None or mesh.size == 1 or weights == "replicated":
        return False
    return weights == "sharded" or mesh.shape[MODEL] > 1 or mesh.devices.flat[0].platform != "cpu"


def sharding(mesh: Mesh, *meanings: str | None) -> NamedSharding:
    """The sharding of an array whose axes mean, in order, `meanings` (keys of RULES, None for no meaning)."""
    return NamedSharding(mesh, PartitionSpec(*(None if name is None else RULES[name] for name in meanings)))


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The sharding of an array whose first axis counts examples."""
    return sharding(mesh, "batch")


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of an array that every device holds whole."""
    return sharding(mesh)


def shard_batch(mesh: Mesh, tree: Any) -> Any:
    """Puts host arrays on the mesh, their first axis divided over the data groups.

    Every process passes the same whole batch; each device takes only its own rows.

    Args:
      tree: arrays [B, ...], B the same multiple of the number of data groups in all of them.

    Raises:
      InputError: if B is not such a multiple.
    """
    groups = mesh.shape[DATA]
    placement = batch_sharding(mesh)

    def place(leaf: Any) -> jax.Array:
        array = np.asarray(leaf)
        if array.ndim == 0 or array.shape[0] % groups:
            raise InputError(
                "A batch cannot be divided evenly over the mesh.",
                got=f"an array of shape {array.shape}",
                expected=f"a first axis that is a multiple of {groups} data groups",
                remedy=f"choose a batch size divisible by {groups}, or a mesh with fewer data groups",
            )
        return jax.make_array_from_callback(array.shape, placement, lambda index: array[index])

    return jax.tree.map(place, tree)


def replicate(mesh: Mesh, tree: Any) -> Any:
    """Puts arrays that every process holds whole on every device of the mesh."""
    where = replicated(mesh)
    if not mesh.is_multi_process:
        return jax.device_put(tree, where)

    def place(leaf: Any) -> jax.Array:
        held = np.asarray(leaf)
        return jax.make_array_from_callback(held.shape, where, lambda index: held[index])

    return jax.tree.map(place, tree)
