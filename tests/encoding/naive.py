"""The dumb way to an encoding: whole per-example gradients, divided, projected, summed."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jax_tda.core import trees


def loss(model, params, tokens, weights):
    """−Σ w_t log p(token_t | before), written out without the library."""
    logits = model.apply({"params": params}, tokens[None])[0]
    log_p = jnp.log(jnp.exp(logits) / jnp.exp(logits).sum(-1, keepdims=True))
    return -jnp.sum(weights[1:, None] * log_p[:-1] * jax.nn.one_hot(tokens[1:], logits.shape[-1]))


@functools.cache
def gradient(model):
    """The compiled gradient of one example's loss with respect to every parameter."""
    return jax.jit(jax.grad(lambda params, tokens, weights: loss(model, params, tokens, weights)))


def encode(encoder, model, params, examples, inverse_roots=None, views=None):
    """{block: [B, p, p]}: Σ over a block's matrices of P₀ (∇ · 1/√V) P₁ᵀ, one example and one layer at a time, float64.

    `inverse_roots` holds 1/√V by parameter path, in the parameter's own shape. `views` says how what is no (in, out)
    matrix, nor a stack of them, is one.
    """
    out = {block: [] for block in encoder.plan.blocks}
    for tokens, weights in zip(examples["tokens"], examples["loss_weights"], strict=True):
        gradients = trees.flatten(gradient(model)(params, jnp.asarray(tokens), jnp.asarray(weights)))
        sums = dict.fromkeys(out, 0.0)
        for matrix in encoder.plan.matrices:
            whole = np.asarray(gradients[matrix.path], np.float64)
            if inverse_roots is not None:
                whole = whole * inverse_roots[matrix.path]
            whole = (views or {}).get(matrix.path, np.asarray)(whole)
            left, right = (np.asarray(side, np.float64) for side in encoder.projections(matrix.path))
            if not matrix.layers:
                whole, left, right = whole[None], left[None], right[None]
            for layer, block in enumerate(matrix.blocks):
                sums[block] = sums[block] + left[layer] @ whole[layer] @ right[layer].T
        for block, value in sums.items():
            out[block].append(value)
    return {block: np.stack(values) for block, values in out.items()}


def distance(got, expected):
    """The largest ‖a − b‖ / ‖b‖ over blocks."""
    assert set(got) == set(expected)
    return max(
        float(np.linalg.norm(np.asarray(got[block], np.float64) - expected[block]) / np.linalg.norm(expected[block]))
        for block in expected
    )
