"""A shard of the right size and with right checksums that belongs elsewhere is refused by name when it is read."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from jax_tda.artifacts import arrays, chunk_digests, encodings
from jax_tda.artifacts.artifact import Reader, begin, open_artifact
from jax_tda.core.errors import InputError

# Rows of half a megabyte, so that a shard of four has two chunks.
WIDE = (10, 1 << 17)
REFUSED = r"(?s)the shard .*{} is damaged or belongs elsewhere.*got.*expected.*remedy"


def made(place: Path, seed: int, shape: tuple[int, ...] = (10, 3), columns: bool = False) -> Reader:
    values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    writer = begin(str(place), "thing", {"seed": 0}, {})
    if columns:
        array = writer.array("numbers", shape, "float32", 1, shard_columns=4)
        for start in range(0, shape[1], 4):
            array.write_columns(start, values[:, start : start + 4])
    else:
        array = writer.array("numbers", shape, "float32", 4)
        for start in range(0, shape[0], 4):
            array.write_shard(start, values[start : start + 4])
            writer.finish_unit(f"shard_{start}", {"rows": 4})
    return writer.finish({})


def exchange(one: Path, other: Path) -> None:
    first, second = one.read_bytes(), other.read_bytes()
    assert len(first) == len(second) and first != second
    one.write_bytes(second)
    other.write_bytes(first)


READS = {
    "all": lambda array: array.read(0, array.shape[0]),
    "a part": lambda array: array.read(5, 6),
    "rows": lambda array: array.read_rows(np.array([9, 5])),
}


@pytest.mark.parametrize("shape", [(10, 3), (10,), WIDE, (10, 2, 3)])
@pytest.mark.parametrize("how", READS)
def test_two_exchanged_shards_are_named(how, shape, tmp_path):
    """By whatever way a row of them is read; before, the rows are those that were written."""
    made(tmp_path / "a", 0, shape)
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    np.testing.assert_array_equal(
        READS[how](open_artifact(str(tmp_path / "a")).array("numbers")), READS[how](Held(values))
    )
    shards = sorted(path for path in (tmp_path / "a" / "numbers" / "c").rglob("*") if path.is_file())
    exchange(shards[0], shards[1])
    second = str(shards[1 if how != "all" else 0].relative_to(tmp_path / "a" / "numbers"))
    with pytest.raises(InputError, match=REFUSED.format(second)):
        READS[how](open_artifact(str(tmp_path / "a")).array("numbers"))


class Held:
    """The same ways to read, of an array in memory."""

    def __init__(self, values: np.ndarray):
        self.values, self.shape = values, values.shape

    def read(self, start: int, stop: int) -> np.ndarray:
        return self.values[start:stop]

    def read_rows(self, rows: np.ndarray) -> np.ndarray:
        return self.values[rows]


@pytest.mark.parametrize("columns", [False, True])
def test_a_shard_of_another_run_is_named(columns, tmp_path):
    """Of the same settings, size and place; and the artifacts' digests tell the two runs apart."""
    ours = made(tmp_path / "a", 0, (10, 8), columns)
    theirs = made(tmp_path / "b", 1, (10, 8), columns)
    assert ours.manifest.digest != theirs.manifest.digest
    assert ours.manifest.digest == made(tmp_path / "again", 0, (10, 8), columns).manifest.digest
    shard = "numbers/c/0/1" if columns else "numbers/c/2/0"
    shutil.copyfile(tmp_path / "b" / shard, tmp_path / "a" / shard)
    array = open_artifact(str(tmp_path / "a")).array("numbers")
    with pytest.raises(InputError, match=REFUSED.format(shard)):
        array.read(8, 10)
    if not columns:
        array.read(0, 8)  # The other shards are what they were.


def test_the_digests_of_another_run_are_refused(tmp_path):
    """With its shards, too: the manifest says which digests are its own."""
    made(tmp_path / "a", 0)
    made(tmp_path / "b", 1)
    shutil.copytree(tmp_path / "b" / "numbers", tmp_path / "a" / "numbers", dirs_exist_ok=True)
    shutil.copyfile(tmp_path / "b" / "numbers.digests", tmp_path / "a" / "numbers.digests")
    with pytest.raises(InputError, match=r"numbers\.digests of the thing artifact is damaged"):
        open_artifact(str(tmp_path / "a")).array("numbers")


def test_a_chunk_is_compared_once(tmp_path, monkeypatch):
    """What was compared is not hashed again."""
    made(tmp_path / "a", 0)
    array = open_artifact(str(tmp_path / "a")).array("numbers")
    array.read(0, 10)
    monkeypatch.setattr(chunk_digests, "of", None)
    assert len(array.read(3, 7)) == 4 and len(array.read_rows(np.array([0, 9]))) == 2


def test_digests_of_units_that_an_earlier_run_finished_are_kept(tmp_path, monkeypatch):
    """The next run reads none of them again, and the manifest is that of a run without a stop."""
    values = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
    for starts in ((0, 4), (8,)):
        writer = begin(str(tmp_path / "a"), "thing", {"seed": 0}, {})
        array = writer.array("numbers", (10, 3), "float32", 4)
        for start in starts:
            array.write_shard(start, values[start : start + 4])
            writer.finish_unit(f"shard_{start}", {"rows": 4})
    assert writer.finished_units() == {f"shard_{start}": {"rows": 4} for start in (0, 4, 8)}
    monkeypatch.setattr(arrays.Array, "_read", None)
    stopped = writer.finish({})
    monkeypatch.undo()
    assert stopped.manifest.digest == made(tmp_path / "b", 0).manifest.digest


def test_an_artifact_without_digests_is_read_and_that_is_said_once(tmp_path, monkeypatch, capsys):
    """As versions before wrote them: no file of digests, none in the manifest."""
    monkeypatch.setattr("jax_tda.artifacts.units.Units.digests", lambda self: {})
    made(tmp_path / "a", 0)
    monkeypatch.undo()
    reader = open_artifact(str(tmp_path / "a"))
    for _ in range(2):
        assert reader.array("numbers").read(0, 10).shape == (10, 3)
    assert capsys.readouterr().out.count("was made before digests of shards were kept") == 1


def test_exchanged_shards_of_encodings_are_named(tmp_path):
    """In the stream of shards that scoring reads."""
    writer = begin(str(tmp_path / "a"), encodings.KIND, {}, {})
    values = np.random.default_rng(0).normal(size=(6, 1, 2, 2)).astype(np.float32)
    store = encodings.EncodingWriter(writer, encodings.StoreConfig(), values.shape, 2)
    for start in (0, 2, 4):
        store.write_shard(start, values[start : start + 2], np.zeros(2, np.int8))
    writer.write_lines("ids.jsonl", ({"id": str(row)} for row in range(6)))
    same = {"checkpoint": "c", "projection": "p", "second_moments": "none", "blocks": ["x"], "left_out": {}}
    writer.finish(same | {"projected_size": 2})
    exchange(*(tmp_path / "a" / "encodings" / "c" / shard / "0/0/0" for shard in "12"))
    with pytest.raises(InputError, match=REFUSED.format("encodings/c/1/0/0/0")):
        list(encodings.open_encodings(str(tmp_path / "a")).shards())
