"""Laws of how an artifact comes to be: claimed, filled, committed by its manifest, and never mistaken for another."""

import json
from pathlib import Path

import numpy as np
import pytest

from jax_tda.artifacts.artifact import Reader, Writer, begin, open_artifact
from jax_tda.core.errors import InputError

SETTINGS = {"seed": 0, "kind": "x"}


def finished(directory, settings=SETTINGS, inputs=None, name=None, text="hello"):
    writer = begin(str(directory), "thing", settings, inputs or {}, name)
    assert isinstance(writer, Writer)
    writer.write_json(f"{name}.json" if name else "value.json", text)
    return writer.finish({"count": 1})


def snapshot(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_the_manifest_is_written_last(tmp_path):
    """Until `finish` there is none, and reading is refused; afterwards nothing of the work in between is left."""
    writer = begin(str(tmp_path / "a"), "thing", SETTINGS, {})
    writer.write_json("value.json", 1)
    writer.array("numbers", (2, 2), "float32", 2).write_shard(0, np.ones((2, 2), np.float32))
    writer.finish_unit("first", {})
    assert not (tmp_path / "a" / "manifest.json").exists()
    with pytest.raises(InputError, match="there is no finished thing at") as refused:
        open_artifact(str(tmp_path / "a"), "thing")
    assert refused.value.got == "an unfinished artifact" and "goes on where it stopped" in refused.value.remedy
    writer.finish({})
    files = {name for name in snapshot(tmp_path / "a")}
    assert files == {"manifest.json", "value.json", "numbers.digests", "numbers/zarr.json", "numbers/c/0/0"}
    assert open_artifact(str(tmp_path / "a"), "thing").read_json("value.json") == 1


def test_the_manifest_lists_every_file_with_its_size(tmp_path):
    """Nothing in the directory is unaccounted for."""
    reader = finished(tmp_path / "a")
    sizes = {name: len(data) for name, data in snapshot(tmp_path / "a").items() if name != "manifest.json"}
    assert {name: described["bytes"] for name, described in reader.manifest.files.items()} == sizes


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir(), lambda path: path.write_text("mine")])
def test_a_place_without_a_manifest_is_no_artifact(tmp_path, make):
    """Missing, empty, or a file: the message names the manifest that is not there."""
    make(tmp_path / "a")
    with pytest.raises(InputError, match=r"(?s)no finished thing.*no manifest.*a/manifest\.json.*check the path"):
        open_artifact(str(tmp_path / "a"), "thing")


def test_an_artifact_of_another_kind_is_refused(tmp_path):
    """Both kinds are named."""
    finished(tmp_path / "a")
    with pytest.raises(InputError, match=r"(?s)of kind thing.*of kind other"):
        open_artifact(str(tmp_path / "a"), "other")


def test_the_same_work_at_the_same_place_is_done_once(tmp_path):
    """`begin` answers with a Reader, and no byte of the artifact changes."""
    first = finished(tmp_path / "a", inputs={"from": finished(tmp_path / "input")})
    before = snapshot(tmp_path / "a")
    again = begin(str(tmp_path / "a"), "thing", SETTINGS, {"from": open_artifact(str(tmp_path / "input"))})
    assert isinstance(again, Reader) and again.manifest == first.manifest
    assert snapshot(tmp_path / "a") == before


@pytest.mark.parametrize("done", [True, False], ids=["finished", "unfinished"])
@pytest.mark.parametrize(
    ("settings", "source", "named"),
    [
        ({"seed": 1, "kind": "x"}, "one", ["settings.seed"]),
        ({"seed": 1, "kind": "x", "new": 2}, "one", ["settings.new", "settings.seed"]),
        ({"seed": 0}, "one", ["settings.kind"]),
        (SETTINGS, "two", ["inputs.from"]),
        ({"seed": 1, "kind": "x"}, "two", ["settings.seed", "inputs.from"]),
        (SETTINGS, None, ["inputs.from"]),
    ],
)
def test_other_settings_or_inputs_are_refused_by_their_names(tmp_path, done, settings, source, named):
    """Exactly what differs is named, whether the place is finished or half way."""
    inputs = {name: finished(tmp_path / name, text=name) for name in ("one", "two")}
    writer = begin(str(tmp_path / "a"), "thing", SETTINGS, {"from": inputs["one"]})
    writer.write_json("value.json", 1)
    if done:
        writer.finish({})
    before = snapshot(tmp_path / "a")
    with pytest.raises(InputError, match="holds something else") as refused:
        begin(str(tmp_path / "a"), "thing", settings, {"from": inputs[source]} if source else {})
    assert refused.value.got == f"a thing artifact that differs in {', '.join(named)}"
    assert snapshot(tmp_path / "a") == before


