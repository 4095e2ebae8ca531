"""When each passage is met, and when its queries are looked at: every step inside the windows, sparsely elsewhere."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from jax_tda.core.errors import InputError


@dataclasses.dataclass(frozen=True)
class Timeline:
    """The steps of one continuation, counted from 0; θ_t are the parameters before update t.

    Passage j is met at lead + i · interval + j · spacing, i = 0, 1, …; so a step meets one passage at most.

    Attributes:
      encounters: how often a duplicated or paraphrased passage is met.
      interval: steps between two encounters of a passage.
      spacing: steps between the encounters of neighbouring passages.
      window: steps after an encounter in which its local maximum is sought.
      lead: steps before the first encounter.
      plain: steps after the last window.
      look_every: steps between two looks outside the windows.
    """

    encounters: int
    interval: int
    spacing: int
    window: int
    lead: int
    plain: int
    look_every: int

    def check(self, injected: int) -> None:
        """Refuses times that would make two passages, or two windows of one, meet.

        Raises:
          InputError: naming the setting.
        """
        if self.window > self.interval:
            raise _impossible("window", self.window, f"at most the interval, {self.interval}")
        if (injected - 1) * self.spacing >= self.interval:
            got = f"{self.interval} for {injected} passages {self.spacing} steps apart"
            raise _impossible("interval", got, f"more than {(injected - 1) * self.spacing}")

    def steps(self, injected: int) -> int:
        """How many updates there are."""
        last = self.lead + (self.encounters - 1) * self.interval + (injected - 1) * self.spacing
        return last + self.window + self.plain

    def met(self, place: int, schedule: str) -> tuple[int, ...]:
        """The steps at which the passage of a place in the order is met; for a placebo, at which it is not."""
        times = 1 if schedule == "once" else self.encounters
        return tuple(self.lead + i * self.interval + place * self.spacing for i in range(times))

    def rounds(self) -> tuple[int, ...]:
        """The first step of each round of encounters."""
        return tuple(self.lead + i * self.interval for i in range(self.encounters))

    def looks(self, met: Sequence[tuple[int, ...]], steps: int) -> np.ndarray:
        """bool [steps + 1, passages]: whether a passage's queries are looked at under θ_t.

        At every encounter, in the window after each, every `look_every` steps, and at the end.
        """
        looks = np.zeros((steps + 1, len(met)), bool)
        looks[:: self.look_every] = looks[-1] = True
        for passage, encounters in enumerate(met):
            for step in encounters:
                looks[step : step + self.window + 1, passage] = True
        return looks


def _impossible(name: str, got: object, expected: str) -> InputError:
    return InputError(
        f"study_acquisition.{name} is not possible", got=got, expected=expected, remedy=f"change {name}, or spacing"
    )
