"""The fault drill itself, once and short: `python benchmarks/fault_drill.py` is the long one."""

import json
import subprocess
import sys

from tests.house import tree


def test_a_short_drill_loses_nothing():
    """Law: a job of two processes, killed or stopped at random, ends with what it makes undisturbed."""
    command = [sys.executable, "benchmarks/fault_drill.py", "--rounds", "1", "--counts", "2", "--jobs", "score"]
    ended = subprocess.run(
        [*command, "--seed", "3", "--no_damage", "--json"], cwd=tree.ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    said = json.loads(ended.stdout.splitlines()[-1])
    assert said["faults"] == [] and said["rounds"] == 1 and sum(said["sent"].values()) >= 1