def test_another_kind_of_the_same_settings_is_refused(tmp_path):
    """Kind is part of the identity."""
    finished(tmp_path / "a")
    with pytest.raises(InputError, match="differs in kind"):
        begin(str(tmp_path / "a"), "other", SETTINGS, {})


def test_a_directory_that_holds_something_else_is_refused_and_left_alone(tmp_path):
    """Nobody's thesis is written over; even a directory called `unfinished` is somebody's."""
    for name, held in (("files", "thesis.txt"), ("folder", "unfinished/mine.txt")):
        (tmp_path / name / held).parent.mkdir(parents=True)
        (tmp_path / name / held).write_text("mine")
        before = snapshot(tmp_path / name)
        with pytest.raises(InputError, match=rf"(?s)holds something else.*{held.split('/')[0]}.*remedy"):
            begin(str(tmp_path / name), "thing", SETTINGS, {})
        assert snapshot(tmp_path / name) == before


def test_an_output_that_is_a_file_or_lies_below_one_is_refused(tmp_path):
    """A directory is needed."""
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match=r"(?s)holds something else.*a file called file"):
        begin(str(tmp_path / "file"), "thing", SETTINGS, {})
    with pytest.raises(InputError, match=r"(?s)may not be written.*a directory"):
        begin(str(tmp_path / "file" / "below"), "thing", SETTINGS, {})
    assert (tmp_path / "file").read_text() == "mine"


def test_an_empty_directory_may_be_claimed(tmp_path):
    """A user may make the output directory beforehand."""
    (tmp_path / "a").mkdir()
    assert finished(tmp_path / "a").manifest.facts == {"count": 1}


def test_a_plan_under_which_nothing_was_done_gives_way(tmp_path):
    """A job that refused its input leaves a plan; the mended command need not delete it."""
    for name in (None, "part"):
        assert isinstance(begin(str(tmp_path / "a"), "thing", {"seed": 0}, {}, name), Writer)
        finished(tmp_path / "a", {"seed": 1}, name=name)
        assert open_artifact(str(tmp_path / "a"), name=name).manifest.settings == {"seed": 1}


def test_an_unfinished_artifact_goes_on_with_the_units_that_were_finished(tmp_path):
    """Facts of every finished unit come back, and shards written before are still there."""

    def claimed():
        writer = begin(str(tmp_path / "a"), "thing", SETTINGS, {})
        return writer, writer.array("numbers", (4, 2), "float32", 2)

    writer, array = claimed()
    array.write_shard(0, np.ones((2, 2), np.float32))
    writer.finish_unit("shard_0", {"rows": 2})
    writer, array = claimed()
    assert writer.finished_units() == {"shard_0": {"rows": 2}}
    array.write_shard(2, np.full((2, 2), 5, np.float32))
    reader = writer.finish({})
    np.testing.assert_array_equal(reader.array("numbers").read(0, 4), [[1, 1], [1, 1], [5, 5], [5, 5]])


@pytest.mark.parametrize("name", [None, "one"])
def test_what_a_process_left_that_died_while_it_tidied_up_is_cleared(tmp_path, name):
    """Law: beside a finished artifact no trace of its making stays; what is no trace of it is somebody's."""
    place = tmp_path / (f"{name}.unfinished" if name else "unfinished")
    begin(str(tmp_path), "thing", SETTINGS, {}, name=name).finish({})
    (place / "scratch").mkdir(parents=True)
    (place / "scratch" / "part.npy").touch()
    assert isinstance(begin(str(tmp_path), "thing", SETTINGS, {}, name=name), Reader) and not place.exists()
    place.mkdir()
    (place / "mine.txt").touch()
    assert isinstance(begin(str(tmp_path), "thing", SETTINGS, {}, name=name), Reader) and (place / "mine.txt").exists()


