"""Equal steps dealt over the processes of a run; what each has made of its own so far is kept, and gone on from.

A step belongs to a share, share i of P taking every P-th of the steps that were left when the division was made. A run
with the same number of processes goes on with the same shares, in the same order. A run with another number leaves
those shares as they stand and divides the steps that are left anew. In the end all shares of all divisions together
hold every step once.
"""

import io
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from jax_tda.artifacts import arrays
from jax_tda.artifacts.artifact import Writer
from jax_tda.core import files, processes
from jax_tda.core.errors import InputError

State = Mapping[str, np.ndarray]
# From an array's name to the array, read only then.
Kept = Callable[[str], np.ndarray]

# Keeping may take this part of the time, however large what is kept.
_PART_FOR_KEEPING = 0.1


class Shares:
    """This process's share of steps 0 … count − 1.

    Args:
      writer: the artifact that the work is for; every process makes its `Shares` at the same point.
      count: how many steps there are.
      label: told apart from other divisions of the same artifact's work by it.
    """

    def __init__(self, writer: Writer, count: int, label: str = ""):
        self._writer, self._label = writer, label
        divisions, self._records = processes.agree(self._divisions)
        self._count, left = count, np.arange(count)
        for division, made in enumerate(divisions[:-1]):
            # As it was found when the steps were next divided, whatever a process that was given up for dead did since.
            before = divisions[division + 1]["before"]
            parts = [
                left[part :: made["shares"]][: before.get(self._share(division, part), 0)]
                for part in range(made["shares"])
            ]
            left = np.setdiff1d(left, np.concatenate(parts), assume_unique=True)
        self._before: dict[str, int] = divisions[-1]["before"]
        self._division, count = len(divisions) - 1, divisions[-1]["shares"]
        finished = [self._records.get(self._share(self._division, part), 0) for part in range(count)]
        # Shares differ in length by one, and by what was kept of them; yet all processes take equally many turns.
        self._turns = max(len(left[part::count]) - finished[part] for part in range(count))
        self._name = self._share(self._division, processes.index())
        self._mine = left[processes.index() :: count]
        self._done = self._kept_steps = finished[processes.index()]
        self._due = 0.0

    def _divisions(self) -> tuple[list[dict[str, Any]], dict[str, int]]:
        """Every division, the last being this run's, and the finished steps of every share."""
        units = self._writer.finished_units()
        divisions = [units[name] for name in sorted(units) if name.startswith(f"{self._label}division_")]
        records = {
            name: facts["steps"] for name, facts in sorted(units.items()) if name.startswith(f"{self._label}share_")
        }
        if not divisions or divisions[-1]["shares"] != processes.count():
            made = {"shares": processes.count(), "before": records}
            self._writer.finish_unit(f"{self._label}division_{len(divisions):05d}", made)
            divisions.append(made)
        return divisions, records

    @property
    def left(self) -> np.ndarray:
        """The steps that this process has before it, in order."""
        return self._mine[self._done :]

    def kept(self) -> Kept | None:
        """What was kept of this very share; None where nothing was."""
        return self._reading(self._name, self._kept_steps) if self._kept_steps else None

    def work(self, state: Callable[[], State]) -> Iterator[int]:
        """Gives out this process's steps; when the next is asked for, the last counts as done.

        Args:
          state: gives what is to be kept after the steps so far.

        Raises:
          Stopped: the run was asked to stop; what was done is kept.
        """
        with processes.stoppable() as stop:
            for _ in range(self._turns):
                if len(self.left):
                    yield int(self.left[0])
                    self._done += 1
                    if time.monotonic() >= self._due:
                        self._keep(state())
                if stop.asked():
                    self._keep(state())
                    stop.now()

    def whole(self, state: Callable[[], State]) -> list[Kept]:
        """What was kept of every share, once all processes are through."""
        if processes.count() == 1 and not self._division:
            return [state().__getitem__]
        self._keep(state())
        processes.barrier("shares")
        records = processes.agree(lambda: self._divisions()[1])
        own = {name: steps for name, steps in records.items() if name.startswith(self._share(self._division))}
        kept = self._before | own
        if sum(kept.values()) != self._count:
            raise self._lost(f"{sum(kept.values())} of {self._count} steps")
        return [self._reading(name, steps) for name, steps in sorted(kept.items())]

    def _share(self, division: int, part: int | None = None) -> str:
        return f"{self._label}share_{division:05d}_" + ("" if part is None else f"{part:05d}")

    def _lost(self, got: str) -> InputError:
        return InputError(
            f"what was kept of the unfinished work at {self._writer.path} is not whole",
            got=got,
            expected="every step kept once",
            remedy="delete the output and run the job again; processes of an earlier run wrote after this one began",
        )

    def _keep(self, state: State) -> None:
        if self._done == self._kept_steps:
            return
        started, share = time.monotonic(), self._name
        for name, array in state.items():
            data = io.BytesIO()
            np.save(data, array)
            arrays.write_atomically(self._path(share, self._done, name), data.getvalue())
        self._writer.finish_unit(share, {"steps": self._done})
        if self._kept_steps:
            files.delete(self._writer.scratch() / f"{share}_{self._kept_steps}")
        self._kept_steps = self._done
        self._due = time.monotonic() + (time.monotonic() - started) / _PART_FOR_KEEPING

    def _path(self, share: str, steps: int, name: str) -> str:
        return str(self._writer.scratch() / f"{share}_{steps}" / f"{name}.npy")

    def _reading(self, share: str, steps: int) -> Kept:
        def read(name: str) -> np.ndarray:
            try:
                array: np.ndarray = np.load(io.BytesIO(files.read(self._path(share, steps, name))))
            except FileNotFoundError as error:
                raise self._lost(f"no {name} of {share} after {steps} steps") from error
            return array

        return read
