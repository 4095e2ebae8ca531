"""SIGTERM ends a job with code 75 while Python imports, and while the main thread is in a call as of a compiler."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import missing
from tests.house import tree

CAUGHT = 1 << (signal.SIGTERM - 1)
# A call that returns to Python's main thread after LONG rounds, and lets other threads work: as compiling does.
PREAMBLE = """
import hashlib, sys
from jax_tda.core import processes, stopping

stopping.GRACE_SECONDS = 0.2
stopping.listen()
deep = lambda rounds: hashlib.pbkdf2_hmac("sha256", b"", b"", rounds)
say = lambda line: print(line, flush=True)
LONG = 2**31 - 1
"""
FIRST_STEP = "with processes.stopped_by_signal(), processes.stoppable(): say('now'); deep(LONG)"
NO_STEP = """
try:
    with processes.stopped_by_signal(): say('now'); deep(LONG)
except processes.Stopped:  # The signal came before the call.
    stopping.end()
"""
LATER_STEP = """
try:
    with processes.stopped_by_signal(), processes.stoppable() as stop:
        stop.asked()
        say('now')
        deep(1_000_000)
        if stop.asked():
            deep(1_000_000)
            say('kept')
            stop.now()
except processes.Stopped:
    sys.exit(stopping.AGAIN)
"""


def started(*command: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *command], cwd=tree.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def hears(process: subprocess.Popen) -> bool:
    """Whether SIGTERM no longer ends the process by itself."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return bool(int(status.partition("SigCgt:")[2].split()[0], 16) & CAUGHT)


@pytest.mark.parametrize("work", [FIRST_STEP, NO_STEP], ids=["in the first step", "outside of steps"])
def test_a_call_that_does_not_come_back_is_left_with_code_75(work):
    """Law: where nothing could be kept, nobody waits for the compiler."""
    process = started("-c", PREAMBLE + work)
    assert process.stdout.readline() == "now\n"
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 75 and said.count("stopped, as asked") == 1, said


def test_a_job_that_has_ended_is_not_killed_while_python_takes_itself_apart():
    """Law: its code is its own; an object of a module is deleted after Python has given its handlers back."""
    late = "import os\nclass Late:\n  def __del__(self, kill=os.kill, pid=os.getpid()): kill(pid, 15)\nkept = Late()\n"
    ended = subprocess.run(
        [sys.executable, "-c", PREAMBLE + late + "sys.exit(2)"], cwd=tree.ROOT, capture_output=True, check=False
    )
    assert ended.returncode == 2, ended.stderr


def test_steps_that_are_not_kept_yet_are_kept_first():
    """Law: from the second step on the process is left alone until what was done is kept."""
    process = started("-c", PREAMBLE + LATER_STEP)
    assert process.stdout.readline() == "now\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=120)[0] == "kept\n"
    assert process.returncode == 75


def test_a_job_hears_before_it_imports_and_a_library_never():
    """Law: a job's command ends with 75 in the midst of its imports; importing jax_tda leaves the signal as it is."""
    missing.demand(Path("/proc/self/status").exists(), "no /proc, where a process's signals are read")
    process = started("-m", "jax_tda.jobs.encode", "--output_dir=nowhere")
    while process.poll() is None and not hears(process):
        time.sleep(0.001)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 75 and said.startswith("stopped, as asked"), said
    asked = "import signal, jax_tda.jobs.door; print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)"
    ended = subprocess.run(
        [sys.executable, "-c", asked], cwd=tree.ROOT, capture_output=True, text=True, env=os.environ, check=True
    )
    assert ended.stdout == "True\n"
