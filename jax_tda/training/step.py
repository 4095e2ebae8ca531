"""One training step as pure functions of a state and a batch."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jax_tda.core import seeds
from jax_tda.models import likelihood
from jax_tda.models.interface import Examples, LanguageModel, Params


class TrainState(NamedTuple):
    """All that the next step depends on: finished steps, parameters, and the optimizer's state."""

    step: jax.Array
    params: Any
    opt_state: Any


def initial_state(model: LanguageModel, optimizer: optax.GradientTransformation, seed: int) -> TrainState:
    """The state before the first step, its parameters drawn from the seed."""
    params = model.init(seeds.named(seed, "training", "parameters"), jnp.zeros((1, 2), jnp.int32))["params"]
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(_wide(params)))


def _wide(tree: Any) -> Any:
    """Moments of narrow parameters are kept in float32: a small share of a new square would be rounded away."""
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), tree)


def continued_state(optimizer: optax.GradientTransformation, params: Params) -> TrainState:
    """The state before the first step from given parameters."""
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(_wide(params)))


def mean_loss(model: LanguageModel, params: Params, tokens: jax.Array, loss_weights: jax.Array) -> jax.Array:
    """The weighted mean over a batch's tokens of −log p: Σ_b loss_b / Σ_{b, t ≥ 1} loss_weights[b, t].

    Args:
      model: the language model.
      params: its parameters.
      tokens: [..., T] int32, with any leading axes.
      loss_weights: [..., T] float32.

    Returns:
      A float32 scalar; NaN where nothing is weighted.
    """
    logits = model.apply({"params": params}, tokens)
    return jnp.sum(likelihood.loss(logits, tokens, loss_weights)) / jnp.sum(loss_weights[..., 1:])


def train_step(
    model: LanguageModel, optimizer: optax.GradientTransformation, state: TrainState, batch: Examples
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One update from one batch.

    Returns:
      The next state, and the scalars "loss" (before the update) and "gradient_norm" (before clipping).
    """

    def objective(params: Params) -> jax.Array:
        return mean_loss(model, params, batch["tokens"], batch["loss_weights"])

    loss, gradient = jax.value_and_grad(objective)(state.params)
    gradient = _wide(gradient)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    scalars = {"loss": loss, "gradient_norm": optax.global_norm(gradient)}
    return TrainState(state.step + 1, params, opt_state), scalars
