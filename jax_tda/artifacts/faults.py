"""Turns the operating system's refusals into errors a user can act on."""

import contextlib
import errno
from collections.abc import Iterator

from jax_tda.core.errors import InputError

# TensorStore reports the operating system's text, not its number.
_FULL = ("no space left on device", "disk quota exceeded")
_REFUSED = ("permission denied", "read-only file system", "operation not permitted", "not a directory")
# A bucket's own words.
_REFUSED_IN_STORES = ("permission_denied", "access denied", "accessdenied", "unauthenticated")
_ABSENT = ("not_found", "bucket does not exist", "nosuchbucket")
_REFUSED_NUMBERS = (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR)


@contextlib.contextmanager
def explained(path: str) -> Iterator[None]:
    """Raises InputError for a full disk or a place that may not be written; other errors pass unchanged."""
    try:
        yield
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        text = str(error).lower()
        number = getattr(error, "errno", None)
        if number in (errno.ENOSPC, errno.EDQUOT) or any(words in text for words in _FULL):
            raise InputError(
                f"no space left while writing {path}",
                got=str(error),
                expected="free space for the artifact (`--dry_run` prints its size)",
                remedy="free space and run the same command again: it goes on where it stopped",
            ) from error
        if "://" in path and any(words in text for words in (*_ABSENT, *_REFUSED_IN_STORES)):
            raise InputError(
                f"{path} may not be written",
                got=str(error),
                expected="a bucket that exists, and credentials that may write into it",
                remedy="check the bucket's name; docs/object_stores.md says where credentials are found",
            ) from error
        if number in _REFUSED_NUMBERS or any(words in text for words in _REFUSED):
            raise InputError(
                f"{path} may not be written",
                got=str(error),
                expected="a directory that this user may write",
                remedy="choose another --output_dir or change the directory's permissions",
            ) from error
        raise
