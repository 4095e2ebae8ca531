"""A pipeline in one process, killed and stopped at random moments, ends as one that nobody touched."""

import json
import random
import shutil
import signal
import subprocess
import time

import pytest

# What is there before the encodings: a checkpoint's container has bytes of its own each time.
KEPT = ("vocabulary", "corpus", "queries", "checkpoint", "answers")
STEPS = 25


def broken_off(road, out, signal_number: int, steps: int, generator: random.Random) -> tuple[int, int]:
    """Exit code, and after how many announced steps; signalled at a random moment of a random step."""
    last = generator.randrange(1, steps)
    running = subprocess.Popen(**road.popen(out=out), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for _ in range(last):
        line = "begun"
        while line and not line.startswith("── "):
            line = running.stdout.readline()
    time.sleep(generator.random())
    running.send_signal(signal_number)
    errors, _ = running.communicate(timeout=300)
    assert running.returncode in (-signal.SIGKILL, 75, 0), errors[-3000:]
    return running.returncode, last


def files(out) -> dict[str, object]:
    """Every file but a checkpoint's, as bytes; manifests without how long it took, and where."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = str(path.relative_to(out))
        if not path.is_file() or name.startswith(("checkpoint/", "page/")):
            continue
        found[name] = path.read_bytes()
        if name.endswith("manifest.json"):
            content = json.loads(found[name])["content"]
            found[name] = {part: content[part] for part in ("settings", "inputs", "facts")}
        if name in ("report.json", "report.manifest.json"):
            found[name] = None
        if name == "report.json":
            found[name] = {part: value for part, value in json.loads(path.read_bytes()).items() if part != "seconds"}
    return found


def test_a_pipeline_that_was_killed_and_stopped_goes_on_to_the_same_bytes(gone, tmp_path):
    """Law: kill -9, then SIGTERM, which ends with 75, each at a random moment; the same command then makes the same."""
    seed = time.time_ns()
    generator, out = random.Random(seed), tmp_path / "out"
    for name in KEPT:
        shutil.copytree(gone.out / name, out / name)
    killed, _ = broken_off(gone, out, signal.SIGKILL, STEPS, generator)
    stopped, _ = broken_off(gone, out, signal.SIGTERM, STEPS, generator)
    assert (killed, stopped) in [(-9, 75), (-9, 0), (0, 0)], seed
    ended = gone.command(out=out)
    assert ended.returncode == 0, (seed, ended.stderr[-3000:])
    assert files(out) == files(gone.out), seed


@pytest.mark.nightly
def test_ten_kills_of_the_whole_pipeline_change_no_number(gone, tmp_path):
    """Law: from nothing, kill -9 at ten random moments; then every array, ranking and figure is the untouched one's."""
    seed = time.time_ns()
    generator, out = random.Random(seed), tmp_path / "out"
    kills = [broken_off(gone, out, signal.SIGKILL, STEPS, generator) for _ in range(10)]
    print("kills after so many steps were announced:", kills)
    ended = gone.command(out=out)
    assert ended.returncode == 0, (seed, ended.stderr[-3000:])
    ours, theirs = files(out), files(gone.out)
    assert set(ours) == set(theirs), seed
    # The digest of a checkpoint differs with its container's bytes, and with it those of all that is made from it.
    assert {n: v for n, v in ours.items() if "manifest" not in n} == {
        n: v for n, v in theirs.items() if "manifest" not in n
    }, seed
    assert sum(code == -signal.SIGKILL for code, _ in kills) >= 5


@pytest.mark.nightly
def test_a_process_for_every_step_makes_the_same_bytes(gone, tmp_path):
    """Law: what a step shares a process with changes no bit; from the same checkpoint every file is equal."""
    out = tmp_path / "out"
    for name in KEPT:
        shutil.copytree(gone.out / name, out / name)
    ended = gone.command("--isolated", out=out)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert files(out) == files(gone.out)
