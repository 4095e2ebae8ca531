"""How likely a model finds an example: the one place where logits meet the tokens that they predict."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jax_tda.core.mesh import MODEL
from jax_tda.models.widths import wide, widened

# Rows of the head per piece: with 256 positions logits and rows are half a MiB each, which a core's cache holds.
_PIECE = 512
_Sums = tuple[jax.Array, jax.Array, jax.Array]


def token_log_probabilities(logits: jax.Array, tokens: jax.Array) -> jax.Array:
    """log p(tokens[t] | tokens[:t]) at every position t, read from the logits at t − 1; 0 at position 0.

    Args:
      logits: [..., T, V] float32.
      tokens: [..., T] int32.

    Returns:
      [..., T] float32.
    """
    predicting = logits[..., :-1, :]
    chosen = jnp.take_along_axis(predicting, tokens[..., 1:, None], axis=-1)[..., 0]
    following = chosen - jax.nn.logsumexp(predicting, axis=-1)
    return jnp.concatenate([jnp.zeros_like(logits[..., :1, 0]), following], axis=-1)


def target_log_probability(logits: jax.Array, tokens: jax.Array, loss_weights: jax.Array) -> jax.Array:
    """Σ_t loss_weights[t] · log p(tokens[t] | tokens[:t]): with weights 1 on a target, log p(target | prompt).

    Args:
      logits: [..., T, V] float32.
      tokens: [..., T] int32.
      loss_weights: [..., T] float32; the weight at position 0 has no effect.

    Returns:
      [...] float32, one number per example.
    """
    return jnp.sum(loss_weights * token_log_probabilities(logits, tokens), axis=-1)


def loss(logits: jax.Array, tokens: jax.Array, loss_weights: jax.Array) -> jax.Array:
    """−Σ_t loss_weights[t] · log p(tokens[t] | tokens[:t]), a sum over tokens, per example.

    A sum makes an example's gradient independent of what it was batched with. Arguments and result as in
    `target_log_probability`.
    """
    return -target_log_probability(logits, tokens, loss_weights)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def head_loss(
    predicting: jax.Array, head: jax.Array, following: jax.Array, weights: jax.Array, mesh: Mesh | None = None
) -> jax.Array:
    """−Σ_t w_t log p(following_t), from hidden states and a frozen head; its forward pass forms their gradient already.

    Logits are formed a piece of the vocabulary at a time and never all at once: each piece serves the loss and its
    gradient while it is in the cache, and [T, D] is what is kept. Sums of powers go from piece to piece relative to the
    largest logit so far. Head, tokens and weights receive no gradient.

    Args:
      predicting: [T, D], the hidden states of one example that predict a token each.
      head: [V, D], the logits being predicting · headᵀ.
      following: [T] int32, the tokens predicted.
      weights: [T] float32, their weights.
      mesh: the devices over whose `model` axis the vocabulary is divided; each goes over its own part of the head, and
        the parts' sums meet once, at the end.

    Returns:
      A float32 scalar.
    """
    return _head_loss(predicting, head, following, weights, mesh)[0]


def _head_loss(
    predicting: jax.Array, head: jax.Array, following: jax.Array, weights: jax.Array, mesh: Mesh | None
) -> Any:
    parts = 1 if mesh is None else mesh.shape[MODEL]
    if mesh is not None and parts > 1 and head.shape[0] % parts == 0:
        split = head.reshape(parts, head.shape[0] // parts, head.shape[1])
        split = jax.lax.with_sharding_constraint(split, NamedSharding(mesh, PartitionSpec(MODEL)))
        own_sums = jax.vmap(lambda part: _sums(predicting, part, mesh), spmd_axis_name=MODEL)(split)
        largest, total, mean = _joined(*own_sums)
    else:
        largest, total, mean = _sums(predicting, head)
    own = widened(head[following])
    chosen = jnp.einsum("td,td->t", widened(predicting), own)
    value = jnp.sum(weights * (jnp.log(total[:, 0]) + largest[:, 0] - chosen))
    # ∂/∂logits = w (softmax − onehot), and the onehot's product with the head is a row of it.
    return value, (weights[:, None] * (mean / total - own)).astype(predicting.dtype)


def _joined(largest: jax.Array, total: jax.Array, mean: jax.Array) -> _Sums:
    """The sums of all parts of the vocabulary, from each part's relative to its own largest logit."""
    highest = jnp.max(largest, axis=0)
    kept = jnp.exp(largest - highest[None])
    return highest, jnp.sum(total * kept, axis=0), jnp.sum(mean * kept, axis=0)


