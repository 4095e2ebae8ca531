"""What steers the scaling study."""

import dataclasses
from typing import Annotated

from jax_tda.core.bounds import Bound, Items
from jax_tda.core.declared import declared, demand
from jax_tda.core.quantities import (
    MOST_EXAMPLES,
    Buckets,
    Context,
    DocumentsOrAll,
    Layers,
    ProjectedSize,
    QueryWeight,
    Seeds,
    Steps,
    TokensAtOnce,
    VocabularySize,
    Width,
)
from jax_tda.evaluation.bootstrap import BootstrapConfig
from jax_tda.evaluation.tail_patch import TailPatchConfig
from jax_tda.models.decoder_config import DecoderConfig
from jax_tda.training.optimizers import OptimizerConfig


@dataclasses.dataclass(frozen=True)
@declared("study_scaling")
class ScalingConfig:
    """The settings of the study; every seed draws its own facts and trains its own models.

    Args:
      seeds: one run each.
      facts: of the embedded corpus, drawn at random; 0 takes all.
      prose: sentences of the factbook in the corpus.
      vocabulary_size: pieces of the vocabulary.
      context: longest passage in tokens.
      layers: of each size of model.
      widths: of each size of model, four heads and an MLP of 8/3 widths.
      checkpoints: steps after which a model is looked at, each the end of a schedule of its own.
      decoder: all else of the models.
      optimizer: of every schedule.
      tokens_per_batch: padded tokens per update.
      buckets: how many padded lengths; each costs a compilation.
      projected_size: p of the gradient encodings.
      query_weight: λ of TrackStar's curvature; negative for the rule.
      looked_at: proponents of each query whose kinds are counted.
      tail_patch: of how many queries and proponents the effect is measured, and how.
      bootstrap: how intervals are made.
    """

    seeds: Seeds = (0,)
    facts: DocumentsOrAll = 400
    prose: Annotated[int, Bound(0, MOST_EXAMPLES, unit="sentences")] = 300
    vocabulary_size: VocabularySize = 1024
    context: Context = 64
    layers: Annotated[tuple[Layers, ...], Items(1, 64)] = (1, 2, 4)
    widths: Annotated[tuple[Width, ...], Items(1, 64)] = (48, 96, 128)
    checkpoints: Annotated[tuple[Steps, ...], Items(1, 64, different=True, order="rising")] = (150, 300, 600, 1200)
    decoder: DecoderConfig = dataclasses.field(default_factory=DecoderConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    tokens_per_batch: TokensAtOnce = 512
    buckets: Buckets = 2
    projected_size: ProjectedSize = 16
    query_weight: QueryWeight = -1.0
    looked_at: Annotated[int, Bound(1, 2**20, unit="proponents")] = 10
    tail_patch: TailPatchConfig = dataclasses.field(default_factory=TailPatchConfig)
    bootstrap: BootstrapConfig = dataclasses.field(default_factory=BootstrapConfig)

    def __post_init__(self) -> None:
        demand(self, len(self.layers) == len(self.widths), "widths", "one width for each entry of layers")
        for layers, width in zip(self.layers, self.widths, strict=True):
            self.model(layers, width)  # Refuses what is no decoder.

    def model(self, layers: int, width: int) -> DecoderConfig:
        """The decoder of one size."""
        mlp = 8 * (width // 3)
        return dataclasses.replace(self.decoder, layers=layers, width=width, heads=4, kv_heads=4, mlp_width=mlp)
