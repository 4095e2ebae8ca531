"""Laws of the encodings' schema: a row that may not be used is NaN, and what does not belong together is not joined."""

import numpy as np
import pytest

from jax_tda.artifacts import encodings
from jax_tda.artifacts.arrays import open_array
from jax_tda.artifacts.artifact import begin
from jax_tda.artifacts.formats import StoreConfig
from jax_tda.core.config import settings
from jax_tda.core.errors import InputError

FACTS = {"checkpoint": "c", "projection": "p", "second_moments": "none", "blocks": ["x", "y"], "left_out": {}}
VALUES = np.arange(5 * 2 * 3 * 3, dtype=np.float32).reshape(5, 2, 3, 3)


def stored(path, facts=FACTS, status=(0, 0, 0, 0, 0), written=(0, 2, 4), values=VALUES):
    writer = begin(str(path), encodings.KIND, {}, {})
    array, flags = writer.array("encodings", VALUES.shape, "float32", 2), writer.array("status", (5,), "int8", 2)
    for start in written:
        array.write_shard(start, values[start : start + 2])
        flags.write_shard(start, np.array(status[start : start + 2], np.int8))
    writer.write_lines("ids.jsonl", ({"id": f"example {row}"} for row in range(5)))
    writer.finish(facts)
    return encodings.open_encodings(str(path))


def test_rows_come_back_in_the_order_of_their_ids(tmp_path):
    """[examples, blocks, p²], by range and by position."""
    store = stored(tmp_path / "a")
    assert (store.count, store.blocks, store.projected_size, store.dimension) == (5, ("x", "y"), 3, 18)
    assert store.ids == [f"example {row}" for row in range(5)]
    np.testing.assert_array_equal(store.read(1, 4), VALUES[1:4].reshape(3, 2, 9))
    np.testing.assert_array_equal(store.read_rows(np.array([4, 0])), VALUES[[4, 0]].reshape(2, 2, 9))


def test_a_flagged_row_reads_as_nan_whatever_is_stored(tmp_path):
    """By range and by position alike; the others are untouched."""
    store = stored(tmp_path / "a", status=(0, encodings.ZERO, 0, 0, encodings.NOT_FINITE))
    usable = np.isfinite(store.read(0, 5)).all(axis=(1, 2))
    np.testing.assert_array_equal(usable, [True, False, True, True, False])
    np.testing.assert_array_equal(np.isnan(store.read_rows(np.array([4, 2]))).all(axis=(1, 2)), [True, False])


def test_a_shard_that_was_never_written_keeps_the_artifact_unfinished(tmp_path):
    """Also one that somebody deleted after it was recorded; until then it reads as no number at all."""
    with pytest.raises(InputError, match=r"(?s)shards of .*a/encodings are missing.*2 shards.*3 shards"):
        stored(tmp_path / "a", written=(0, 4))
    assert not (tmp_path / "a" / "manifest.json").exists()
    lost = open_array(str(tmp_path / "a" / "encodings")).read(0, 5)
    assert np.isnan(lost[2:4]).all() and np.isfinite(lost[:2]).all()


def test_a_shard_of_rows_that_are_not_finite_is_there(tmp_path):
    """Law: what was written is a file, also where every number of it is what a missing one would read as."""
    store = stored(tmp_path / "a", values=np.full_like(VALUES, np.nan))
    assert np.isnan(store.read(0, 5)).all()


@pytest.mark.parametrize(("skip", "expected"), [((), [0, 2, 4]), ({0, 4}, [2]), ({0, 2, 4}, [])])
def test_shards_come_once_in_order_as_they_are_stored_without_those_that_are_skipped(tmp_path, skip, expected):
    """Whatever is read ahead; the last is shorter; a flagged row is told by `usable` alone."""
    store = stored(tmp_path / "a", status=(0, encodings.ZERO, 0, 0, 0))
    for ahead in (1, 2, 9):
        found = list(store.shards(skip, ahead))
        assert [start for start, *_ in found] == expected
        for start, rows, usable in found:
            np.testing.assert_array_equal(rows, VALUES[start : start + 2].reshape(-1, 2, 9))
            np.testing.assert_array_equal(usable, np.array([True, False, True, True, True])[start : start + 2])


@pytest.mark.parametrize("status", [(0, 0, 0, 0, 0), (0, encodings.ZERO, 0, 0, encodings.NOT_FINITE)])
@pytest.mark.parametrize("store", [StoreConfig("bfloat16"), StoreConfig("int4", step=0.5), StoreConfig("int8", rank=1)])
def test_every_format_reads_as_float32_by_rows(tmp_path, store, status):
    """[examples, blocks, p²] as the format gives them back; a flagged row is NaN."""
    writer = begin(str(tmp_path), encodings.KIND, {}, {})
    shards = encodings.EncodingWriter(writer, store, VALUES.shape, 2)
    for start in (0, 2, 4):
        shards.write_shard(start, VALUES[start : start + 2], np.array(status[start : start + 2], np.int8))
    writer.write_lines("ids.jsonl", ({"id": f"example {row}"} for row in range(5)))
    writer.finish(FACTS | {"projected_size": 3, "store": settings(store)})
    opened = encodings.open_encodings(str(tmp_path))
    expected = store.round_trip(VALUES).reshape(5, 2, 9)
    expected[[row for row in range(5) if status[row]]] = np.nan
    np.testing.assert_array_equal(opened.read(0, 5), expected)
    np.testing.assert_array_equal(opened.read_rows(np.array([4, 0, 2])), expected[[4, 0, 2]])
    assert (opened.projected_size, opened.dimension, opened.shard_rows, opened.store) == (3, 18, 2, store)


@pytest.mark.parametrize(
    ("name", "value"),
    [("checkpoint", "d"), ("projection", "other"), ("second_moments", "rank_one"), ("blocks", ["x", "z"])],
)
def test_encodings_that_do_not_fit_are_not_joined(tmp_path, name, value):
    """The error names both artifacts, what differs, and the remedy."""
    one, other = stored(tmp_path / "one"), stored(tmp_path / "other", FACTS | {name: value})
    encodings.check_joinable(one.reader, one.reader)
    with pytest.raises(InputError, match=f"one and .*other cannot be joined: they differ in {name}") as refused:
        encodings.check_joinable(one.reader, other.reader)
    assert refused.value.got == f"{FACTS[name]} and {value}"
