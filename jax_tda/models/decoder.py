"""A decoder-only language model, one for many families: what they differ in is its config.

By default RMSNorm stands before attention and MLP, positions are rotary, attention is grouped and the MLP is gated.
Every kernel is stored (in, out); scanned layers are stored stacked, (layer, in, out).
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jax_tda.core.errors import InputError
from jax_tda.core.placement import keep_no_gathered
from jax_tda.models import rotary
from jax_tda.models.attention import causal_attention
from jax_tda.models.decoder_config import DecoderConfig
from jax_tda.models.layout import Layout, constrain, gathering
from jax_tda.models.norms import LayerNorm, RMSNorm
from jax_tda.models.widths import wide, widened

_ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "silu": nn.silu,
    "gelu": functools.partial(nn.gelu, approximate=False),
    "gelu_tanh": functools.partial(nn.gelu, approximate=True),
}


def _dense(module: Any, meanings: tuple[str, str], features: int, scale: float = 1.0, bias: bool = False) -> nn.Dense:
    return nn.Dense(
        features,
        use_bias=bias,
        dtype=module.config.dtype,
        param_dtype=module.config.parameter_dtype,
        kernel_init=nn.initializers.variance_scaling(scale, "fan_in", "normal"),
        promote_dtype=gathering(module.layout, meanings),
    )


def _embed(module: Any, meanings: tuple[str | None, str], count: int) -> nn.Embed:
    c = module.config
    gather = gathering(module.layout, meanings)
    return nn.Embed(count, c.width, dtype=c.dtype, param_dtype=c.parameter_dtype, promote_dtype=gather)


def _norm(config: DecoderConfig) -> RMSNorm | LayerNorm:
    kind = RMSNorm if config.norm == "rms" else LayerNorm
    return kind(config.norm_epsilon, config.dtype, config.norm_offset)


def softcap(x: jax.Array, limit: float) -> jax.Array:
    """limit · tanh(x / limit), or x itself where the limit is 0."""
    return limit * jnp.tanh(x / limit) if limit else x


def attend(
    config: DecoderConfig, query: jax.Array, key: jax.Array, value: jax.Array, local: jax.Array | None
) -> jax.Array:
    """Σ_u softmax_u(score(t, u)) value(u) over the positions u that t sees; query head h reads ⌊h · K / H⌋ of K.

    Args:
      config: scale, soft-capping and window.
      query: [..., T, H, S], turned.
      key: [..., T, K, S], turned.
      value: [..., T, K, S].
      local: whether the window holds in this layer, a scalar; None where it holds in every layer.

    Returns:
      [..., T, H · S].
    """
    c, positions = config, jnp.arange(query.shape[-3])
    query = query * (c.attention_scale or c.size_of_head**-0.5)
    if not c.window and not c.attention_softcap:
        return causal_attention(query, key, value).reshape(*query.shape[:-2], c.heads * c.size_of_head)
    grouped = query.reshape(*query.shape[:-2], c.kv_heads, c.heads // c.kv_heads, c.size_of_head)
    scores = jnp.einsum("...tkgs,...uks->...kgtu", grouped, key, preferred_element_type=wide(query))
    scores = softcap(scores, c.attention_softcap)
    visible = positions[:, None] >= positions[None, :]
    if c.window:
        near = positions[:, None] - positions[None, :] < c.window
        visible &= near if local is None else near | ~local
    weights = nn.softmax(jnp.where(jnp.broadcast_to(visible, scores.shape), scores, -jnp.inf)).astype(value.dtype)
    mixed = jnp.einsum("...kgtu,...uks->...tkgs", weights, value)
    return mixed.reshape(*query.shape[:-2], c.heads * c.size_of_head)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def gated(activation: Callable[[jax.Array], jax.Array], gate: jax.Array, up: jax.Array) -> jax.Array:
    """f(gate) · up, whose two derivatives are formed while f is at hand; of derivatives only the reverse one."""
    return activation(gate) * up


def _gated(activation: Any, gate: jax.Array, up: jax.Array) -> Any:
    value, slope = jax.jvp(activation, (gate,), (jnp.ones_like(gate),))
    return value * up, (up * slope, value)


gated.defvjp(_gated, lambda activation, slopes, gradient: (gradient * slopes[0], gradient * slopes[1]))


class Attention(nn.Module):
    """Causal grouped-query attention."""

    config: DecoderConfig
    layout: Layout | None = None

    def setup(self) -> None:
        c = self.config
        bias = c.attention_bias != "none"
        self.query = _dense(self, ("embed", "heads"), c.heads * c.size_of_head, bias=bias)
        self.key = _dense(self, ("embed", "kv_heads"), c.kv_heads * c.size_of_head, bias=bias)
        self.value = _dense(self, ("embed", "kv_heads"), c.kv_heads * c.size_of_head, bias=bias)
        # Two additions to the residual stream per layer: their sum over layers starts with unit variance.
        self.output = _dense(self, ("heads", "embed"), c.width, 1 / (2 * c.layers), c.attention_bias == "all")
        if c.query_key_norm != "none":
            self.query_norm = RMSNorm(c.norm_epsilon, c.dtype, c.norm_offset)
            self.key_norm = RMSNorm(c.norm_epsilon, c.dtype, c.norm_offset)

    def __call__(self, x: jax.Array, local: jax.Array | None = None) -> jax.Array:
        c = self.config
        query, key, value = self.query(x), self.key(x), self.value(x)
        if c.query_key_norm == "whole":
            query, key = self.query_norm(query), self.key_norm(key)
        query, key, value = (
            constrain(self.layout, projected.reshape(*x.shape[:-1], -1, c.size_of_head), "position", heads, None)
            for projected, heads in ((query, "heads"), (key, "kv_heads"), (value, "kv_heads"))
        )
        if c.query_key_norm == "heads":
            query, key = self.query_norm(query), self.key_norm(key)
        if c.positions == "rotary":
            positions, turning = jnp.arange(x.shape[-2]), self._turning(local, wide(query))
            query, key = rotary.turn(query, positions, *turning), rotary.turn(key, positions, *turning)
        return self.output(attend(c, query, key, value, local))

    def _turning(self, local: jax.Array | None, dtype: Any) -> tuple[jax.Array, jax.Array | float]:
        """Frequencies and magnitude of this layer's rotary positions."""
        c = self.config
        everywhere = rotary.frequencies(c.rope_theta, c.turned_size, c.rope_factors, dtype)
        if not c.window or not c.local_rope_theta:
            return everywhere, c.rope_magnitude
        near = rotary.frequencies(c.local_rope_theta, c.turned_size, c.local_rope_factors, dtype)
        if local is None:
            return near, c.local_rope_magnitude
        same = c.rope_magnitude == c.local_rope_magnitude
        magnitude = c.rope_magnitude if same else jnp.where(local, c.local_rope_magnitude, c.rope_magnitude)
        return jnp.where(local, near, everywhere), magnitude


