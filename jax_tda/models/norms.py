"""The norms of a decoder: RMSNorm, and LayerNorm with a bias."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jax_tda.models.widths import computed, widened


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def unit_mean_square(x: jax.Array, epsilon: float) -> jax.Array:
    """x / √(mean(x²) + ε) over the last axis; of derivatives only the reverse one.

    With y the result, ẋ = (ẏ − y · mean(ẏ y)) / √(mean(x²) + ε).
    """
    return _unit_mean_square(x, epsilon)[0]


def _unit_mean_square(x: jax.Array, epsilon: float) -> Any:
    inverse = jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + epsilon)
    normed = x * inverse
    return normed, (normed, inverse)


def _unit_mean_square_backward(epsilon: float, saved: Any, gradient: jax.Array) -> Any:
    del epsilon
    normed, inverse = saved
    # A product of vectors: on a CPU XLA takes several times as long for the sum of an elementwise product.
    along = jnp.einsum("...d,...d->...", gradient, normed)[..., None] / normed.shape[-1]
    return (inverse * (gradient - normed * along),)


unit_mean_square.defvjp(_unit_mean_square, _unit_mean_square_backward)


class RMSNorm(nn.Module):
    """Scales the last axis to unit root mean square: y = (offset + scale) · x / √(mean(x²) + ε)."""

    epsilon: float
    dtype: str
    offset: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = self.param("scale", nn.initializers.constant(1 - self.offset), (x.shape[-1],), jnp.float32)
        normed = unit_mean_square(widened(x), self.epsilon)
        return computed(normed * jnp.broadcast_to(self.offset + scale, x.shape), self.dtype)


class LayerNorm(nn.Module):
    """Gives the last axis mean 0 and variance 1: y = (offset + scale) · (x − mean(x)) / √(var(x) + ε) + bias."""

    epsilon: float
    dtype: str
    offset: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = self.param("scale", nn.initializers.constant(1 - self.offset), (x.shape[-1],), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],), jnp.float32)
        wide = widened(x)
        centred = wide - jnp.mean(wide, axis=-1, keepdims=True)
        normed = centred * jax.lax.rsqrt(jnp.mean(jnp.square(centred), axis=-1, keepdims=True) + self.epsilon)
        scaled = normed * jnp.broadcast_to(self.offset + scale, x.shape)
        return computed(scaled + jnp.broadcast_to(bias, x.shape), self.dtype)
