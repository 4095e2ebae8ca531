"""Many processes, one run: who is who, what all agree on, and how a run that is asked to stop stops everywhere.

JAX's own runtime connects the processes, notices a dead one, and agrees on the step to stop at. Nothing here imports
JAX before it is asked to connect, so a job that needs no JAX stays without.
"""

import contextlib
import importlib
import itertools
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from jax_tda.core import permits, stopping
from jax_tda.core.errors import InputError

Value = TypeVar("Value")

# A dead process is noticed after this long, and the others end.
_HEARTBEAT_SECONDS = 10
# The work of one process may take long while the others wait; a dead one ends the wait.
_WAIT_MILLISECONDS = 7 * 24 * 3600 * 1000
# A message may not be as large as a listing of finished units.
_MESSAGE_BYTES = 1 << 20
# Processes that need nothing of each other drift apart by no more steps than this, so that they can stop together.
_STEPS_APART = 8

# The releases whose private state `_runtime` was seen to read rightly; setup.py holds the upper bound.
_TESTED = "0.7.2 to 0.12"

_numbers, _loops = itertools.count(), itertools.count()
_alone = False


class Stopped(BaseException):
    """The run was asked to stop; all that was finished is recorded, and the same command goes on.

    No error, and nothing that handles errors may take it for one.
    """


def start(coordinator_address: str = "", process_count: int = 0, process_index: int = -1) -> None:
    """Connects this process with the others of its run; must come before JAX looks for its devices.

    Args:
      coordinator_address: HOST:PORT where process 0 listens; empty lets JAX find all three (TPU pods, SLURM, GKE).
      process_count: how many there are.
      process_index: which one this is, from 0.

    Raises:
      InputError: the three do not fit each other, or JAX finds no cluster.
    """
    given = (bool(coordinator_address), process_count > 0, process_index >= 0)
    if (any(given) and not all(given)) or (all(given) and process_index >= process_count):
        raise InputError(
            "the processes of this run are not described",
            got=f"coordinator_address {coordinator_address or None}, process_count {process_count or None}, "
            f"process_index {process_index if process_index >= 0 else None}",
            expected="all three, with 0 ≤ process_index < process_count",
            remedy="give all three, or --multiprocess alone where JAX finds its cluster",
        )
    import jax

    try:
        jax.distributed.initialize(
            coordinator_address or None,
            process_count or None,
            process_index if process_index >= 0 else None,
            heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=_HEARTBEAT_SECONDS,
        )
    except ValueError as error:
        raise InputError(
            "JAX finds no cluster",
            got=str(error),
            expected="a TPU pod, SLURM, GKE or another launcher that JAX knows",
            remedy="give --coordinator_address, --process_count and --process_index",
        ) from error


def _runtime() -> Any:
    """JAX's state of a run of several processes, None of one process alone. Asking for it looks for no device.

    That there are several is asked in public; who they are, and a store of keys that all read, has no public name.

    Raises:
      InputError: this release of JAX has no such state where earlier ones had it.
    """
    jax = sys.modules.get("jax")
    if jax is None or not hasattr(jax, "distributed") or not jax.distributed.is_initialized():
        return None
    try:
        state = importlib.import_module("jax._src.distributed").global_state
        found = state.client, state.num_processes, state.process_id
    except (ImportError, AttributeError) as error:
        raise InputError(
            "this release of JAX does not say how its processes reach each other",
            got=f"JAX {jax.__version__}: {error}",
            expected=f"a release that jax_tda was tested with in several processes, JAX {_TESTED}",
            remedy="install such a release, or run in one process",
        ) from error
    return state if found[0] is not None else None


def count() -> int:
    """How many processes work together; 1 inside `first_alone`."""
    runtime = _runtime()
    return 1 if _alone or runtime is None else runtime.num_processes


def index() -> int:
    """Which of them this is."""
    return 0 if count() == 1 else _runtime().process_id


def barrier(name: str) -> None:
    """Waits until every process has come here."""
    if count() > 1:
        _runtime().client.wait_at_barrier(f"jax_tda/{name}/{next(_numbers)}", _WAIT_MILLISECONDS)


def agree(function: Callable[[], Value]) -> Value:
    """Runs a function on process 0 and gives every process its result, or raises its InputError in every process.

    Without it, a process that finds a fault would end while the others wait for it.

    Args:
      function: gives what JSON can hold; of several processes, the others get what JSON makes of it.
    """
    if count() == 1:
        return function()
    key = f"jax_tda/agreed/{next(_numbers)}"
    if index() > 0:
        return _value(json.loads(_heard(key)))
    try:
        said: dict[str, Any] = {"value": function()}
    except Stopped:
        said = {"stopped": True}
    except InputError as error:
        said = {"refused": [error.what, str(error.got), str(error.expected), error.remedy]}
    except Exception as error:
        _tell(key, json.dumps({"failed": f"{type(error).__name__}: {error}"}).encode())
        raise
    data = json.dumps(said).encode()
    _tell(key, data)
    return _value(json.loads(data))


