"""A decoder-only language model: RMSNorm, rotary positions, grouped-query attention, a gated MLP, pre-normed residuals.

Every kernel is stored (in, out); scanned layers are stored stacked, (layer, in, out).
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jax_tda.core.errors import InputError


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
      mlp_width: the hidden size of the gated MLP.
      tied: whether the embedding table is also the output head.
      rope_theta: the base of the rotary wavelengths.
      norm_epsilon: added to the mean square in RMSNorm.
      scan_layers: whether layers are one scanned module with stacked parameters, or separate modules.
      scan_unroll: how many scanned layers the compiler sees at once; it changes speed and compile time, no number.
      remat: whether the backward pass recomputes a layer instead of keeping its activations.
      dtype: the type that layers compute in; parameters, norms, softmax and logits are float32.
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
    scan_unroll: int = 1
    remat: bool = False
    dtype: str = "float32"

    def __post_init__(self) -> None:
        for name in (
            "vocabulary_size",
            "layers",
            "width",
            "heads",
            "kv_heads",
            "mlp_width",
            "rope_theta",
            "scan_unroll",
        ):
            self._demand(getattr(self, name) > 0, name, "a positive number")
        self._demand(self.norm_epsilon >= 0, "norm_epsilon", "a number ≥ 0")
        self._demand(self.head_size >= 0, "head_size", "a positive number, or 0 for width / heads")
        self._demand(self.heads % self.kv_heads == 0, "kv_heads", f"a divisor of heads = {self.heads}")
        if self.head_size == 0:
            self._demand(self.width % self.heads == 0, "width", f"a multiple of heads = {self.heads}, or a head_size")
        self._demand(self.size_of_head % 2 == 0, "head_size", "an even number (rotary positions turn pairs)")
        self._demand(self.dtype in ("float32", "bfloat16"), "dtype", "'float32' or 'bfloat16'")

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


class RMSNorm(nn.Module):
    """Scales the last axis to unit root mean square: y = scale · x / √(mean(x²) + ε)."""

    epsilon: float
    dtype: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],), jnp.float32)
        wide = x.astype(jnp.float32)
        normed = wide * jax.lax.rsqrt(jnp.mean(jnp.square(wide), axis=-1, keepdims=True) + self.epsilon)
        return (normed * jnp.broadcast_to(scale, x.shape)).astype(self.dtype)


def rotate(x: jax.Array, positions: jax.Array, theta: float) -> jax.Array:
    """Turns the pairs (x[i], x[i + S/2]) of every head by the angle position · theta^(−2i/S).

    The product of a turned query and a turned key depends on the difference of their positions alone
    (Su et al., RoFormer, arXiv 2104.09864).

    Args:
      x: [..., T, H, S], S even.
      positions: [T].
      theta: the base of the wavelengths.
    """
    size = x.shape[-1]
    frequencies = theta ** (-jnp.arange(0, size, 2, dtype=jnp.float32) / size)
    angles = positions.astype(jnp.float32)[:, None, None] * frequencies[None, None, :]
    angles = jnp.broadcast_to(angles, (*x.shape[:-1], size // 2))
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    cosine, sine = jnp.cos(angles), jnp.sin(angles)
    return jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1).astype(x.dtype)


def _dense(config: DecoderConfig, features: int, scale: float = 1.0) -> nn.Dense:
    initializer = nn.initializers.variance_scaling(scale, "fan_in", "normal")
    return nn.Dense(features, use_bias=False, dtype=config.dtype, kernel_init=initializer)


class Attention(nn.Module):
    """Causal grouped-query attention: query head h reads key and value head ⌊h · kv_heads / heads⌋."""

    config: DecoderConfig

    def setup(self) -> None:
        c = self.config
        self.query = _dense(c, c.heads * c.size_of_head)
        self.key = _dense(c, c.kv_heads * c.size_of_head)
        self.value = _dense(c, c.kv_heads * c.size_of_head)
        # Two additions to the residual stream per layer: their sum over layers starts with unit variance.
        self.output = _dense(c, c.width, 1 / (2 * c.layers))

    def __call__(self, x: jax.Array) -> jax.Array:
        c = self.config
        length = x.shape[-2]
        positions = jnp.arange(length)
        query, key, value = (
            projected.reshape(*x.shape[:-1], -1, c.size_of_head)
            for projected in (self.query(x), self.key(x), self.value(x))
        )
        query = rotate(query, positions, c.rope_theta)
        key = rotate(key, positions, c.rope_theta)
        grouped = query.reshape(*x.shape[:-1], c.kv_heads, c.heads // c.kv_heads, c.size_of_head)
        scores = jnp.einsum("...tkgs,...uks->...kgtu", grouped, key, preferred_element_type=jnp.float32)
        scores = scores * c.size_of_head**-0.5
        visible = jnp.broadcast_to(positions[:, None] >= positions[None, :], scores.shape)
        weights = nn.softmax(jnp.where(visible, scores, -jnp.inf)).astype(value.dtype)
        mixed = jnp.einsum("...kgtu,...uks->...tkgs", weights, value)
        return self.output(mixed.reshape(*x.shape[:-1], c.heads * c.size_of_head))


class GatedMLP(nn.Module):
    """down(silu(gate(x)) · up(x))."""

    config: DecoderConfig

    def setup(self) -> None:
        c = self.config
        self.gate = _dense(c, c.mlp_width)
        self.up = _dense(c, c.mlp_width)
        self.down = _dense(c, c.width, 1 / (2 * c.layers))

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.down(nn.silu(self.gate(x)) * self.up(x))


class Layer(nn.Module):
    """Adds attention, then the MLP, each of the normed stream, to the residual stream; shaped as a scan body."""

    config: DecoderConfig

    def setup(self) -> None:
        c = self.config
        self.attention_norm = RMSNorm(c.norm_epsilon, c.dtype)
        self.attention = Attention(c)
        self.mlp_norm = RMSNorm(c.norm_epsilon, c.dtype)
        self.mlp = GatedMLP(c)

    def __call__(self, x: jax.Array, _: None = None) -> tuple[jax.Array, None]:
        x = x + self.attention(self.attention_norm(x))
        return x + self.mlp(self.mlp_norm(x)), None


class Decoder(nn.Module):
    """A causal language model over tokens with any leading axes.

    Padding needs no mask: it stands on the right, where no earlier position looks.
    """

    config: DecoderConfig

    def setup(self) -> None:
        c = self.config
        self.embedding = nn.Embed(c.vocabulary_size, c.width, dtype=c.dtype)
        # Inside a scan XLA cannot merge the recomputation with the first computation, so nothing need prevent it.
        layer = nn.remat(Layer, prevent_cse=not c.scan_layers) if c.remat else Layer
        if c.scan_layers:
            stacked: Any = nn.scan(
                layer,
                variable_axes={"params": 0},
                split_rngs={"params": True},
                length=c.layers,
                unroll=min(c.scan_unroll, c.layers),
            )
            self.layers = stacked(c)
        else:
            self.layers = [layer(c) for _ in range(c.layers)]
        self.final_norm = RMSNorm(c.norm_epsilon, c.dtype)
        if not c.tied:
            self.head = _dense(c, c.vocabulary_size)

    def hidden(self, tokens: jax.Array) -> jax.Array:
        """The normed hidden states [..., T, D] that the head reads, of tokens [..., T] int32."""
        x = self.embedding(tokens)
        if self.config.scan_layers:
            x, _ = self.layers(x, None)
        else:
            for layer in self.layers:
                x, _ = layer(x, None)
        return self.final_norm(x)

    def unembed(self, hidden: jax.Array) -> jax.Array:
        """Logits [..., V] float32 of hidden states [..., D]."""
        logits = self.embedding.attend(hidden) if self.config.tied else self.head(hidden)
        return logits.astype(jnp.float32)

    def head_path(self) -> str:
        """The path of the parameter whose rows (columns, where it is a kernel) the hidden states are multiplied by."""
        return "embedding/embedding" if self.config.tied else "head/kernel"

    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Logits [..., T, V] float32 of tokens [..., T] int32; those at t predict the token at t + 1."""
        return self.unembed(self.hidden(tokens))
