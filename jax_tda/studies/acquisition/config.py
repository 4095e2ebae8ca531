"""Every setting of the acquisition study that can change a number."""

import dataclasses
from typing import Annotated

from jax_tda.core.bounds import Bound, Items
from jax_tda.core.config import input_path
from jax_tda.core.declared import declared
from jax_tda.core.quantities import (
    Context,
    Documents,
    ExamplesAtOnce,
    Path,
    Positive,
    ProjectedSize,
    Seeds,
    Share,
    Steps,
    VocabularySize,
)
from jax_tda.evaluation.bootstrap import BootstrapConfig
from jax_tda.models.decoder_config import DecoderConfig
from jax_tda.studies.acquisition.timeline import Timeline
from jax_tda.training.optimizers import OptimizerConfig

_Passages = Annotated[int, Bound(1, 10**5, unit="passages")]
_Times = Annotated[int, Bound(1, 10**5, unit="times")]


@dataclasses.dataclass(frozen=True)
@declared("study_acquisition")
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

    knowledge: Path = input_path()
    corpus: Path = input_path()
    seeds: Seeds = (0,)
    decoder: DecoderConfig = dataclasses.field(default_factory=DecoderConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    vocabulary_size: VocabularySize = 4096
    context: Context = 640
    base_steps: Steps = 400
    rows: Annotated[tuple[ExamplesAtOnce, ...], Items(1, 64, different=True, order="falling")] = (4, 1)
    passages: _Passages = 5
    placebo: _Passages = 5
    encounters: _Times = 4
    interval: Steps = 50
    spacing: Steps = 3
    window: Steps = 50
    lead_steps: Annotated[int, Bound(0, 10**9, unit="steps")] = 30
    plain_steps: Annotated[int, Bound(2, 10**9, unit="steps")] = 250
    look_every: Steps = 10
    outlier_factor: Positive = 1.5
    projected_size: ProjectedSize = 16
    sample: Documents = 256
    query_weight: Share = 0.5
    damping: Annotated[float, Bound(above=0, at_most=1e6, unit="each block's mean eigenvalue")] = 0.1
    bootstrap: BootstrapConfig = dataclasses.field(default_factory=BootstrapConfig)

    def __post_init__(self) -> None:
        self.timeline.check(self.injected)

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
