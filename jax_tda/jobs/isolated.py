"""Each step of a pipeline in a process of its own; a signal to the pipeline reaches the step at work."""

import signal
import subprocess
from collections.abc import Sequence
from typing import Any

from jax_tda.core import stopping
from jax_tda.pipeline.step import Step


class _Stop:
    """Whether the pipeline was asked to stop, and the process that must be told."""

    def __init__(self) -> None:
        self.asked = False
        self._child: subprocess.Popen | None = None
        self._starting = False

    def hear(self, *_: Any) -> None:
        """Tells the child, whose answer is then awaited; ends at once where there is none."""
        self.asked = True
        if self._child is not None:
            self._child.send_signal(signal.SIGTERM)
        elif not self._starting:
            stopping.end()

    def ended(self, words: Sequence[str]) -> int:
        """The exit code of a command, 75 where it was told to stop and had nothing to stop."""
        self._starting = True
        self._child = subprocess.Popen(words)
        self._starting = False
        if self.asked:
            self._child.send_signal(signal.SIGTERM)
        code = self._child.wait()
        self._child = None
        # A job without steps ends its work first, and one that still starts dies; the next must not begin.
        if self.asked and code in (0, -signal.SIGTERM):
            return stopping.AGAIN
        return code if code >= 0 else 128 - code


def run(commands: Sequence[tuple[Step, Sequence[str]]]) -> int:
    """Runs one command after the other; the code of the first that does not end well, or 0; 75 after SIGTERM.

    Args:
      commands: steps and what is to be typed for each.
    """
    stop = _Stop()
    before = signal.signal(signal.SIGTERM, stop.hear)
    try:
        for step, words in commands:
            print(f"── {step.job} → {step.output}", flush=True)
            # What the step has at stake is its own to keep, and is awaited.
            with stopping.at_stake():
                code = stop.ended(words)
            if code:
                return code
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0