def _value(said: dict[str, Any]) -> Any:
    if "refused" in said:
        what, got, expected, remedy = said["refused"]
        refused = InputError(what, got=got, expected=expected, remedy=remedy)
        refused.agreed = True
        raise refused
    if "stopped" in said:
        raise Stopped
    if "failed" in said:
        raise RuntimeError(f"process 0 failed: {said['failed']}")
    return said["value"]


def _tell(key: str, data: bytes) -> None:
    client = _runtime().client
    parts = [data[start : start + _MESSAGE_BYTES] for start in range(0, len(data), _MESSAGE_BYTES)]
    for number, part in enumerate(parts):
        client.key_value_set_bytes(f"{key}/{number}", part)
    client.key_value_set(f"{key}/parts", str(len(parts)))


def _heard(key: str) -> bytes:
    client = _runtime().client
    parts = int(client.blocking_key_value_get(f"{key}/parts", _WAIT_MILLISECONDS))
    return b"".join(client.blocking_key_value_get_bytes(f"{key}/{n}", _WAIT_MILLISECONDS) for n in range(parts))


@contextlib.contextmanager
def first_alone() -> Iterator[None]:
    """Inside, process 0 takes itself for the only one; to be entered by process 0."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


class Stop:
    """Whether the run was asked to stop."""

    def asked(self) -> bool:
        """Asked after each step, and equally often, by every process; all get the same answer to the same question.

        Raises:
          InputError: another job has taken over what this one was making.
        """
        permits.ask_all()
        return self._asked()

    def _asked(self) -> bool:
        return False

    def now(self) -> None:
        """Leaves, when all that was done is recorded.

        Raises:
          Stopped: always.
        """
        barrier("stopped")
        raise Stopped


class _Signalled(Stop):
    """One process, which hears SIGTERM itself."""

    def __init__(self, kept: contextlib.ExitStack | None) -> None:
        self._heard, self._kept = False, kept

    def hear(self, *_: object) -> None:
        self._heard = True

    def _asked(self) -> bool:
        if self._kept is not None:
            # Of the first step nothing is there to be kept, and it is the one that compiles.
            self._kept.enter_context(stopping.at_stake())
            self._kept = None
        return self._heard


class _Agreed(Stop):
    """Several processes: JAX hears SIGTERM in each, and finds a step that none has passed."""

    def __init__(self) -> None:
        # Steps are told apart over the loops of one process.
        self._steps = itertools.count(next(_loops) << 20)

    def _asked(self) -> bool:
        from jax.experimental import multihost_utils

        step = next(self._steps)
        if step % _STEPS_APART == 0:
            barrier("steps")
        return bool(multihost_utils.reached_preemption_sync_point(step))


def _stop_here(*_: object) -> None:
    raise Stopped


@contextlib.contextmanager
def _heard_for_sure() -> Iterator[None]:
    """A signal that came in the midst of a callback whose exceptions Python drops comes again.

    JAX has one that runs at every collection of garbage.
    """
    before = sys.unraisablehook

    def hook(dropped: Any) -> None:
        if issubclass(dropped.exc_type, Stopped):
            threading.Timer(0.05, signal.raise_signal, [signal.SIGTERM]).start()
        else:
            before(dropped)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


@contextlib.contextmanager
def _handled(handler: Callable[..., None]) -> Iterator[None]:
    """SIGTERM goes to a handler, but in another thread than the main one: whoever started it hears the signals."""
    try:
        before = signal.signal(signal.SIGTERM, handler)
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        # None is a handler that Python did not set and cannot name.
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


@contextlib.contextmanager
def stopped_by_signal() -> Iterator[None]:
    """Around a job: before, between and after its steps SIGTERM stops one process at once, as nothing is lost there.

    Of several processes JAX hears the signal, and they stop together or not at all.
    """
    if count() > 1:
        yield
        return
    with _heard_for_sure(), _handled(_stop_here):
        yield


@contextlib.contextmanager
def stoppable(keeps: bool = True) -> Iterator[Stop]:
    """Around work in steps that SIGTERM to any of its processes may stop, after the step in hand.

    Args:
      keeps: the steps are kept when the run is asked to stop, and were else lost; False where each is when it ends.
    """
    if count() > 1:
        yield _Agreed()
        return
    if _alone:
        # JAX hears the signal for all; a handler of Python's would not give it back.
        yield Stop()
        return
    with contextlib.ExitStack() as kept:
        stop = _Signalled(kept if keeps else None)
        with _handled(stop.hear):
            yield stop
