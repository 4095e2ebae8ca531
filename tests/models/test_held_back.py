"""A checkpoint on a full disk is said in four parts alone; a failure that nobody explains keeps its tracebacks."""

import shutil
import subprocess
import sys
import threading
import types

import pytest
from absl import logging

from jax_tda.core.errors import InputError
from jax_tda.models import held_back
from tests import missing
from tests.house import tree

SAVE = """
import sys
import jax.numpy as jnp
import numpy as np
from jax_tda.core.errors import InputError
from jax_tda.models import checkpoints
random = np.random.default_rng(0)
state = {"params": {str(i): jnp.asarray(random.normal(size=(400, 400)), jnp.float32) for i in range(4)}}
try:
    checkpoints.save(sys.argv[1] + "/step", state)
except InputError as error:
    sys.exit(str(error))
"""


def test_a_full_disk_in_a_checkpoint_is_said_in_four_parts_alone(tmp_path):
    """On a disk of a megabyte, in a namespace of its own, where such may be made."""
    own = ["unshare", "-rm", "sh", "-c", f'mount -t tmpfs -o size=1m none {tmp_path} && exec "$0" "$@"']
    mounted = (
        shutil.which("unshare") and subprocess.run([*own, "true"], capture_output=True, check=False).returncode == 0
    )
    missing.demand(mounted, "no disk that a test may mount")
    command = [*own, sys.executable, "-c", SAVE, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tree.ROOT, timeout=300)
    lines = ended.stderr.splitlines()
    assert ended.returncode == 1 and "no space left while writing" in lines[0], ended.stderr
    assert [line.split()[0] for line in lines[1:]] == ["got:", "expected:", "remedy:"], ended.stderr


def failing(error: Exception) -> None:
    """As orbax fails: a thread logs a traceback, then the caller gets the error."""

    def log() -> None:
        try:
            raise ValueError("in a thread")
        except ValueError:
            logging.exception("a thread of orbax")

    with held_back.until_explained():
        logging.warning("only words")
        thread = threading.Thread(target=log)
        thread.start()
        thread.join()
        sys.unraisablehook(types.SimpleNamespace(exc_value=RuntimeError("Event loop is closed")))
        raise error


@pytest.mark.parametrize("explained", [True, False])
def test_tracebacks_are_dropped_only_where_the_error_is_explained(explained, caplog, monkeypatch, capsys):
    """Words without a traceback pass at once."""
    hooked = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: hooked.append(str(what.exc_value)))
    error = InputError("full", got=1, expected=2, remedy="three") if explained else ValueError("unknown")
    monkeypatch.setattr(logging.get_absl_logger(), "propagate", True)
    with pytest.raises(type(error)):
        failing(error)
    assert [record.message for record in caplog.records] == ["only words"] + ["a thread of orbax"] * (not explained)
    assert ("Event loop is closed" in capsys.readouterr().err) is not explained
    sys.unraisablehook(types.SimpleNamespace(exc_value=RuntimeError("another")))
    assert hooked == ["another"]
