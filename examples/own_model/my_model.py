"""A model of nobody's but its author: any linen (or nnx) module that maps tokens [B, T] to logits [B, T, V] will do."""

import flax.linen as nn
import jax.numpy as jnp


class MyModel(nn.Module):
    """One causal layer of attention and a perceptron behind an embedding."""

    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(512, 64, name="embedding")(tokens)
        x += nn.SelfAttention(num_heads=4, name="attention")(nn.LayerNorm()(x), mask=nn.make_causal_mask(tokens))
        x += nn.Dense(64, name="down")(nn.gelu(nn.Dense(256, name="up")(nn.LayerNorm()(x))))
        return nn.Dense(512, name="head")(nn.LayerNorm()(x)).astype(jnp.float32)


def build():
    """What `own_model.build` names."""
    return MyModel()
