"""Files and folders, local or in an object store (gs://, s3://): read and written whole or as streams, with retries.

Local paths go to the operating system, others through epath and the packages that it reads stores by (gcsfs, s3fs).
Who writes or deletes asks `core/permits.py` first. A folder of an object store is a prefix: it exists as long as
something lies below it.
"""

import contextlib
import errno
import functools
import importlib.util
import itertools
import logging
import math
import os
import pathlib
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from etils import epath

from jax_tda.core import permits
from jax_tda.core.errors import InputError

Result = TypeVar("Result")

# Where TensorFlow is installed epath would take its files, which need seconds to import and know no s3. It asks for
# this once in a process, at the first path of a store, whoever names it.
os.environ.setdefault("EPATH_USE_TF", "false")

# Scheme: what fsspec calls it, the package that speaks it, the extra of this library that installs the package.
_STORES = {"gs": ("gcs", "gcsfs", "gcs"), "s3": ("s3", "s3fs", "s3")}
_BLOCK = 8 << 20
# Seconds before the first repetition, doubled before each of the next; of all attempts together; without a word.
_ATTEMPTS, _FIRST_WAIT, _LONGEST_WAIT = 8, 0.25, 16.0
_PATIENCE, _SILENCE = 60.0, 5.0
# Buckets that were said to be waited for.
_SAID = set[str]()
_LASTING = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)
_LASTING_NUMBERS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EINVAL)
# What the stores' own packages call credentials that are missing, incomplete or old.
_NO_CREDENTIALS = (
    *("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "TokenRetrievalError"),
    *("DefaultCredentialsError", "RefreshError"),
)
# Packages whose own exceptions speak of connections, not of what was asked for.
_TRANSPORTS = ("aiohttp", "urllib3", "requests", "http")


def is_remote(path: epath.PathLike) -> bool:
    """Whether a path lies in an object store."""
    return "://" in str(path)


def at(path: epath.PathLike) -> epath.Path:
    """The path, after what its store needs was found.

    Raises:
      InputError: its store is not known, or the package that speaks it is not installed.
    """
    scheme, separator, _ = str(path).partition("://")
    if not separator:
        return epath.Path(path)
    if scheme not in _STORES:
        raise InputError(
            f"the store of {path} is not known",
            got=f"{scheme}://",
            expected="a local path, gs://BUCKET/… or s3://BUCKET/…",
            remedy="copy the data to one of these",
        )
    _, package, extra = _STORES[scheme]
    if importlib.util.find_spec(package) is None:
        raise InputError(
            f"{path} cannot be reached: the package {package} is not installed",
            got=f"an installation without the extra `{extra}`",
            expected=f"the package that speaks {scheme}://",
            remedy=f"pip install 'jax_tda[{extra}]'",
        )
    _prepare()
    return epath.Path(path)


@functools.cache
def _prepare() -> None:
    import fsspec.config

    for spelling in ("gs", "gcs", "s3"):
        # Other clients (TensorStore, other processes) write too: what was listed before may not be true any more.
        fsspec.config.conf.setdefault(spelling, {}).setdefault("use_listings_cache", False)
    # A host that does not answer is given up soon, of six attempts that gcsfs makes of each of ours; a slow one is not.
    if importlib.util.find_spec("gcsfs") is not None:
        import aiohttp

        given = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=30)
        for spelling in ("gs", "gcs"):
            fsspec.config.conf[spelling].setdefault("requests_timeout", given)
        # It prints the traceback of what we say in four parts.
        logging.getLogger("gcsfs").setLevel(logging.CRITICAL)
    # So does botocore repeat within each of s3fs's attempts.
    fsspec.config.conf["s3"].setdefault("config_kwargs", {"retries": {"max_attempts": 1}})


def _filesystem(path: epath.PathLike) -> Any:
    import fsspec

    at(path)
    return fsspec.filesystem(_STORES[str(path).partition("://")[0]][0])


