"""The exact k best and k worst of scores that arrive shard by shard; ties go to the earlier corpus position."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


class Ends(NamedTuple):
    """Rows and scores of both ends of a ranking, best (or worst) first; a row of −1 marks an empty place."""

    proponents: tuple[np.ndarray, np.ndarray]
    opponents: tuple[np.ndarray, np.ndarray]


@functools.partial(jax.jit, static_argnames="k")
def _merge(
    kept: tuple[jax.Array, jax.Array], scores_QN: jax.Array, start: jax.Array, k: int
) -> tuple[jax.Array, jax.Array]:
    # lax.top_k gives the lower index first among equals. Within the shard that is corpus order; what was kept before
    # comes from earlier rows and stands in front.
    best, place = lax.top_k(scores_QN, min(k, scores_QN.shape[1]))
    rows = jnp.concatenate([kept[0], (place + start).astype(kept[0].dtype)], axis=1)
    values = jnp.concatenate([kept[1], best], axis=1)
    values, order = lax.top_k(values, k)
    return jnp.take_along_axis(rows, order, axis=1), values


class Best:
    """Keeps both ends of each query's ranking over a stream of shards.

    Args:
      queries: Q.
      k: how many of each end.
    """

    def __init__(self, queries: int, k: int):
        self._k = k
        empty = (jnp.full((queries, k), -1, jnp.int32), jnp.full((queries, k), -jnp.inf, jnp.float32))
        self._high, self._low = empty, empty

    def update(self, scores_QN: jax.Array, start: int) -> None:
        """Adds the scores of rows [start, start + N), in corpus order; what is not finite is not ranked."""
        ranked = jnp.isfinite(scores_QN)
        # top_k puts 0 before −0, which are one score.
        scores_QN = jnp.where(scores_QN == 0, 0.0, scores_QN)
        self._high = _merge(self._high, jnp.where(ranked, scores_QN, -jnp.inf), jnp.int32(start), self._k)
        self._low = _merge(self._low, jnp.where(ranked, -scores_QN, -jnp.inf), jnp.int32(start), self._k)

    def ends(self) -> Ends:
        """The result so far: [Q, k] rows and scores of both ends."""
        (high_rows, high), (low_rows, low) = jax.device_get((self._high, self._low))
        return Ends(_tidy(high_rows, high), _tidy(low_rows, -low))


def _tidy(rows: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    empty = np.isinf(values)
    return np.where(empty, -1, rows), np.where(empty, np.nan, values)
