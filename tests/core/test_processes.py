"""What of JAX has no public name is missed in words: several processes are never taken for one."""

import sys
import types

import jax
import pytest

from jax_tda.core import processes
from jax_tda.core.errors import InputError


def test_one_process_asks_nothing_that_has_no_public_name(monkeypatch):
    """Law: without a run of several processes, private parts of JAX are not looked at."""
    monkeypatch.setitem(sys.modules, "jax._src.distributed", None)
    assert (processes.count(), processes.index()) == (1, 0)


@pytest.mark.parametrize("private", [None, types.ModuleType("empty")], ids=["no module", "no state"])
def test_a_jax_of_tomorrow_without_the_private_state_is_refused_by_its_release(monkeypatch, private):
    """Law: JAX says that processes are connected, but not how: a sentence, never one process."""
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    monkeypatch.setitem(sys.modules, "jax._src.distributed", private)
    with pytest.raises(InputError, match=rf"JAX {jax.__version__}.*\n.*0\.7\.2 to 0\.12"):
        processes.count()


def test_the_installed_jax_has_the_state():
    """The release that moves it turns this red: then `processes._runtime` and setup.py's bound are to be looked at."""
    from jax._src import distributed

    state = distributed.global_state
    assert state.client is None and state.num_processes == 1 and state.process_id == 0