def retried(
    path: epath.PathLike,
    action: Callable[[], Result],
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    patience: float = _PATIENCE,
) -> Result:
    """What an action on a path gives; in an object store, repeated with growing waits while its failures may pass.

    Args:
      path: what the action is about; local ones are not repeated.
      action: may be repeated after it failed half way.
      sleep: waits so many seconds.
      clock: the time in seconds.
      patience: seconds after which no further attempt would end.

    Raises:
      InputError: the store refuses these credentials, or there are none; or it did not answer.
    """
    if not is_remote(path):
        return action()
    began = clock()
    with _said_while_waiting(str(path), patience):
        for attempt in itertools.count(1):
            tried = clock()
            try:
                return action()
            except Exception as error:
                if _is_refusal(error):
                    raise InputError(
                        f"{path} may not be used",
                        got=f"{type(error).__name__}: {error}",
                        expected="credentials that the store accepts for it",
                        remedy="give them as docs/object_stores.md says, or choose another place",
                    ) from error
                if not _passes(error):
                    raise
                # Many processes that were refused together must not come back together.
                wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (attempt - 1)) * random.uniform(0.5, 1.5)
                now = clock()
                # The stores' packages repeat within an attempt: the next will take as long as this one.
                if attempt == _ATTEMPTS or now - began + wait + now - tried > patience:
                    raise InputError(
                        f"{path} cannot be reached",
                        got=f"{type(error).__name__}: {error} after {attempt} attempts in {now - began:.0f} s",
                        expected="an answer of its store",
                        remedy="check network, bucket and endpoint, then give the same command again",
                    ) from error
            sleep(wait)
    raise AssertionError("an attempt returns or raises")


@contextlib.contextmanager
def _said_while_waiting(path: str, patience: float) -> Iterator[None]:
    """Says on screen, once for each bucket, that a store does not answer, for nothing else moves meanwhile."""

    def say() -> None:
        bucket = "/".join(path.split("/")[:3])
        if bucket not in _SAID:
            _SAID.add(bucket)
            limit = f"for {patience:.0f} s at most" if math.isfinite(patience) else "as long as it takes"
            print(f"waiting for {path} since {_SILENCE:.0f} s, {limit}", flush=True)

    timer = threading.Timer(_SILENCE, say)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _is_refusal(error: Exception) -> bool:
    """Whether a store wants other credentials, or found none."""
    status = getattr(error, "code", None) or getattr(error, "status", None)
    return isinstance(error, PermissionError) or status in (401, 403) or type(error).__name__ in _NO_CREDENTIALS


def _passes(error: Exception) -> bool:
    """Whether the same request may succeed a moment later."""
    if isinstance(error, _LASTING):
        return False
    status = getattr(error, "code", None) or getattr(error, "status", None)
    if isinstance(status, int):
        return status in (408, 429) or status >= 500
    if isinstance(error, OSError):
        return error.errno not in _LASTING_NUMBERS
    return type(error).__module__.partition(".")[0] in _TRANSPORTS


def exists(path: epath.PathLike) -> bool:
    """Whether a file, or a folder with something in it, is there."""
    return retried(path, at(path).exists)


def is_file(path: epath.PathLike) -> bool:
    """Whether a file is there, which can be read more than once: no pipe, no device."""
    return retried(path, at(path).is_file) if is_remote(path) else os.path.isfile(path)


def demand_regular(path: epath.PathLike) -> None:
    """Refuses what can be read only once, or never ends; a path where nothing is, or a folder, is another's business.

    Raises:
      InputError: it is a pipe, a device or a socket.
    """
    if not is_remote(path) and os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        raise InputError(
            f"{path} is no regular file",
            got="a pipe, a device or a socket",
            expected="a file, which is read more than once",
            remedy="write the data to a file, and give its path",
        )


def is_folder(path: epath.PathLike) -> bool:
    """Whether a folder is there."""
    return retried(path, at(path).is_dir)


def read(path: epath.PathLike) -> bytes:
    """A whole file."""
    demand_regular(path)
    return retried(path, at(path).read_bytes)


def write(path: epath.PathLike, data: bytes) -> None:
    """Writes a whole file, and the folders above it."""
    make_folder(at(path).parent)
    permits.ask(path)
    retried(path, lambda: at(path).write_bytes(data))


def write_stream(path: epath.PathLike, parts: Iterable[bytes]) -> None:
    """Writes a file part after part, and the folders above it; one for an object store is sent when it is whole."""
    if not is_remote(path):
        make_folder(at(path).parent)
        # Without a buffer, whose rest would be written even after somebody else took over.
        with open(path, "wb", buffering=0) as file:
            for block in _joined(parts):
                permits.ask(path)
                while block:
                    block = block[file.write(block) :]
        return
    with tempfile.TemporaryDirectory() as folder:
        whole = pathlib.Path(folder, "whole")
        with whole.open("wb") as local:
            for part in parts:
                local.write(part)
        permits.ask(path)
        retried(path, lambda: _filesystem(path).put_file(str(whole), str(path)), patience=math.inf)


