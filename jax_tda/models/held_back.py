"""Tracebacks that orbax and TensorStore print from threads of their own, before the caller gets the error itself."""

import contextlib
import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from jax_tda.core.errors import InputError

# Orbax logs by absl's logger.
_LOGGER = "absl"
# What TensorStore's threads print of writes that end after orbax gave the others up.
_CLOSED = "Event loop is closed"


@contextlib.contextmanager
def until_explained() -> Iterator[None]:
    """Holds tracebacks back while its block runs; they are dropped where it ends in four parts, else printed then."""
    held = list[Callable[[], None]]()
    logger, hook = logging.getLogger(_LOGGER), sys.unraisablehook

    def passes(record: logging.LogRecord) -> bool:
        if record.exc_info:
            held.append(lambda: logger.handle(record))
        return not record.exc_info

    def hooked(unraisable: Any, /) -> None:
        if str(unraisable.exc_value) == _CLOSED:
            # As text: Python asks not to keep what it gives here.
            text = "".join(traceback.format_exception(unraisable.exc_value))
            held.append(lambda: print(text, file=sys.stderr))
        else:
            hook(unraisable)

    logger.addFilter(passes)
    after: Callable[[Any], Any] = hooked
    sys.unraisablehook = hooked
    try:
        yield
        after = hook
    except InputError:
        held.clear()
        # Writes that were under way may end later still, and the run ends now.
        raise
    except BaseException:
        after = hook
        raise
    finally:
        logger.removeFilter(passes)
        sys.unraisablehook = after
        for say in held:
            say()
