"""The shape of a decoder: every choice by which the families of decoder-only language models differ."""

import dataclasses
import math

from jax_tda.core.errors import InputError

_CHOICES = {
    "norm": ("rms", "layer"),
    "norm_place": ("before", "after", "both"),
    "query_key_norm": ("none", "heads", "whole"),
    "attention_bias": ("none", "inputs", "all"),
    "activation": ("silu", "gelu", "gelu_tanh"),
    "positions": ("rotary", "learned"),
    "dtype": ("float32", "bfloat16"),
    "parameter_dtype": ("float32", "bfloat16"),
}
_ABOVE_0 = (
    "vocabulary_size", "layers", "width", "heads", "kv_heads", "mlp_width", "rope_theta", "rope_magnitude",
    "local_rope_magnitude",
)  # fmt: skip
_NOT_BELOW_0 = (
    "norm_epsilon", "context", "window", "local_rope_theta", "attention_scale", "attention_softcap", "logit_softcap",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    """The shape of a decoder.

    Attributes:
      vocabulary_size: V, the number of token ids.
      layers: the number of layers.
      width: D, the size of the residual stream.
      heads: query heads.
      kv_heads: key and value heads; each serves heads / kv_heads neighbouring query heads.
      head_size: the size of one head; 0 means width / heads. Even, because rotary positions turn pairs.
      mlp_width: the hidden size of the MLP.
      tied: whether the embedding table is also the output head.
      rope_theta: the base of the rotary wavelengths.
      norm_epsilon: added to the mean square, or variance, in a norm.
      scan_layers: whether layers are one scanned module with stacked parameters, or separate modules.
      remat: whether the backward pass recomputes a layer instead of keeping its activations.
      dtype: the type that layers compute in; norms, softmax and logits are float32.
      parameter_dtype: the type that tables, kernels and biases are held in; norms are float32.
      norm: "rms" (RMSNorm) or "layer" (LayerNorm with a bias).
      norm_place: norms stand "before" attention and MLP, "after" them inside the residual branch, or "both".
      norm_offset: added to a norm's stored scale; 1 in Gemma, whose stored scales are differences from 1.
      query_key_norm: RMSNorm of queries and keys: "none", of each of the "heads" alone, or of the "whole" projection.
      attention_bias: which of attention's maps have a bias: "none", "inputs" (query, key, value) or "all".
      mlp_bias: whether the MLP's maps have a bias.
      gated: down(f(gate(x)) · up(x)) instead of down(f(up(x))).
      activation: f: "silu", "gelu" (by the error function) or "gelu_tanh" (its approximation).
      parallel: attention and MLP both read the stream before either is added to it.
      positions: "rotary" or "learned".
      context: the number of learned positions.
      rotary_fraction: the share of a head that is turned, from its beginning.
      rope_factors: what each rotary wavelength is multiplied by: none, one for all, or one for each turned pair.
      rope_magnitude: what cosines and sines of rotary positions are multiplied by.
      window: in windowed layers a position sees this many, itself included; 0 for no window.
      windowed_layers: the layers with a window; empty for all.
      local_rope_theta: the base of the wavelengths in windowed layers, where `rope_factors` and `rope_magnitude` then
        have no effect; 0 for the same as elsewhere.
      local_rope_factors: the factors of these wavelengths.
      local_rope_magnitude: the magnitude there.
      embedding_scale: what embeddings are multiplied by where they enter; the output head is not.
      attention_scale: what the product of query and key is multiplied by; 0 means head_size^(−1/2).
      attention_softcap: c in c · tanh(score / c), applied before the softmax; 0 for none.
      logit_softcap: the same for logits.
    """

    vocabulary_size: int = 8192
    layers: int = 4
    width: int = 256
    heads: int = 4
    kv_heads: int = 4
    head_size: int = 0
    mlp_width: int = 704
    tied: bool = True
    rope_theta: float = 10000.0
    norm_epsilon: float = 1e-6
    scan_layers: bool = True
    remat: bool = False
    dtype: str = "float32"
    parameter_dtype: str = "float32"
    norm: str = "rms"
    norm_place: str = "before"
    norm_offset: float = 0.0
    query_key_norm: str = "none"
    attention_bias: str = "none"
    mlp_bias: bool = False
    gated: bool = True
    activation: str = "silu"
    parallel: bool = False
    positions: str = "rotary"
    context: int = 0
    rotary_fraction: float = 1.0
    rope_factors: tuple[float, ...] = ()
    rope_magnitude: float = 1.0
    window: int = 0
    windowed_layers: tuple[int, ...] = ()
    local_rope_theta: float = 0.0
    local_rope_factors: tuple[float, ...] = ()
    local_rope_magnitude: float = 1.0
    embedding_scale: float = 1.0
    attention_scale: float = 0.0
    attention_softcap: float = 0.0
    logit_softcap: float = 0.0

    def __post_init__(self) -> None:
        for name in ("rope_factors", "local_rope_factors", "windowed_layers"):  # JSON knows no tuples.
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in _ABOVE_0:
            self._demand(getattr(self, name) > 0, name, "a positive number")
        for name in _NOT_BELOW_0:
            self._demand(getattr(self, name) >= 0, name, "a number ≥ 0")
        for name, choices in _CHOICES.items():
            self._demand(getattr(self, name) in choices, name, " or ".join(map(repr, choices)))
        self._demand(self.head_size >= 0, "head_size", "a positive number, or 0 for width / heads")
        self._demand(self.heads % self.kv_heads == 0, "kv_heads", f"a divisor of heads = {self.heads}")
        if self.head_size == 0:
            self._demand(self.width % self.heads == 0, "width", f"a multiple of heads = {self.heads}, or a head_size")
        self._demand(self.size_of_head % 2 == 0, "head_size", "an even number (rotary positions turn pairs)")
        self._demand_positions()
        self._demand(
            self.norm_place == "before" or not self.parallel, "parallel", "False where norms stand after attention"
        )

    def _demand_positions(self) -> None:
        self._demand(self.positions == "rotary" or self.context > 0, "context", "the number of learned positions")
        turned, whole = self.turned_size, 0 < self.rotary_fraction <= 1
        self._demand(whole and turned > 0 and turned % 2 == 0, "rotary_fraction", "an even, non-empty part of the head")
        for name in ("rope_factors", "local_rope_factors"):
            factors = getattr(self, name)
            fits = len(factors) in (0, 1, turned // 2) and all(0 < factor < math.inf for factor in factors)
            self._demand(fits, name, f"no, one or {turned // 2} positive numbers")
        placed = list(self.windowed_layers) == sorted({n for n in self.windowed_layers if 0 <= n < self.layers})
        self._demand(placed, "windowed_layers", f"layer numbers below {self.layers}, in order")
        self._demand(self.window > 0 or not self.windowed_layers, "window", "a window for the windowed layers")

    def _demand(self, holds: bool, field: str, expected: str) -> None:
        if not holds:
            got = (
                f"{getattr(self, field)!r} (head size {self.size_of_head})" if "head" in field else getattr(self, field)
            )
            raise InputError(
                f"DecoderConfig.{field} is not possible.", got=got, expected=expected, remedy=f"change {field}"
            )

    @property
    def size_of_head(self) -> int:
        """The size of one head, spelled out."""
        return self.head_size or self.width // max(self.heads, 1)

    @property
    def turned_size(self) -> int:
        """How many of a head's dimensions rotary positions turn."""
        return int(self.size_of_head * self.rotary_fraction)
