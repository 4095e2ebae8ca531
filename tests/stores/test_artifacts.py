"""An artifact in an object store is claimed, filled, resumed, finished, read and found damaged as one on a disk is."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from jax_tda.artifacts import key_value, lease
from jax_tda.artifacts.artifact import Reader, begin, open_artifact
from jax_tda.core import files
from jax_tda.core.errors import InputError
from jax_tda.models import checkpoints
from jax_tda.pipeline import trackstar

ROOT = Path(__file__).parents[2]


def made(place: str) -> Reader:
    writer = begin(place, "thing", {"seed": 0}, {})
    array = writer.array("numbers", (6, 2), "float32", 2)
    for start in (0, 2, 4):
        array.write_shard(start, np.full((2, 2), start, np.float32))
    writer.write_json("value.json", {"é": 1})
    writer.write_lines("rows.jsonl", ({"id": f"row {row}"} for row in range(3)))
    return writer.finish({"count": 6})


def test_an_artifact_is_read_as_it_was_written(place):
    """Files, lines, arrays; listed with their sizes; nothing of the work in between is left."""
    made(place)
    reader = open_artifact(place, "thing")
    np.testing.assert_array_equal(reader.array("numbers").read(0, 6)[:, 0], [0, 0, 2, 2, 4, 4])
    assert reader.read_json("value.json") == {"é": 1}
    assert list(reader.read_lines("rows.jsonl")) == list(reader.lines("rows.jsonl"))
    assert reader.lines("rows.jsonl")[2] == {"id": "row 2"}
    shards = {f"numbers/c/{shard}/0" for shard in range(3)}
    assert set(files.sizes(place)) == {
        "manifest.json",
        "value.json",
        "rows.jsonl",
        "numbers.digests",
        "numbers/zarr.json",
        *shards,
    }
    assert isinstance(begin(place, "thing", {"seed": 0}, {}), Reader)
    with pytest.raises(InputError, match=r"differs in settings\.seed"):
        begin(place, "thing", {"seed": 1}, {})


def test_an_unfinished_artifact_goes_on_with_what_was_finished(place):
    """Units and shards are there for the next claim, and the first claim may write no more."""
    first = begin(place, "thing", {}, {})
    array = first.array("numbers", (4, 1), "float32", 2)
    array.write_shard(0, np.ones((2, 1), np.float32))
    for unit in range(40):
        first.finish_unit(f"unit_{unit}", {"rows": unit})
    second = begin(place, "thing", {}, {})
    assert second.finished_units() == {f"unit_{unit}": {"rows": unit} for unit in range(40)}
    second.array("numbers", (4, 1), "float32", 2).write_shard(2, np.full((2, 1), 3, np.float32))
    np.testing.assert_array_equal(second.finish({}).array("numbers").read(0, 4)[:, 0], [1, 1, 3, 3])


def test_artifacts_that_are_files_lie_side_by_side(place):
    """`NAME.*` in one prefix; a name that another begins with is another's."""
    for name in ("bm25", "bm25_prompt"):
        writer = begin(place, "thing", {}, {}, name)
        writer.write_lines(f"{name}.jsonl", [name])
        writer.finish({})
    assert list(open_artifact(place, name="bm25").read_lines("bm25.jsonl")) == ["bm25"]
    assert files.names(place) == ["bm25.jsonl", "bm25.manifest.json", "bm25_prompt.jsonl", "bm25_prompt.manifest.json"]


@pytest.mark.parametrize("name", ["numbers/c/1/0", "value.json"])
def test_an_object_that_is_cut_short_or_gone_is_named(place, name):
    """By the listing with which the artifact is opened."""
    made(f"{place}/{name}")
    whole = files.read(f"{place}/{name}/{name}")
    files.write(f"{place}/{name}/{name}", whole[:-1])
    with pytest.raises(InputError, match=rf"(?s){name} of the thing artifact is damaged.*{len(whole) - 1} bytes"):
        open_artifact(f"{place}/{name}")
    files.delete(f"{place}/{name}/{name}")
    with pytest.raises(InputError, match=rf"(?s){name} of the thing artifact is damaged.*no file"):
        open_artifact(f"{place}/{name}")


def test_a_living_lease_of_another_machine_is_refused(place):
    """As on a disk; the object is left as it was, and nothing else is made."""
    owner = {
        "token": "t",
        "host": "elsewhere",
        "machine": "m",
        "process": 7,
        "started": "1",
        "taken": 0,
        "expires": 1e12,
    }
    key_value.open_store(f"{place}/unfinished").write(lease.NAME, json.dumps(owner).encode()).result()
    with pytest.raises(InputError, match="process 7 on elsewhere"):
        begin(place, "thing", {}, {})
    assert json.loads(files.read(f"{place}/unfinished/lease.json")) == owner
    assert set(files.sizes(place)) == {"unfinished/lease.json"}


def test_a_checkpoint_is_complete_when_its_commit_file_is_there(place):
    """Saved, restored bit for bit; without the file it is no checkpoint; a new step replaces the one before."""
    state = {"params": {"kernel": jax.numpy.arange(12.0).reshape(3, 4)}, "step": jax.numpy.int32(3)}
    checkpoints.save_step(place, 3, state)
    checkpoints.save_step(place, 4, state)
    step, path = checkpoints.latest_step(place)
    assert step == 4 and files.names(place) == ["step_000000004"]
    for got, expected in zip(*map(jax.tree.leaves, (checkpoints.restore(path, state), state)), strict=True):
        np.testing.assert_array_equal(got, expected)
    files.delete(f"{path}/commit_success.txt")
    assert checkpoints.latest_step(place) is None


def test_a_folder_is_copied_for_what_reads_no_object_store(place):
    """A model's folder, and one file of it; the copies are gone afterwards."""
    for name in ("config.json", "deep/model.bin"):
        files.write(f"{place}/model/{name}", name.encode())
    with files.local(f"{place}/model") as folder, files.local(f"{place}/model/config.json") as file:
        assert Path(folder, "deep/model.bin").read_bytes() == b"deep/model.bin"
        assert Path(file).read_bytes() == b"config.json"
    assert not Path(folder).exists() and not Path(file).exists()


def test_the_pipeline_sees_an_imported_checkpoint_wherever_it_lies(place):
    """decoder.json without optimizer.json."""
    files.write(f"{place}/decoder.json", b"{}")
    assert trackstar.is_imported(place)
    files.write(f"{place}/optimizer.json", b"{}")
    assert not trackstar.is_imported(place)


def test_a_bucket_that_is_not_there_is_said_at_the_claim(store):
    """Before anything is computed, with what to look at."""
    place = f"{store.partition('://')[0]}://no-such-bucket/x"
    with pytest.raises(InputError, match=r"(?s)no-such-bucket/x.*a bucket that exists.*remedy.*bucket's name"):
        begin(place, "thing", {}, {})
