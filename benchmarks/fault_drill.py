"""Kills and stops jobs of several processes at random, lets them go on, and compares what they make in the end.

    python benchmarks/fault_drill.py --rounds 30 [--seed 0] [--counts 1,2,3] [--jobs encode,…] [--no_damage] [--json]

A round is one job (encode, estimate_curvature or score) in one, two or three processes of two CPU devices each. Up to
three times a random process is sent SIGKILL or SIGTERM, at a random amount of finished work or while the processes
still start; then the same command is given again, sometimes to another number of processes, and in the end undisturbed.
What it made is compared with what the job makes when nothing befalls it: ids equal, none twice or missing; values equal
bit for bit where the number of processes never changed, otherwise within docs/precision.md. Of a stopped run every
process must end with code 75; of a killed one none may outlive the victim by more than 15 seconds; encode may have at
most one shard per stream in flight. While processes still start, the launcher ends those that are left.

Each round prints a line. Once, the drill also fills the disk, gives an output that may not be written, damages,
shortens and deletes shards, and starts two jobs on one output. At the end it prints a summary, with --json as one JSON
line, and ends with code 1 if anything was lost.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import drill_damage  # noqa: E402
import drill_road  # noqa: E402

from launch.local import processes as launcher  # noqa: E402

DEVICES, OUTLIVES, PATIENCE = 2, 15.0, 300.0


class Drill:
    """The road, what undisturbed runs made of it, and the counts."""

    def __init__(self, place: Path, seed: int, counts: list[int]):
        self.place, self.counts, self.random = place, counts, np.random.default_rng(seed)
        self.sent, self.longest, self.faults = Counter(), 0.0, list[str]()

    def start(self, job: str, output: Path, count: int) -> list:
        """The job's processes, which say what they have to say into files."""
        with (self.place / "said.txt").open("a") as said:
            command = drill_road.command(job, self.place, output)
            return launcher.start(command, count, DEVICES, cwd=ROOT, stdout=said, stderr=said)

    def whole(self, job: str, count: int) -> Path:
        """What the job makes when nothing befalls it."""
        output = self.place / f"whole_{job}_{count}"
        if not output.exists() and (code := launcher.finish(self.start(job, output, count))):
            raise RuntimeError(f"{job} in {count} processes ended with {code}: {self.said()}")
        return output

    def said(self) -> str:
        """The end of what was said."""
        return (self.place / "said.txt").read_text()[-3000:]

    def round(self, number: int, job: str) -> str:
        """One round, told in a line."""
        output, random = self.place / f"round_{number}", self.random
        count = int(random.choice(self.counts))
        ran, told = {count}, []
        for _ in range(int(random.integers(1, 4))):
            kind, victim = random.choice(["SIGKILL", "SIGTERM"]), int(random.integers(count))
            told.append(self.interrupt(job, output, count, str(kind), victim))
            if (output / ("trackstar.manifest.json" if job == "score" else "manifest.json")).exists():
                break
            if random.random() < 0.4:
                count = int(random.choice(self.counts))
            ran.add(count)
        code = launcher.finish(self.start(job, output, count))
        wrong = f"ended with {code}: {self.said()}" if code else ""
        equal = len(ran) == 1
        expected = self.whole(job, count if equal else self.counts[0])
        wrong = wrong or drill_road.difference(job, output, expected, equal)
        if wrong:
            self.faults.append(f"round {number}: {wrong}")
        judged = wrong or ("equal bit for bit" if equal else "equal within the tolerance")
        return f"round {number} {job}: {'; '.join(told)}; whole in {count}; {judged}"

    def interrupt(self, job: str, output: Path, count: int, kind: str, victim: int) -> str:
        """Sends a signal to one process at a random moment, and waits for the end of all."""
        before, all_steps = drill_road.progress(job, output), drill_road.steps(job)
        # One in six while the processes start.
        early = self.random.random() < 1 / 6
        wanted = before + int(self.random.integers(1, max(2, int(0.9 * (all_steps - before)))))
        until = time.monotonic() + (float(self.random.uniform(0, 6)) if early else PATIENCE)
        running = self.start(job, output, count)
        while running[victim].poll() is None and time.monotonic() < until:
            if not early and drill_road.progress(job, output) >= wanted:
                break
            time.sleep(0.002)
        late = running[victim].poll() is not None
        running[victim].send_signal(getattr(signal, kind))
        sent = time.monotonic()
        if early:  # Processes that wait for one which never came are the launcher's to end.
            launcher.finish(running)
        while any(process.poll() is None for process in running) and time.monotonic() < sent + PATIENCE:
            time.sleep(0.02)
        took, codes = time.monotonic() - sent, [process.poll() for process in running]
        for process in running:
            process.kill()
        if not late:
            self.sent[f"{job} {kind}"] += 1
            self.judge(job, output, kind, early, codes, took)
        moment = "too late" if late else "at the start" if early else f"after {wanted}/{all_steps}"
        return f"{kind} to {victim} of {count} {moment}, ended with {','.join(map(str, codes))}"

    def judge(self, job: str, output: Path, kind: str, early: bool, codes: list, took: float) -> None:
        """Notes what must not be."""
        if None in codes:
            self.faults.append(f"{job}: {kind} did not end all processes")
        if kind == "SIGKILL" and not early:
            self.longest = max(self.longest, took)
            if took > OUTLIVES:
                self.faults.append(f"{job}: a process outlived a killed one by {took:.0f} s")
        # Before a process listens for it, SIGTERM is as sudden as SIGKILL; after the last step it comes too late.
        elif not early and set(codes) not in ({75}, {0}):
            self.faults.append(f"{job}: SIGTERM ended with {codes}: {self.said()}")
        if job == "encode" and output.exists() and not (output / "manifest.json").exists():
            recorded = {int(path.stem.split("_")[1]) for path in (output / "unfinished/units").glob("shard_*.json")}
            begun = {int(path.parts[-4]) for path in (output / "encodings/c").glob("*/0/0/0") if path.is_file()}
            if len(begun - recorded) > len(codes):
                self.faults.append(
                    f"encode: shards {sorted(begun - recorded)} were in flight in {len(codes)} processes"
                )


