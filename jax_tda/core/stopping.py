"""SIGTERM is heard from a job's first line to its last: while Python imports, and while a program is compiled.

Python runs its handlers between two lines of the main thread, and compiling is one line that may take a minute. So a
thread of its own hears the signal as well (`signal.set_wakeup_fd`). When the job has not ended some seconds later, and
nothing would be lost that it could still keep, this thread ends the process with code 75. That is as safe as SIGKILL:
an artifact is finished when its manifest is, and the lease of a process that runs no more is anybody's.
"""

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import NoReturn

from jax_tda.core import permits

# What schedulers take for "try again" (EX_TEMPFAIL).
AGAIN = 75
SAID = "stopped, as asked; the same command goes on where this run stopped"
# What a job is left with to end by itself: to finish the step in hand, or to let go of its lease.
GRACE_SECONDS = 8.0
_LOOK_SECONDS = 0.2

# How many of the job's pieces of work would lose finished steps if the process ended now.
_at_stake = 0
_reading = -1


def listen() -> None:
    """From now on SIGTERM ends this process with code 75; at once, unless a job says otherwise.

    Only a job's command calls this, in its first line: no library may end its user's process.
    """
    global _reading
    if _reading >= 0:
        return
    _reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    except ValueError:  # Another thread than the main one hears no signals.
        return
    signal.signal(signal.SIGTERM, leave)
    # Python takes its handlers back before it tears its modules down; what has ended by then has ended.
    atexit.register(signal.signal, signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_watch, name="stopping", daemon=True).start()


def end() -> NoReturn:
    """Ends this process with code 75, all that it would keep being kept.

    A job's command takes no leave of XLA: one that was stopped while it compiled was seen to die of it (code −11).
    """
    if _reading < 0:
        print(SAID, file=sys.stderr)
        sys.exit(AGAIN)
    sys.stdout.flush()
    sys.stderr.flush()
    permits.let_go()
    leave()


def leave(*_: object) -> NoReturn:
    """Ends this process with code 75, now."""
    with contextlib.suppress(OSError):
        os.write(2, f"{SAID}\n".encode())
    os._exit(AGAIN)


@contextlib.contextmanager
def at_stake() -> Iterator[None]:
    """Inside, finished steps are not kept yet; a process that was asked to stop is left the time to keep them."""
    global _at_stake
    _at_stake += 1
    try:
        yield
    finally:
        _at_stake -= 1


def _watch() -> None:
    while True:
        with contextlib.suppress(InterruptedError):
            if signal.SIGTERM in os.read(_reading, 64):
                break
    time.sleep(GRACE_SECONDS)
    while _at_stake:
        time.sleep(_LOOK_SECONDS)
    leave()
