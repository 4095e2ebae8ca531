"""The fault drill itself, once and short: `python benchmarks/fault_drill.py` is the long one."""

import importlib
import json
import subprocess
import sys

from jax_tda.jobs import table
from tests.house import tree


def test_every_job_is_stopped_and_killed_by_a_drill(monkeypatch):
    """Law: `benchmarks/drill_jobs.py` has settings for each job of the table, or says why there is nothing to lose."""
    monkeypatch.syspath_prepend(tree.ROOT / "benchmarks")
    drilled = importlib.import_module("drill_jobs")
    assert set(table.JOBS) == {*drilled.DRILLED, *drilled.NOTHING_TO_DRILL}


def test_a_short_drill_loses_nothing():
    """Law: a job of two processes, killed or stopped at random, ends with what it makes undisturbed."""
    command = [sys.executable, "benchmarks/fault_drill.py", "--rounds", "1", "--counts", "2", "--jobs", "score"]
    ended = subprocess.run(
        [*command, "--seed", "3", "--no_damage", "--json"], cwd=tree.ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    said = json.loads(ended.stdout.splitlines()[-1])
    assert said["faults"] == [] and said["rounds"] == 1 and sum(said["sent"].values()) >= 1
