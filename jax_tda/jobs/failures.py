"""Which failures a user can mend, said in four parts instead of a traceback."""

import errno

from jax_tda.core.errors import InputError

_FULL = "No space left on device"


def explained(error: Exception, output_dir: str) -> InputError | None:
    """The error as what, got, expected, remedy, or None for a fault that is the program's own.

    A full disk reaches us as an OSError, or as the text of an array store's error.
    """
    if isinstance(error, InputError):
        return error
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or _FULL in str(error):
        return InputError(
            f"The disk that holds {output_dir} is full",
            got=str(error).splitlines()[0],
            expected="free space for the artifact; `--dry_run` prints its size",
            remedy="free some space, then give the same command again: finished work is kept",
        )
    return None