def test_what_a_killed_process_was_writing_spoils_nothing(tmp_path):
    """Half-written files, longer or shorter than the whole ones, of shards, units, plan and manifest."""
    place = tmp_path / "a"
    (place / "unfinished").mkdir(parents=True)
    (place / "unfinished" / "plan.json.__lock").write_bytes(b"{" * 9999)
    writer = begin(str(place), "thing", SETTINGS, {})
    writer.array("numbers", (2, 2), "float32", 2)
    (place / "numbers" / "c" / "0").mkdir(parents=True)
    (place / "unfinished" / "units").mkdir()
    for left in ("numbers/c/0/0", "unfinished/units/shard_0.json", "unfinished/units/shard_1.json", "manifest.json"):
        (place / f"{left}.__lock").write_bytes(b"junk" * 9999)
    writer = begin(str(place), "thing", SETTINGS, {})
    assert writer.finished_units() == {}
    writer.array("numbers", (2, 2), "float32", 2).write_shard(0, np.ones((2, 2), np.float32))
    writer.finish_unit("shard_0", {"rows": 2})
    assert writer.finished_units() == {"shard_0": {"rows": 2}}
    writer.finish({})
    assert set(snapshot(place)) == {"manifest.json", "numbers.digests", "numbers/zarr.json", "numbers/c/0/0"}
    np.testing.assert_array_equal(open_artifact(str(place)).array("numbers").read(0, 2), np.ones((2, 2)))


def test_artifacts_that_are_files_lie_side_by_side(tmp_path):
    """Each `NAME.*` is its own: made, kept, refused and half-finished without regard to its neighbours."""
    finished(tmp_path, name="bm25", text="short")
    finished(tmp_path, name="bm25_prompt", text="long")
    (tmp_path / "notes.txt").write_text("mine")
    assert isinstance(begin(str(tmp_path), "thing", SETTINGS, {}, "bm25"), Reader)
    assert open_artifact(str(tmp_path), "thing", "bm25_prompt").read_json("bm25_prompt.json") == "long"
    assert set(open_artifact(str(tmp_path), name="bm25").manifest.files) == {"bm25.json"}
    with pytest.raises(InputError, match=r"bm25 holds something else[\s\S]*settings.seed"):
        begin(str(tmp_path), "thing", {"seed": 5, "kind": "x"}, {}, "bm25")
    assert isinstance(begin(str(tmp_path), "thing", SETTINGS, {}, "third"), Writer)
    with pytest.raises(InputError, match=r"(?s)third.*an unfinished artifact"):
        open_artifact(str(tmp_path), name="third")
    (tmp_path / "other.jsonl").write_text("mine")
    with pytest.raises(InputError, match=r"(?s)holds something else.*other\.jsonl"):
        begin(str(tmp_path), "thing", SETTINGS, {}, "other")


def test_a_file_that_vanishes_under_an_open_reader_is_named(tmp_path):
    """Whoever opened it before is told as well."""
    reader = finished(tmp_path / "a")
    (tmp_path / "a" / "value.json").unlink()
    with pytest.raises(InputError, match=r"value\.json of the thing artifact is damaged"):
        reader.read_json("value.json")
    with pytest.raises(InputError, match=r"absent\.jsonl of the thing artifact is damaged"):
        list(reader.read_lines("absent.jsonl"))


def test_lines_are_json_and_hold_no_nan(tmp_path):
    """Every line is what another reader of JSON takes."""
    writer = begin(str(tmp_path / "a"), "thing", SETTINGS, {})
    assert writer.write_lines("rows.jsonl", [{"text": "é\u2028\n"}, 2]) == 2
    lines = (tmp_path / "a" / "rows.jsonl").read_bytes().split(b"\n")
    assert [json.loads(line) for line in lines[:-1]] == [{"text": "é\u2028\n"}, 2] and lines[-1] == b""
    with pytest.raises(ValueError, match="JSON"):
        writer.write_lines("rows.jsonl", [float("nan")])


@pytest.mark.parametrize("place", [".", "../beside", "deeper/../made", ""])
def test_a_place_may_be_given_relative_to_where_one_stands(tmp_path, monkeypatch, place):
    """Law: `.` and `..` in an output are the shell's, and none of the store's business."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    reader = finished(place or ".", name="named" if place in ("", ".") else None)
    array = begin(f"{place or '.'}/array", "thing", SETTINGS, {})
    array.array("numbers", (2, 2), "float32", 2).write_shard(0, np.ones((2, 2), np.float32))
    assert array.finish({}).array("numbers").read(0, 2).sum() == 4
    again = open_artifact(place or ".", "thing", name="named" if place in ("", ".") else None)
    assert again.manifest.digest == reader.manifest.digest
