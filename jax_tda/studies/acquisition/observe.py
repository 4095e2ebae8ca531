"""One stretch of training, with the queries' log-probabilities under the parameters before each step."""

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
from jax_tda.models.decoder import Decoder
from jax_tda.models.interface import Examples, LanguageModel
from jax_tda.studies.acquisition.rows import Queries
from jax_tda.training.step import TrainState, train_step

# Padded tokens of queries at once; no number depends on it.
_TOKENS_AT_ONCE = 2048
# Tokens of targets are filled up to a multiple of this: each number costs a compilation.
_TARGETS_AT_ONCE = 256


class Look:
    """ℓ(q; θ) of queries: the mean log-probability per token of the target, given the prompt.

    Logits are formed where a target's token is predicted and nowhere else: most of a query is its prompt.
    """

    def __init__(self, model: Decoder, queries: Queries):
        self._queries = queries
        # Most queries, and the longest ones; a length that holds more than it must costs less than another program.
        common = bucket_lengths(queries.lengths, 2, 16)[0]
        self._buckets = tuple(sorted({common, queries.tokens.shape[1]}))

        def chosen(params: Any, tokens: jax.Array, row: jax.Array, position: jax.Array) -> jax.Array:
            hidden: Any = model.apply({"params": params}, tokens, method="hidden")
            logits: Any = model.apply({"params": params}, hidden[row, position - 1], method="unembed")
            following = jnp.take_along_axis(logits, tokens[row, position][:, None], axis=-1)[:, 0]
            return following - jax.nn.logsumexp(logits, axis=-1)

        self._chosen = jax.jit(chosen)

    def __call__(self, params: Any, rows: np.ndarray) -> np.ndarray:
        """float32, one number for each of the queries `rows`."""
        found = np.full(self._queries.lengths.size, np.nan, np.float32)
        lengths = self._queries.lengths[rows]
        for members, length, size in sweep(rows, lengths, self._buckets, _TOKENS_AT_ONCE):
            tokens = np.zeros((size, length), np.int32)
            tokens[: len(members)] = self._queries.tokens[members, :length]
            row, position = np.nonzero(self._queries.weights[members])
            spare = -row.size % _TARGETS_AT_ONCE
            values = self._chosen(
                params, tokens, np.pad(row, (0, spare)), np.pad(position, (0, spare), constant_values=1)
            )
            total = np.bincount(row, np.asarray(values, np.float64)[: row.size], minlength=len(members))
            found[members] = total / np.bincount(row, minlength=len(members))
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
      look: how queries are looked at.
      looks_TQ: bool [steps + 1, Q], which queries under θ_t.
      visit: called with t and the state before update t.

    Returns:
      The state after the last step; curves float32 [steps + 1, Q], NaN where nobody looked; and the losses [steps].

    Raises:
      InputError: a loss, or a log-probability that was looked at, is not finite.
    """
    queries = 0 if looks_TQ is None else looks_TQ.shape[1]
    curves = np.full((steps + 1, queries), np.nan, np.float32)
    losses: list[jax.Array] = []
    progress = Progress(label, steps, "steps")
    for now in range(steps + 1):
        if look is not None and looks_TQ is not None and looks_TQ[now].any():
            rows = np.flatnonzero(looks_TQ[now])
            curves[now, rows] = seen = look(state.params, rows)
            if not np.isfinite(seen).all():
                raise _diverged(f"before step {now} of {label}", "a query's log-probability")
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
        raise _diverged(f"at step {int(np.argmin(np.isfinite(measured)))} of {label}", "a loss")
    return state, curves, measured


def _diverged(where: str, what: str) -> InputError:
    return InputError(
        f"training diverged {where}",
        got=f"{what} that is no number",
        expected="finite losses and log-probabilities",
        remedy="lower optimizer.peak_rate or optimizer.clip_norm",
    )
