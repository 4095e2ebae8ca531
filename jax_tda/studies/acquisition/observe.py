"""One stretch of training, with the probes' log-probabilities under the parameters before each step."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jax_tda.core.errors import InputError
from jax_tda.core.progress import Progress
from jax_tda.data.batches import bucket_lengths, sweep
from jax_tda.models import likelihood
from jax_tda.models.interface import Examples, LanguageModel
from jax_tda.studies.acquisition.rows import Probes
from jax_tda.training.step import TrainState, train_step

# Padded tokens of probes at once; no number depends on it.
_TOKENS_AT_ONCE = 2048


class Look:
    """ℓ(q; θ) of probes: the mean log-probability per token of the target, given the prompt."""

    def __init__(self, model: LanguageModel, probes: Probes):
        self._probes = probes
        # Most probes, and the longest ones; a length that holds more than it must costs less than another program.
        common = bucket_lengths(probes.lengths, 2, 16)[0]
        self._buckets = tuple(sorted({common, probes.tokens.shape[1]}))

        def mean(params: Any, tokens: jax.Array, weights: jax.Array) -> jax.Array:
            total = likelihood.target_log_probability(model.apply({"params": params}, tokens), tokens, weights)
            return total / jnp.maximum(jnp.sum(weights[:, 1:], axis=-1), 1.0)

        self._mean = jax.jit(mean)

    def __call__(self, params: Any, rows: np.ndarray) -> np.ndarray:
        """float32, one number for each of the probes `rows`."""
        found = np.full(self._probes.lengths.size, np.nan, np.float32)
        lengths = self._probes.lengths[rows]
        for members, length, size in sweep(rows, lengths, self._buckets, _TOKENS_AT_ONCE):
            padded = np.full(size, members[0])
            padded[: len(members)] = members
            values = self._mean(params, self._probes.tokens[padded, :length], self._probes.weights[padded, :length])
            found[members] = np.asarray(values)[: len(members)]
        return found[rows]


def advance(model: LanguageModel, optimizer: optax.GradientTransformation) -> Callable[..., Any]:
    """The compiled training step; it gives up the state that it is given."""
    return jax.jit(functools.partial(train_step, model, optimizer), donate_argnums=0)


def observe(
    label: str,
    step: Callable[..., Any],
    state: TrainState,
    batch: Callable[[int], Examples],
    steps: int,
    look: Look | None = None,
    looks_TQ: np.ndarray | None = None,
    visit: Callable[[int, TrainState], None] | None = None,
) -> tuple[TrainState, np.ndarray, np.ndarray]:
    """Trains for so many steps and watches.

    Args:
      label: what the progress line says.
      step: of `advance`.
      state: where it starts; the caller must not use it again.
      batch: step → batch, a pure function; steps count from 0 here.
      steps: how many.
      look: how probes are looked at.
      looks_TQ: bool [steps + 1, Q], which probes under θ_t.
      visit: called with t and the state before update t.

    Returns:
      The state after the last step; curves float32 [steps + 1, Q], NaN where nobody looked; and the losses [steps].

    Raises:
      InputError: a loss is not finite.
    """
    probes = 0 if looks_TQ is None else looks_TQ.shape[1]
    curves = np.full((steps + 1, probes), np.nan, np.float32)
    losses: list[jax.Array] = []
    progress = Progress(label, steps, "steps")
    for now in range(steps + 1):
        if look is not None and looks_TQ is not None and looks_TQ[now].any():
            rows = np.flatnonzero(looks_TQ[now])
            curves[now, rows] = look(state.params, rows)
        if now == steps:
            break
        if visit is not None:
            visit(now, state)
        state, scalars = step(state, batch(now))
        losses.append(scalars["loss"])
        if now % 10 == 9 or now + 1 == steps:
            progress.advance(now + 1 - progress.done, f"loss {float(losses[-1]):.3f}")
    measured = np.asarray(jax.device_get(losses), np.float32)
    if not np.isfinite(measured).all():
        raise InputError(
            f"training diverged at step {int(np.argmin(np.isfinite(measured)))} of {label}",
            got="a loss that is no number",
            expected="finite losses",
            remedy="lower optimizer.peak_rate or optimizer.clip_norm",
        )
    return state, curves, measured
