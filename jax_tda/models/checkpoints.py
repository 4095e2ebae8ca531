"""Trees of arrays on disk in Orbax's form, local, on gs:// or s3://: written atomically, read back onto any devices.

A training checkpoint holds {"params", "opt_state", "step"}; foreign readers see plain nested keys, and reading back
gives the very types (Optax's named tuples) of the tree it is read like.
"""

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jax.sharding import Sharding, SingleDeviceSharding

from jax_tda.artifacts.faults import explained
from jax_tda.core import files, permits, processes, trees
from jax_tda.core.errors import InputError
from jax_tda.models import held_back, orbax_stores
from jax_tda.models.interface import Params

_NUMBER = re.compile(r"\d+")
_STEP = re.compile(r"step_(\d{9})")


def save(directory: str, state: Any, sparing: bool = False) -> None:
    """Writes a tree of arrays; a directory that is being written has another name until it is complete.

    Args:
      directory: the checkpoint's own directory, which must not exist.
      state: any tree of arrays, for instance {"params", "opt_state", "step"}.
      sparing: whether at most the largest array, in whole gigabytes, is on its way through the host's memory at once.

    Raises:
      InputError: if the directory exists.
    """
    path = files.at(directory)
    permits.ask(path)
    # Asked once: another process may have begun to write by the time that a later one asks.
    if processes.agree(lambda: files.exists(path)):
        raise InputError(
            f"The checkpoint directory {directory} exists.",
            got="an existing file or directory",
            expected="a path where nothing is",
            remedy="choose another directory, or delete this one",
        )
    # Under a name that no other process knows: one that slept may wake up while it writes, and must not be in the way
    # of its successor. In an object store, where nothing is renamed, the commit file comes last.
    staged = path
    if not files.is_remote(path):
        staged = path.parent / f"{path.name}.{processes.agree(lambda: secrets.token_hex(4))}"
    try:
        with held_back.until_explained(), explained(directory):
            _write(staged, state, sparing)
        if staged != path:
            processes.agree(lambda: files.move(staged, path))
    except BaseException:
        if staged != path and processes.index() == 0:
            shutil.rmtree(staged, ignore_errors=True)
            with contextlib.suppress(OSError):
                os.removedirs(staged.parent)  # Empty ones: a successor that is through has deleted what held them.
        raise


def _write(path: epath.Path, state: Any, sparing: bool) -> None:
    options = orbax_stores.options(path) | {"multiprocessing_options": _writers()}
    if sparing:
        largest = max(leaf.nbytes for leaf in jax.tree.leaves(state))
        # More than the largest, and in whole gigabytes: at the size of one array alone orbax waits for ever.
        gigabytes = largest // 10**9 + 1
        handler = ocp.PyTreeCheckpointHandler(save_concurrent_gb=gigabytes, save_device_host_concurrent_gb=gigabytes)
        with ocp.Checkpointer(handler, **options) as checkpointer:
            checkpointer.save(_absolute(path), args=ocp.args.PyTreeSave(state))
        return
    with ocp.StandardCheckpointer(**options) as checkpointer:
        checkpointer.save(_absolute(path), state)


def save_again(directory: str, state: Any, sparing: bool = False) -> None:
    """`save` in place of what a run left there that was killed between its save and its manifest, or in the midst."""
    path = files.at(directory)

    def clear() -> None:
        for name in files.names(path.parent):
            if name == path.name or name.startswith(f"{path.name}."):
                files.delete(path.parent / name)

    processes.agree(clear)
    save(directory, state, sparing)


def restore(directory: str, like: Any, sharding: Sharding | None = None) -> Any:
    """Reads a whole checkpoint.

    Args:
      directory: where `save` wrote.
      like: a tree of the wanted types whose leaves have the wanted shape and dtype (arrays or jax.ShapeDtypeStruct).
      sharding: where every leaf goes; None leaves it to each leaf of `like`, or else to the first device.

    Raises:
      InputError: if there is no complete checkpoint, or its leaves are not those of `like`.
    """
    path = _complete(directory)
    _demand_equal(directory, _stored(path), like)
    with ocp.StandardCheckpointer(multiprocessing_options=_only_this()) as checkpointer:
        return checkpointer.restore(path, _placed(like, sharding))


def restore_params(directory: str, like: Params, sharding: Sharding | None = None) -> Any:
    """Reads the parameters alone; the optimizer state is neither read nor allocated.

    Arguments and errors as in `restore`, with `like` the tree of parameters.
    """
    path = _complete(directory)
    stored = {name: leaf for name, leaf in _stored(path).items() if name.startswith("params/")}
    _demand_equal(directory, stored, {"params": like})
    placed = {"params": _placed(like, sharding)}
    how = jax.tree.map(lambda leaf: ocp.ArrayRestoreArgs(sharding=leaf.sharding, dtype=leaf.dtype), placed)
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(), multiprocessing_options=_only_this()) as checkpointer:
        arguments = ocp.args.PyTreeRestore(item=placed, restore_args=how, partial_restore=True)
        return checkpointer.restore(path, args=arguments)["params"]


