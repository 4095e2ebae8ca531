"""Laws of programs from shapes alone: they are what the encoder and training run, and no device holds a whole model."""

import json
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from jax_tda import Encoder
from jax_tda.core import mesh as meshes
from jax_tda.encoding.abstract import encode_program
from jax_tda.models.decoder import Decoder, DecoderConfig
from jax_tda.training.abstract import step_program
from jax_tda.training.loop import TrainingConfig, train
from jax_tda.training.optimizers import OptimizerConfig
from tests.encoding.test_sharded import made
from tests.training.test_loop import copies


def described(tree):
    """Shape, type and place of every array, by path."""
    return {
        jax.tree_util.keystr(path): (leaf.shape, leaf.dtype, leaf.sharding.devices_indices_map(leaf.shape))
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


@pytest.mark.parametrize(
    ("reduction", "unrolled", "weights"),
    [("rank_one", False, "sharded"), ("exact", True, "sharded"), ("none", False, "")],
)
def test_an_encoder_holds_what_its_program_is_said_to_take(reduction, unrolled, weights):
    """Law: every parameter, projection and 1/√V has the shape, type and place of the abstract argument."""
    model, params, moments = made(False)
    mesh = meshes.make_mesh(meshes.MeshConfig(2, 4) if weights else meshes.MeshConfig())
    options = {"mesh": mesh, "weights": weights, "unroll_layers": unrolled}
    kind = "exact" if reduction == "exact" else "rank_one"
    held = Encoder(model, params, None if reduction == "none" else moments, "groups", 4, reduction=kind, **options)
    _, (leaves, sides, *examples) = encode_program(
        model.config, projected_size=4, reduction=reduction, batch=5, context=9, **options
    )
    assert described(held.leaves) == described(leaves)
    assert described(held.sides) == described(sides)
    groups = mesh.shape["data"]
    assert [array.shape[0] for array in examples] == [-(-5 // groups) * groups] * 3


def test_training_holds_what_its_program_is_said_to_take():
    """Law: the state after a step, and the program's argument."""
    config = DecoderConfig(vocabulary_size=12, layers=2, width=16, heads=4, kv_heads=2, mlp_width=16)
    optimizer, mesh = OptimizerConfig(warmup_steps=1), meshes.make_mesh(meshes.MeshConfig(4, 2))
    state = train(Decoder(config), optimizer, TrainingConfig(1, save_every=0), copies, mesh=mesh, weights="sharded")
    _, (expected, _) = step_program(config, optimizer, mesh, batch=8, context=7)
    assert described(state) == described(expected)


def test_no_device_gathers_more_than_a_layer_or_two():
    """Law: whatever the number of layers, what a device needs beside its arguments is less than three whole layers.

    By the compiler's word on CPU devices. Kept for the backward pass, six gathered layers would be twice that.
    """
    config = DecoderConfig(vocabulary_size=16, layers=6, width=128, heads=4, kv_heads=4, mlp_width=512)
    mesh = meshes.make_mesh(meshes.MeshConfig(8, 1))
    program, arguments = encode_program(
        config, mesh, projected_size=2, batch=8, context=4, weights="sharded", unroll_layers=False
    )
    assert not any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(arguments))
    layer = 4 * (4 * 128 * 128 + 3 * 128 * 512)
    found = program.lower(*arguments).compile().memory_analysis()
    assert found.argument_size_in_bytes < (6 * layer) / 8 * 1.2
    assert found.temp_size_in_bytes < 3 * layer


def test_narrow_weights_are_held_as_such_and_their_moments_are_wide():
    """Law: of bfloat16 parameters norms and second moments are float32, and a step leaves each its type."""
    config = DecoderConfig(
        vocabulary_size=12, layers=2, width=16, heads=4, kv_heads=2, mlp_width=16, parameter_dtype="bfloat16"
    )
    state = train(Decoder(config), OptimizerConfig(warmup_steps=1), TrainingConfig(1, save_every=0), copies)
    kernel = state.params["layers"]["mlp"]["up"]["kernel"]
    assert kernel.dtype == jnp.bfloat16 and state.params["final_norm"]["scale"].dtype == jnp.float32
    moments = [leaf for leaf in jax.tree.leaves(state.opt_state) if leaf.shape == kernel.shape]
    assert moments and {leaf.dtype for leaf in moments} == {jnp.dtype(jnp.float32)}


@pytest.mark.nightly
def test_the_8b_step_fits_a_v5e_256_and_encoding_needs_less_than_training():
    """Law: four examples per data group fit by the compiler's word, rank one and exact; rank one in less than a step.

    Layers are computed twice in both, as training does at this size. Needs libtpu; no TPU.
    """
    program = pathlib.Path(__file__).parents[2] / "benchmarks" / "divided.py"
    ran = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    found = json.loads(ran.stdout.splitlines()[-1])["bytes_per_chip"]
    assert set(found) == {"rank_one", "exact", "train"}
    assert all(0 < parts["total"] < 16 * 2**30 for parts in found.values())
    assert found["rank_one"]["total"] <= found["train"]["total"]
