"""A road's jobs in one process, where TensorFlow cannot be imported and nothing can be renamed in an object store.

python -m tests.road.far PRINTED_COMMANDS [UNITS]: is killed by itself once so many units of work are recorded.
"""

import importlib.abc
import importlib.util
import os
import signal
import sys
from pathlib import Path

from etils.epath import backend

from jax_tda.artifacts.artifact import Writer
from tests.road import walk


class Absent(importlib.abc.MetaPathFinder):
    """Makes Python believe that TensorFlow is not installed, whether it is asked to import it or to look for it."""

    def __init__(self):
        self._look = importlib.util.find_spec
        importlib.util.find_spec = lambda name, package=None: None if self._is(name) else self._look(name, package)
        sys.meta_path.insert(0, self)

    @staticmethod
    def _is(name):
        return name.partition(".")[0] in ("tensorflow", "tensorflow_text", "seqio")

    def find_spec(self, name, path=None, target=None):
        if self._is(name):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def refuse(*_, **__):
    raise AssertionError("something was renamed or copied in an object store")


def die_after(units: int) -> None:
    finish_unit = Writer.finish_unit

    def counted(self, unit, facts):
        nonlocal units
        finish_unit(self, unit, facts)
        units -= 1
        if not units:
            os.kill(os.getpid(), signal.SIGKILL)

    Writer.finish_unit = counted


if __name__ == "__main__":
    Absent()
    for name in ("rename", "replace", "copy"):
        setattr(backend.fsspec_backend, name, refuse)
    if len(sys.argv) > 2:
        die_after(int(sys.argv[2]))
    for job in walk.jobs(Path(sys.argv[1]).read_text()):
        walk.run(*job)
        print("──", job[0], flush=True)
    assert "tensorflow" not in sys.modules
