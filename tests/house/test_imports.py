"""Importing does nothing, and what is heavy is imported only by the one job that needs it."""

import ast
import subprocess
import sys

from tests.house import tree

HEAVY = {"tensorflow", "tensorflow_text", "tensorflow_datasets", "seqio"}
# Registering a seqio Task is what importing this module is for.
REGISTERS = "jax_tda.data.facts.tasks"
MAY_IMPORT_HEAVY = {REGISTERS, "jax_tda.data.seqio_source"}

_IMPORT_ALL = """
import importlib, sys
heavy, modules = eval(sys.argv[1]), eval(sys.argv[2])
for name in modules:
    importlib.import_module(name)
    assert not heavy & set(sys.modules), f"{name} imports {heavy & set(sys.modules)}"
from jax._src import xla_bridge
assert not xla_bridge.backends_are_initialized(), "importing started a backend"
assert "absl.flags" not in sys.modules or not hasattr(sys.modules["absl.flags"].FLAGS, "gin_file"), "defined flags"
print("imported", len(modules))
"""

_IMPORT_PACKAGE = """
import sys
before = set(sys.modules)
import jax_tda
third_party = {"jax", "flax", "numpy", "optax", "tensorstore", "tensorflow", "seqio"} & (set(sys.modules) - before)
assert not third_party, third_party
print(sorted(name for name in dir(jax_tda) if not name.startswith("_")))
"""


def _python(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tree.ROOT, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_importing_every_module_imports_no_tensorflow_and_starts_no_backend():
    """Only `data/facts/tasks.py`, which registers seqio Tasks, may load TensorFlow when imported."""
    modules = [name for name in tree.package() if name != REGISTERS]
    assert _python(_IMPORT_ALL, repr(HEAVY), repr(modules)) == f"imported {len(modules)}\n"


def test_importing_the_package_imports_nothing_else_yet_offers_its_names():
    """The public names are loaded on first use."""
    names = _python(_IMPORT_PACKAGE)
    assert all(name in names for name in ("Encoder", "rank", "second_moments_from"))


def test_every_public_name_of_the_package_is_there():
    """A lazy name that points nowhere would be found by a user only."""
    names = _python(
        "import jax_tda; print([getattr(jax_tda, name).__name__ for name in jax_tda.__all__ if name[0] != '_'])"
    )
    assert names == "['Encoder', 'rank', 'second_moments_from']\n"


def test_only_the_seqio_source_and_the_tasks_import_tensorflow_or_seqio():
    """Not even inside a function elsewhere."""
    found = set()
    for name, path in tree.package().items():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            imported = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            imported += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if HEAVY & {module.split(".")[0] for module in imported}:
                found.add(name)
    assert found <= MAY_IMPORT_HEAVY
