"""What the study asks, of which model, how often: its config."""

import dataclasses

from jax_tda.attribution.estimate import EstimateCurvatureConfig
from jax_tda.core.errors import InputError
from jax_tda.evaluation.bootstrap import BootstrapConfig
from jax_tda.models.decoder_config import DecoderConfig
from jax_tda.studies.unlearning.loop import UnlearningConfig
from jax_tda.studies.unlearning.sources import NAMES
from jax_tda.training.optimizers import OptimizerConfig


@dataclasses.dataclass(frozen=True)
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

    seeds: tuple[int, ...] = (0,)
    decoder: DecoderConfig = dataclasses.field(default_factory=DecoderConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    unlearning: UnlearningConfig = dataclasses.field(default_factory=UnlearningConfig)
    bootstrap: BootstrapConfig = dataclasses.field(default_factory=BootstrapConfig)
    pairs: tuple[str, ...] = ("atlas+quiz", "mirror+echo", "guild+order")
    places: int = 24
    animals: int = 36
    documents: int = 600
    words: int = 45
    pool_documents: int = 2400
    queries: int = 48
    vocabulary: int = 800
    steps: int = 400
    tokens_per_batch: int = 2048
    projected_size: int = 16
    damping: float = 0.1
    least_effect: float = 0.1

    def __post_init__(self) -> None:
        for field, least in (("places", 1), ("animals", 6), ("documents", 1), ("words", 10), ("pool_documents", 1)):
            self._demand(getattr(self, field) >= least, field, f"at least {least}")
        for field in ("queries", "steps", "tokens_per_batch", "projected_size"):
            self._demand(getattr(self, field) >= 1, field, "at least 1")
        needed = 4 * self.projected_size**2
        enough = min(self.documents * len(NAMES), EstimateCurvatureConfig().sample_size) >= needed
        expected = f"a number > 0, or ≥ 0 where the curvature has {needed:,} documents to be estimated from"
        self._demand(self.damping > 0 or (self.damping == 0 and enough), "damping", expected)
        self._demand(0 <= self.least_effect < 1, "least_effect", "at least 0 and below 1")
        whole = len(set(self.seeds)) == len(self.seeds) > 0
        self._demand(whole, "seeds", "one seed or more, none twice")
        for pair in self.pairs:
            parts = pair.split("+")
            known = len(parts) == 2 and len(set(parts)) == 2 and set(parts) <= set(NAMES)
            self._demand(known, "pairs", f"two different ones of {', '.join(NAMES)}, joined by +")

    def _demand(self, holds: bool, field: str, expected: str) -> None:
        if not holds:
            raise InputError(
                f"study_unlearning.{field} is not possible",
                got=repr(getattr(self, field)),
                expected=expected,
                remedy=f"change study_unlearning.{field}",
            )

    @property
    def removals(self) -> dict[str, tuple[str, ...]]:
        """What is taken away, by name: each source, the random control (no source), and the pairs."""
        alone = {name: (name,) for name in NAMES}
        return alone | {CONTROL: ()} | {pair: tuple(pair.split("+")) for pair in self.pairs}


CONTROL = "random"
