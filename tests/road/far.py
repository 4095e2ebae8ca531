"""A road's jobs in one process, where TensorFlow cannot be imported and nothing can be renamed in an object store.

python -m tests.road.far PRINTED_COMMANDS [UNITS]: is killed by itself once so many units of work are recorded.
"""

import importlib.abc
import os
import signal
import sys
from pathlib import Path

from etils.epath import backend

from jax_tda.artifacts.artifact import Writer
from tests.road import walk


class Absent(importlib.abc.MetaPathFinder):
    """Makes Python believe that TensorFlow is not installed."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "tensorflow_text", "seqio"):
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
    sys.meta_path.insert(0, Absent())
    for name in ("rename", "replace", "copy"):
        setattr(backend.fsspec_backend, name, refuse)
    if len(sys.argv) > 2:
        die_after(int(sys.argv[2]))
    for job in walk.jobs(Path(sys.argv[1]).read_text()):
        walk.run(*job)
        print("──", job[0], flush=True)
    assert "tensorflow" not in sys.modules
