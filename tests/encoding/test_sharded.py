"""Laws of encoders whose weights are divided over a mesh: the numbers of one device, and really divided weights."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_tda import Encoder
from jax_tda.core import mesh as meshes
from jax_tda.encoding.second_moments import from_values
from jax_tda.models import likelihood
from jax_tda.models.decoder import Decoder, DecoderConfig
from tests.encoding import naive

TOLERANCE = 1e-5  # float32, ‖a − b‖ / ‖b‖ per block (docs/precision.md)
COUNT = 13


@functools.cache
def made(tied):
    """A decoder whose every side divides by 2 and 4, with grouped queries, and second moments that are not rank one."""
    config = DecoderConfig(
        vocabulary_size=32, layers=2, width=16, heads=8, kv_heads=4, mlp_width=24, tied=tied, attention_bias="all"
    )
    model = Decoder(config)
    params = jax.jit(model.init)(jax.random.key(3), jnp.zeros((1, 4), jnp.int32))["params"]
    random = np.random.default_rng(0)
    shapes = {path: leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(params) for path in [_name(path)]}
    moments = {path: np.exp(random.normal(size=shape)).astype(np.float32) for path, shape in shapes.items()}
    return model, params, from_values(moments, 1e-3, "drawn")


def _name(keys):
    return "/".join(key.key for key in keys)


def examples():
    random = np.random.default_rng(1)
    weights = random.uniform(0.5, 1.5, (COUNT, 9)) * (np.arange(9) < 7)
    return {"tokens": random.integers(1, 32, (COUNT, 9)), "loss_weights": weights}


@functools.cache
def alone(tied, reduction):
    """The encodings of one device."""
    model, params, moments = made(tied)
    encoder = Encoder(model, params, moments if reduction else None, "groups", 4, reduction=reduction or "rank_one")
    return {block: np.asarray(value, np.float64) for block, value in encoder.encode(examples()).items()}


@pytest.mark.parametrize(
    ("shape", "reduction", "tied", "options"),
    [
        ((8, 1), "rank_one", True, {"examples_at_once": 1}),
        ((4, 2), "exact", False, {"examples_at_once": 2, "remat": True}),
        ((4, 2), None, True, {"unroll_layers": True, "examples_at_once": 0}),
        ((2, 4), "rank_one", False, {"examples_at_once": 2}),
    ],
)
def test_divided_weights_give_the_encodings_of_one_device(shape, reduction, tied, options, monkeypatch):
    """Law: no number depends on the mesh, on how many examples are in flight, or on the layout of layers."""
    expected = alone(tied, reduction)
    # The vocabulary goes by in several pieces and a remainder.
    monkeypatch.setattr(likelihood, "_PIECE", 3)
    model, params, moments = made(tied)
    mesh = meshes.make_mesh(meshes.MeshConfig(*shape))
    encoder = Encoder(
        model,
        params,
        moments if reduction else None,
        "groups",
        4,
        reduction=reduction or "rank_one",
        mesh=mesh,
        weights="sharded",
        **({"unroll_layers": False} | options),
    )
    assert naive.distance(encoder.encode(examples()), expected) < TOLERANCE
