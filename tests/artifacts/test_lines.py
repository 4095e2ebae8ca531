"""Lines and names are those of the file, by number, in order and by name, with nothing of it held in memory."""

import json
import tracemalloc

import numpy as np
import pytest

from jax_tda.artifacts.artifact import begin
from jax_tda.artifacts.lines import Lines, Names
from jax_tda.core.errors import InputError


def opened(path) -> Lines:
    return Lines(path, lambda got: AssertionError(got))


@pytest.mark.parametrize("count", [0, 1, 2, 40_000])
def test_lines_are_those_of_the_file(tmp_path, count):
    """Every number from both ends, slices, and iteration over several blocks of the file, as a list of them gives."""
    values = [{"id": f"é\u2028{row}", "text": "x" * (row % 90)} for row in range(count)]
    (tmp_path / "rows.jsonl").write_bytes(b"".join(json.dumps(v, ensure_ascii=False).encode() + b"\n" for v in values))
    lines = opened(tmp_path / "rows.jsonl")
    assert len(lines) == count and list(lines) == values and lines == values and lines[:5] == values[:5]
    assert lines[-2:] == values[-2:] and lines[::7_001] == values[::7_001]
    for row in {0, count // 2, count - 1} if count else ():
        assert lines[row] == values[row] and lines[row - count] == values[row - count]
    for row in (count, -count - 1):
        with pytest.raises(IndexError):
            lines[row]
    assert lines != [*values, 1] and lines != "a string"


def test_a_line_longer_than_a_block_and_one_without_an_end_are_lines(tmp_path):
    """Whoever wrote the file."""
    long = "x" * (3 << 20)
    (tmp_path / "rows.jsonl").write_text(f'1\n"{long}"\n2')
    assert list(opened(tmp_path / "rows.jsonl")) == [1, long, 2]
    assert opened(tmp_path / "rows.jsonl")[1:] == [long, 2]


def test_names_are_found_as_a_dictionary_finds_them(tmp_path):
    """The first row, every row and none; a name that two rows share, as the pieces of a document do."""
    names = [f"name {row % 700}" for row in range(1_000)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"document": name}) + "\n" for name in names))
    found = Names(opened(tmp_path / "rows.jsonl"), "document")
    assert found == names and found[3] == names[3] and found[np.int64(4)] == names[4] and found[2:4] == names[2:4]
    for name in names:
        assert found.row_of(name) == names.index(name)
        assert found.rows_of(name) == [row for row, other in enumerate(names) if other == name]
        assert name in found
    assert found.row_of("unknown") is None and found.rows_of("unknown") == [] and "unknown" not in found
    assert 5 not in found


def test_two_names_of_one_hash_are_two(tmp_path, monkeypatch):
    """Law: a hash only says where to look."""
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"id": name}) + "\n" for name in "abc"))
    names = Names(opened(tmp_path / "rows.jsonl"))
    monkeypatch.setattr("builtins.hash", lambda _: 1)
    assert [names.row_of(name) for name in "abcd"] == [0, 1, 2, None]


def test_names_take_the_memory_of_numbers_not_of_objects(tmp_path):
    """Law: at most 64 bytes a row, also while they are looked up; a list of them takes more than 100."""
    count = 200_000
    writer = begin(str(tmp_path / "a"), "thing", {}, {})
    writer.write_lines("ids.jsonl", ({"id": f"a rather long name of example {row:09d}"} for row in range(count)))
    reader = writer.finish({})
    tracemalloc.start()
    try:
        names = Names(reader.lines("ids.jsonl"))
        assert names.row_of(names[count - 1]) == count - 1 and names.row_of("no") is None
        assert sum(len(name) for name in names) == count * 39
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 * count


def test_a_file_that_changes_under_its_reader_is_named(tmp_path):
    """Cut short after it was opened: an error that names it, never another line."""
    writer = begin(str(tmp_path / "a"), "thing", {}, {})
    writer.write_lines("ids.jsonl", [{"id": "one"}, {"id": "two"}])
    names = Names(writer.finish({}).lines("ids.jsonl"))
    (tmp_path / "a" / "ids.jsonl").write_bytes(b"{")
    with pytest.raises(InputError, match=r"ids\.jsonl of the thing artifact is damaged"):
        names[1]
