"""What befalls the fault drill's disks and files: each must be refused or mended with a clear message, nothing lost."""

import itertools
import shutil
import signal
import subprocess
from pathlib import Path

import drill_road


def all_of(drill) -> dict[str, str]:
    """Each fault by name, with what became of it; what begins with LOST must not be."""
    return {
        "full disk": _full_disk(drill),
        "output that may not be written": _said(
            _ended(drill, "encode", Path("/sys/fault_drill")), "may not be written"
        ),
        "damaged shard": _damaged(drill, lambda path: path.write_bytes(_flipped(path.read_bytes()))),
        "shortened shard": _damaged(drill, lambda path: path.write_bytes(path.read_bytes()[:-7])),
        "deleted shard": _damaged(drill, lambda path: path.unlink()),
        "shard deleted under an unfinished run": _gone(drill),
        "two jobs on one output": _two(drill),
    }


def _ended(drill, job: str, output: Path, place: Path | None = None) -> subprocess.CompletedProcess:
    """The job in one process."""
    command = drill_road.command(job, place or drill.place, output)
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _said(ended: subprocess.CompletedProcess, *words: str) -> str:
    said = ended.stderr.strip()
    if ended.returncode != 2 or not all(word in said for word in (*words, "remedy")):
        return f"LOST: ended with {ended.returncode}: {said[-1000:]}"
    lines = said.splitlines()
    return "refused: " + next(what for what, got in itertools.pairwise(lines) if got.strip().startswith("got:"))


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def _stopped(drill, output: Path) -> None:
    """An unfinished encode, killed after a part of its shards."""
    (process,) = drill.start("encode", output, 1)
    while drill_road.progress("encode", output) < 5 and process.poll() is None:
        pass
    process.kill()
    process.wait()


def _went_on(drill, output: Path) -> str:
    ended = _ended(drill, "encode", output)
    if ended.returncode:
        return f"LOST: ended with {ended.returncode}: {ended.stderr[-1000:]}"
    # The undisturbed run of the same devices.
    return drill_road.difference("encode", output, drill.whole("encode", drill.counts[0]), False)


def _full_disk(drill) -> str:
    output = drill.place / "full"
    _stopped(drill, output)
    # The device that is always full stands in for the disk.
    (output / "ids.jsonl").symlink_to("/dev/full")
    refused = _said(_ended(drill, "encode", output), "no space left")
    (output / "ids.jsonl").unlink()
    wrong = _went_on(drill, output)
    return f"LOST: {wrong}" if wrong else refused + "; with space it went on to the same store"


def _damaged(drill, damage) -> str:
    """A job that reads a store with one bad shard."""
    place = drill.place / "damaged"
    shutil.copytree(drill.place, place, ignore=lambda *_: ["damaged", "compiled", *_rounds(drill)], symlinks=True)
    shards = sorted(path for path in (place / "train/encodings/c").rglob("*") if path.is_file())
    damage(shards[len(shards) // 2])
    found = _said(_ended(drill, "estimate_curvature", place / "out", place), "damaged", str(place / "train"))
    shutil.rmtree(place)
    return found


def _rounds(drill) -> list[str]:
    return [path.name for path in drill.place.iterdir() if path.name.startswith(("round_", "whole_"))]


def _gone(drill) -> str:
    """A shard that was recorded as finished and is gone when the run goes on."""
    output = drill.place / "gone"
    _stopped(drill, output)
    first = next(path for path in sorted((output / "encodings/c").rglob("*")) if path.is_file())
    first.unlink()
    ended = _ended(drill, "encode", output)
    if ended.returncode == 0:
        wrong = drill_road.difference("encode", output, drill.whole("encode", drill.counts[0]), False)
        return f"LOST: {wrong}" if wrong else "mended: written again"
    return _said(ended, "missing")


def _two(drill) -> str:
    """A second job on an output that a first is writing."""
    output = drill.place / "two"
    (first,) = drill.start("encode", output, 1)
    while drill_road.progress("encode", output) < 1 and first.poll() is None:
        pass
    # It must not be through before the second looks.
    first.send_signal(signal.SIGSTOP)
    second = _ended(drill, "encode", output)
    first.send_signal(signal.SIGCONT)
    first.wait()
    wrong = drill_road.difference("encode", output, drill.whole("encode", drill.counts[0]), False)
    if first.returncode or wrong:
        return f"LOST: the first ended with {first.returncode}; {wrong}"
    return _said(second, "another job") + "; the first went on to the same store"
