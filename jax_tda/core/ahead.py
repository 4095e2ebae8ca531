"""How far Python may run ahead of the devices: some steps, so that they never wait, and a stop need not either."""

from collections import deque
from typing import Any

import jax

# Enough for devices to find their next step waiting.
_STEPS = 4


class Ahead:
    """The steps that were given to the devices and may not be through.

    A process that ends while they are many waits for all of them; one that is torn down between the parts of a step
    that exchange numbers is aborted by XLA after a minute.
    """

    def __init__(self) -> None:
        self._pending: deque[Any] = deque()

    def add(self, result: Any) -> None:
        """Notes a step by something that it gives and that is not given away, and waits for the one `_STEPS` before."""
        self._pending.append(result)
        if len(self._pending) > _STEPS:
            jax.block_until_ready(self._pending.popleft())

    def wait(self) -> None:
        """Waits for all."""
        while self._pending:
            jax.block_until_ready(self._pending.popleft())
