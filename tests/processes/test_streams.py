"""Laws of streams: who encodes which rows, on any mesh of any processes."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from jax_tda.core.errors import InputError
from jax_tda.data.batches import bucket_lengths, sweep
from jax_tda.encoding import streams


def mesh(owners):
    """A mesh [data, model] whose devices belong to these processes."""
    devices = np.array([[SimpleNamespace(process_index=owner) for owner in row] for row in owners], dtype=object)
    return SimpleNamespace(devices=devices, is_multi_process=True)


MESHES = {
    "whole groups": [[0], [0], [1], [1]],
    "a group each": [[0, 0], [1, 1]],
    "groups that span": [[0, 1], [2, 3]],
    "scattered": [[0], [1], [0], [1]],
    "unequal": [[0, 0], [0, 0], [1, 2]],
    "all in one": [[0, 1, 2, 3]],
}


@pytest.mark.parametrize("name", MESHES)
def test_every_data_group_is_in_one_stream_and_every_stream_has_one_writer(monkeypatch, name):
    """Law: processes of one group share a stream, no process is in two, and exactly one of each stream writes."""
    owners = MESHES[name]
    members = sorted({owner for row in owners for owner in row})
    seen = []
    for process in members:
        monkeypatch.setattr(jax, "process_index", lambda process=process: process)
        seen.append(streams.of(mesh(owners)))
    assert len({(found.total, found.places, found.rows) for found in seen}) == 1
    for group, row in enumerate(owners):
        assert {seen[members.index(owner)].own for owner in row} == {seen[0].places[group][0]}
    for stream in range(seen[0].total):
        assert sum(found.writes for found in seen if found.own == stream) == 1
        places = [place for number, place in seen[0].places if number == stream]
        assert sorted(places) == list(range(len(places))) and len(places) >= seen[0].rows


def test_groups_that_no_one_process_sees_all_of_are_refused(monkeypatch):
    """Law: what the writer of a stream cannot see would be written as whatever lay in memory."""
    monkeypatch.setattr(jax, "process_index", lambda: 0)
    with pytest.raises(InputError, match=r"(?s)no one process holds a part of.*data group 2.*mesh.model"):
        streams.of(mesh([[0, 0], [0, 1], [1, 1]]))


@pytest.mark.parametrize("seed", range(5))
def test_all_streams_take_equally_many_batches_of_each_length_and_miss_no_row(seed):
    """Law: a stream's batches are those that `sweep` gives it alone, and empty ones to fill up."""
    random = np.random.default_rng(seed)
    lengths = random.integers(1, 40, 60)
    members = np.split(np.arange(60), sorted(random.integers(0, 60, 3)))
    buckets = bucket_lengths(lengths, 3)
    found = [list(streams.batches(members, own, lengths, buckets, 64)) for own in range(4)]
    assert len({tuple((batch.length, batch.size, batch.together) for batch in each) for each in found}) == 1
    for own, rows in zip(found, members, strict=True):
        filled = [batch for batch in own if len(batch.rows)]
        alone = list(sweep(rows, lengths[rows], buckets, 64))
        assert [(batch.rows.tolist(), batch.length, batch.size) for batch in filled] == [
            (batch.tolist(), length, size) for batch, length, size in alone
        ]
    for together in zip(*found, strict=True):
        assert together[0].together == sum(len(batch.rows) for batch in together) > 0


@pytest.mark.parametrize("count", [1, 3, 8, 13])
def test_rows_that_were_placed_come_back_in_their_order(count):
    """Law: placing and fetching, with padding between, change nothing."""
    from jax_tda.core import mesh as meshes

    whole = meshes.make_mesh()
    shared = streams.of(whole)
    rows = np.random.default_rng(count).normal(size=(count, 5)).astype(np.float32)
    (placed,) = streams.placed(whole, shared, (rows,), -(-count // whole.size))
    assert placed.shape[0] % whole.size == 0 and not np.asarray(placed)[count:].any()
    np.testing.assert_array_equal(streams.own_rows(shared, placed, count), rows)
