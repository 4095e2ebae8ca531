"""What steers the density study."""

import dataclasses
from typing import Annotated

from jax_tda.core.bounds import Bound, Items
from jax_tda.core.config import input_path
from jax_tda.core.declared import declared, demand
from jax_tda.core.quantities import (
    MOST_EXAMPLES,
    Buckets,
    Context,
    Documents,
    DocumentsOrAll,
    Path,
    Positive,
    ProjectedSize,
    QueryWeight,
    Seeds,
    Steps,
    TokensAtOnce,
)
from jax_tda.evaluation.bootstrap import BootstrapConfig
from jax_tda.evaluation.tail_patch import TailPatchConfig
from jax_tda.models.decoder_config import DecoderConfig
from jax_tda.studies.density.kernels import KERNELS, Kernel
from jax_tda.training.optimizers import OptimizerConfig

# More than a regression here has columns: a constant, four controls, and two densities or the doses of both kinds.
_ROWS = 8


@dataclasses.dataclass(frozen=True)
@declared("study_density")
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

    seeds: Seeds = (0,)
    sentence_encoder: Path = input_path()
    facts: DocumentsOrAll = 0
    prose: Annotated[int, Bound(0, MOST_EXAMPLES, unit="sentences")] = 1000
    vocabulary_size: Annotated[int, Bound(261, 2**24, unit="tokens", meaning="4 special ids, 256 bytes and more")] = (
        2048
    )
    context: Context = 64
    decoder: DecoderConfig = dataclasses.field(default_factory=DecoderConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    steps: Steps = 3000
    tokens_per_batch: TokensAtOnce = 512
    buckets: Buckets = 3
    projected_size: ProjectedSize = 16
    text_size: Annotated[int, Bound(1, 2**20)] = 1024
    query_weight: QueryWeight = -1.0
    kernels: Annotated[tuple[Kernel, ...], Items(1, different=True)] = KERNELS
    kernel: Kernel = "gaussian"
    bandwidth_factors: Annotated[tuple[Positive, ...], Items(1, 1000)] = (
        0.5,
        0.7,
        1.0,
        1.4,
        2.0,
        2.8,
        4.0,
        8.0,
        16.0,
        32.0,
    )
    held_out: Documents = 500
    neighbours: Documents = 10
    sample: Documents = 500
    draws: Annotated[int, Bound(2, 10**5, unit="draws", meaning="two have a spread")] = 10
    permutations: Annotated[int, Bound(1, 10**7)] = 999
    pairs: Annotated[int, Bound(1, 10**6)] = 40
    copies: Annotated[tuple[Annotated[int, Bound(1, 10**5)], ...], Items(1, 100)] = (1, 2, 4)
    background: Documents = 1000
    tuning_steps: Steps = 100
    tuning_rate: Positive = 1e-3
    tail_patch: TailPatchConfig = dataclasses.field(default_factory=TailPatchConfig)
    bootstrap: BootstrapConfig = dataclasses.field(default_factory=BootstrapConfig)

    def __post_init__(self) -> None:
        demand(self, self.sample >= self.neighbours + 2, "sample", f"at least neighbours + 2, {self.neighbours + 2}")
        leaked = 2 * len(self.copies) * self.pairs
        demand(self, leaked >= _ROWS, "pairs", f"so many that 2 × copies × pairs, {leaked}, is at least {_ROWS}")
        demand(
            self,
            self.tail_patch.queries >= _ROWS,
            "tail_patch",
            f"queries of at least {_ROWS}: a regression needs more rows than columns",
        )
        demand(self, self.kernel in self.kernels, "kernel", f"one of study_density.kernels, {self.kernels}")
