"""One pass over stored encodings: shards are read ahead, lent to the device without a copy, and scored."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jax_tda.artifacts.encodings import EncodingStore
from jax_tda.attribution import similarity
from jax_tda.core.progress import Progress


class Shard(NamedTuple):
    """Passages on the device.

    Args:
      start: the first one's corpus position.
      filled: how many there are; the rest of `rows` is not ranked.
      rows: float32 [N, blocks, K].
      unranked: float32 [N], 0 where a row is ranked, NaN where it is not.
    """

    start: int
    filled: int
    rows: jax.Array
    unranked: jax.Array


Norms = Callable[[Shard], jax.Array]


def divided(devices: Sequence[jax.Device]) -> NamedSharding:
    """Rows divided over devices, whose number then divides the size of a shard."""
    return NamedSharding(Mesh(np.array(devices), ("rows",)), PartitionSpec("rows"))


def _place() -> NamedSharding | None:
    """Every accelerator of this process takes its part of the rows; of CPUs, one uses all cores."""
    devices = jax.local_devices()
    return None if len(devices) == 1 or devices[0].platform == "cpu" else divided(devices)


def shard_of(
    start: int, rows_NBK: np.ndarray, usable_N: np.ndarray, size: int, where: NamedSharding | None = None
) -> Shard:
    """Lends rows to the devices, filled up to `size`: only one program gives equal rows equal scores, bit for bit."""
    where = where or _place()
    if where is not None:
        size = -(-size // where.mesh.size) * where.mesh.size
    count, spare = len(rows_NBK), size - len(rows_NBK)
    if spare:
        rows_NBK = np.pad(rows_NBK, ((0, spare), (0, 0), (0, 0)))
    unranked = np.full(size, np.nan, np.float32)
    unranked[:count][usable_N] = 0.0
    # On a CPU device_put takes aligned memory as it is, which jnp.asarray would copy. Nobody writes to it.
    return Shard(start, count, jax.device_put(rows_NBK, where), jax.device_put(unranked, where))


def shards(store: EncodingStore, label: str, skip: Collection[int] = ()) -> Iterator[Shard]:
    """Every shard of a store once, in corpus order, under a progress line; those that start at `skip` are not read."""
    size = min(store.shard_rows, store.count)
    done = sum(min(size, store.count - start) for start in skip)
    progress = Progress(label, store.count, "examples", done=done)
    for start, rows, usable in store.shards(skip):
        yield shard_of(start, rows, usable, size)
        progress.advance(len(rows))


def plain_norms(shard: Shard) -> jax.Array:
    """‖g‖."""
    return similarity.norms(shard.rows)


def no_norms(shard: Shard) -> jax.Array:
    """1, for scores that are dot products."""
    return jnp.ones(shard.rows.shape[0])


def stored_norms(norms_N: np.ndarray) -> Norms:
    """‖R^(-1/2) g‖ as a correction holds it."""

    def of(shard: Shard) -> jax.Array:
        found = np.full(shard.rows.shape[0], np.nan, np.float32)
        found[: shard.filled] = norms_N[shard.start : shard.start + shard.filled]
        return jax.device_put(found)

    return of


def norms_under(inverse_root_BKK: np.ndarray) -> Norms:
    """‖R^(-1/2) g‖, computed."""
    root = jnp.asarray(inverse_root_BKK, jnp.float32)
    return lambda shard: similarity.norms(similarity.whiten(shard.rows, root))


def score(shard: Shard, sides: Sequence[jax.Array], norms_N: jax.Array) -> list[jax.Array]:
    """[Q, N] scores of a shard for each part of the queries, NaN where a passage is not ranked."""
    sizes = norms_N + shard.unranked
    return [similarity.scores(side, shard.rows, sizes) for side in sides]


class Pace:
    """Lets the host run one step ahead of the device, so that what was read cannot pile up in memory."""

    def __init__(self) -> None:
        self._last: object = None

    def step(self, results: object) -> None:
        """Waits for the results of the step before."""
        jax.block_until_ready(self._last)
        self._last = results
