"""Causal attention whose backward pass reads what the forward pass had: no masked score is computed, no [T, T] copied.

Queries are taken in a few runs of neighbouring positions; each run looks at the keys up to its own end alone, so that
about half of the products, which the mask would throw away, are never formed.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_tda.models.widths import wide, widened

# Runs shorter than this cost more to start than masked products cost to compute.
_SHORTEST_RUN, _MOST_RUNS = 128, 8


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, preferred_element_type=wide(a))


def causal_attention(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """softmax(q kᵀ) v over the positions up to each query's own, softmax in float32 (float64 where they are).

    Query head h reads key and value head ⌊h · K / H⌋ (grouped-query attention). Has a reverse derivative only.

    Args:
      query: [..., T, H, S], already scaled.
      key: [..., T, K, S], K a divisor of H.
      value: [..., T, K, S].

    Returns:
      [..., T, H, S] of the value's dtype.
    """
    if query.ndim > 3:
        return jax.vmap(causal_attention)(query, key, value)
    heads, size = query.shape[1:]
    grouped = query.reshape(query.shape[0], key.shape[1], heads // key.shape[1], size)
    over_group = jax.vmap(attend_head, (1, None, None), 1)
    return jax.vmap(over_group, (1, 1, 1), 1)(grouped, key, value).reshape(query.shape)


def runs(length: int) -> list[tuple[int, int]]:
    """[start, stop) of each run of query positions."""
    count = max(1, min(_MOST_RUNS, length // _SHORTEST_RUN))
    size = -(-length // count)
    return [(start, min(start + size, length)) for start in range(0, length, size)]


@jax.custom_vjp
def attend_head(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """`causal_attention` of one head: [T, S] of query, key and value [T, S]."""
    return _attend(query, key, value)[0]


def _attend(query: jax.Array, key: jax.Array, value: jax.Array) -> tuple[jax.Array, list[tuple[jax.Array, jax.Array]]]:
    """The result, and for each run exp(scores − their largest) and its sum."""
    mixed, kept = [], []
    for start, stop in runs(query.shape[0]):
        scores = _product(query[start:stop], key[:stop].T)
        later = np.arange(start, stop)[:, None] < np.arange(stop)[None, :]
        scores = jnp.where(jnp.asarray(later), -jnp.inf, scores)
        powers = jnp.exp(scores - jnp.max(scores, axis=-1, keepdims=True))
        total = jnp.sum(powers, axis=-1, keepdims=True)
        powers = powers.astype(value.dtype)
        mixed.append((_product(powers, value[:stop]) / total).astype(value.dtype))
        kept.append((powers, total))
    return jnp.concatenate(mixed), kept


def _forward(query: jax.Array, key: jax.Array, value: jax.Array) -> Any:
    mixed, kept = _attend(query, key, value)
    return mixed, (query, key, value, mixed, kept)


def _backward(saved: Any, gradient: jax.Array) -> Any:
    query, key, value, mixed, kept = saved
    # Σ_u p_u ∂L/∂p_u is a product of [T, S] arrays, since Σ_u p_u v_u is the output.
    wider = widened(gradient)
    common = jnp.einsum("ts,ts->t", wider, widened(mixed))[:, None]
    of_query, of_key, of_value = [], [], []
    for (start, stop), (powers, total) in zip(runs(query.shape[0]), kept, strict=True):
        shares = wider[start:stop] / total
        narrow = shares.astype(value.dtype)
        pulled = _product(narrow, value[:stop].T)
        of_scores = (powers * (pulled - common[start:stop] / total)).astype(value.dtype)
        of_query.append(_product(of_scores, key[:stop]))
        # [S, T] instead of [T, S]: the large factor then stands as the product reads it, and is not transposed.
        spare = ((0, 0), (0, query.shape[0] - stop))
        of_key.append(jnp.pad(_product(query[start:stop].T, of_scores), spare))
        of_value.append(jnp.pad(_product(narrow.T, powers), spare))
    return (
        jnp.concatenate(of_query).astype(query.dtype),
        sum(of_key[1:], of_key[0]).T.astype(key.dtype),
        sum(of_value[1:], of_value[0]).T.astype(value.dtype),
    )


attend_head.defvjp(_forward, _backward)
