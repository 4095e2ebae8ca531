"""A passage's mean loss and a target's probability, written out for one unpadded example."""

import functools

import jax
import jax.numpy as jnp
import numpy as np


def example(corpus, row):
    """Tokens of one row without padding, and the first position whose loss counts."""
    length, start = (int(number) for number in corpus.spans[row])
    return jnp.asarray(corpus.examples(np.array([row]), length, 1)["tokens"][0]), start


def _log_probabilities(model, params, tokens, start):
    logits = model.apply({"params": params}, tokens[None])[0]
    table = logits - jnp.log(jnp.sum(jnp.exp(logits), axis=-1, keepdims=True))
    return jnp.stack([table[t - 1, tokens[t]] for t in range(start, tokens.shape[0])])


@functools.cache
def _gradient(model):
    return jax.jit(jax.grad(lambda params, tokens: -jnp.mean(_log_probabilities(model, params, tokens, 1))))


@functools.cache
def _summed(model):
    def summed(params, tokens, start):
        return jnp.sum(_log_probabilities(model, params, tokens, start))

    return jax.jit(summed, static_argnums=2)


def mean_gradient(model, params, corpus, row):
    """∇ of −(mean of log p of every token after the first)."""
    return _gradient(model)(params, example(corpus, row)[0])


def probability(model, params, corpus, row):
    """exp(Σ log p) over the target's tokens."""
    return float(np.exp(np.float64(_summed(model)(params, *example(corpus, row)))))
