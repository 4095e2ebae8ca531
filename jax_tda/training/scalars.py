"""Training curves for TensorBoard."""

from collections.abc import Mapping
from types import TracebackType


class Scalars:
    """Writes named numbers per step into a directory of TensorBoard events; with an empty path it writes nothing.

    Args:
      directory: where the events go.
      first_step: the step that the run starts at; what an interrupted run wrote from there on is no longer shown.
    """

    def __init__(self, directory: str, first_step: int = 0):
        self._writer = None
        if directory:
            from tensorboardX import SummaryWriter

            self._writer = SummaryWriter(directory, purge_step=first_step or None)

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
