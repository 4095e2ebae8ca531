"""Training curves for TensorBoard."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from jax_tda.core import files


class Scalars:
    """Writes named numbers per step into a directory of TensorBoard events; with an empty path it writes nothing.

    Those of an object store are sent when training ends: a killed run leaves none there.

    Args:
      directory: where the events go.
      first_step: the step that the run starts at; what an interrupted run wrote from there on is no longer shown.
    """

    def __init__(self, directory: str, first_step: int = 0):
        self._writer, self._directory = None, directory
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        if directory:
            from tensorboardX import SummaryWriter

            if files.is_remote(directory):
                self._folder = tempfile.TemporaryDirectory()
            self._writer = SummaryWriter(
                self._folder.name if self._folder else directory, purge_step=first_step or None
            )

    def write(self, step: int, values: Mapping[str, float], group: str) -> None:
        """Adds one point to the curve `group/name` of every name."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(f"{group}/{name}", float(value), step)

    def __enter__(self) -> "Scalars":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()
        if self._folder is not None:
            for name in files.sizes(self._folder.name):
                files.write(files.at(self._directory) / name, Path(self._folder.name, name).read_bytes())
            self._folder.cleanup()
