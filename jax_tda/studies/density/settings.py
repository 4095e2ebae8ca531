"""What steers the density study."""

import dataclasses

from jax_tda.core.config import input_path
from jax_tda.core.errors import InputError
from jax_tda.evaluation.bootstrap import BootstrapConfig
from jax_tda.evaluation.tail_patch import TailPatchConfig
from jax_tda.models.decoder_config import DecoderConfig
from jax_tda.studies.density import kernels
from jax_tda.training.optimizers import OptimizerConfig

_POSITIVE = (
    "context", "steps", "tokens_per_batch", "buckets", "projected_size", "text_size", "held_out", "permutations",
    "tuning_steps", "tuning_rate", "background", "neighbours",
)  # fmt: skip

_BYTES = 4 + 256
# More than a regression here has columns: a constant, four controls, and two densities or the doses of both kinds.
_ROWS = 8


@dataclasses.dataclass(frozen=True)
class DensityConfig:
    """The settings of the study; every seed draws its own texts and trains its own model.

    Args:
      seeds: one run each.
      sentence_encoder: a folder as `embed` takes it, whose space is then one more; empty for none.
      facts: of the embedded corpus, drawn at random; 0 takes all.
      prose: sentences of the factbook in the corpus.
      vocabulary_size: pieces of the vocabulary.
      context: longest passage in tokens.
      decoder: the model.
      optimizer: of its training, and but for the rate of its tuning.
      steps: of training from scratch.
      tokens_per_batch: padded tokens per update.
      buckets: how many padded lengths; each costs a compilation.
      projected_size: p of the gradient encodings.
      text_size: dimensions of the text space.
      query_weight: λ of TrackStar's curvature; negative for the rule.
      kernels: those that are swept.
      kernel: the one that every regression uses.
      bandwidth_factors: bandwidths tried, in units of what suits one neighbour at the median distance.
      held_out: passages by whose likelihood the bandwidth is chosen.
      neighbours: k, of the mean cosine beside the densities and of the sampled estimator.
      sample: rows of the sampled estimator's uniform sample.
      draws: of that sample, whose spread is compared with its error bar.
      permutations: behind each p.
      pairs: of facts, for each kind of leak and number of copies.
      copies: how often a leaked item stands in the tuning data.
      background: passages of the corpus in the tuning data.
      tuning_steps: of training on leaked copies.
      tuning_rate: its peak learning rate.
      tail_patch: of how many queries and proponents the effect is measured, and how.
      bootstrap: how intervals are made.
    """

    seeds: tuple[int, ...] = (0,)
    sentence_encoder: str = input_path()
    facts: int = 0
    prose: int = 1000
    vocabulary_size: int = 2048
    context: int = 64
    decoder: DecoderConfig = dataclasses.field(default_factory=DecoderConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    steps: int = 3000
    tokens_per_batch: int = 512
    buckets: int = 3
    projected_size: int = 16
    text_size: int = 1024
    query_weight: float = -1.0
    kernels: tuple[str, ...] = kernels.KERNELS
    kernel: str = "gaussian"
    bandwidth_factors: tuple[float, ...] = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 8.0, 16.0, 32.0)
    held_out: int = 500
    neighbours: int = 10
    sample: int = 500
    draws: int = 10
    permutations: int = 999
    pairs: int = 40
    copies: tuple[int, ...] = (1, 2, 4)
    background: int = 1000
    tuning_steps: int = 100
    tuning_rate: float = 1e-3
    tail_patch: TailPatchConfig = dataclasses.field(default_factory=TailPatchConfig)
    bootstrap: BootstrapConfig = dataclasses.field(default_factory=BootstrapConfig)

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            self._demand(getattr(self, name) > 0, name, "a positive number")
        self._demand(bool(self.seeds) and len(set(self.seeds)) == len(self.seeds), "seeds", "different whole numbers")
        self._demand(min(self.facts, self.prose) >= 0, "facts", "a number ≥ 0 (also for prose)")
        self._demand(self.draws >= 2, "draws", "at least 2, which have a spread")
        self._demand(self.vocabulary_size > _BYTES, "vocabulary_size", f"more than {_BYTES}: 4 special ids, 256 bytes")
        self._demand(self.query_weight <= 1, "query_weight", "a weight from 0 to 1, or a negative number for the rule")
        self._demand(self.sample >= self.neighbours + 2, "sample", f"at least neighbours + 2, {self.neighbours + 2}")
        leaked = 2 * len(self.copies) * self.pairs
        self._demand(leaked >= _ROWS, "pairs", f"so many that 2 × copies × pairs, {leaked}, is at least {_ROWS}")
        self._demand(
            self.tail_patch.queries >= _ROWS,
            "tail_patch",
            f"queries of at least {_ROWS}: a regression needs more rows than columns",
        )
        self._demand(self.kernel in self.kernels, "kernel", f"one of study_density.kernels, {self.kernels}")
        for kernel in self.kernels:
            kernels.check(kernel, self.bandwidth_factors)

    def _demand(self, holds: bool, field: str, expected: str) -> None:
        if not holds:
            raise InputError(
                f"study_density.{field} is not possible",
                got=getattr(self, field),
                expected=expected,
                remedy=f"change study_density.{field}",
            )
