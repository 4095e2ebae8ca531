"""The shape of a decoder: every choice by which the families of decoder-only language models differ."""

import dataclasses
from typing import Annotated, Literal

from jax_tda.core.bounds import Bound, Items
from jax_tda.core.declared import declared, demand
from jax_tda.core.quantities import Dtype, Fraction, Heads, Layers, NotNegative, Number, Positive, VocabularySize, Width


@dataclasses.dataclass(frozen=True)
@declared("decoder")
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

    vocabulary_size: VocabularySize = 8192
    layers: Layers = 4
    width: Width = 256
    heads: Heads = 4
    kv_heads: Heads = 4
    head_size: Annotated[int, Bound(0, 2**16, meaning="0 for width / heads")] = 0
    mlp_width: Width = 704
    tied: bool = True
    rope_theta: Positive = 10000.0
    norm_epsilon: NotNegative = 1e-6
    scan_layers: bool = True
    remat: bool = False
    dtype: Dtype = "float32"
    parameter_dtype: Dtype = "float32"
    norm: Literal["rms", "layer"] = "rms"
    norm_place: Literal["before", "after", "both"] = "before"
    norm_offset: Number = 0.0
    query_key_norm: Literal["none", "heads", "whole"] = "none"
    attention_bias: Literal["none", "inputs", "all"] = "none"
    mlp_bias: bool = False
    gated: bool = True
    activation: Literal["silu", "gelu", "gelu_tanh"] = "silu"
    parallel: bool = False
    positions: Literal["rotary", "learned"] = "rotary"
    context: Annotated[int, Bound(0, 2**24, unit="tokens")] = 0
    rotary_fraction: Fraction = 1.0
    rope_factors: Annotated[tuple[Positive, ...], Items(0, 2**16)] = ()
    rope_magnitude: Positive = 1.0
    window: Annotated[int, Bound(0, 2**31 - 1, unit="tokens")] = 0
    windowed_layers: Annotated[
        tuple[Annotated[int, Bound(0, 4095)], ...], Items(0, 4096, different=True, order="rising")
    ] = ()
    local_rope_theta: NotNegative = 0.0
    local_rope_factors: Annotated[tuple[Positive, ...], Items(0, 2**16)] = ()
    local_rope_magnitude: Positive = 1.0
    embedding_scale: Number = 1.0
    attention_scale: NotNegative = 0.0
    attention_softcap: NotNegative = 0.0
    logit_softcap: NotNegative = 0.0

    def __post_init__(self) -> None:
        demand(self, self.heads % self.kv_heads == 0, "kv_heads", f"a divisor of heads = {self.heads}")
        divides = self.head_size > 0 or self.width % self.heads == 0
        demand(self, divides, "width", f"a multiple of heads = {self.heads}, or a head_size")
        even = f"an even number (rotary positions turn pairs); the head's size is {self.size_of_head}"
        demand(self, self.size_of_head > 0 and self.size_of_head % 2 == 0, "head_size", even)
        demand(self, self.positions == "rotary" or self.context > 0, "context", "the number of learned positions")
        turned = self.turned_size
        demand(self, turned > 0 and turned % 2 == 0, "rotary_fraction", "an even, non-empty part of the head")
        for name in ("rope_factors", "local_rope_factors"):
            fits = len(getattr(self, name)) in (0, 1, turned // 2)
            demand(self, fits, name, f"no, one or {turned // 2} positive numbers")
        placed = all(number < self.layers for number in self.windowed_layers)
        demand(self, placed, "windowed_layers", f"layer numbers below {self.layers}, in order")
        demand(self, self.window > 0 or not self.windowed_layers, "window", "a window for the windowed layers")
        alone = self.norm_place == "before" or not self.parallel
        demand(self, alone, "parallel", "False where norms stand after attention")

    @property
    def size_of_head(self) -> int:
        """The size of one head, spelled out."""
        return self.head_size or self.width // max(self.heads, 1)

    @property
    def turned_size(self) -> int:
        """How many of a head's dimensions rotary positions turn."""
        return int(self.size_of_head * self.rotary_fraction)
