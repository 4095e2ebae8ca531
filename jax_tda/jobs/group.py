"""The door's part for many processes: flags that connect them, and an end that leaves none waiting for another."""

import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from absl import flags

from jax_tda.core import machine, processes, stopping


def define_flags() -> None:
    """The flags of a run of several processes."""
    flags.DEFINE_boolean("multiprocess", False, "One of several processes; JAX finds the others (TPU pod, SLURM, GKE).")
    flags.DEFINE_string("coordinator_address", "", "HOST:PORT of process 0, where JAX does not find it.")
    flags.DEFINE_integer("process_count", 0, "How many processes there are, with --coordinator_address.")
    flags.DEFINE_integer("process_index", -1, "Which of them this is, from 0, with --coordinator_address.")


def work(execute: Callable[[], object], device_per_core: bool) -> None:
    """Connects the processes, if any, says on what they compute, and works; a run asked to stop ends with code 75."""
    given = flags.FLAGS
    if given.multiprocess or given.coordinator_address or given.process_count or given.process_index >= 0:
        processes.start(given.coordinator_address, given.process_count, given.process_index)
    try:
        machine.announce(device_per_core)
        with processes.stopped_by_signal():
            execute()
    except processes.Stopped:
        if processes.count() == 1:
            stopping.end()
        print(stopping.SAID, file=sys.stderr)
        sys.exit(stopping.AGAIN)


def leave(code: int, error: Exception) -> None:
    """Ends this process; at once where the others do not know of the error and would wait for it."""
    if processes.count() > 1 and not getattr(error, "agreed", False):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def give_up(error: Exception) -> NoReturn:
    """Raises a fault of the program's own; of several processes, ends this one without the farewell that would wait."""
    if processes.count() > 1:
        traceback.print_exception(error)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)
    raise error