class MLP(nn.Module):
    """down(f(gate(x)) · up(x)), or down(f(up(x)))."""

    config: DecoderConfig
    layout: Layout | None = None

    def setup(self) -> None:
        c = self.config
        if c.gated:
            self.gate = _dense(self, ("embed", "mlp"), c.mlp_width, bias=c.mlp_bias)
        self.up = _dense(self, ("embed", "mlp"), c.mlp_width, bias=c.mlp_bias)
        self.down = _dense(self, ("mlp", "embed"), c.width, 1 / (2 * c.layers), c.mlp_bias)

    def __call__(self, x: jax.Array) -> jax.Array:
        activation = _ACTIVATIONS[self.config.activation]
        # The gate comes first: the order of uses is the order in which their gradients are summed.
        gate = constrain(self.layout, self.gate(x), "position", "mlp") if self.config.gated else None
        up = constrain(self.layout, self.up(x), "position", "mlp")
        return self.down(activation(up) if gate is None else gated(activation, gate, up))


class Layer(nn.Module):
    """Adds attention, then the MLP, to the residual stream, normed as the config says; shaped as a scan body."""

    config: DecoderConfig
    layout: Layout | None = None

    def setup(self) -> None:
        c = self.config
        if c.norm_place != "after":
            self.attention_norm, self.mlp_norm = _norm(c), _norm(c)
        if c.norm_place != "before":
            self.attention_output_norm, self.mlp_output_norm = _norm(c), _norm(c)
        self.attention, self.mlp = Attention(c, self.layout), MLP(c, self.layout)

    def __call__(self, x: jax.Array, local: jax.Array | None = None) -> tuple[jax.Array, None]:
        attended = self._stream(x + self._attend(x, local))
        return self._stream(attended + self._transform(x if self.config.parallel else attended)), None

    def _stream(self, x: jax.Array) -> jax.Array:
        return constrain(self.layout, x, "position", "stream")

    def _attend(self, x: jax.Array, local: jax.Array | None) -> jax.Array:
        place = self.config.norm_place
        output = self.attention(x if place == "after" else self.attention_norm(x), local)
        return output if place == "before" else self.attention_output_norm(output)

    def _transform(self, x: jax.Array) -> jax.Array:
        place = self.config.norm_place
        output = self.mlp(x if place == "after" else self.mlp_norm(x))
        return output if place == "before" else self.mlp_output_norm(output)


