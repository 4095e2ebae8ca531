"""Laws of one process: asked to stop, it ends after the step in hand; with nobody to agree with, it asks nobody."""

import os
import signal
import threading

import pytest

from jax_tda.core import processes
from jax_tda.core.errors import InputError


def test_sigterm_is_heard_between_steps_and_by_nobody_afterwards():
    """Law: a step in hand is finished; what was set for the signal before is set again."""
    before, steps = signal.getsignal(signal.SIGTERM), []
    with pytest.raises(processes.Stopped), processes.stoppable() as stop:
        for step in range(5):
            if step == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            steps.append(step)
            if stop.asked():
                stop.now()
    assert steps == [0, 1, 2]
    assert signal.getsignal(signal.SIGTERM) == before


def test_sigterm_outside_of_steps_stops_a_job_at_once_and_inside_after_the_step():
    """Law: a job of one process never dies of SIGTERM by the signal's default; it says that it stopped."""
    before, done = signal.getsignal(signal.SIGTERM), []
    with pytest.raises(processes.Stopped), processes.stopped_by_signal():
        with processes.stoppable() as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            done.append(stop.asked())
        os.kill(os.getpid(), signal.SIGTERM)
        done.append("not reached")
    assert done == [True]
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_thread_that_hears_no_signals_works_on():
    """Law: only the main thread hears signals; in another, nothing is asked."""
    found = []

    def work():
        with processes.stoppable() as stop:
            found.append(stop.asked())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]


def test_one_process_agrees_with_itself():
    """Law: nothing is sent anywhere; values and errors are those of the function."""
    assert (processes.count(), processes.index()) == (1, 0)
    value = object()
    assert processes.agree(lambda: value) is value
    with pytest.raises(KeyError):
        processes.agree(lambda: {}["missing"])
    processes.barrier("alone")
    with processes.first_alone():
        assert processes.count() == 1


@pytest.mark.parametrize(
    "given",
    [("127.0.0.1:1", 0, 0), ("127.0.0.1:1", 2, -1), ("", 2, 0), ("127.0.0.1:1", 2, 2), ("", 0, 3)],
)
def test_processes_that_are_half_described_are_refused(given):
    """Law: address, number and index come together; no connection is tried."""
    with pytest.raises(InputError, match=r"(?s)processes of this run are not described.*give all three"):
        processes.start(*given)
