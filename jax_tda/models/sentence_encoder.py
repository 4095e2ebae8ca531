"""A sentence encoder of the BERT kind: tokens to one vector per text. A small model for itself, no decoder."""

import dataclasses
import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from jax_tda.models.norms import LayerNorm

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "gelu": functools.partial(nn.gelu, approximate=False),
    "gelu_new": functools.partial(nn.gelu, approximate=True),
    "relu": nn.relu,
}
POOLINGS = ("mean", "cls")


@dataclasses.dataclass(frozen=True)
class SentenceEncoderConfig:
    """The shape of a sentence encoder, as its folder says it.

    Attributes:
      vocabulary_size: rows of the token table.
      layers: how many.
      width: of the hidden states and of the vector.
      heads: of attention.
      mlp_width: of the hidden layer of the MLP.
      positions: learned positions, and so the longest text in tokens.
      token_types: rows of the table of segments, of which a lone text has the first.
      norm_epsilon: of LayerNorm.
      activation: a key of `ACTIVATIONS`.
      pooling: `mean` over the text's tokens, or `cls`, the first token's state.
      unit_norm: whether the vector is divided by its length.
    """

    vocabulary_size: int
    layers: int
    width: int
    heads: int
    mlp_width: int
    positions: int
    token_types: int = 2
    norm_epsilon: float = 1e-12
    activation: str = "gelu"
    pooling: str = "mean"
    unit_norm: bool = True


class _Layer(nn.Module):
    """Attention over the whole text, then the MLP, each added to its input and normed behind."""

    config: SentenceEncoderConfig

    def setup(self) -> None:
        c = self.config
        self.query, self.key, self.value, self.output = (nn.Dense(c.width) for _ in range(4))
        self.up, self.down = nn.Dense(c.mlp_width), nn.Dense(c.width)
        self.attention_norm, self.mlp_norm = (LayerNorm(c.norm_epsilon, "float32") for _ in range(2))

    def __call__(self, x: jax.Array, there: jax.Array) -> jax.Array:
        c = self.config
        heads = (*x.shape[:-1], c.heads, c.width // c.heads)
        query, key, value = (side(x).reshape(heads) for side in (self.query, self.key, self.value))
        scores = jnp.einsum("bthd,buhd->bhtu", query, key) * (c.width // c.heads) ** -0.5
        weights = nn.softmax(jnp.where(there[:, None, None, :], scores, -jnp.inf))
        mixed = jnp.einsum("bhtu,buhd->bthd", weights, value).reshape(x.shape)
        x = self.attention_norm(x + self.output(mixed))
        return self.mlp_norm(x + self.down(ACTIVATIONS[c.activation](self.up(x))))


class SentenceEncoder(nn.Module):
    """Vectors [B, D] float32 of tokens [B, T] int32, of which those `there` [B, T] bool are text and the rest padding.

    Every row has at least one token. With h the last hidden states: mean h over the text's tokens, or h of the first,
    and over its length where the config says so. Source: Devlin et al., arXiv 1810.04805; Reimers and Gurevych, arXiv
    1908.10084.
    """

    config: SentenceEncoderConfig

    def setup(self) -> None:
        c = self.config
        self.tokens = nn.Embed(c.vocabulary_size, c.width)
        self.positions = nn.Embed(c.positions, c.width)
        self.token_types = nn.Embed(c.token_types, c.width)
        self.norm = LayerNorm(c.norm_epsilon, "float32")
        self.layers = [_Layer(c) for _ in range(c.layers)]

    def __call__(self, tokens: jax.Array, there: jax.Array) -> jax.Array:
        c = self.config
        places = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
        first_type = self.token_types(jnp.zeros_like(tokens))
        x = self.norm(self.tokens(tokens) + self.positions(places) + first_type)
        for layer in self.layers:
            x = layer(x, there)
        if c.pooling == "cls":
            vector = x[:, 0]
        else:
            counted = there[..., None].astype(x.dtype)
            vector = jnp.sum(x * counted, axis=1) / jnp.sum(counted, axis=1)
        return vector / jnp.linalg.norm(vector, axis=-1, keepdims=True) if c.unit_norm else vector
