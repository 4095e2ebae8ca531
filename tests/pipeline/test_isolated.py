"""A process for every step: a signal reaches the step at work, and its answer is the pipeline's."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.house import tree

PIPELINE = """
import sys
from jax_tda.core import stopping
from jax_tda.jobs import isolated
from jax_tda.pipeline.step import Step

stopping.GRACE_SECONDS = 0.1
stopping.listen()
sys.exit(isolated.run([(Step(name, name, "o"), [sys.executable, "-c", code]) for name, code in eval(sys.argv[1])]))
"""
# Its answer takes longer than a process that has nothing to lose is left with.
ASKED = """
import pathlib, signal, sys, time
def stop(*_):
    time.sleep(0.5)
    pathlib.Path({place!r}, "told").touch()
    sys.exit({code})
signal.signal(signal.SIGTERM, stop)
pathlib.Path({place!r}, "started").write_text(str(__import__("os").getpid()))
time.sleep(600)
"""


def started(steps: list[tuple[str, str]]) -> subprocess.Popen:
    command = [sys.executable, "-c", PIPELINE, repr(steps)]
    return subprocess.Popen(command, cwd=tree.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("code", [75, 0])
def test_a_signal_to_the_pipeline_reaches_its_step_and_no_other_begins(tmp_path, code):
    """Law: the step ends in its own time and way, even as if nothing had been; 75 comes out, nothing runs on."""
    pipeline = started([("first", ASKED.format(place=str(tmp_path), code=code)), ("second", "")])
    while not (tmp_path / "started").exists() or not (tmp_path / "started").read_text():
        assert pipeline.poll() is None, pipeline.communicate()
        time.sleep(0.01)
    pipeline.send_signal(signal.SIGTERM)
    output, errors = pipeline.communicate(timeout=60)
    assert pipeline.returncode == 75, errors
    assert (tmp_path / "told").exists() and output == "── first → o\n"
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "started").read_text()), 0)


@pytest.mark.parametrize(("act", "code"), [("exit(75)", 75), ("exit(2)", 2), ("os.kill(os.getpid(), 9)", 137)])
def test_a_step_that_does_not_end_well_ends_the_pipeline_with_its_code(act, code):
    """Law: no later step runs."""
    pipeline = started([("first", ""), ("second", f"import os; {act}"), ("third", "")])
    output, _ = pipeline.communicate(timeout=60)
    assert pipeline.returncode == code and output.split() == "── first → o ── second → o".split()
