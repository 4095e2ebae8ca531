"""What a model can do: how likely it finds the target of every held-out query, and whether it would say it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_tda.data.corpus import Corpus
from jax_tda.models import likelihood
from jax_tda.models.interface import LanguageModel

Outcome = dict[str, list[float]]
# How a query's outcome becomes one number, and what a figure of it is called.
MEASURES = {"likelihood": "probability of the target, per token", "accuracy": "share of queries answered exactly"}


def judge(model: LanguageModel, queries: Corpus) -> Callable[[Any], Outcome]:
    """parameters → by measure one number between 0 and 1 for each query.

    `likelihood` is p(target | prompt)^(1/n) for n tokens in the target, `accuracy` 1 where greedy decoding gives the
    target and 0 elsewhere.

    Args:
      model: the language model.
      queries: the queries.
    """
    held = queries.examples(np.arange(queries.count), queries.longest, queries.count)

    @jax.jit
    def asked(params: Any) -> tuple[jax.Array, jax.Array]:
        tokens, weights = jnp.asarray(held["tokens"]), jnp.asarray(held["loss_weights"])
        logits = model.apply({"params": params}, tokens)
        each = likelihood.target_log_probability(logits, tokens, weights) / jnp.sum(weights, axis=-1)
        return jnp.exp(each), likelihood.answered_exactly(logits, tokens, weights)

    def outcome(params: Any) -> Outcome:
        found = [np.asarray(values, np.float64).tolist() for values in asked(params)]
        return dict(zip(MEASURES, found, strict=True))

    return outcome
