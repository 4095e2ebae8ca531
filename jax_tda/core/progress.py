"""Long work says how far it is: one line with rate and time left, rewritten on a terminal, sparse in a log."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

from jax_tda.core import processes

Item = TypeVar("Item")


def clock(seconds: float) -> str:
    """Hours, minutes and seconds."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:d}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:d}:{rest:02d}"


class Progress:
    """Counts finished units of work and prints rate and time left.

    The first units are not taken for the rate: what is compiled for them is compiled once.

    Args:
      label: what is being done.
      total: how many units there are; None where nobody knows before the end.
      unit: the plural noun of one unit.
      done: units that an earlier run finished; they count as done but not for the rate.
      stream: where to print; when None standard error, and of several processes only that of the first.
    """

    def __init__(self, label: str, total: int | None, unit: str, done: int = 0, stream: TextIO | None = None):
        self.label, self.total, self.unit = label, total, unit
        self.done, self._earlier = done, done
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._quiet = stream is None and processes.index() > 0
        self._start = time.monotonic()
        self._first: tuple[float, int] | None = None
        # Where nothing is known of what is left, the first unit is not worth a line.
        self._printed = 0.0 if total is not None else self._start

    def advance(self, count: int = 1, note: str = "") -> None:
        """Adds finished units and prints at most five times a second on a terminal, every ten seconds in a log."""
        self.done += count
        now = time.monotonic()
        due = now - self._printed >= (0.2 if self._terminal else 10.0) or self._ended
        if due and not self._quiet:
            self._printed = now
            self._print(now, note)
        if count and self._first is None:
            self._first = now, self.done

    @property
    def _ended(self) -> bool:
        return self.total is not None and self.done >= self.total

    def end(self) -> None:
        """Of work whose units nobody knew before: these were all."""
        self.total = self.done
        self.advance(0)

    def _print(self, now: float, note: str) -> None:
        ended = self._ended
        since, before = (self._start, self._earlier) if ended else self._first or (now, self.done)
        rate = (self.done - before) / max(now - since, 1e-9)
        left = f"  ETA {clock((self.total - self.done) / rate)}" if rate > 0 and self.total is not None else ""
        pace = f"{rate:,.1f}/s{left}" if rate > 0 else "" if self.total is None else "ETA ?"
        count = f"{self.done:,}" if self.total is None else f"{self.done:,}/{self.total:,}"
        line = f"{self.label}: {count} {self.unit}  {pace}  {note}".rstrip()
        if self._terminal:
            end = "\n" if ended else ""
            print(f"\r\x1b[2K{line}", end=end, file=self._stream, flush=True)
        else:
            print(line, file=self._stream, flush=True)


def track(items: Iterable[Item], label: str, total: int, unit: str) -> Iterator[Item]:
    """Yields the items and advances a progress line by one after each."""
    progress = Progress(label, total, unit)
    for item in items:
        yield item
        progress.advance()