def restore_untyped(directory: str, where: Callable[[Any], Any] | None = None) -> dict[str, Any]:
    """Reads a whole checkpoint as nested dictionaries and lists, without a tree to compare with.

    Args:
      directory: where `save` wrote.
      where: a tree of shapes → a tree of shardings; None gives NumPy arrays.

    Raises:
      InputError: as in `restore`.
    """
    path = _complete(directory)
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(), multiprocessing_options=_only_this()) as checkpointer:
        stored = checkpointer.metadata(path).item_metadata.tree
        if where is None:
            how = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), stored)
        else:
            shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), stored)
            how = jax.tree.map(lambda place: ocp.ArrayRestoreArgs(sharding=place), where(shapes))
        restored: dict[str, Any] = checkpointer.restore(path, args=ocp.args.PyTreeRestore(restore_args=how))
    return restored


def _only_this() -> ocp.options.MultiprocessingOptions:
    """Each process reads what it needs without waiting for another."""
    if jax.process_count() == 1:
        return ocp.options.MultiprocessingOptions()
    me = jax.process_index()
    return ocp.options.MultiprocessingOptions(me, {me}, f"process_{me}")


def _writers() -> ocp.options.MultiprocessingOptions:
    """All processes write a checkpoint together, or one that works alone while the others wait."""
    return ocp.options.MultiprocessingOptions() if processes.count() > 1 else _only_this()


def save_step(directory: str, step: int, state: Any) -> None:
    """Writes `step_…` below `directory`, then deletes what earlier steps left there, complete or not."""
    parent = files.at(directory)
    new = parent / f"step_{step:09d}"

    def clear() -> None:
        files.make_folder(parent)
        files.delete(new)  # What is there is no complete checkpoint, or training would have gone on from it.

    processes.agree(clear)
    save(str(new), state)
    # One process deletes; the others have nothing to wait for, since no one reads a checkpoint but the latest.
    if processes.index() == 0:
        for old in files.names(parent):
            if old.startswith("step_") and old != new.name:
                files.delete(parent / old)


def latest_step(directory: str) -> tuple[int, str] | None:
    """The number and path of the latest complete checkpoint that `save_step` wrote below `directory`, if any."""
    parent = files.at(directory)
    found = [(int(match[1]), parent / name) for name in files.names(parent) if (match := _STEP.fullmatch(name))]
    complete = [(step, str(path)) for step, path in found if _is_complete(path)]
    return max(complete, default=None)


def _absolute(path: epath.Path) -> epath.Path:
    return path if files.is_remote(path) else path.resolve()


def _is_complete(path: epath.Path) -> bool:
    # Orbax renames (or, on object stores, marks) a finished checkpoint; an empty directory would pass that test alone.
    if not files.exists(path / "_METADATA") or not orbax_stores.is_committed(path):
        return False
    return bool(ocp.utils.is_checkpoint_finalized(path))


def _complete(directory: str) -> epath.Path:
    path = _absolute(files.at(directory))
    orbax_stores.prepare(path)
    if not _is_complete(path):
        inner = _complete_below(path)
        raise InputError(
            f"There is no complete checkpoint at {directory}.",
            got="an unfinished or foreign directory" if files.exists(path) else "no such directory",
            expected="a directory written by a finished save",
            remedy=f"give {inner}" if inner else "check the path, or run the job that writes this checkpoint again",
        )
    return path


def _complete_below(path: epath.Path) -> epath.Path | None:
    """The newest checkpoint below a path that is the root, or a step, of orbax's CheckpointManager."""
    below = files.names(path) if files.exists(path) else []
    # Steps are numbers, perhaps behind a prefix; what a manager saved of one lies in a folder of its own.
    steps = sorted((name for name in below if name[-1:].isdigit()), key=lambda name: int(_NUMBER.findall(name)[-1]))
    for name in [*steps[::-1], *sorted(set(below) - set(steps))]:
        inner = path / name
        if _is_complete(inner):
            return inner
        if found := [inner / part for part in files.names(inner) if name in steps and _is_complete(inner / part)]:
            return found[0]
    return None


def _stored(path: epath.Path) -> dict[str, Any]:
    with ocp.StandardCheckpointer(multiprocessing_options=_only_this()) as checkpointer:
        metadata = checkpointer.metadata(path).item_metadata
    return _leaves(metadata.tree)


def _leaves(tree: Any) -> dict[str, Any]:
    return {trees.path_of(keys): leaf for keys, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


def _demand_equal(directory: str, stored: dict[str, Any], like: Any) -> None:
    wanted = _leaves(like)
    for name in [*wanted, *(name for name in stored if name not in wanted)]:
        got = _described(stored[name]) if name in stored else "nothing of that name in the checkpoint"
        expected = _described(wanted[name]) if name in wanted else "nothing of that name"
        if got != expected:
            raise InputError(
                f"The checkpoint {directory} does not fit: {name}.",
                got=got,
                expected=expected,
                remedy="use the model and optimizer configuration that the checkpoint was trained with",
            )


def _described(leaf: Any) -> str:
    return f"{leaf.dtype}{list(leaf.shape)}"


def _placed(like: Any, sharding: Sharding | None) -> Any:
    def place(leaf: Any) -> jax.ShapeDtypeStruct:
        where = sharding or getattr(leaf, "sharding", None) or SingleDeviceSharding(jax.local_devices()[0])
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where)

    return jax.tree.map(place, like)