def _joined(parts: Iterable[bytes]) -> Iterator[memoryview]:
    """The same bytes in pieces of about a megabyte."""
    held = bytearray()
    for part in parts:
        held += part
        if len(held) >= 1 << 20:
            yield memoryview(held)
            held = bytearray()
    yield memoryview(held)


def read_range(path: epath.PathLike, start: int, stop: int) -> bytes:
    """The bytes [start, stop) of a file; fewer where it ends before."""
    if is_remote(path):
        return retried(path, lambda: _filesystem(path).cat_file(str(path), start=start, end=stop))
    with open(path, "rb") as file:
        file.seek(start)
        return file.read(stop - start)


def blocks(path: epath.PathLike) -> Iterator[bytes]:
    """A file from its beginning to its end, in blocks."""
    demand_regular(path)
    if not is_remote(path):
        with at(path).open("rb") as file:
            while block := file.read(1 << 20):
                yield block
        return
    size = size_of(path)
    for start in range(0, size, _BLOCK):
        yield read_range(path, start, min(start + _BLOCK, size))


def lines(path: epath.PathLike) -> Iterator[bytes]:
    """The lines of a file, with their ends."""
    rest = b""
    for block in blocks(path):
        *whole, rest = (rest + block).split(b"\n")
        for line in whole:
            yield line + b"\n"
    if rest:
        yield rest


def size_of(path: epath.PathLike) -> int:
    """The bytes of a file."""
    if is_remote(path):
        return int(retried(path, lambda: _filesystem(path).size(str(path))))
    return os.stat(path).st_size


def names(folder: epath.PathLike) -> list[str]:
    """What lies in a folder, by name; nothing where there is none."""
    if is_remote(folder):
        with contextlib.suppress(FileNotFoundError):
            return sorted({path.name for path in retried(folder, lambda: list(at(folder).iterdir()))} - {""})
        return []
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


def sizes(folder: epath.PathLike) -> dict[str, int]:
    """The bytes of every file below a folder, by its path from there; one listing, however many files there are."""
    if is_remote(folder):
        found = retried(folder, lambda: _filesystem(folder).find(str(folder), detail=True))
        root = str(folder).partition("://")[2].rstrip("/") + "/"
        # A store's own tools may leave an empty object where they show a folder.
        return {
            name.removeprefix(root): int(info["size"])
            for name, info in found.items()
            if name.startswith(root) and not name.endswith("/")
        }
    sized: dict[str, int] = {}
    pending = [""]
    while pending:
        prefix = pending.pop()
        with os.scandir(os.path.join(folder, prefix)) as entries:
            for entry in entries:
                if entry.is_dir():
                    pending.append(f"{prefix}{entry.name}/")
                else:
                    # What another thread writes beside a file and renames may be gone by now.
                    with contextlib.suppress(FileNotFoundError):
                        sized[f"{prefix}{entry.name}"] = entry.stat().st_size
    return sized


def make_folder(path: epath.PathLike) -> None:
    """Makes a folder and those above it; an object store needs none."""
    if not is_remote(path):
        permits.ask(path)
        at(path).mkdir(parents=True, exist_ok=True)


def delete(path: epath.PathLike) -> None:
    """Deletes a file, or a folder and all below it, if it is there."""
    permits.ask(path)
    if is_remote(path):
        with contextlib.suppress(FileNotFoundError):
            retried(path, lambda: _filesystem(path).rm(str(path), recursive=True))
    elif os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        at(path).unlink(missing_ok=True)


def move(source: epath.PathLike, target: epath.PathLike) -> None:
    """Renames a local file or folder to a path where nothing is."""
    permits.ask(target)
    os.rename(source, target)


@contextlib.contextmanager
def local(path: epath.PathLike) -> Iterator[str]:
    """A local path of the same file or folder, for what reads no object store; a copy, deleted at the end, of one.

    What is not there stays where it is not, for its reader to say so.
    """
    if not is_remote(path) or not exists(path):
        yield str(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder, at(path).name)
        if is_folder(path):
            for name in sizes(path):
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                _fetch(at(path) / name, copy / name)
        else:
            _fetch(at(path), copy)
        yield str(copy)


def _fetch(path: epath.Path, copy: pathlib.Path) -> None:
    retried(path, lambda: _filesystem(path).get_file(str(path), str(copy)), patience=math.inf)
