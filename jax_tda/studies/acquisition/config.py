"""Every setting of the acquisition study that can change a number."""

import dataclasses

from jax_tda.core.config import input_path
from jax_tda.core.errors import InputError
from jax_tda.evaluation.bootstrap import BootstrapConfig
from jax_tda.models.decoder_config import DecoderConfig
from jax_tda.studies.acquisition.timeline import Timeline
from jax_tda.training.optimizers import OptimizerConfig


@dataclasses.dataclass(frozen=True)
class AcquisitionConfig:
    """What is injected into which training, and how it is looked at.

    Args:
      knowledge: a file of the Fictional Knowledge form; empty for invented passages of the project's own.
      corpus: JSON lines of ordinary text; empty for the embedded facts. Passages that are not chosen join it.
      seeds: each draws its own passages, initial parameters and order of rows.
      decoder: the model; its vocabulary size is taken from the vocabulary.
      optimizer: its schedule runs over base and continuation together; decay_to 1 keeps the rate after the warmup.
      vocabulary_size: pieces, trained on corpus and passages together.
      context: tokens of a row; passages that do not fit with every version are not chosen.
      base_steps: updates before the continuations, in batches of rows[0].
      rows: rows per batch, one run with injection for each; the control run is of the first.
      passages: for each of the three schedules.
      placebo: passages never injected.
      encounters, interval, spacing, window: as in `timeline.Timeline`.
      lead_steps, plain_steps: before the first encounter, after the last window; the latter is also the horizon of R.
      look_every: steps between two looks at a query outside its windows.
      outlier_factor: of the interquartile range; 1.5 in the paper, 2.0 in its code.
      projected_size, sample, query_weight, damping: as in `influence.InfluenceConfig`.
      bootstrap: how intervals are drawn.
    """

    knowledge: str = input_path()
    corpus: str = input_path()
    seeds: tuple[int, ...] = (0,)
    decoder: DecoderConfig = dataclasses.field(default_factory=DecoderConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    vocabulary_size: int = 4096
    context: int = 640
    base_steps: int = 400
    rows: tuple[int, ...] = (4, 1)
    passages: int = 5
    placebo: int = 5
    encounters: int = 4
    interval: int = 50
    spacing: int = 3
    window: int = 50
    lead_steps: int = 30
    plain_steps: int = 250
    look_every: int = 10
    outlier_factor: float = 1.5
    projected_size: int = 16
    sample: int = 256
    query_weight: float = 0.5
    damping: float = 0.1
    bootstrap: BootstrapConfig = dataclasses.field(default_factory=BootstrapConfig)

    @property
    def timeline(self) -> Timeline:
        """When what happens."""
        return Timeline(
            encounters=self.encounters,
            interval=self.interval,
            spacing=self.spacing,
            window=self.window,
            lead=self.lead_steps,
            plain=self.plain_steps,
            look_every=self.look_every,
        )

    @property
    def injected(self) -> int:
        """How many passages are injected."""
        return 3 * self.passages

    def runs(self) -> list[tuple[str, int, bool]]:
        """Name, rows per batch and whether passages are injected, of every continuation; the main run first."""
        first, *others = self.rows
        return [
            (f"rows{first}", first, True),
            ("control", first, False),
            *((f"rows{size}", size, True) for size in others),
        ]

    def check(self) -> None:
        """Refuses what cannot be run.

        Raises:
          InputError: naming the setting.
        """
        self.timeline.check(self.injected)
        least = {"vocabulary_size": 1, "context": 2, "base_steps": 1, "passages": 1, "placebo": 1, "sample": 1}
        least["projected_size"] = 1
        for name, value in least.items():
            self._demand(getattr(self, name) >= value, name, f"a whole number ≥ {value}")
        self._demand(len(set(self.seeds)) == len(self.seeds) > 0, "seeds", "at least one, none twice")
        falling = all(a > b for a, b in zip(self.rows, self.rows[1:], strict=False))
        self._demand(bool(self.rows) and falling and self.rows[-1] > 0, "rows", "positive numbers, the largest first")
        self._demand(self.outlier_factor > 0, "outlier_factor", "a positive number")
        self._demand(0 <= self.query_weight <= 1, "query_weight", "a share, 0 to 1")
        self._demand(self.damping > 0, "damping", "a positive number")

    def _demand(self, holds: bool, name: str, expected: str) -> None:
        if not holds:
            raise InputError(
                f"study_acquisition.{name} is not possible",
                got=getattr(self, name),
                expected=expected,
                remedy=f"change {name}",
            )
