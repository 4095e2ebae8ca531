"""Paths that a pattern with *, ** or ? matches, local or in an object store."""

import glob
import re

from jax_tda.core import files

_WILD = re.compile(r"[*?\[]")


def is_pattern(path: str) -> bool:
    """Whether a path has a sign that stands for others."""
    return _WILD.search(path) is not None


def beginning(pattern: str) -> str:
    """The folder above the first part with such a sign, its slash included."""
    sign = _WILD.search(pattern)
    fixed = pattern[: sign.start()] if sign else pattern
    return fixed[: fixed.rfind("/") + 1]


def matching(pattern: str) -> list[str]:
    """The paths that match, sorted."""
    if not is_pattern(pattern):
        return []
    if not files.is_remote(pattern):
        return sorted(glob.glob(pattern, recursive=True))
    root = beginning(pattern)
    return sorted(str(path) for path in files.retried(root, lambda: list(files.at(root).glob(pattern[len(root) :]))))
