"""Tests that need a package which is not installed are skipped, counted, with the command that brings it."""

import ast
import functools
import importlib
import importlib.util
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
# Import names that another distribution brings, or that belong to this checkout.
OURS = {"jax_tda", "tests", "benchmarks", "launch"}


@functools.cache
def needed(path: pathlib.Path) -> frozenset[str]:
    """The packages that a file of tests imports anywhere, also through other files of tests."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            inner = ROOT / (name.replace(".", "/") + ".py")
            if name.startswith("tests.") and inner.is_file():
                found |= needed(inner)
            elif name.split(".")[0] not in OURS | sys.stdlib_module_names:
                found.add(name.split(".")[0])
    return frozenset(found)


def missing(path: pathlib.Path) -> list[str]:
    """Those of them that are not installed."""
    return sorted(name for name in needed(path) if importlib.util.find_spec(name) is None)


class Skipped(pytest.Module):
    """A file of tests that cannot be imported here."""

    def collect(self):
        names = ", ".join(missing(self.path))
        pytest.skip(f"{names} is not installed: `make venv` brings it", allow_module_level=True)


def pytest_pycollect_makemodule(module_path, parent):
    """Pytest's own module, unless a package is missing."""
    return Skipped.from_parent(parent, path=module_path) if missing(module_path) else None


def demand(there, what):
    """Skips the test in hand, counted, where the machine does not have what it needs."""
    if not there:
        pytest.skip(f"this machine has {what}")


def need(package):
    """A package or module of that name, or the test in hand is skipped."""
    demand(importlib.util.find_spec(package.split(".")[0]) is not None, f"no package {package}: `make venv` brings it")
    return importlib.import_module(package)