def _sums(predicting: jax.Array, head: jax.Array, mesh: Mesh | None = None) -> _Sums:
    """Largest logit [T, 1], Σ exp(logit − largest) [T, 1] and Σ exp(logit − largest) · row of the head [T, D]."""

    def add(sums: _Sums, piece: jax.Array) -> tuple[_Sums, None]:
        sums = _add_piece(sums, predicting, piece)
        if mesh is not None:  # Each part's own: the axis of parts stands in front of all of them.
            sums = jax.lax.with_sharding_constraint(sums, NamedSharding(mesh, PartitionSpec(None, None)))
        return sums, None

    pieces = head.shape[0] // _PIECE
    whole = head[: pieces * _PIECE].reshape(pieces, _PIECE, head.shape[1])
    empty = jnp.full((predicting.shape[0], 1), -jnp.inf, wide(predicting))
    sums = (empty, jnp.zeros_like(empty), jnp.zeros(predicting.shape, wide(predicting)))
    sums, _ = jax.lax.scan(add, sums, whole)
    if head.shape[0] % _PIECE:
        sums = _add_piece(sums, predicting, head[pieces * _PIECE :])
    return sums


def _add_piece(sums: _Sums, predicting: jax.Array, piece: jax.Array) -> _Sums:
    """Largest logit, Σ exp(logit − largest) and Σ exp(logit − largest) · row of the head, with one more piece."""
    largest, total, mean = sums
    logits = jnp.einsum("td,vd->tv", predicting, piece, preferred_element_type=wide(predicting))
    higher = jnp.maximum(largest, jnp.max(logits, axis=-1, keepdims=True))
    powers, kept = jnp.exp(logits - higher), jnp.exp(largest - higher)
    added = jnp.einsum("tv,vd->td", powers.astype(piece.dtype), piece, preferred_element_type=wide(piece))
    return higher, total * kept + jnp.sum(powers, axis=-1, keepdims=True), mean * kept + added


def _head_loss_backward(mesh: Mesh | None, gradient: jax.Array, cotangent: jax.Array) -> Any:
    del mesh
    return cotangent.astype(gradient.dtype) * gradient, None, None, None


head_loss.defvjp(_head_loss, _head_loss_backward)


def answered_exactly(logits: jax.Array, tokens: jax.Array, loss_weights: jax.Array) -> jax.Array:
    """Whether greedy decoding of as many tokens as the target has would give the target.

    The most likely token at every weighted position is compared with the token there, given the TRUE tokens before it.
    That equals decoding: the first decoded token has seen only the prompt; if it is right, the second has seen the same
    tokens as here, and so on; at the first wrong one both say no. Among equally likely tokens the lowest id is taken.

    Args:
      logits: [..., T, V] float32.
      tokens: [..., T] int32.
      loss_weights: [..., T] float32; weighted positions are those of the target, without a gap.

    Returns:
      [...] bool; False where no position after the first is weighted, because nothing was asked.
    """
    asked = loss_weights[..., 1:] != 0
    right = jnp.argmax(logits[..., :-1, :], axis=-1) == tokens[..., 1:]
    return jnp.all(right | ~asked, axis=-1) & jnp.any(asked, axis=-1)