class Decoder(nn.Module):
    """A causal language model over tokens with any leading axes.

    Padding needs no mask: it stands on the right, where no earlier position looks.

    Attributes:
      config: the shape.
      layout: where parameters and activations lie, if they are divided over devices; it changes no number.
    """

    config: DecoderConfig
    layout: Layout | None = None

    def setup(self) -> None:
        c = self.config
        self.embedding = _embed(self, ("vocabulary", "embed"), c.vocabulary_size)
        if c.positions == "learned":
            self.position_embedding = _embed(self, (None, "embed"), c.context)
        layer = Layer
        if c.remat or self.layout:
            # Inside a scan XLA cannot merge the recomputation with the first computation, so nothing need prevent it.
            layer = nn.remat(Layer, prevent_cse=not c.scan_layers, policy=None if c.remat else keep_no_gathered)
        if c.scan_layers:
            stacked: Any = nn.scan(
                layer,
                variable_axes={"params": 0},
                split_rngs={"params": True},
                length=c.layers,
            )
            self.layers = stacked(c, self.layout)
        else:
            self.layers = [layer(c, self.layout) for _ in range(c.layers)]
        self.final_norm = _norm(c)
        if not c.tied:
            self.head = _dense(self, ("embed", "vocabulary"), c.vocabulary_size)

    def hidden(self, tokens: jax.Array) -> jax.Array:
        """The normed hidden states [..., T, D] that the head reads, of tokens [..., T] int32."""
        c = self.config
        x = constrain(self.layout, self._embed(tokens), "position", "stream")
        # Whether the window holds; layers differ in nothing else.
        local = np.isin(np.arange(c.layers), c.windowed_layers) if c.windowed_layers else None
        if c.scan_layers:
            x, _ = self.layers(x, None if local is None else jnp.asarray(local))
        else:
            for number, layer in enumerate(self.layers):
                x, _ = layer(x, None if local is None else jnp.asarray(local[number]))
        return self.final_norm(x)

    def _embed(self, tokens: jax.Array) -> jax.Array:
        c, length = self.config, tokens.shape[-1]
        x = self.embedding(tokens)
        if c.embedding_scale != 1:
            x = x * jnp.asarray(c.embedding_scale, x.dtype)
        if c.positions == "rotary":
            return x
        if length > c.context:
            raise InputError(
                "An example is longer than the model's learned positions.",
                got=f"{length} tokens",
                expected=f"at most {c.context}",
                remedy="tokenize with the checkpoint, which splits longer documents",
            )
        return x + jnp.broadcast_to(self.position_embedding(jnp.arange(length)), x.shape)

    @nn.nowrap
    def unrolled(self) -> "Decoder":
        """The same model with layers as separate modules: faster on a CPU, longer to compile."""
        return Decoder(dataclasses.replace(self.config, scan_layers=False), self.layout)

    @nn.nowrap
    def laid_out(self, mesh: Mesh, remat: bool | None = None) -> "Decoder":
        """The same model with weights and activations divided over a mesh; `remat` as the config's, unless given."""
        config = dataclasses.replace(self.config, remat=self.config.remat if remat is None else remat)
        return Decoder(config, Layout(mesh, config))

    def unembed(self, hidden: jax.Array) -> jax.Array:
        """Logits [..., V] float32 (float64 where the parameters are) of hidden states [..., D]."""
        logits = self.embedding.attend(hidden) if self.config.tied else self.head(hidden)
        logits = constrain(self.layout, widened(logits), "position", "vocabulary")
        return softcap(logits, self.config.logit_softcap)

    def head_path(self) -> str | None:
        """The path of the parameter whose rows (columns, where it is a kernel) the hidden states are multiplied by.

        None where logits are more than that product.
        """
        if self.config.logit_softcap:
            return None
        return "embedding/embedding" if self.config.tied else "head/kernel"

    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Logits [..., T, V] float32 of tokens [..., T] int32; those at t predict the token at t + 1."""
        return self.unembed(self.hidden(tokens))
