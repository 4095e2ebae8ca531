"""One training step in which examples have weights: 0 for one whose document is left out, 1 for one that is kept."""

from typing import Any

import jax
import optax

from jax_tda.models.batch_gradient import mean_loss_and_gradient
from jax_tda.models.interface import Examples, LanguageModel
from jax_tda.training.step import TrainState


def weighted_step(
    model: LanguageModel,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    batch: Examples,
    weights: jax.Array,
) -> tuple[TrainState, jax.Array]:
    """One update from the loss Σ_b w_b loss_b / Σ_{b, t ≥ 1} loss_weights[b, t].

    The divisor does not know w, so the loss is linear in w, as a derivative by a document's weight (a metagradient)
    supposes. The optimizer's state, momentum and decay go on through a batch of which nothing is left. With w = 1 it is
    the step of `pretrain`.

    Args:
      model: the language model.
      optimizer: how gradients become updates.
      state: before the step.
      batch: tokens and loss weights, [B, T].
      weights: [B] float32, w.

    Returns:
      The next state, and the loss before the update.
    """
    weighted: Any = {**batch, "example_weights": weights}
    loss, gradient = mean_loss_and_gradient(model, state.params, weighted)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    return TrainState(state.step + 1, optax.apply_updates(state.params, updates), opt_state), loss
