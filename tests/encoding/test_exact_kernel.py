"""Laws of the TPU kernel, run by Pallas' interpreters: the exact gradient of a probe, whatever the shapes."""

import json
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas import tpu as pltpu

from jax_tda.encoding import exact_kernel

# The interpreter that imitates a TPU's memory: what lies beyond an array's edge is NaN there, as it may be on a chip.
IMITATION = pltpu.InterpretParams()
SMALL = (128, 128, 128)


def arrays(length, rows, columns, p, examples=(), dtype=jnp.float32):
    random = np.random.default_rng(0)
    x, gradient = (random.normal(size=(*examples, length, side)) for side in (rows, columns))
    left, right = (random.normal(size=(p, side)) for side in (rows, columns))
    root = np.exp(3 * random.normal(size=(rows, columns)))
    sides = [jnp.asarray(a, jnp.float32) for a in (left, right, root)]
    return jnp.asarray(x, dtype), jnp.asarray(gradient, dtype), *sides


def by_hand(x, gradient, left, right, root):
    """One token at a time, in float64."""
    x, gradient, left, right, root = (np.asarray(a, np.float64) for a in (x, gradient, left, right, root))
    whole = np.zeros_like(root)
    for row, column in zip(x, gradient, strict=True):
        whole += np.outer(row, column)
    return left @ (whole * root) @ right.T


def distance(got, expected):
    assert got.dtype == jnp.float32 and got.shape == expected.shape
    return np.linalg.norm(np.asarray(got, np.float64) - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(
    ("length", "rows", "columns", "p"),
    [(1, 5, 4, 3), (300, 200, 150, 8), (256, 128, 384, 64), (130, 256, 129, 16)],
    ids=["one token, less than a tile", "ragged on every side", "whole tiles", "ragged on two sides"],
)
def test_the_kernel_gives_the_exact_gradient_of_a_probe(length, rows, columns, p, dtype):
    """Law: P₀ ((xᵀ ẏ) ∘ 1/√V) P₁ᵀ in float64, 1e-5; what stands beyond an edge counts for nothing."""
    given = arrays(length, rows, columns, p, dtype=dtype)
    got = exact_kernel.projected_gradient(*given, tiles=SMALL, interpret=IMITATION)
    assert distance(got, by_hand(*given)) < 1e-5


def test_an_input_and_an_output_of_different_types_are_both_used_as_they_are():
    """Law: the gradient of a layer that computes in bfloat16 from a float32 input is not rounded with it."""
    x, *others = arrays(140, 20, 24, 8)
    gradient = others.pop(0).astype(jnp.bfloat16)
    got = exact_kernel.projected_gradient(x, gradient, *others, tiles=SMALL, interpret=True)
    assert distance(got, by_hand(x, gradient, *others)) < 1e-5


def test_examples_put_in_front_of_the_grid_are_as_one_at_a_time():
    """Law: vmap over examples, inside a scan over layers and a shard_map over devices, is a loop over both."""
    layers, examples = 2, 8
    x, gradient, left, right, root = arrays(20, 6, 7, 4, examples=(layers, examples))
    sides = [jnp.stack([side, side[:, ::-1]]) for side in (left, right, root)]

    def one(x, gradient):
        def layer(total, given):
            return total + exact_kernel.projected_gradient(*given, interpret=True), None

        return jax.lax.scan(layer, jnp.zeros((4, 4)), (x, gradient, *sides))[0]

    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    split = jax.sharding.PartitionSpec(None, "data")
    batch = jax.shard_map(
        jax.vmap(one, in_axes=1),
        mesh=mesh,
        in_specs=(split, split),
        out_specs=jax.sharding.PartitionSpec("data"),
        check_vma=False,
    )
    got = jax.jit(batch)(x, gradient)
    for example in range(examples):
        expected = sum(
            by_hand(x[layer, example], gradient[layer, example], *(side[layer] for side in sides))
            for layer in range(layers)
        )
        assert distance(got[example], expected) < 1e-5


def compiled_for_a_tpu(*options):
    """What libtpu says, in a fresh process, because it reads its environment once."""
    program = pathlib.Path(__file__).parents[2] / "benchmarks" / "exact_kernel.py"
    ran = subprocess.run([sys.executable, str(program), *options], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.mark.nightly
def test_a_layer_compiled_for_a_tpu_stores_no_gradient_of_a_weight():
    """Law: in full float32 XLA's products store every example's gradient, the kernel none of one.

    Needs libtpu, which `make venv` brings; no TPU.
    """
    found = compiled_for_a_tpu("--alone", "--width=1024", "--mlp_width=4096", "--batch=8", "--context=1024")
    gradients = found["bytes_of_gradients"]
    assert found["kernel"]["kernel_calls"] == 1 and found["xla"]["kernel_calls"] == 0
    assert found["xla"]["temporaries"] >= gradients
    assert found["kernel"]["temporaries"] < gradients / found["batch"]


@pytest.mark.nightly
def test_an_encoder_compiled_for_a_tpu_has_the_kernel_at_every_kernel_of_its_model():
    """Law: one each for query, key, value, output, gate, up and down, layers being scanned, and no gradient stored.

    Needs libtpu, as above. Bfloat16 because float32 programs of full precision take minutes to compile.
    """
    sizes = ("--layers=2", "--width=256", "--mlp_width=1024", "--batch=256", "--context=16", "--projected_size=16")
    found = compiled_for_a_tpu(*sizes, "--dtype=bfloat16", "--precision=default")
    assert found["kernel"]["kernel_calls"] == 7 and found["xla"]["kernel_calls"] == 0
    saved = found["xla"]["temporaries"] - found["kernel"]["temporaries"]
    assert saved > 0.9 * found["bytes_of_gradients"] > 0.9 * found["kernel"]["temporaries"]
