"""Stops and kills every job at random moments, lets it go on, and compares what it makes byte by byte.

    python benchmarks/kill_drill.py --kills 50 [--seed 0] [--jobs encode,…] [--signals SIGTERM] [--cold] [--json]

Each job runs once undisturbed. Then one job after the other is started, and sent a signal at a moment drawn from the
whole length of its undisturbed run; the next time it is started on the same output. What it has made when it ends by
itself, or at last when nothing disturbs it, is compared with the undisturbed output. A stopped job must end with code
75 (or 0, if it was through) within 15 seconds. `--cold` compiles every program anew in every run.

Equal byte by byte are all files but for those that hold a clock or name their own process (`_TIMED`): of a checkpoint's
state every number is compared instead, of manifests and reports all but seconds, versions and paths of the run.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import drill_jobs  # noqa: E402

LIMIT, PATIENCE = 15.0, 900.0
# Orbax's own files of a state, whose names and metadata hold a clock, and TensorBoard's events.
_TIMED = re.compile(r"(^|/)(state/.*|scalars/.*|.*tfevents.*)$")
# Fields that tell of the day and of the run.
# A report holds seconds, so that its own digest among a manifest's files tells of the day too.
_DAY = {"run", "checksum", "digest", "seconds", "report.json"}


class Drill:
    """Undisturbed outputs, the outputs in the making, and what was seen."""

    def __init__(self, place: Path, seed: int, signals: list[str], cold: bool):
        self.place, self.signals, self.cold = place, signals, cold
        self.random = np.random.default_rng(seed)
        self.took: dict[str, float] = {}
        self.kills: list[dict[str, object]] = []
        self.faults: list[str] = []
        self.compared = 0

    def start(self, job: str, output: Path) -> subprocess.Popen:
        """The job, which says what it has to say into a file."""
        cache = {} if self.cold else {"JAX_COMPILATION_CACHE_DIR": str(self.place / "compiled")}
        with self.said(output).open("w") as said:
            return subprocess.Popen(
                drill_jobs.command(job, self.place, output), cwd=ROOT, env=os.environ | cache, stdout=said, stderr=said
            )

    def said(self, output: Path) -> Path:
        return self.place / f"said_{output.name}.txt"

    def whole(self, job: str) -> Path:
        """What the job makes when nothing befalls it."""
        output = self.place / "whole" / job.replace(" ", "_")
        started = time.monotonic()
        if code := self.start(job, output).wait():
            raise RuntimeError(f"{job} ended with {code}: {self.said(output).read_text()[-3000:]}")
        self.took[job] = time.monotonic() - started
        return output

    def disturb(self, job: str, number: int, output: Path) -> bool:
        """One signal at a random moment; whether the job was through before."""
        kind, moment = str(self.random.choice(self.signals)), float(self.random.uniform(0, self.took[job]))
        process = self.start(job, output)
        started = time.monotonic()
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            pass
        else:
            # What was compiled for one run is there for the next, which has fewer moments.
            self.took[job] = min(self.took[job], time.monotonic() - started)
            self.judge_end(job, process.returncode, output)
            return True
        listened = _listens(process.pid)
        process.send_signal(getattr(signal, kind))
        sent = time.monotonic()
        try:
            code = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        after, said = time.monotonic() - sent, self.said(output).read_text()
        seen = {"job": job, "signal": kind, "at": round(moment, 1), "of": round(self.took[job], 1), "code": code}
        self.kills.append(seen | {"seconds": round(after, 1)})
        print(f"{number}: " + ", ".join(f"{name} {value}" for name, value in self.kills[-1].items()), flush=True)
        if kind == "SIGTERM" and (code not in ({75, 0} if listened else {75, 0, -15}) or after > LIMIT):
            self.faults.append(
                f"{job}: SIGTERM after {moment:.1f} s ended with {code} in {after:.1f} s: {said[-3000:]}"
            )
        elif "Traceback" in said:
            self.faults.append(f"{job}: {said[-3000:]}")
        return code == 0

    def judge_end(self, job: str, code: int, output: Path) -> None:
        """Compares an output that nothing disturbs any more."""
        self.compared += 1
        wrong = f"ended with {code}: {self.said(output).read_text()[-2000:]}" if code else ""
        wrong = wrong or difference(output, self.place / "whole" / job)
        if wrong:
            self.faults.append(f"{job}, {output.name}: {wrong}")
            print(self.faults[-1], flush=True)

    def run(self, jobs: list[str], kills: int) -> None:
        """All kills, job by job in turn, and the end of what they left."""
        begun: dict[str, int] = dict.fromkeys(jobs, 0)
        while len(self.kills) < kills:
            job = jobs[len(self.kills) % len(jobs)]
            output = self.place / f"{job}_{begun[job]}"
            if self.disturb(job, len(self.kills), output):
                begun[job] += 1
        for job in jobs:
            output = self.place / f"{job}_{begun[job]}"
            if self.said(output).exists():
                self.judge_end(job, self.start(job, output).wait(), output)


def _listens(process: int) -> bool:
    """Whether SIGTERM would not end it by itself: before Python runs, nobody can listen."""
    try:
        caught = Path(f"/proc/{process}/status").read_text().partition("SigCgt:")[2].split()[0]
    except (OSError, IndexError):
        return True
    return bool(int(caught, 16) & 1 << (signal.SIGTERM - 1))


def difference(found: Path, expected: Path) -> str:
    """What is not as in the undisturbed output; empty where nothing is."""
    one, other = ({str(path.relative_to(base)) for path in base.rglob("*")} for base in (found, expected))
    if extra := {name for name in one ^ other if not _TIMED.search(name)}:
        return f"files of one of them alone: {sorted(extra)[:5]}"
    for name in sorted(one & other):
        mine, theirs = found / name, expected / name
        if mine.is_dir() or _TIMED.search(name):
            continue
        if mine.read_bytes() != theirs.read_bytes() and (_day(mine) is None or _day(mine) != _day(theirs)):
            return f"{name} differs"
    states = [path.parent / "state" for path in expected.rglob("manifest.json") if (path.parent / "state").is_dir()]
    for state in states:
        if not _same_numbers(found / state.relative_to(expected), state):
            return f"{state.relative_to(expected)} holds other numbers"
    return ""


def _day(path: Path) -> object:
    """A manifest or report without what tells of the day, and of files that do; None of another file."""
    if not path.name.endswith(("manifest.json", "report.json")):
        return None

    def without(value: object) -> object:
        if isinstance(value, dict):
            kept = {name: part for name, part in value.items() if name not in _DAY and not _TIMED.search(name)}
            return {name: without(part) for name, part in kept.items()}
        return value

    return without(json.loads(path.read_text()))


def _same_numbers(found: Path, expected: Path) -> bool:
    import jax

    from jax_tda.models import checkpoints

    one, other = (jax.tree.leaves_with_path(checkpoints.restore_untyped(str(path))) for path in (found, expected))
    return [path for path, _ in one] == [path for path, _ in other] and all(
        np.asarray(mine).tobytes() == np.asarray(theirs).tobytes()
        for (_, mine), (_, theirs) in zip(one, other, strict=True)
    )


def main() -> int:
    """Drills."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", default=",".join(drill_jobs.DRILLED), help="which jobs, in turn")
    parser.add_argument("--signals", default="SIGKILL,SIGTERM")
    parser.add_argument("--cold", action="store_true", help="keeps no compiled programs")
    parser.add_argument("--directory", default=None, help="where the outputs lie; the system's temporary one if none")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    started, jobs = time.monotonic(), given.jobs.split(",")
    with tempfile.TemporaryDirectory(dir=given.directory) as folder:
        place = Path(folder)
        (place / "whole").mkdir()
        os.environ |= {"JAX_PLATFORMS": "cpu", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        os.environ["PYTHONFAULTHANDLER"] = "1"
        os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        drill = Drill(place, given.seed, given.signals.split(","), given.cold)
        drill_jobs.make(place)
        for name in _needed(jobs):
            drill.whole(name)
            print(f"{name}: undisturbed in {drill.took[name]:.1f} s", flush=True)
        drill.run(jobs, given.kills)
    stops = [kill["seconds"] for kill in drill.kills if kill["signal"] == "SIGTERM" and kill["code"] == 75]
    summary = {
        "kills": len(drill.kills),
        "seed": given.seed,
        "stops_with_code_75": len(stops),
        "longest_stop_seconds": max(stops, default=0.0),
        "codes": dict(Counter(str(kill["code"]) for kill in drill.kills)),
        "outputs_compared": drill.compared,
        "faults": drill.faults,
        "minutes": round((time.monotonic() - started) / 60, 1),
    }
    print(json.dumps(summary) if given.json else "\n".join(f"{name}: {value}" for name, value in summary.items()))
    return 1 if drill.faults else 0


def _needed(jobs: list[str]) -> list[str]:
    """These jobs and all whose outputs they read, in order."""
    needed = set(jobs)
    for name in reversed(drill_jobs.SETTINGS):
        if name in needed:
            read = str(drill_jobs.SETTINGS[name])
            needed |= {other for other in drill_jobs.SETTINGS if f"{{{other}}}" in read}
    return [name for name in drill_jobs.SETTINGS if name in needed]


if __name__ == "__main__":
    sys.exit(main())
