"""One training step in which examples have weights: 0 for one whose document is left out, 1 for one that is kept."""

import jax
import jax.numpy as jnp
import optax

from jax_tda.models.interface import Examples, LanguageModel, Params
from jax_tda.training.step import TrainState, mean_loss


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
    tokens, given = batch["tokens"], batch["loss_weights"]
    weighted = given * weights[:, None]
    kept = jnp.sum(weighted[:, 1:])
    # A mean over what is kept, times the share that is kept. Where nothing is kept the mean is over the whole batch
    # instead, and counts 0: no 0 / 0.
    used, share = jnp.where(kept > 0, weighted, given), kept / jnp.sum(given[:, 1:])

    def objective(params: Params) -> jax.Array:
        return mean_loss(model, params, tokens, used)

    loss, gradient = jax.value_and_grad(objective)(state.params)
    gradient = jax.tree.map(lambda leaf: leaf.astype(jnp.float32) * share, gradient)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    return TrainState(state.step + 1, optax.apply_updates(state.params, updates), opt_state), loss * share
