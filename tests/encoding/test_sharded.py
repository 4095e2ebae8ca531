"""Laws of encoders whose weights are divided over a mesh: the numbers of one device, and really divided weights."""

import functools

import flax.linen as nn
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


class Foreign(nn.Module):
    """A model that the table has never heard of."""

    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(32, 16)(tokens)
        x = x + nn.DenseGeneral((4, 6), name="wide")(x).sum(-2) @ self.param("out", nn.initializers.ones, (6, 16))
        return nn.Dense(32, name="lm_head")(x)


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


# Every kind of parameter that the table names, and every way of attention.
UNUSUAL = {
    "norm": "layer",
    "positions": "learned",
    "context": 9,
    "query_key_norm": "whole",
    "mlp_bias": True,
    "gated": False,
    "parallel": True,
    "window": 4,
    "windowed_layers": (1,),
    "attention_softcap": 5.0,
    "logit_softcap": 5.0,
}


@pytest.mark.parametrize("kind", ["unusual", "foreign", "loss"])
def test_any_model_has_the_encodings_of_one_device(kind):
    """Law: a Decoder of other choices, a model that is none, and a pure loss on the weight path."""
    # Without a module to ask, a kernel of three axes is no matrix.
    model, exclude = Foreign(), ("Embed", "bias", "wide") if kind == "loss" else ("Embed", "bias")
    if kind == "unusual":
        shape = {"vocabulary_size": 32, "layers": 2, "width": 16, "heads": 4, "kv_heads": 4, "mlp_width": 24}
        model, exclude = Decoder(DecoderConfig(**shape, **UNUSUAL)), ("bias", "norm")
    params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 9), jnp.int32))["params"]

    def loss(params, example):
        return naive.loss(model, params, example["tokens"], example["loss_weights"])

    def encode(**options):
        judged = loss if kind == "loss" else model
        made = Encoder(judged, params, None, "matrices", 4, exclude=exclude, example_length=9, **options)
        return made, made.encode(examples())

    mesh = meshes.make_mesh(meshes.MeshConfig(2, 4))
    _, expected = encode()
    held, got = encode(mesh=mesh, weights="sharded")
    expected = {block: np.asarray(value, np.float64) for block, value in expected.items()}
    assert naive.distance(got, expected) < TOLERANCE
    # The largest axis of a foreign kernel is halved over the data groups.
    if kind != "unusual":
        assert held.leaves["lm_head/kernel"].addressable_shards[0].data.shape == (16, 16)
