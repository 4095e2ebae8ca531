"""Packages that only some sources need, imported when such a source is read; a missing one says how it is had."""

import importlib
from typing import Any

from jax_tda.core.errors import InputError


def need(module: str, extra: str, what: str) -> Any:
    """A module of a package that an extra brings.

    Args:
      module: its dotted name.
      extra: which extra of setup.py names the package.
      what: the sentence that an error begins with.

    Raises:
      InputError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as problem:
        raise InputError(
            what,
            got=str(problem),
            expected=f"the package {module.partition('.')[0]}, of the extra `{extra}`",
            remedy=f"pip install 'jax_tda[{extra}]'",
        ) from problem
