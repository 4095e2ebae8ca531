"""Two-sided random projection of gradient matrices: G (in, out) becomes P₀ G P₁ᵀ (p, p).

Entries are i.i.d. N(0, 1/p) on both sides whatever the matrix's shape, so that E[PᵀP] = I and inner products of
projected gradients are unbiased for every shape alike (TrackStar, arXiv 2410.17413, §2).
"""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np

from jax_tda.core import seeds

KINDS = ("gaussian", "identity")


def matrix(kind: str, seed: int, path: str, side: str, layers: int, projected_size: int, size: int) -> jax.Array:
    """One side's projection of one parameter.

    Args:
      kind: `gaussian`, or `identity`: P = [I; 0], which projects nothing away and needs p ≥ size.
      seed: the root seed; the numbers depend on it, the path, the layer and the side alone.
      path: '/'-joined parameter path.
      side: `left` (in) or `right` (out).
      layers: length of the leading layer axis; 0 when the parameter has none.
      projected_size: p.
      size: the side's length.

    Returns:
      float32 [p, size], or [layers, p, size].
    """
    if kind == "identity":
        one = jnp.eye(projected_size, size, dtype=jnp.float32)
        return jnp.broadcast_to(one, (layers, *one.shape)) if layers else one
    scale = 1.0 / np.sqrt(projected_size)

    def draw(key: jax.Array) -> jax.Array:
        return scale * jax.random.normal(key, (projected_size, size), jnp.float32)

    if not layers:
        return draw(seeds.named(seed, "projection", path, side))
    return jnp.stack([draw(seeds.named(seed, "projection", path, side, layer)) for layer in range(layers)])


def fingerprint(left: jax.Array, right: jax.Array) -> str:
    """A short digest of both projections, because sampling may differ across backends and versions."""
    hasher = hashlib.sha256()
    for side in (left, right):
        hasher.update(np.ascontiguousarray(jax.device_get(side), np.float32).tobytes())
    return hasher.hexdigest()[:16]
