"""The loss of a head that is trained: one pass over the vocabulary forms it and both of its gradients.

As `likelihood.head_loss`, but the head has a gradient too, so the powers of all pieces are kept until their sum is
known.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jax_tda.models.widths import wide, widened

# Rows of the head per piece, as in `likelihood.py`.
_PIECE = 512
_Sums = tuple[jax.Array, jax.Array, jax.Array]


class Pieces(NamedTuple):
    """A head [V, D] cut into equal pieces of its rows.

    Attributes:
      rows: [pieces, P, D]; what is spare in the last piece is 0.
      spare: [pieces, P], −∞ where a row is spare, else 0; None where none is.
    """

    rows: jax.Array
    spare: jax.Array | None


class Found(NamedTuple):
    """What one pass gives.

    Attributes:
      loss: Σ_n w_n (−log p(following_n)), a scalar.
      predicting: [N, D], its gradient by the hidden states.
      pieces: [pieces, D, P], what was given plus Σ_n w_n h_n softmax_n: its gradient by the head but for the rows that
        were right.
      rows: [N, D], −w_n h_n, which belongs to the row following_n of that gradient.
    """

    loss: jax.Array
    predicting: jax.Array
    pieces: jax.Array
    rows: jax.Array


def cut(head: jax.Array) -> Pieces:
    """The pieces of a head [V, D], as few and as equal as they can be."""
    vocabulary, width = head.shape
    count = -(-vocabulary // _PIECE)
    size = -(-vocabulary // count)
    spare = count * size - vocabulary
    rows = jnp.pad(head, ((0, spare), (0, 0))).reshape(count, size, width)
    if not spare:
        return Pieces(rows, None)
    none = jnp.where(jnp.arange(count * size) < vocabulary, 0, -jnp.inf).astype(wide(head))
    return Pieces(rows, none.reshape(count, size))


def empty(pieces: Pieces) -> jax.Array:
    """Zeros for `Found.pieces`."""
    count, size, width = pieces.rows.shape
    return jnp.zeros((count, width, size), wide(pieces.rows))


def joined(pieces: jax.Array, vocabulary: int) -> jax.Array:
    """[V, D] of the gradient that is held in pieces."""
    return pieces.swapaxes(1, 2).reshape(-1, pieces.shape[1])[:vocabulary]


def go_over(predicting: jax.Array, pieces: Pieces, own: jax.Array, weights: jax.Array, before: jax.Array) -> Found:
    """Loss and gradients of hidden states that predict a token each.

    Args:
      predicting: [N, D].
      pieces: the head.
      own: [N, D], the head's rows of the tokens that follow.
      weights: [N], their weights.
      before: [pieces, D, P], to which the head's gradient is added.
    """

    def add(sums: _Sums, piece: Pieces) -> tuple[_Sums, tuple[jax.Array, jax.Array]]:
        largest, total, mean = sums
        logits = jnp.matmul(predicting, piece.rows.T, preferred_element_type=total.dtype)
        if piece.spare is not None:
            logits = logits + jnp.broadcast_to(piece.spare, logits.shape)
        higher = jnp.maximum(largest, jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True)))
        powers, kept = jnp.exp(logits - higher), jnp.exp(largest - higher)
        narrow = powers.astype(predicting.dtype)
        added = jnp.matmul(narrow, piece.rows, preferred_element_type=total.dtype)
        return (higher, total * kept + jnp.sum(powers, axis=-1, keepdims=True), mean * kept + added), (narrow, higher)

    column = jnp.full((predicting.shape[0], 1), -jnp.inf, wide(predicting))
    none = (column, jnp.zeros_like(column), jnp.zeros(predicting.shape, column.dtype))
    (largest, total, mean), (powers, marks) = jax.lax.scan(add, none, pieces)
    hidden, right, by = widened(predicting), widened(own), weights.astype(column.dtype)[:, None]
    chosen = jnp.einsum("nd,nd->n", hidden, right)[:, None]
    loss = jnp.sum(by * (jnp.log(total) + largest - chosen))
    turned = jax.lax.optimization_barrier(hidden.T)

    def collect(number: jax.Array, before: jax.Array) -> jax.Array:
        # A piece's powers stand relative to the largest logit up to it.
        share = (by / total * jnp.exp(marks[number] - largest))[:, 0]
        # The summed axis is last on the left and first on the right, as in `products.py`.
        left = jax.lax.optimization_barrier((turned * jnp.broadcast_to(share, turned.shape)).astype(predicting.dtype))
        found = jnp.matmul(left, powers[number], preferred_element_type=before.dtype)
        return jax.lax.dynamic_update_index_in_dim(before, before[number] + found, number, 0)

    after = jax.lax.fori_loop(0, pieces.rows.shape[0], collect, before)
    gradient = (by * (mean / total - right)).astype(predicting.dtype)
    return Found(loss, gradient, after, -by * hidden)
