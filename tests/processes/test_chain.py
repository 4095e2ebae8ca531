"""Several processes make what one makes, agree on what only one can know, and go on where they were cut off."""

import json
import signal
import sys

import numpy as np
import pytest

from jax_tda.artifacts.artifact import open_artifact
from jax_tda.artifacts.encodings import open_encodings
from jax_tda.core.mesh import MeshConfig
from jax_tda.models import checkpoint_artifact
from launch.local import processes as launcher
from tests.house import tree
from tests.processes import road as roads
from tests.processes import worker


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    """The road, and on it the chain as one process goes it."""
    place = roads.make(tmp_path_factory.mktemp("road"))
    worker.chain(place, place / "one", MeshConfig())
    return place


@pytest.fixture(scope="module")
def two(road):
    """What two processes of four devices made, asked and trained."""
    out = road / "two"
    ended = roads.launched(2, 4, *roads.command("questions,chain,pretrain", road, out))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return out


def test_two_processes_make_what_one_makes(road, two):
    """Law: encodings, R and rankings of 2 processes × 4 devices are those of 1 process, within docs/precision.md."""
    roads.expect_the_same_chain(two, road / "one")
    left = [path.name for path in two.rglob("*") if "unfinished" in path.name]
    assert left == []


def test_what_process_0_finds_out_reaches_every_process(two):
    """Law: a value, a long one, a refusal of its four parts and a fault are the same in all; none waits for another."""
    said = [json.loads((two / f"said_{index}.json").read_text()) for index in range(2)]
    assert [(one["count"], one["index"], one["devices"]) for one in said] == [(2, 0, 8), (2, 1, 8)]
    for name in ("agreed", "long", "refuse", "taken", "unknown"):
        assert said[0][name] == said[1][name], name
    assert said[0]["agreed"] == ["value", 0] and said[0]["long"] == 3_000_000
    assert said[0]["refuse"][0] == "InputError" and "remedy" in said[0]["refuse"][1] and said[0]["refuse"][2] is True
    assert "holds something else" in said[1]["taken"][1] and "rank_baseline.method" in said[1]["unknown"][1]
    assert said[0]["fail"][0] == "KeyError" and "KeyError" in said[1]["fail"][1]


def test_a_model_trained_by_two_processes_is_whole_and_that_of_one(road, two):
    """Law: its checkpoint opens in one process, and differs from one process's by rounding alone."""
    found = checkpoint_artifact.open_checkpoint(str(two / "checkpoint"))
    worker.pretrain(road, road / "one", MeshConfig())
    expected = checkpoint_artifact.open_checkpoint(str(road / "one" / "checkpoint"))
    assert found.reader.manifest.facts["step"] == 4
    for one, other in zip(*(worker.jax.tree.leaves(each.params()) for each in (found, expected)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


def encode_command(road, out):
    """The job encode, with the settings of the chain."""
    config = worker.encode_config(road, "corpus", MeshConfig())
    names = ("examples", "checkpoint", "projected_size", "shard_rows", "tokens_per_batch", "buckets")
    bindings = [f"--gin_bindings=encode.{name} = {getattr(config, name)!r}" for name in names]
    return [sys.executable, "-m", "jax_tda.jobs.encode", f"--output_dir={out}", *bindings]


def test_a_run_that_was_stopped_and_one_that_was_killed_end_at_the_same_bytes(road, two, monkeypatch):
    """Law: SIGTERM to one process ends all with code 75, a kill of one ends all; both go on to the same store."""
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(road / "compiled"))
    output = road / "stopped"
    units = output / "unfinished" / "units"

    def finished():
        return {path.name for path in units.glob("shard_*.json")} if units.exists() else set()

    def interrupted(sent, victim, after):
        running = launcher.start(encode_command(road, output), 2, 4, cwd=tree.ROOT, stderr=-1, stdout=-1, text=True)
        roads.wait_for(lambda: len(finished()) >= after, running[0])
        running[victim].send_signal(sent)
        said = [process.communicate(timeout=60)[1] for process in running]
        return [process.returncode for process in running], said

    codes, said = interrupted(signal.SIGTERM, 1, 1)
    stopped = finished()
    assert codes == [75, 75], said
    assert "the same command goes on" in said[0] and 0 < len(stopped) < 16
    with pytest.raises(Exception, match="unfinished"):
        open_encodings(str(output))
    codes, said = interrupted(signal.SIGKILL, 1, len(stopped) + 1)
    assert codes[1] == -signal.SIGKILL and codes[0] not in (0, 75), said
    assert stopped < finished()
    ended = roads.launched(2, 4, *encode_command(road, output))
    assert ended.returncode == 0, ended.stderr
    whole = open_artifact(str(two / "train")).manifest
    assert open_artifact(str(output)).manifest.digest == whole.digest
    for name in whole.files:
        assert (output / name).read_bytes() == (two / "train" / name).read_bytes(), name


@pytest.mark.nightly
@pytest.mark.parametrize(("data", "model"), [(8, 1), (4, 2), (2, 4)])
def test_four_processes_on_any_mesh_make_what_one_makes(road, data, model):
    """Law: also where a data group spans two processes, of four with two devices each."""
    out = road / f"four_{data}_{model}"
    ended = roads.launched(4, 2, *roads.command("chain", road, out, json.dumps({"data": data, "model": model})))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    roads.expect_the_same_chain(out, road / "one")
