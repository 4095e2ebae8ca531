"""Who may write an unfinished artifact: one job at a time, by a file that it takes and renews by compare-and-swap.

`lease.json` names its owner (a random token, host, process) and when it expires. Whoever finds it may take it over when
the owner was a process of this machine that runs no more, or once it has expired, for which it waits; it is refused as
soon as the owner is seen to live. Clocks of different machines must agree within some seconds.
"""

import contextlib
import json
import math
import os
import pathlib
import secrets
import socket
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import tensorstore as ts

from jax_tda.artifacts import key_value
from jax_tda.core.errors import InputError

NAME = "lease.json"
LIFETIME = 30.0
# Added when another machine's lease is judged: how far two clocks may differ.
_GRACE = 5.0
# Always of one size: on a local disk TensorStore may write over what a killed process left, without shortening it.
_SIZE = 512


def _machine() -> str:
    """This boot of this machine, and the name space its process numbers belong to, where the system tells them."""
    try:
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def _started(process: int) -> str:
    """When a process of this machine began, in the system's ticks; empty where it does not run or is not told."""
    try:
        fields = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in ("Z", "X") else fields[19]


def _runs(owner: dict[str, Any]) -> bool:
    if pathlib.Path("/proc/self/stat").exists():
        return _started(owner["process"]) == owner["started"]
    try:
        os.kill(owner["process"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _ours(owner: dict[str, Any]) -> bool:
    mine = {"machine": _machine(), "process": os.getpid(), "started": _started(os.getpid())}
    return all(owner.get(name) == value for name, value in mine.items())


class Lease:
    """A lease that was taken, and is renewed by a thread until it is released.

    Args:
      store: the key-value store that holds it.
      output: how messages name the output.
      lifetime: seconds after which it expires unless renewed.
      clock: seconds since 1970, which every machine shares.
      sleep: waits so many seconds.
      file: how messages name the file that holds it.

    Raises:
      InputError: another job holds it.
    """

    def __init__(
        self,
        store: ts.KvStore,
        output: str,
        lifetime: float = LIFETIME,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        file: str = NAME,
    ):
        self._store, self._output, self._lifetime, self._clock, self._sleep = store, output, lifetime, clock, sleep
        self._file = file
        self._owner: dict[str, Any] = {
            "token": secrets.token_hex(16),
            "host": socket.gethostname(),
            "machine": _machine(),
            "process": os.getpid(),
            "started": _started(os.getpid()),
            "taken": clock(),
        }
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._lost = ""
        self._expires = 0.0
        self._generation = self._take()
        # The thread must not keep the lease alive: one that nobody holds any more is released.
        self._thread = threading.Thread(target=_renew, args=(weakref.ref(self), self._stop, lifetime / 4), daemon=True)
        self._thread.start()
        self._finalizer = weakref.finalize(self, _release, store, self._stop, self._owner["token"], self._thread)

    def _content(self, until: float) -> bytes:
        return json.dumps(self._owner | {"expires": until}).encode().ljust(_SIZE)

    def _take(self) -> bytes:
        for _ in range(20):
            found = self._store.read(NAME).result()
            if found.state == "value" and (owner := _read(found.value)) is not None:
                self._refuse_living(owner)
            self._expires = self._clock() + self._lifetime
            written = self._store.write(NAME, self._content(self._expires), if_equal=found.stamp.generation).result()
            if written.generation:
                return written.generation
        raise InputError(
            f"the lease of {self._output} cannot be taken",
            got="no write that succeeded, though nobody was seen to hold it",
            expected="a bucket that exists, in a store that can write on condition, and one job at a time",
            remedy="check the bucket's name, and which jobs write this output",
        )

    def _refuse_living(self, owner: dict[str, Any]) -> None:
        if _ours(owner):
            return
        if owner["machine"] == _machine():
            if not _runs(owner):
                return
        elif self._runs_out(owner):
            return
        now = self._clock()
        remedy = "wait for that job, or end it; then give the same command again: it goes on where that job stopped"
        if owner["expires"] - now > self._lifetime + _GRACE:
            # Nobody takes a lease for so long: a clock was wrong, or the file was edited.
            remedy = (
                f"if no such job runs, delete {self._file} and give the same command again; if it does, set the clocks"
            )
        raise InputError(
            f"another job is writing {self._output}",
            got=f"a lease of process {owner['process']} on {owner['host']}, taken {now - owner['taken']:.0f} s ago and "
            f"good for another {max(0.0, owner['expires'] - now):.0f} s",
            expected="an output that no running job writes",
            remedy=remedy,
        )

    def _runs_out(self, owner: dict[str, Any]) -> bool:
        """Whether another machine's lease ends without being renewed, for which a job that is started again waits."""
        ends = owner["expires"] + _GRACE
        if ends - self._clock() > self._lifetime + _GRACE:
            return False
        while (left := ends - self._clock()) > 0:
            self._sleep(min(1.0, left))
            found = self._store.read(NAME).result()
            seen = _read(found.value) if found.state == "value" else None
            if seen is None:
                return True
            if (seen["token"], seen["expires"]) != (owner["token"], owner["expires"]):
                return False
        return True

    def renew(self) -> None:
        """Moves the expiry on, unless somebody else took the lease."""
        with self._lock:
            if self._lost or self._stop.is_set():
                return
            # A disk's folder that a successor deleted must not come back by our write, however it ends: so read first.
            self._lost = _lost_to(self._store, self._owner["token"])
            until = self._clock() + self._lifetime
            if self._lost:
                return
            written = self._store.write(NAME, self._content(until), if_equal=self._generation).result().generation
            if not written:
                # Our own write may have been repeated after an answer that was lost on the way.
                found = self._store.read(NAME).result()
                self._lost = _lost_to(self._store, self._owner["token"])
                if self._lost:
                    return
                written = found.stamp.generation
            self._generation, self._expires = written, until

    def check(self) -> None:
        """Ends the job before it writes more, when the lease is lost.

        Raises:
          InputError: somebody else took it, or it expired and could not be renewed.
        """
        if not self._lost and not self._stop.is_set() and self._clock() > self._expires:
            # This process slept, or the store did not answer. Nobody may have noticed.
            self.renew()
        if self._lost:
            raise _lost(self._output, self._lost, self._clock() - self._owner["taken"])

    @property
    def token(self) -> str:
        """What tells this lease from every other."""
        return str(self._owner["token"])

    def stop(self) -> None:
        """Ends the renewing and leaves the file, for whoever deletes it with all that lies beside it."""
        with self._lock:
            self._stop.set()
        self._finalizer.detach()
        self._thread.join(_GRACE)

    def release(self) -> None:
        """Ends the renewing and deletes the file, if it is still this lease's."""
        with self._lock:
            self._stop.set()
        self._finalizer()


class Watch:
    """What another process of the same run knows of the lease that the first one holds: whether it is still held.

    Args:
      directory: where the lease lies.
      output: how messages name the output.
      token: the lease's.
    """

    def __init__(self, directory: str, output: str, token: str):
        self._store, self._output, self._token = key_value.open_store(directory), output, token
        self._began = self._looked = time.time()

    def check(self) -> None:
        """Looks again when the last look is some seconds old.

        Raises:
          InputError: somebody else took the lease.
        """
        now = time.time()
        if now - self._looked >= LIFETIME / 4:
            if owner := _lost_to(self._store, self._token):
                raise _lost(self._output, owner, now - self._began)
            self._looked = now


def take(directory: str, output: str) -> Lease:
    """Takes the lease that lies in a directory.

    Raises:
      InputError: another job holds it.
    """
    return Lease(key_value.open_store(directory), output, file=f"{directory}/{NAME}")


_TYPES = {"token": str, "host": str, "machine": str, "process": int, "started": str, "taken": float, "expires": float}


def _read(data: bytes) -> dict[str, Any] | None:
    """The owner, or None for what is no lease: nobody can have written that and still hold it."""
    try:
        owner = json.loads(data)
        # A whole number of seconds is a time as well.
        given = {name: float(owner[name]) if kind is float else owner[name] for name, kind in _TYPES.items()}
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    right = all(type(given[name]) is kind for name, kind in _TYPES.items())
    return given if right and math.isfinite(given["taken"]) and math.isfinite(given["expires"]) else None


def _lost_to(store: ts.KvStore, token: str) -> str:
    """Who holds the lease instead of the owner of this token; empty while that one does."""
    found = store.read(NAME).result()
    owner = _read(found.value) if found.state == "value" else None
    if owner is not None and owner["token"] == token:
        return ""
    return f"process {owner['process']} on {owner['host']}" if owner else "nobody"


def _lost(output: str, holder: str, age: float) -> InputError:
    return InputError(
        f"the lease of {output} was lost",
        got=f"a lease held by {holder}",
        expected=f"the lease that this job took {age:.0f} s ago",
        remedy="let that job finish; nothing more is written by this one",
    )


def _renew(lease: "weakref.ref[Lease]", stop: threading.Event, every: float) -> None:
    while not stop.wait(every):
        held = lease()
        if held is None:
            return
        # A store that does not answer is asked again; `check` looks at the time that is left.
        with contextlib.suppress(Exception):
            held.renew()
        del held


def _release(store: ts.KvStore, stop: threading.Event, token: str, thread: threading.Thread) -> None:
    stop.set()
    # A thread that Python's end finds inside TensorStore aborts the process (code 134).
    if thread is not threading.current_thread():
        thread.join(_GRACE)
    # At the end of a process, or where the directory is gone, there may be no store to speak to: then it expires.
    with contextlib.suppress(Exception):
        found = store.read(NAME).result()
        owner = _read(found.value) if found.state == "value" else None
        if owner is not None and owner["token"] == token:
            store.write(NAME, None, if_equal=found.stamp.generation).result()
