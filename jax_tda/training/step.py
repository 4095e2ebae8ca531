"""One training step as pure functions of a state and a batch."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from jax_tda.core import seeds
from jax_tda.models.batch_gradient import mean_loss_and_gradient
from jax_tda.models.interface import Examples, LanguageModel, Params
from jax_tda.models.widths import widened


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
    return jax.tree.map(widened, tree)


def continued_state(optimizer: optax.GradientTransformation, params: Params) -> TrainState:
    """The state before the first step from given parameters."""
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(_wide(params)))


def train_step(
    model: LanguageModel,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    batch: Examples,
    mesh: Mesh | None = None,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One update from one batch.

    Args:
      model: the language model.
      optimizer: how gradients become updates.
      state: before the step.
      batch: tokens and loss weights, [B, T].
      mesh: the devices over whose data groups the batch is divided, where weights are whole on each.

    Returns:
      The next state, and the scalars "loss" (before the update) and "gradient_norm" (before clipping).
    """
    loss, gradient = mean_loss_and_gradient(model, state.params, batch, mesh)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    scalars = {"loss": loss, "gradient_norm": optax.global_norm(gradient)}
    return TrainState(state.step + 1, params, opt_state), scalars