def main() -> int:
    """Drills."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--counts", default="1,2,3", help="numbers of processes")
    parser.add_argument("--jobs", default=",".join(drill_road.JOBS), help="which jobs, in turn")
    parser.add_argument("--no_damage", action="store_true", help="leaves out disks, damage and two jobs on one output")
    parser.add_argument("--directory", default=None, help="where the outputs lie; the system's temporary one if none")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    started, jobs = time.monotonic(), given.jobs.split(",")
    with tempfile.TemporaryDirectory(dir=given.directory) as folder:
        place = Path(folder)
        os.environ |= {"JAX_PLATFORMS": "cpu", "JAX_COMPILATION_CACHE_DIR": str(place / "compiled")}
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        drill_road.make(place)
        drill = Drill(place, given.seed, [int(count) for count in given.counts.split(",")])
        for number in range(given.rounds):
            print(drill.round(number, jobs[number % len(jobs)]), flush=True)
        damage = {} if given.no_damage else drill_damage.all_of(drill)
        for name, found in damage.items():
            print(f"{name}: {found}", flush=True)
            if found.startswith("LOST"):
                drill.faults.append(f"{name}: {found}")
    summary = {
        "rounds": given.rounds,
        "seed": given.seed,
        "sent": dict(sorted(drill.sent.items())),
        "damage": damage,
        "faults": drill.faults,
        "longest_seconds_after_a_kill": round(drill.longest, 1),
        "minutes": round((time.monotonic() - started) / 60, 1),
    }
    print(json.dumps(summary) if given.json else "\n".join(f"{name}: {value}" for name, value in summary.items()))
    return 1 if drill.faults else 0


if __name__ == "__main__":
    sys.exit(main())
