"""The exact k best and k worst of scores that arrive shard by shard; ties go to the earlier corpus position."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

# Scores that wait before they are merged. A partial sort costs n + k log k log(n / k): few wide ones cost the least.
_WAITING = 1 << 20

_End = tuple[jax.Array, jax.Array]


class Ends(NamedTuple):
    """Rows and scores of both ends of a ranking, best (or worst) first; a row of −1 marks an empty place."""

    proponents: tuple[np.ndarray, np.ndarray]
    opponents: tuple[np.ndarray, np.ndarray]


@functools.partial(jax.jit, static_argnames="k")
def _merge(high: _End, low: _End, parts_QN: list[jax.Array], start: jax.Array, k: int) -> tuple[_End, _End]:
    scores_QN = jnp.concatenate(parts_QN, axis=1)
    ranked = jnp.isfinite(scores_QN)
    # top_k puts 0 before −0, which are one score.
    scores_QN = jnp.where(scores_QN == 0, 0.0, scores_QN)

    def better(kept: _End, scores_QN: jax.Array) -> _End:
        # lax.top_k gives the lower index first among equals. Within the parts that is corpus order; what was kept
        # before comes from earlier rows and stands in front.
        best, place = lax.top_k(jnp.where(ranked, scores_QN, -jnp.inf), min(k, scores_QN.shape[1]))
        rows = jnp.concatenate([kept[0], (place + start).astype(kept[0].dtype)], axis=1)
        values, order = lax.top_k(jnp.concatenate([kept[1], best], axis=1), k)
        return jnp.take_along_axis(rows, order, axis=1), values

    return better(high, scores_QN), better(low, -scores_QN)


class Best:
    """Keeps both ends of each query's ranking over a stream of shards.

    Args:
      queries: Q.
      k: how many of each end.
    """

    def __init__(self, queries: int, k: int):
        self._k, self._queries = k, queries
        empty = (jnp.full((queries, k), -1, jnp.int32), jnp.full((queries, k), -jnp.inf, jnp.float32))
        self._high, self._low = empty, empty
        self._waiting: list[jax.Array] = []
        self._start = self._stop = 0

    def update(self, scores_QN: jax.Array, start: int) -> None:
        """Adds the scores of rows [start, start + N), in corpus order; what is not finite is not ranked."""
        if start != self._stop:
            self._flush()
        if not self._waiting:
            self._start = start
        self._waiting.append(scores_QN)
        self._stop = start + scores_QN.shape[1]
        if self._queries * (self._stop - self._start) >= _WAITING:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._high, self._low = _merge(self._high, self._low, self._waiting, jnp.int32(self._start), self._k)
            self._waiting = []

    def ends(self) -> Ends:
        """The result so far: [Q, k] rows and scores of both ends."""
        self._flush()
        (high_rows, high), (low_rows, low) = jax.device_get((self._high, self._low))
        return Ends(_tidy(high_rows, high), _tidy(low_rows, -low))

    def state(self) -> dict[str, np.ndarray]:
        """All that is kept, as arrays that `restore` takes."""
        self._flush()
        names = ("high_rows", "high", "low_rows", "low")
        return dict(zip(names, jax.device_get((*self._high, *self._low)), strict=True))

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Goes on from what `state` gave."""
        self._high = jnp.asarray(state["high_rows"]), jnp.asarray(state["high"])
        self._low = jnp.asarray(state["low_rows"]), jnp.asarray(state["low"])


def merged(parts: Sequence[Ends]) -> Ends:
    """Both ends of all rows, from those of disjoint sets of them, each of k places; ties go to the earlier row."""
    if len(parts) == 1:
        return parts[0]
    return Ends(_end([part.proponents for part in parts], -1.0), _end([part.opponents for part in parts], 1.0))


def _end(parts: list[tuple[np.ndarray, np.ndarray]], sign: float) -> tuple[np.ndarray, np.ndarray]:
    k = parts[0][0].shape[1]
    rows, values = (np.concatenate([part[place] for part in parts], axis=1) for place in (0, 1))
    # An empty place has score NaN, which sorts last; among equal scores the row decides.
    order = np.lexsort((rows, sign * values), axis=1)[:, :k]
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(values, order, axis=1)


def _tidy(rows: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    empty = np.isinf(values)
    return np.where(empty, -1, rows), np.where(empty, np.nan, values)
