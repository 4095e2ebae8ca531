"""A store of thousands of shards is opened, checked, streamed and resumed shard by shard, never all at once."""

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest

from jax_tda.artifacts import encodings
from jax_tda.artifacts.artifact import begin
from jax_tda.attribution import comparison
from jax_tda.attribution.run import rank_store
from jax_tda.core.errors import InputError

FACTS = {"checkpoint": "c", "projection": "p", "second_moments": "none", "blocks": ["x"], "left_out": {}}


def made(place, values: np.ndarray, shard_rows: int) -> str:
    """A store of encodings [N, 1, p, p], its shards written side by side."""
    writer = begin(str(place), encodings.KIND, {}, {})
    writer.array("encodings", values.shape, "float32", shard_rows).store.write(values).result()
    writer.array("status", values.shape[:1], "int8", shard_rows).store.write(np.zeros(len(values), np.int8)).result()
    writer.write_lines("ids.jsonl", ({"id": f"example {row}"} for row in range(len(values))))
    writer.finish(FACTS | {"projected_size": values.shape[-1]})
    return str(place)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """5,000 shards of one row each; row i holds i."""
    values = np.arange(5_000, dtype=np.float32).reshape(-1, 1, 1, 1)
    return made(tmp_path_factory.mktemp("many") / "store", values, 1)


def test_a_store_of_thousands_of_shards_is_what_was_written(many):
    """Every row, every id, at a place."""
    store = encodings.open_encodings(many)
    assert store.count == 5_000 and store.ids[4_999] == "example 4999" and store.ids.row_of("example 77") == 77
    rows = np.array([4_999, 0, 2_500])
    np.testing.assert_array_equal(store.read_rows(rows)[:, 0, 0], rows)


@pytest.mark.parametrize("shard", ["encodings/c/0/0/0/0", "encodings/c/3123/0/0/0", "status/c/4999"])
def test_one_shard_of_thousands_that_is_cut_short_or_gone_is_named(many, shard):
    """When the store is opened, before anything is computed."""
    path = Path(many, shard)
    whole = path.read_bytes()
    try:
        for kept in (whole[:-1], b"", None):
            path.unlink() if kept is None else path.write_bytes(kept)
            with pytest.raises(InputError, match=rf"(?s){shard} of the encodings artifact is damaged.*remedy"):
                encodings.open_encodings(many)
    finally:
        path.write_bytes(whole)
    encodings.open_encodings(many)


def test_hundreds_of_finished_units_come_back(tmp_path):
    """Each with its facts, by its name."""
    units = {f"shard_{number:07d}": {"rows": number} for number in range(500)}
    writer = begin(str(tmp_path / "a"), "thing", {}, {})
    for unit, facts in units.items():
        writer.finish_unit(unit, facts)
    assert begin(str(tmp_path / "a"), "thing", {}, {}).finished_units() == units


class Counted:
    """Stands before a store's reading and counts the shards that anybody still holds."""

    def __init__(self, store: encodings.EncodingStore, monkeypatch):
        self.alive, self.most, self.total = 0, 0, 0
        read = store._encodings.read

        def counted(start: int, stop: int) -> np.ndarray:
            rows = read(start, stop).copy()
            self.alive += 1
            self.total += 1
            self.most = max(self.most, self.alive)
            weakref.finalize(rows, self._gone)
            return rows

        monkeypatch.setattr(store._encodings, "read", counted)

    def _gone(self) -> None:
        self.alive -= 1


def test_a_store_larger_than_memory_is_streamed_a_few_shards_at_a_time(tmp_path, monkeypatch):
    """Law: of sixty shards at most the one in hand, two read ahead and one on its way out are held; all are seen."""
    values = np.random.default_rng(0).normal(size=(600, 1, 2, 2)).astype(np.float32)
    store = encodings.open_encodings(made(tmp_path / "a", values, 10))
    counted, seen = Counted(store, monkeypatch), []
    for start, rows, usable in store.shards():
        seen.append(float(rows.sum()))
        assert usable.all() and start == 10 * (len(seen) - 1)
    np.testing.assert_allclose(seen, values.reshape(60, -1).sum(1), rtol=1e-4, atol=1e-4)
    assert counted.total == 60 and counted.most <= 5


def test_scoring_a_store_holds_a_few_of_its_shards(tmp_path, monkeypatch):
    """Law: scores of a store are those of its rows in memory, while no more than eight of sixty shards are held."""
    values = np.random.default_rng(0).normal(size=(600, 1, 2, 2)).astype(np.float32)
    train = encodings.open_encodings(made(tmp_path / "a", values, 10))
    query = encodings.open_encodings(made(tmp_path / "q", values[:3] + 0.1, 3))
    compared = comparison.between(query, None, True, 1024, train)
    counted = Counted(train, monkeypatch)
    (ends,) = rank_store(train, compared, 5)
    gc.collect()
    rows, asked = values.reshape(600, 4), (values[:3] + 0.1).reshape(3, 4)
    cosine = (asked / np.linalg.norm(asked, axis=1, keepdims=True)) @ (rows / np.linalg.norm(rows, axis=1)[:, None]).T
    np.testing.assert_array_equal(ends.proponents[0], np.argsort(-cosine, axis=1, kind="stable")[:, :5])
    assert counted.total == 60 and counted.most <= 8
