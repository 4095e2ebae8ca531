"""Rotary positions: pairs of a head's dimensions are turned by angles that grow with the position."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jax_tda.models.widths import wide, widened


def frequencies(theta: float, size: int, factors: Sequence[float] = (), dtype: Any = jnp.float32) -> jax.Array:
    """The angle by which one position turns each pair, theta^(−2i/S) / factors[i]: [S/2] of `dtype`.

    Args:
      theta: the base of the wavelengths.
      size: S, the number of turned dimensions.
      factors: what the wavelengths are multiplied by, none, one for all or one for each pair.
      dtype: float32, or float64 where the model is.
    """
    plain = theta ** (-jnp.arange(0, size, 2, dtype=dtype) / size)
    return plain / jnp.broadcast_to(jnp.asarray(factors, dtype), plain.shape) if len(factors) else plain


def turn(x: jax.Array, positions: jax.Array, frequencies: jax.Array, magnitude: jax.Array | float = 1.0) -> jax.Array:
    """Turns the pairs (x[i], x[i + S/2]) of every head's first S dimensions by the angle position · frequencies[i].

    Args:
      x: [..., T, H, size], size ≥ S; what lies behind S stays as it is.
      positions: [T].
      frequencies: [S/2].
      magnitude: what the turned pairs are multiplied by (yarn, arXiv 2309.00071).
    """
    size = 2 * frequencies.shape[-1]
    head, rest = x[..., :size], x[..., size:]
    angles = positions.astype(frequencies.dtype)[:, None, None] * frequencies[None, None, :]
    angles = jnp.broadcast_to(angles, (*head.shape[:-1], size // 2))
    first, second = jnp.split(widened(head), 2, axis=-1)
    cosine, sine = jnp.cos(angles), jnp.sin(angles)
    if not isinstance(magnitude, float) or magnitude != 1:
        cosine, sine = cosine * magnitude, sine * magnitude
    turned = jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1).astype(x.dtype)
    return jnp.concatenate([turned, rest], axis=-1) if rest.shape[-1] else turned


def rotate(x: jax.Array, positions: jax.Array, theta: float) -> jax.Array:
    """Turns the pairs (x[i], x[i + S/2]) of every head by the angle position · theta^(−2i/S).

    The product of a turned query and a turned key depends on the difference of their positions alone
    (Su et al., RoFormer, arXiv 2104.09864).

    Args:
      x: [..., T, H, S], S even.
      positions: [T].
      theta: the base of the wavelengths.
    """
    return turn(x, positions, frequencies(theta, x.shape[-1], dtype=wide(x)))
