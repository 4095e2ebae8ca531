"""What steers the scaling study."""

import dataclasses
import itertools

from jax_tda.core.errors import InputError
from jax_tda.evaluation.bootstrap import BootstrapConfig
from jax_tda.evaluation.tail_patch import TailPatchConfig
from jax_tda.models.decoder_config import DecoderConfig
from jax_tda.training.optimizers import OptimizerConfig


@dataclasses.dataclass(frozen=True)
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

    seeds: tuple[int, ...] = (0,)
    facts: int = 400
    prose: int = 300
    vocabulary_size: int = 1024
    context: int = 64
    layers: tuple[int, ...] = (1, 2, 4)
    widths: tuple[int, ...] = (48, 96, 128)
    checkpoints: tuple[int, ...] = (150, 300, 600, 1200)
    decoder: DecoderConfig = dataclasses.field(default_factory=DecoderConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    tokens_per_batch: int = 512
    buckets: int = 2
    projected_size: int = 16
    query_weight: float = -1.0
    looked_at: int = 10
    tail_patch: TailPatchConfig = dataclasses.field(default_factory=TailPatchConfig)
    bootstrap: BootstrapConfig = dataclasses.field(default_factory=BootstrapConfig)

    def __post_init__(self) -> None:
        self._demand(bool(self.seeds) and len(set(self.seeds)) == len(self.seeds), "seeds", "different whole numbers")
        self._demand(0 < len(self.layers) == len(self.widths), "widths", "one width for each entry of layers")
        steps = self.checkpoints
        self._demand(bool(steps) and steps[0] > 0, "checkpoints", "at least one positive number of steps")
        self._demand(all(a < b for a, b in itertools.pairwise(steps)), "checkpoints", "rising numbers")
        self._demand(self.facts >= 0 and self.prose >= 0, "facts", "numbers ≥ 0 (also for prose)")
        self._demand(self.looked_at > 0, "looked_at", "at least one proponent")
        for layers, width in zip(self.layers, self.widths, strict=True):
            self.model(layers, width)  # Refuses what is no decoder.

    def model(self, layers: int, width: int) -> DecoderConfig:
        """The decoder of one size."""
        mlp = 8 * (width // 3)
        return dataclasses.replace(self.decoder, layers=layers, width=width, heads=4, kv_heads=4, mlp_width=mlp)

    def _demand(self, holds: bool, field: str, expected: str) -> None:
        if not holds:
            raise InputError(
                f"study_scaling.{field} is not possible",
                got=getattr(self, field),
                expected=expected,
                remedy=f"change study_scaling.{field}",
            )
