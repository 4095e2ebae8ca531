"""Runs one job in several processes on this machine: they start, stop and end together.

python -m jax_tda.pipeline.local_processes --processes N [--devices_per_process K] [--retries R] -- COMMAND…

Every process is given the job's flags --coordinator_address, --process_count and --process_index. The first that fails
ends the others. SIGTERM is passed on; a run that stopped as it was asked ends with code 75, which means "try again".
"""

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

AGAIN = 75
# What one failure leaves the others: time to say the same, or to stop at the step that all agreed on.
_FAREWELL_SECONDS, _STOP_SECONDS = 3.0, 120.0


def start(command: Sequence[str], count: int, devices: int = 0, **options: Any) -> list[subprocess.Popen]:
    """Starts the processes of one run.

    Args:
      command: the job.
      count: how many processes.
      devices: CPU devices that each is to see; 0 leaves it to the job.
      options: of `subprocess.Popen`.
    """
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    environment = dict(os.environ)
    if devices:
        environment["JAX_NUM_CPU_DEVICES"] = str(devices)
        flags = re.sub(r"--xla_force_host_platform_device_count=\d+", "", environment.get("XLA_FLAGS", ""))
        # Of XLA's flags nothing but spaces is taken for the name of a file.
        environment["XLA_FLAGS"] = flags.strip()
    if count == 1:
        return [subprocess.Popen(command, env=environment, **options)]
    return [
        subprocess.Popen(
            [
                *command,
                f"--coordinator_address=127.0.0.1:{port}",
                f"--process_count={count}",
                f"--process_index={index}",
            ],
            env=environment,
            **options,
        )
        for index in range(count)
    ]


def finish(processes: Sequence[subprocess.Popen]) -> int:
    """Waits for a run and ends all of it when one process fails; the code of the first that failed, or 0."""
    first, limit = 0, float("inf")
    while None in (ended := [process.poll() for process in processes]):
        codes = [code for code in ended if code]
        if codes and not first:
            first = codes[0]
            limit = time.monotonic() + (_STOP_SECONDS if first == AGAIN else _FAREWELL_SECONDS)
        if time.monotonic() > limit:
            for process in processes:
                process.kill()
        time.sleep(0.05)
    return first or next((process.returncode for process in processes if process.returncode), 0)


def main() -> int:
    """Runs the command, again if it stopped or died and retries are left, and gives the code to end with."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--processes", type=int, required=True, help="how many")
    parser.add_argument("--devices_per_process", type=int, default=0, help="CPU devices that each sees")
    parser.add_argument("--retries", type=int, default=0, help="how often a run that stopped or died goes on")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- and the job")
    given = parser.parse_args()
    command = given.command[1:] if given.command[:1] == ["--"] else given.command
    if given.processes < 1 or not command:
        parser.error("a number of processes and a command are needed")
    running: list[subprocess.Popen] = []
    asked = False

    def pass_on(*_: object) -> None:
        nonlocal asked
        asked = True
        for process in running:
            process.send_signal(signal.SIGTERM)

    signal.signal(signal.SIGTERM, pass_on)
    for left in range(given.retries, -1, -1):
        running[:] = start(command, given.processes, given.devices_per_process)
        try:
            code = finish(running)
        except BaseException:
            for process in running:
                process.kill()
            raise
        if asked or not left or not (code == AGAIN or code < 0):
            break
        print(f"the run ended with {code}; it goes on, {left} more times at most", file=sys.stderr)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
