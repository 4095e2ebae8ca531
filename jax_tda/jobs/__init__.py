"""The package's outside: verbs, flags and gin files. `python -m jax_tda.jobs.VERB` is `jax-tda VERB`.

A command hears SIGTERM before it imports anything that takes time.
"""

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType

from jax_tda.core import stopping

# So it is while `python -m` looks for the module: a job's command, and nobody's library.
if sys.argv[:1] == ["-m"]:
    stopping.listen()


class _Verbs(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Finds a module for every job of the table, so that none needs a file of its own."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        parent, _, verb = fullname.rpartition(".")
        if parent != __name__:
            return None
        from jax_tda.jobs import table

        return importlib.machinery.ModuleSpec(fullname, self, origin=__file__) if verb in table.TABLE else None

    def get_source(self, fullname: str) -> str:
        verb = fullname.rpartition(".")[2]
        return f"if __name__ == '__main__':\n    from jax_tda.jobs import command\n    command.main(['{verb}'])\n"


# Last, so that a file of this package goes before a job of the same name.
sys.meta_path.append(_Verbs())
