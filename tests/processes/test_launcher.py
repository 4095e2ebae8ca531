"""Laws of the local launcher: processes start, stop and end together, and a run that stopped can go on."""

import os
import signal
import subprocess
import sys
import time

from tests.house import tree

LAUNCHER = tree.ROOT / "launch/local/processes.py"
# What a job's process does, by its index: `act(index, count)`, after the launcher's three flags were read.
PREAMBLE = """
import os, signal, sys, time
given = dict(word.removeprefix("--").split("=") for word in sys.argv[1:] if word.startswith("--"))
index, count = int(given.get("process_index", 0)), int(given.get("process_count", 1))
"""


def launched(act: str, *options: str) -> subprocess.Popen:
    command = [sys.executable, str(LAUNCHER), *options, "--", sys.executable, "-c", PREAMBLE + act]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_every_process_is_told_who_it_is_and_all_succeed(tmp_path):
    """Law: one address, one count, every index once, the devices asked for."""
    act = f"open({str(tmp_path)!r} + f'/{{index}}', 'w').write(repr((given, os.environ['JAX_NUM_CPU_DEVICES'])))"
    run = launched(act, "--processes", "3", "--devices_per_process", "5")
    assert run.wait(60) == 0, run.stderr.read()
    said = [eval((tmp_path / str(index)).read_text()) for index in range(3)]
    assert len({given["coordinator_address"] for given, _ in said}) == 1
    assert {(given["process_count"], given["process_index"], devices) for given, devices in said} == {
        ("3", str(index), "5") for index in range(3)
    }


def test_a_flag_that_was_given_twice_leaves_no_blank_behind(tmp_path, monkeypatch):
    """Law: the number of devices replaces XLA's flag however often it stands; XLA takes a blank for a file's name."""
    monkeypatch.setenv("XLA_FLAGS", " ".join(["--xla_force_host_platform_device_count=8"] * 2))
    run = launched(
        f"open({str(tmp_path / 'said')!r}, 'w').write(os.environ['XLA_FLAGS'])", "--processes", "2",
        "--devices_per_process", "2",
    )  # fmt: skip
    assert run.wait(60) == 0, run.stderr.read()
    assert (tmp_path / "said").read_text() == ""


def test_one_process_is_started_without_flags(tmp_path):
    """Law: a run of one process is the plain command."""
    run = launched(f"open({str(tmp_path / 'said')!r}, 'w').write(repr(sys.argv[1:]))", "--processes", "1")
    assert run.wait(60) == 0
    assert (tmp_path / "said").read_text() == "[]"


def test_the_first_failure_ends_the_others_and_names_the_code():
    """Law: nobody is left waiting for a process that failed, and its code is the run's."""
    run = launched("sys.exit(2) if index == 1 else time.sleep(600)", "--processes", "3")
    assert run.wait(60) == 2
    run = launched("os.kill(os.getpid(), signal.SIGKILL) if index == 0 else time.sleep(600)", "--processes", "2")
    assert run.wait(60) == 128 + signal.SIGKILL


def test_sigterm_reaches_every_process_and_the_code_of_a_stop_comes_back(tmp_path):
    """Law: a launcher that is asked to stop asks all, waits for them, and does not try again."""
    act = f"""
def stop(*_):
    open({str(tmp_path)!r} + f"/stopped_{{index}}", "w").close()
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
open({str(tmp_path)!r} + f"/ready_{{index}}", "w").close()
time.sleep(600)
"""
    run = launched(act, "--processes", "2", "--retries", "3")
    while not all((tmp_path / f"ready_{index}").exists() for index in range(2)):
        time.sleep(0.01)
    os.kill(run.pid, signal.SIGTERM)
    assert run.wait(60) == 75
    assert sorted(path.name for path in tmp_path.glob("stopped_*")) == ["stopped_0", "stopped_1"]


def test_a_run_that_stopped_or_died_goes_on_as_often_as_it_may(tmp_path):
    """Law: code 75 and a signal are tried again; a refusal and a success are not."""
    act = f"""
path = {str(tmp_path)!r} + f"/runs_{{index}}"
open(path, "a").write("x")
runs = len(open(path).read())
if runs == 1: sys.exit(75)
if runs == 2: os.kill(os.getpid(), signal.SIGKILL)
sys.exit(CODE)
"""
    for code in (0, 2):
        for path in tmp_path.glob("runs_*"):
            path.unlink()
        run = launched(act.replace("CODE", str(code)), "--processes", "2", "--retries", "5")
        assert run.wait(60) == code
        assert "go" in run.stderr.read()
        assert (tmp_path / "runs_0").read_text() == "xxx"
