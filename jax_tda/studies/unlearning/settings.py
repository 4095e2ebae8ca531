"""What the study asks, of which model, how often: its config."""

import dataclasses
from typing import Annotated

from jax_tda.attribution.estimate import EstimateCurvatureConfig
from jax_tda.core.bounds import Bound, Items
from jax_tda.core.declared import declared, demand
from jax_tda.core.quantities import Damping, Decay, ProjectedSize, Seeds, Steps, TokensAtOnce, VocabularySize
from jax_tda.evaluation.bootstrap import BootstrapConfig
from jax_tda.models.decoder_config import DecoderConfig
from jax_tda.studies.unlearning.loop import UnlearningConfig
from jax_tda.studies.unlearning.sources import NAMES
from jax_tda.training.optimizers import OptimizerConfig

_Texts = Annotated[int, Bound(1, 10**6, unit="documents")]


@dataclasses.dataclass(frozen=True)
@declared("study_unlearning")
class StudyUnlearningConfig:
    """The study of unlearning.

    Attributes:
      seeds: of everything that is drawn; a whole study each.
      decoder: the model.
      optimizer: of its training.
      unlearning: the loop.
      bootstrap: of all intervals.
      pairs: corpora that are also unlearned, and left out, together, as `one+other`.
      places: places, and as many people, of the invented world.
      animals: animals of the invented world.
      documents: training documents of each source.
      words: the most words of a document.
      pool_documents: further documents of each source, for retraining and validation.
      queries: the most queries of each source.
      vocabulary: pieces of the vocabulary.
      steps: of training.
      tokens_per_batch: padded tokens of one step of training.
      projected_size: of the encodings whose scores are summed.
      damping: of their curvature; 0 only with four documents for each dimension of a block.
      least_effect: beyond which an effect's interval must lie for the ability to count as hit; of an outcome in 0 to 1.
    """

    seeds: Seeds = (0,)
    decoder: DecoderConfig = dataclasses.field(default_factory=DecoderConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    unlearning: UnlearningConfig = dataclasses.field(default_factory=UnlearningConfig)
    bootstrap: BootstrapConfig = dataclasses.field(default_factory=BootstrapConfig)
    pairs: Annotated[tuple[str, ...], Items(different=True)] = ("atlas+quiz", "mirror+echo", "guild+order")
    places: Annotated[int, Bound(1, 10**5)] = 24
    animals: Annotated[int, Bound(6, 10**5)] = 36
    documents: _Texts = 600
    words: Annotated[int, Bound(10, 10**5, unit="words")] = 45
    pool_documents: _Texts = 2400
    queries: Annotated[int, Bound(1, 10**6, unit="queries")] = 48
    vocabulary: VocabularySize = 800
    steps: Steps = 400
    tokens_per_batch: TokensAtOnce = 2048
    projected_size: ProjectedSize = 16
    damping: Damping = 0.1
    least_effect: Decay = 0.1

    def __post_init__(self) -> None:
        needed = 4 * self.projected_size**2
        enough = min(self.documents * len(NAMES), EstimateCurvatureConfig().sample_size) >= needed
        expected = f"a number > 0, or ≥ 0 where the curvature has {needed:,} documents to be estimated from"
        demand(self, self.damping > 0 or enough, "damping", expected)
        for pair in self.pairs:
            parts = pair.split("+")
            known = len(parts) == 2 and len(set(parts)) == 2 and set(parts) <= set(NAMES)
            demand(self, known, "pairs", f"two different ones of {', '.join(NAMES)}, joined by +")

    @property
    def removals(self) -> dict[str, tuple[str, ...]]:
        """What is taken away, by name: each source, the random control (no source), and the pairs."""
        alone = {name: (name,) for name in NAMES}
        return alone | {CONTROL: ()} | {pair: tuple(pair.split("+")) for pair in self.pairs}


CONTROL = "random"
