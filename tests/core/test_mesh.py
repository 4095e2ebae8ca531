"""Laws of the mesh and of batches put on it."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from jax_tda.core import mesh as meshes
from jax_tda.core.errors import InputError

FLAG = "--xla_force_host_platform_device_count="


def test_a_mesh_takes_all_devices_for_examples_unless_told_otherwise():
    """data = 0 means devices / model; the order of devices is that of a plain reshape."""
    assert dict(meshes.make_mesh().shape) == {"data": 8, "model": 1}
    mesh = meshes.make_mesh(meshes.MeshConfig(model=2))
    assert dict(mesh.shape) == {"data": 4, "model": 2}
    assert [device.id for device in mesh.devices[1]] == [jax.devices()[2].id, jax.devices()[3].id]


@pytest.mark.parametrize(("data", "model"), [(3, 2), (16, 1), (1, 1), (0, 3), (0, 16)])
def test_a_mesh_that_does_not_fit_the_devices_is_refused(data, model):
    """data × model ≠ 8 is an error that names both."""
    with pytest.raises(InputError, match=f"data={data} × model={model}"):
        meshes.make_mesh(meshes.MeshConfig(data, model))


@pytest.mark.parametrize(
    "fields", [{"data": -1}, {"model": 0}, {"weights": "split"}, {"model": 2, "weights": "replicated"}]
)
def test_an_impossible_mesh_is_refused_by_name(fields):
    """Before any device is looked for."""
    with pytest.raises(InputError, match=f"mesh.{list(fields)[-1]} is not possible"):
        meshes.MeshConfig(**fields)


def test_a_process_that_works_alone_makes_a_mesh_of_its_own_devices(monkeypatch):
    """Of 32 × 12 over many processes one of eight devices makes 2 × 4; alone from the start, it must fit."""
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    assert dict(meshes.make_mesh(meshes.MeshConfig(32, 12)).shape) == {"data": 2, "model": 4}
    monkeypatch.undo()
    with pytest.raises(InputError, match="does not fit the devices"):
        meshes.make_mesh(meshes.MeshConfig(32, 12))


def test_weights_are_divided_where_asked_or_where_model_is_more_than_one():
    """On CPUs they are whole otherwise, and always on one device."""
    wide, deep = meshes.make_mesh(), meshes.make_mesh(meshes.MeshConfig(model=2))
    alone = meshes.make_mesh(devices=jax.devices()[:1])
    assert [meshes.splits_weights(mesh) for mesh in (None, alone, wide, deep)] == [False, False, False, True]
    assert [meshes.splits_weights(mesh, "sharded") for mesh in (alone, wide, deep)] == [False, True, True]
    assert not meshes.splits_weights(wide, "replicated")


def test_a_sharded_batch_holds_on_device_d_the_rows_of_group_d():
    """Every array keeps its values; device d holds rows [d · B / 8, (d + 1) · B / 8), alike within a group."""
    batch = {"tokens": np.arange(48).reshape(16, 3), "row": np.arange(16)}
    placed = meshes.shard_batch(meshes.make_mesh(meshes.MeshConfig(model=2)), batch)
    for name, array in batch.items():
        np.testing.assert_array_equal(np.asarray(placed[name]), array)
    for shard in placed["row"].addressable_shards:
        first = 4 * (shard.device.id // 2)
        np.testing.assert_array_equal(np.asarray(shard.data), np.arange(first, first + 4))


@pytest.mark.parametrize("array", [np.zeros((12, 2)), np.float32(1)])
def test_a_batch_that_does_not_divide_evenly_is_refused(array):
    """Nothing is padded or dropped in silence."""
    with pytest.raises(InputError, match="divided evenly"):
        meshes.shard_batch(meshes.make_mesh(), {"tokens": array})


def test_the_rules_shard_a_kernel_by_the_meaning_of_its_axes():
    """A (layer, embed, mlp) kernel on a 4 × 2 mesh is cut in four along embed and in two along mlp alone."""
    mesh = meshes.make_mesh(meshes.MeshConfig(model=2))
    kernel = jax.device_put(np.zeros((2, 4, 6)), meshes.sharding(mesh, "layer", "embed", "mlp"))
    assert {shard.data.shape for shard in kernel.addressable_shards} == {(2, 1, 3)}
    whole = jax.device_put(np.zeros((2, 4)), meshes.replicated(mesh))
    assert {shard.data.shape for shard in whole.addressable_shards} == {(2, 4)}


@pytest.mark.parametrize(
    ("given", "devices"), [({}, "cores"), ({"JAX_NUM_CPU_DEVICES": "3"}, "3"), ({"XLA_FLAGS": FLAG + "5"}, "5")]
)
def test_each_core_is_a_device_unless_the_user_said_otherwise(given, devices):
    """Law: as many CPU devices as cores this process may use, at most eight; the user's own number stands."""
    program = (
        "from jax_tda.core import mesh; mesh.one_cpu_device_per_core(); import jax, os; "
        "print(len(jax.devices()), min(8, len(os.sched_getaffinity(0))))"
    )
    environment = {n: v for n, v in os.environ.items() if n not in ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES")} | given
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    found, cores = done.stdout.split()
    assert found == (cores if devices == "cores" else devices)


def test_a_job_that_shares_a_process_has_the_devices_that_it_would_have_alone(monkeypatch):
    """Law: of CPU devices made for other jobs a mesh takes the first; of those that the user asked for, all."""
    assert jax.device_count() == 8
    with meshes.devices_of_a_job(False):
        assert meshes.make_mesh().size == 8
    monkeypatch.setattr(meshes, "_ours", [8])
    with meshes.devices_of_a_job(False):
        assert meshes.make_mesh().size == 1
    with meshes.devices_of_a_job(True):
        assert meshes.make_mesh().size == 8
    assert meshes.make_mesh().size == 8
