"""The laws of hand-written derivatives: each against the same function written out and left to autodiff."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_tda.models.attention import causal_attention, runs
from jax_tda.models.decoder import gated
from jax_tda.models.norms import unit_mean_square


def dumb_attention(query, key, value):
    """softmax(q kᵀ + mask) v with the whole [T, T] and every head's own copy of keys and values."""
    length, repeats = query.shape[1], query.shape[2] // key.shape[2]
    query, key, value = (
        jnp.moveaxis(array, 1, 2) for array in (query, *(jnp.repeat(a, repeats, axis=2) for a in (key, value)))
    )
    scores = query @ key.mT + jnp.where(np.tri(length, dtype=bool), 0.0, -np.inf)[None, None]
    return jnp.moveaxis(jax.nn.softmax(scores, axis=-1) @ value, 2, 1)


def compared(function, dumb, *arguments):
    """Largest ‖a − b‖ / ‖b‖ of the value and of every derivative along one random direction.

    A derivative that is zero but for rounding, as that of a softmax over one score, is measured by the others' size.
    """
    direction = jnp.asarray(np.random.default_rng(9).normal(size=jax.eval_shape(dumb, *arguments).shape), jnp.float32)

    @functools.partial(jax.jit, static_argnums=0)
    def both(f, *arguments):
        value, pull = jax.vjp(f, *arguments)
        return value, *pull(direction)

    pairs = zip(both(function, *arguments), both(dumb, *arguments), strict=True)
    apart, sizes = zip(*((float(jnp.linalg.norm(a - b)), float(jnp.linalg.norm(b))) for a, b in pairs), strict=True)
    return max(each / max(size, 0.1 * max(sizes)) for each, size in zip(apart, sizes, strict=True))


# One run of query positions, several of equal length, and a shorter last one.
@pytest.mark.parametrize(("length", "count"), [(1, 1), (9, 1), (256, 2), (385, 3)])
def test_causal_attention_by_runs_is_softmax_attention(length, count):
    """Law: value and derivatives equal masked softmax attention, whatever the number of runs."""
    assert len(runs(length)) == count
    random = np.random.default_rng(0)
    query = jnp.asarray(random.normal(size=(2, length, 6, 4)), jnp.float32)
    key, value = (jnp.asarray(random.normal(size=(2, length, 2, 4)), jnp.float32) for _ in range(2))
    assert compared(causal_attention, dumb_attention, query, key, value) < 1e-5


def test_a_gated_activation_is_the_product_left_to_autodiff():
    """Law: f(gate) · up and both derivatives, for every activation of the decoder."""
    gate, up = (jnp.asarray(np.random.default_rng(seed).normal(size=(5, 7)) * 4, jnp.float32) for seed in (0, 1))
    for activation in (nn.silu, nn.gelu, functools.partial(nn.gelu, approximate=False)):
        assert compared(functools.partial(gated, activation), lambda g, u, f=activation: f(g) * u, gate, up) < 1e-5


def test_unit_mean_square_is_the_quotient_left_to_autodiff():
    """Law: x / √(mean(x²) + ε) and its derivative, also where ε is not small beside the mean square."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(5, 7)) * np.logspace(-2, 2, 5)[:, None], jnp.float32)

    def dumb(x):
        return x / jnp.sqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-3)

    assert compared(lambda x: unit_mean_square(x, 1e-3), dumb, x) < 1e-5
