"""Causal attention whose backward pass reads what the forward pass had: no masked score is computed, no [T, T] copied.

Queries are taken in a few runs of neighbouring positions; each run looks at the keys up to its own end alone, so that
about half of the products, which the mask would throw away, are never formed.
"""

from typing import Any

import jax
import jax.numpy as jnp

# Runs shorter than this cost more to start than masked products cost to compute.
_SHORTEST_RUN, _MOST_RUNS = 128, 8


def runs(length: int) -> list[tuple[int, int]]:
    """[start, stop) of each run of query positions."""
    count = max(1, min(_MOST_RUNS, length // _SHORTEST_RUN))
    size = -(-length // count)
    return [(start, min(start + size, length)) for start in range(0, length, size)]


@jax.custom_vjp
def causal_attention(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """softmax(q kᵀ) v over the positions up to each query's own, softmax in float32.

    Query head (k, g) reads key and value head k (grouped-query attention). Has a reverse derivative only.

    Args:
      query: [..., K, G, T, S], already scaled.
      key: [..., K, T, S].
      value: [..., K, T, S].

    Returns:
      [..., K, G, T, S] of the value's dtype.
    """
    return _attend(query, key, value)[0]


def _attend(query: jax.Array, key: jax.Array, value: jax.Array) -> tuple[jax.Array, list[tuple[jax.Array, jax.Array]]]:
    """The result, and for each run exp(scores − their largest) and its sum."""
    mixed, kept = [], []
    for start, stop in runs(query.shape[-2]):
        scores = jnp.einsum(
            "...kgts,...kus->...kgtu", query[..., start:stop, :], key[..., :stop, :], preferred_element_type=jnp.float32
        )
        hidden = jnp.arange(start, stop)[:, None] < jnp.arange(stop)[None, :]
        scores = jnp.where(jnp.broadcast_to(hidden, scores.shape), -jnp.inf, scores)
        powers = jnp.exp(scores - jnp.max(scores, axis=-1, keepdims=True))
        total = jnp.sum(powers, axis=-1, keepdims=True)
        powers = powers.astype(value.dtype)
        product = jnp.einsum(
            "...kgtu,...kus->...kgts", powers, value[..., :stop, :], preferred_element_type=jnp.float32
        )
        mixed.append((product / total).astype(value.dtype))
        kept.append((powers, total))
    return jnp.concatenate(mixed, axis=-2), kept


def _forward(query: jax.Array, key: jax.Array, value: jax.Array) -> Any:
    mixed, kept = _attend(query, key, value)
    return mixed, (query, key, value, mixed, kept)


def _backward(saved: Any, gradient: jax.Array) -> Any:
    query, key, value, mixed, kept = saved
    # Σ_u p_u ∂L/∂p_u is a product of [T, S] arrays, since Σ_u p_u v_u is the output.
    wide = gradient.astype(jnp.float32)
    common = jnp.einsum("...s,...s->...", wide, mixed.astype(jnp.float32))[..., None]
    of_query = []
    of_key, of_value = [jnp.zeros((*key.shape[:-2], key.shape[-1], key.shape[-2]), jnp.float32) for _ in range(2)]
    for (start, stop), (powers, total) in zip(runs(query.shape[-2]), kept, strict=True):
        shares = wide[..., start:stop, :] / total
        narrow = shares.astype(value.dtype)
        pulled = jnp.einsum("...kgts,...kus->...kgtu", narrow, value[..., :stop, :], preferred_element_type=jnp.float32)
        of_scores = (powers * (pulled - common[..., start:stop, :] / total)).astype(value.dtype)
        of_query.append(
            jnp.einsum("...kgtu,...kus->...kgts", of_scores, key[..., :stop, :], preferred_element_type=jnp.float32)
        )
        # [S, T] instead of [T, S]: the large factor then stands as the product reads it, and is not transposed.
        of_key = of_key.at[..., :stop].add(_sum_over_queries(query[..., start:stop, :], of_scores))
        of_value = of_value.at[..., :stop].add(_sum_over_queries(narrow, powers))
    return (
        jnp.concatenate(of_query, axis=-2).astype(query.dtype),
        of_key.mT.astype(key.dtype),
        of_value.mT.astype(value.dtype),
    )


def _sum_over_queries(rows: jax.Array, weights: jax.Array) -> jax.Array:
    """Σ over heads g and positions t of rows [..., K, G, T, S] × weights [..., K, G, T, U]: [..., K, S, U] float32."""
    return jnp.einsum("...kgts,...kgtu->...ksu", rows, weights, preferred_element_type=jnp.float32)


causal_attention.defvjp(_forward, _backward)
