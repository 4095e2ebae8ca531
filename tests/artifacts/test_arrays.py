"""Laws of arrays on disk: whole shards, checksums over data and index, and missing rows that say so."""

import dataclasses
import json

import numpy as np
import pytest

from jax_tda.artifacts import arrays
from jax_tda.core.errors import InputError


class FullDisk:
    """A store whose writes end as TensorStore's do on a full disk."""

    shape = (4, 2)

    def __getitem__(self, rows):
        return self

    def write(self, values):
        return self

    def result(self):
        raise ValueError('RESOURCE_EXHAUSTED: Error writing "c/0/0": [OS error 28: ENOSPC No space left on device]')


def numbers(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(("rows", "shard_rows"), [(7, 3), (6, 3), (2, 5), (1, 1)])
def test_what_is_written_in_whole_shards_is_read_in_any_rows(tmp_path, rows, shard_rows, compressed):
    """Ranges across shards, rows in any order and repeated; one file for each shard."""
    values = numbers(rows, 2, 3)
    array = arrays.create(str(tmp_path / "x"), values.shape, "float32", shard_rows, compressed=compressed)
    for start in range(0, rows, shard_rows):
        array.write_shard(start, values[start : start + shard_rows])
    stored = arrays.open_array(str(tmp_path / "x"))
    assert (stored.shape, stored.dtype, stored.shard_rows) == (values.shape, np.float32, shard_rows)
    for start in range(rows):
        for stop in range(start, rows + 1):
            np.testing.assert_array_equal(stored.read(start, stop), values[start:stop])
    order = np.random.default_rng(1).integers(rows, size=9)
    np.testing.assert_array_equal(stored.read_rows(order), values[order])
    files = [path for path in (tmp_path / "x" / "c").rglob("*") if path.is_file()]
    assert len(files) == -(-rows // shard_rows)


def test_missing_rows_read_as_nan(tmp_path):
    """A shard that was never written, or is gone, holds NaN (floats) or −1 (integers), never another number."""
    for dtype, missing in (("float32", np.nan), ("int8", -1), ("int32", -1)):
        array = arrays.create(str(tmp_path / dtype), (5, 2), dtype, 2)
        array.write_shard(2, np.ones((2, 2), array.dtype))
        expected = np.array([[missing] * 2] * 2 + [[1, 1]] * 2 + [[missing] * 2])
        np.testing.assert_array_equal(arrays.open_array(str(tmp_path / dtype)).read(0, 5), expected)
        (tmp_path / dtype / "c" / "1" / "0").unlink()
        np.testing.assert_array_equal(array.read(2, 4), np.full((2, 2), missing))


def test_an_array_is_written_by_columns_and_read_by_rows(tmp_path):
    """Columns arrive in whole shards of every row; a row comes back alone; what is missing is NaN."""
    values = np.arange(21, dtype=np.float32).reshape(3, 7)
    array = arrays.create(str(tmp_path / "x"), (3, 7), "float32", 1, shard_columns=4)
    array.write_columns(4, values[:, 4:])
    np.testing.assert_array_equal(array.read(0, 3)[:, :4], np.full((3, 4), np.nan))
    array.write_columns(0, values[:, :4])
    for row in range(3):
        np.testing.assert_array_equal(arrays.open_array(str(tmp_path / "x")).read(row, row + 1)[0], values[row])
    for start, part in ((1, values[:, :4]), (0, values[:, :3]), (0, values[:2, :4])):
        with pytest.raises(ValueError, match="not a whole shard"):
            array.write_columns(start, part)


@pytest.mark.parametrize(("start", "count"), [(0, 1), (1, 2), (0, 3), (2, 1)])
def test_a_part_of_a_shard_is_never_written(tmp_path, start, count):
    """Rows that do not begin at a shard, or do not fill it."""
    array = arrays.create(str(tmp_path / "x"), (5, 2), "float32", 2)
    with pytest.raises(ValueError, match="not a whole shard"):
        array.write_shard(start, np.ones((count, 2), np.float32))
    assert not (tmp_path / "x" / "c").exists()


def test_an_array_says_that_data_and_index_are_checked(tmp_path):
    """zarr3, sharded, crc32c last in both chains of codecs, NaN where nothing is: read from the file itself."""
    arrays.create(str(tmp_path / "x"), (5, 2), "float32", 2)
    described = json.loads((tmp_path / "x" / "zarr.json").read_text())
    (sharding,) = described["codecs"]
    assert (described["zarr_format"], described["fill_value"], described["data_type"]) == (3, "NaN", "float32")
    assert sharding["name"] == "sharding_indexed"
    assert [sharding["configuration"][chain][-1]["name"] for chain in ("codecs", "index_codecs")] == ["crc32c"] * 2


def test_large_shards_are_read_in_pieces(tmp_path):
    """Rows of 64 KiB in a shard of 32: chunks of at most 1 MiB that divide the shard."""
    array = arrays.create(str(tmp_path / "x"), (32, 1 << 14), "float32", 32)
    assert tuple(array.store.chunk_layout.read_chunk.shape) == (16, 1 << 14)


def test_one_array_of_a_name_is_not_another(tmp_path):
    """What exists is opened again if it is the same array, and refused otherwise."""
    arrays.create(str(tmp_path / "x"), (4, 2), "float32", 2).write_shard(0, np.ones((2, 2), np.float32))
    again = arrays.create(str(tmp_path / "x"), (4, 2), "float32", 2)
    np.testing.assert_array_equal(again.read(0, 2), np.ones((2, 2)))
    with pytest.raises(ValueError, match="shape"):
        arrays.create(str(tmp_path / "x"), (5, 2), "float32", 2)


def test_a_full_disk_is_said_in_four_parts(tmp_path):
    """TensorStore reports the operating system's text; the user reads which array, and that work goes on."""
    array = dataclasses.replace(arrays.create(str(tmp_path / "x"), (4, 2), "float32", 2), store=FullDisk())
    with pytest.raises(InputError, match=r"(?s)no space left while writing .*x.*expected:.*goes on where it stopped"):
        array.write_shard(0, np.ones((2, 2), np.float32))


def test_a_small_file_is_written_whole_or_not_at_all(tmp_path):
    """A second writing replaces the first; nothing else remains in the directory."""
    path = tmp_path / "plan.json"
    arrays.write_atomically(str(path), b"a long first plan")
    arrays.write_atomically(str(path), b"short")
    assert path.read_bytes() == b"short" and list(tmp_path.iterdir()) == [path]
