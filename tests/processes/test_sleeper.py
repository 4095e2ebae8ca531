"""A job that sleeps, loses its output to another machine's job and wakes up, writes nothing more."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import transformers

from tests import missing
from tests.data.tiny_tokenizers import byte_level
from tests.house import tree
from tests.jobs import tiny_road
from tests.models.importers import tiny

# Which write the job falls asleep before: of the first, of one in the midst, and of one near the end.
CASES = {
    "train_vocabulary": (1, 2),
    "pretrain": (2, 6, 14),
    "encode": (2, 9),
    "estimate_second_moments": (1, 3),
    "import_checkpoint": (1, 4),
}
DAILY = [("train_vocabulary", 2)]


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    """A corpus, a checkpoint, and a foreign model."""
    place = tmp_path_factory.mktemp("road")
    tiny_road.trained(place, tiny_road.tokenized(place, "corpus", tiny_road.passages(40)))
    made = tiny.model("llama grouped tied biased", vocab_size=340)
    made.save_pretrained(place / "foreign")
    transformers.PreTrainedTokenizerFast(tokenizer_object=byte_level(), eos_token="<end>").save_pretrained(
        place / "foreign"
    )
    return place


def settings(job: str, road: Path) -> dict[str, object]:
    corpus, checkpoint = str(road / "corpus"), str(road / "checkpoint_0")
    return {
        "train_vocabulary": {"kind": "bytes"},
        "pretrain": {"corpus": corpus, "steps": 6, "tokens_per_batch": 64, "buckets": 1, "save_every": 2},
        "encode": {"examples": corpus, "checkpoint": checkpoint, "projected_size": 2, "shard_rows": 8, "buckets": 1},
        "estimate_second_moments": {
            "examples": corpus, "checkpoint": checkpoint, "batches": 4, "batch_size": 4, "buckets": 1
        },
        "import_checkpoint": {"model": str(road / "foreign")},
    }[job]  # fmt: skip


def start(job: str, road: Path, output: Path, machine: str, write: int) -> subprocess.Popen:
    given = [f"--gin_bindings={job}.{name} = {value!r}" for name, value in settings(job, road).items()]
    given += ["--gin_bindings=decoder.width = 8", "--gin_bindings=decoder.layers = 1"] * (job == "pretrain")
    command = [sys.executable, "-m", "tests.processes.sleeper", machine, str(write), job, f"--output_dir={output}"]
    cache = {"JAX_COMPILATION_CACHE_DIR": str(road / "compiled"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    return subprocess.Popen(
        [*command, *given], cwd=tree.ROOT, env=os.environ | cache, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip


def sleeps(process: subprocess.Popen) -> bool:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def contents(output: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(output.rglob("*"))}


@pytest.mark.parametrize(
    ("job", "write"),
    [
        pytest.param(job, write, marks=[] if (job, write) in DAILY else pytest.mark.nightly)
        for job, writes in CASES.items()
        for write in writes
    ],
)
def test_a_job_that_wakes_up_after_its_output_was_taken_changes_no_byte_of_it(job, write, road, tmp_path):
    """Law: it ends with code 2 and a message in four parts, and the successor's folder is what it was."""
    missing.demand(Path("/proc/self/stat").exists(), "no /proc, where the state of a process is read")
    output = tmp_path / "out"
    first = start(job, road, output, "one", write)
    try:
        while not sleeps(first):
            assert first.poll() is None, f"ended before write {write}: {first.communicate()[0]}"
            time.sleep(0.02)
        second = start(job, road, output, "another", 0)
        said, _ = second.communicate(timeout=300)
        assert second.returncode == 0, said
        made = contents(output)
        assert any(name.endswith("manifest.json") for name in made)
        first.send_signal(signal.SIGCONT)
        said, _ = first.communicate(timeout=300)
    finally:
        first.kill()
    assert first.returncode == 2 and "Traceback" not in said, said
    assert "was lost" in said and "remedy" in said and "expected" in said, said
    assert contents(output) == made
