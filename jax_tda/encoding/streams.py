"""Which rows each process encodes: a stream of shards for every group of processes that work on the same examples.

Where a process holds whole data groups of the mesh, the processes' streams are as many as they are. Where a data group
spans processes, these share one stream: all of them compute, the first writes.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from jax_tda.core import mesh as meshes
from jax_tda.core.errors import InputError
from jax_tda.data.batches import sweep


class Streams(NamedTuple):
    """The streams of a mesh, as one process sees them.

    Args:
      total: how many there are.
      own: the one that this process works on.
      writes: whether this process writes what becomes of it.
      places: of each data group the stream, and its place among the stream's groups.
      rows: data groups of the smallest stream.
    """

    total: int
    own: int
    writes: bool
    places: tuple[tuple[int, int], ...]
    rows: int


class _Joined(NamedTuple):
    members: set[int]
    groups: list[int]


def of(mesh: Mesh) -> Streams:
    """The streams of a mesh [data, model]; one where there is one process."""
    joined = list[_Joined]()
    for group, devices in enumerate(mesh.devices):
        found = _Joined({device.process_index for device in devices.flat}, [group])
        for other in [stream for stream in joined if stream.members & found.members]:
            joined.remove(other)
            found = _Joined(found.members | other.members, sorted(found.groups + other.groups))
        joined.append(found)
    joined.sort(key=lambda stream: stream.groups[0])
    # Among the groups themselves a process that works alone is called by its own number.
    me = jax.process_index() if mesh.is_multi_process else next(iter(joined[0].members))
    (own,) = [number for number, stream in enumerate(joined) if me in stream.members]
    places = {
        group: (number, place) for number, stream in enumerate(joined) for place, group in enumerate(stream.groups)
    }
    for stream in joined:
        _demand_writer(mesh, stream)
    writes = me == min(joined[own].members)
    fewest = min(len(stream.groups) for stream in joined)
    return Streams(len(joined), own, writes, tuple(places[group] for group in sorted(places)), fewest)


def _demand_writer(mesh: Mesh, stream: _Joined) -> None:
    """The process that writes a stream must see rows of each of its groups."""
    writer = min(stream.members)
    unseen = [g for g in stream.groups if all(device.process_index != writer for device in mesh.devices[g].flat)]
    if unseen:
        raise InputError(
            "the mesh ties data groups together that no one process holds a part of",
            got=f"a mesh {mesh.devices.shape[0]} × {mesh.devices.shape[1]}, in which process {writer} has no device of "
            f"data group {unseen[0]}",
            expected="mesh.model that divides the devices of a process, or is a multiple of them",
            remedy="change mesh.model, or the number of devices of each process",
        )


class Batch(NamedTuple):
    """What a stream does while every other does the like.

    Args:
      rows: row numbers; none where the stream has no more.
      length: T.
      size: B.
      together: how many rows all streams have.
    """

    rows: np.ndarray
    length: int
    size: int
    together: int


def batches(
    members: Sequence[np.ndarray], own: int, lengths: np.ndarray, buckets: tuple[int, ...], tokens_per_batch: int
) -> Iterator[Batch]:
    """Every row of the own stream once, in the batches that `sweep` gives; equally many of each length in all streams.

    Args:
      members: the rows of each stream.
      own: which stream's rows are given out.
      lengths: of all rows.
      buckets: padded lengths.
      tokens_per_batch: padded tokens per batch and stream.
    """
    found: list[dict[int, list[np.ndarray]]] = [{} for _ in members]
    for mine, rows in zip(found, members, strict=True):
        for batch, length, _ in sweep(rows, lengths[rows], buckets, tokens_per_batch):
            mine.setdefault(length, []).append(batch)
    none = np.zeros(0, np.int64)
    for length in buckets:
        lists = [mine.get(length, []) for mine in found]
        for turn in range(max(map(len, lists))):
            parts = [each[turn] if turn < len(each) else none for each in lists]
            yield Batch(parts[own], length, max(1, tokens_per_batch // length), sum(map(len, parts)))


def placed(mesh: Mesh, streams: Streams, arrays: tuple[np.ndarray, ...], each: int) -> tuple[jax.Array, ...]:
    """Each process's own rows [B, …] as one array over the mesh, of which every data group holds `each` rows.

    Places beyond B are zeros: padding of weight 0.
    """
    sharding = meshes.batch_sharding(mesh)

    def place(own: np.ndarray) -> jax.Array:
        def rows(index: tuple[slice, ...] | None) -> np.ndarray:
            assert index is not None
            start = streams.places[(index[0].start or 0) // each][1] * each
            part = own[start : start + each]
            return np.pad(part, ((0, each - len(part)), *((0, 0),) * (own.ndim - 1)))

        shape = (each * len(streams.places), *own.shape[1:])
        return jax.make_array_from_callback(shape, sharding, rows)

    return tuple(place(array) for array in arrays)


def own_rows(streams: Streams, value: jax.Array, count: int) -> np.ndarray:
    """The first `count` rows of this process's stream, of an array whose first axis is divided over the data groups."""
    each = value.shape[0] // len(streams.places)
    found = np.full((each * max(place + 1 for _, place in streams.places), *value.shape[1:]), np.nan, value.dtype)
    for shard in value.addressable_shards:
        first, *others = shard.index
        start = streams.places[(first.start or 0) // each][1] * each
        found[(slice(start, start + each), *others)] = np.asarray(shard.data)
    return found[:count]
