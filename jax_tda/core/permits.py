"""Who may write where: every write, every delete and every step of work asks here first, whatever job it is part of.

An output is held while it is made. Whoever writes below it (`core/files.py`, `artifacts/arrays.py`,
`models/checkpoints.py`, and nothing else) asks its holder, which raises when another job has taken the output over.
"""

import os
import weakref
from typing import Protocol

from etils import epath


class Holder(Protocol):
    """What knows whether an output is still this job's."""

    def check(self) -> None:
        """Raises InputError when it is not."""


# By the beginning of the paths that are held. A holder that nobody needs any more holds nothing.
_held: dict[str, "weakref.ref[Holder]"] = {}


def hold(beginning: str, holder: Holder) -> None:
    """Paths with this beginning may be written as long as the holder says so; it takes the place of an earlier one."""
    _held[_whole(beginning)] = weakref.ref(holder)


def release(beginning: str) -> None:
    """Nobody is asked any more for paths with this beginning."""
    _held.pop(_whole(beginning), None)


def ask(path: epath.PathLike) -> None:
    """To be called before something is written or deleted at a path.

    Raises:
      InputError: the path lies in an output that another job has taken over.
    """
    whole = _whole(str(path)) + "/"
    for beginning, held in tuple(_held.items()):
        if whole.startswith(beginning):
            _ask(held)


def ask_all() -> None:
    """To be called after each step of work: nothing more is computed for an output that is lost.

    Raises:
      InputError: another job has taken over an output that this one was making.
    """
    for held in tuple(_held.values()):
        _ask(held)


def let_go() -> None:
    """Before a process ends at once: leases are given back, so that nobody waits for them to run out."""
    for held in tuple(_held.values()):
        give_back = getattr(held(), "release", None)
        if give_back is not None:
            give_back()
    _held.clear()


def _ask(held: "weakref.ref[Holder]") -> None:
    holder = held()
    if holder is not None:
        holder.check()


def _whole(path: str) -> str:
    """The one spelling of a path; a last slash stays."""
    if "://" in path:
        return path
    return os.path.abspath(path) + ("/" if path.endswith("/") and len(path) > 1 else "")
