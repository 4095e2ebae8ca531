"""The norms of a decoder: RMSNorm, and LayerNorm with a bias."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class RMSNorm(nn.Module):
    """Scales the last axis to unit root mean square: y = (offset + scale) · x / √(mean(x²) + ε)."""

    epsilon: float
    dtype: str
    offset: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = self.param("scale", nn.initializers.constant(1 - self.offset), (x.shape[-1],), jnp.float32)
        wide = x.astype(jnp.float32)
        normed = wide * jax.lax.rsqrt(jnp.mean(jnp.square(wide), axis=-1, keepdims=True) + self.epsilon)
        return (normed * jnp.broadcast_to(self.offset + scale, x.shape)).astype(self.dtype)


class LayerNorm(nn.Module):
    """Gives the last axis mean 0 and variance 1: y = (offset + scale) · (x − mean(x)) / √(var(x) + ε) + bias."""

    epsilon: float
    dtype: str
    offset: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = self.param("scale", nn.initializers.constant(1 - self.offset), (x.shape[-1],), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],), jnp.float32)
        wide = x.astype(jnp.float32)
        centred = wide - jnp.mean(wide, axis=-1, keepdims=True)
        normed = centred * jax.lax.rsqrt(jnp.mean(jnp.square(centred), axis=-1, keepdims=True) + self.epsilon)
        scaled = normed * jnp.broadcast_to(self.offset + scale, x.shape)
        return (scaled + jnp.broadcast_to(bias, x.shape)).astype(self.dtype)
