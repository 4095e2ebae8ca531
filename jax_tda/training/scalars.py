"""Training curves for TensorBoard."""

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from jax_tda.core import files

# Seconds between two times that the events are sent where they belong.
_EVERY = 30.0


class Scalars:
    """Writes named numbers per step into a directory of TensorBoard events; with an empty path it writes nothing.

    Events are gathered in a temporary directory, as TensorBoard's writer has a thread of its own that asks nobody
    before it writes, and sent now and then and when training ends: a killed run lacks its last ones.

    Args:
      directory: where the events go.
      first_step: the step that the run starts at; what an interrupted run wrote from there on is no longer shown.
    """

    def __init__(self, directory: str, first_step: int = 0):
        self._writer, self._directory, self._sent = None, directory, 0.0
        if directory:
            from tensorboardX import SummaryWriter

            self._folder = tempfile.TemporaryDirectory()
            self._writer = SummaryWriter(self._folder.name, purge_step=first_step or None)

    def write(self, step: int, values: Mapping[str, float], group: str) -> None:
        """Adds one point to the curve `group/name` of every name."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(f"{group}/{name}", float(value), step)
            if time.monotonic() - self._sent >= _EVERY:
                self._writer.flush()
                self._send()

    def _send(self) -> None:
        for name in files.sizes(self._folder.name):
            files.write(files.at(self._directory) / name, Path(self._folder.name, name).read_bytes())
        self._sent = time.monotonic()

    def __enter__(self) -> "Scalars":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()
            with self._folder:
                self._send()
