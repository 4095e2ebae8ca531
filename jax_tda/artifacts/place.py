"""Where an artifact's files lie: a directory of its own, or files `name.*` in a shared one."""

import contextlib
import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from etils import epath

from jax_tda.artifacts import arrays, lease
from jax_tda.core import files
from jax_tda.core.errors import InputError

# What a job leaves that has only planned: such a place gives way to another job.
_PLANNED = ("plan.json", lease.NAME)


class Place:
    """An artifact's files, finished or not.

    Args:
      directory: where they lie.
      name: what they are called in a shared directory; None for a directory of their own.
    """

    def __init__(self, directory: str, name: str | None):
        self.directory, self.name = files.at(directory), name
        prefix = f"{name}." if name else ""
        self.manifest = self.directory / f"{prefix}manifest.json"
        self.unfinished = self.directory / f"{prefix}unfinished"
        self.plan = self.unfinished / "plan.json"
        # Of the paths of everything that belongs to it.
        self.beginning = f"{self.directory}/{prefix}"

    def __str__(self) -> str:
        return f"{self.directory}/{self.name}" if self.name else str(self.directory)

    def has_traces(self) -> bool:
        """Whether the traces of the work, and nothing of anybody else's, lie beside the artifact."""
        left = files.names(self.unfinished) if files.exists(self.unfinished) else []
        return bool(left) and all(name.removesuffix(".__lock") in (*_PLANNED, "units", "scratch") for name in left)

    def strangers(self) -> list[str]:
        """Names of files that an unclaimed place should not hold: all but a plan under which nothing was done yet."""
        if files.is_file(self.directory):
            return [f"a file called {self.directory.name}"]
        names = files.names(self.directory)
        names = [n for n in names if n.startswith(f"{self.name}.")] if self.name else names
        planned = [n.removesuffix(arrays.WRITING) for n in files.names(self.unfinished)]
        only_planned = files.is_folder(self.unfinished) and all(n in _PLANNED for n in planned)
        return [n for n in names if not (only_planned and n == self.unfinished.name)]

    def clear_interrupted_writes(self) -> None:
        """Removes what a killed process left half written."""
        if not self.name:
            arrays.clear_interrupted_writes(str(self.directory))
            return
        arrays.clear_interrupted_writes(str(self.unfinished))
        for name in files.names(self.directory):
            if name.startswith(f"{self.name}.") and name.endswith(arrays.WRITING):
                files.delete(self.directory / name)

    def sizes(self) -> dict[str, int]:
        """The bytes of every file of a directory of its own, by name; without the manifest and what is unfinished."""
        found = files.sizes(self.directory) if files.is_folder(self.directory) else {}
        left_out = f"{self.unfinished.name}/"
        return {n: size for n, size in found.items() if n != self.manifest.name and not n.startswith(left_out)}

    def sizes_of(self, names: Iterable[str]) -> dict[str, int]:
        """The bytes of those of the named files that are there."""
        if not files.is_remote(self.directory):
            # A disk is asked name by name: each shard lies in folders of its own, which a listing would walk through.
            place, found = str(self.directory), dict[str, int]()
            for name in names:
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    found[name] = os.stat(f"{place}/{name}").st_size
            return found
        # A store answers a thousand names at a time, in their order; arrays are large, and lie in folders of their own.
        folders = sorted({name.partition("/")[0] for name in names})
        with ThreadPoolExecutor(min(len(folders), 16) or 1) as pool:
            parts = zip(folders, pool.map(self._below, folders), strict=True)
            return {f"{folder}{name}": size for folder, part in parts for name, size in part.items()}

    def _below(self, name: str) -> dict[str, int]:
        path = self.directory / name
        if files.is_folder(path):
            return {f"/{n}": size for n, size in files.sizes(path).items()}
        return {"": files.size_of(path)} if files.exists(path) else {}


def sha256(path: epath.Path) -> str:
    """Of a file, read in blocks."""
    hasher = hashlib.sha256()
    for block in files.blocks(path):
        hasher.update(block)
    return hasher.hexdigest()


def must_match(place: Place, plan: dict[str, Any], found: dict[str, Any]) -> None:
    """Refuses a place whose plan is another than the one that is to be made there.

    Raises:
      InputError: naming what differs.
    """
    if plan == found:
        return
    differences = [
        f"{part}.{key}"
        for part in ("settings", "inputs")
        for key in sorted({*plan[part], *found[part]})
        if plan[part].get(key) != found[part].get(key)
    ]
    raise InputError(
        f"the output {place} holds something else",
        got=f"a {found['kind']} artifact that differs in {', '.join(differences) or 'kind'}",
        expected=f"a {plan['kind']} artifact of the same settings and inputs",
        remedy="choose another --output_dir, or delete what is there",
    )
