"""Scores of encodings: R^(-1) on the query side, norms on both, one dot product per pair.

The score of TrackStar is a cosine, I(t, q) = G(t)·G(q) / (‖G(t)‖ ‖G(q)‖) with G = R^(-1/2) g. Since
G(t)·G(q) = g(t)·R^(-1) g(q), the corpus is read as it was stored and only its norms depend on R.
"""

import jax
import jax.numpy as jnp
import numpy as np


@jax.jit
def whiten(rows_NBK: jax.Array, inverse_root_BKK: jax.Array) -> jax.Array:
    """R^(-1/2) g for each row, block by block: float32 [N, blocks, K]."""
    return jnp.einsum("nbk,bkl->nbl", rows_NBK, inverse_root_BKK, precision="highest")


@jax.jit
def norms(rows_NBK: jax.Array) -> jax.Array:
    """‖g‖ over all blocks together, [N]."""
    return jnp.sqrt(jnp.sum(jnp.square(rows_NBK), axis=(1, 2)))


def query_side(rows_QBK: np.ndarray, inverse_root_BKK: np.ndarray | None, unit_norm: bool) -> jax.Array:
    """What a stored passage is multiplied with: R^(-1) g(q), over ‖R^(-1/2) g(q)‖ when scores are cosines."""
    queries = jnp.asarray(rows_QBK, jnp.float32)
    whitened = queries if inverse_root_BKK is None else whiten(queries, jnp.asarray(inverse_root_BKK, jnp.float32))
    size = norms(whitened)[:, None, None] if unit_norm else 1.0
    side = whitened if inverse_root_BKK is None else whiten(whitened, jnp.asarray(inverse_root_BKK, jnp.float32))
    return side / size


@jax.jit
def scores(query_side_QD: jax.Array, rows_NBK: jax.Array, norms_N: jax.Array) -> jax.Array:
    """[Q, N] scores of stored passages, D = blocks × K.

    `norms_N` is 1 where scores are plain dot products, and NaN for what is not ranked.

    Equal rows of one call get equal scores, bit for bit.
    """
    # Passages on the left are half as slow again on a CPU as on the right. With a few odd queries some passages of a
    # call would be summed in another order than others; with a multiple of 8 none is (tested).
    count = query_side_QD.shape[0]
    sides = jnp.pad(query_side_QD, ((0, -count % 8), (0, 0)))
    # Reshaped here, where it costs nothing; outside a program it would copy the rows.
    rows_ND = rows_NBK.reshape(rows_NBK.shape[0], -1)
    return (jnp.matmul(rows_ND, sides.T, precision="highest") / norms_N[:, None]).T[:count]
