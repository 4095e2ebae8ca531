"""A job on a machine of another name, which may fall asleep (SIGSTOP) just before one of its writes.

python -m tests.processes.sleeper MACHINE WRITE JOB FLAG…, WRITE counting from 1, 0 for a job that stays awake.
"""

import os
import runpy
import signal
import sys

from jax_tda.artifacts import artifact, key_value, lease
from jax_tda.core import permits

LIFETIME = 4.0


def main(machine: str, write: int, job: str) -> None:
    ask, asked = permits.ask, 0

    def sleepy(path) -> None:
        nonlocal asked
        if "unfinished" not in str(path) or "scratch" in str(path):
            asked += 1
            if asked == write:
                os.kill(os.getpid(), signal.SIGSTOP)
        ask(path)

    def take(directory: str, output: str) -> lease.Lease:
        return lease.Lease(key_value.open_store(directory), output, lifetime=LIFETIME)

    permits.ask, artifact.take, lease._machine = sleepy, take, lambda: machine
    runpy.run_module(f"jax_tda.jobs.{job}", run_name="__main__")


if __name__ == "__main__":
    _, machine, write, job, *flags = sys.argv
    sys.argv = [job, *flags]
    main(machine, int(write), job)
