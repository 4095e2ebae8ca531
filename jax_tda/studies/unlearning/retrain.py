"""The ground truth that is affordable at this size: the model trained again without a corpus.

Initial parameters, steps, rates and batches are those of the original model; only the passages left out weigh nothing,
so that everything else is seen at the same step and as often as before. Ours.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jax_tda.core.errors import InputError
from jax_tda.core.progress import Progress
from jax_tda.data.batches import Epochs, bucket_lengths
from jax_tda.models.interface import LanguageModel
from jax_tda.studies.unlearning.loop import Texts
from jax_tda.training import optimizers
from jax_tda.training.run import PretrainConfig
from jax_tda.training.step import initial_state, train_step


class Trainer:
    """Trains a model as `pretrain` would, with passages left out.

    Args:
      model: the language model.
      texts: the whole corpus.
      config: how the original model was trained.
    """

    def __init__(self, model: LanguageModel, texts: Texts, config: PretrainConfig):
        self._texts, self._config = texts, config
        optimizer = optimizers.make(config.optimizer, config.steps)
        self._begin = jax.jit(functools.partial(initial_state, model, optimizer, config.seed))
        self._advance = jax.jit(functools.partial(train_step, model, optimizer), donate_argnums=0)

    def without(self, left_out: np.ndarray, label: str = "retrain") -> Any:
        """The parameters after training without the passages that `left_out` [N] marks.

        Raises:
          InputError: a batch holds nothing but them.
        """
        config, state = self._config, self._begin()
        batch_of = self.batches(left_out)
        progress = Progress(label, config.steps, "steps")
        for step in range(config.steps):
            state, _ = self._advance(state, batch_of(step))
            progress.advance()
        return jax.block_until_ready(state.params)

    def batches(self, left_out: np.ndarray) -> Callable[[int], dict[str, np.ndarray]]:
        """step → its batch, in which the passages that are left out weigh nothing."""
        lengths = np.count_nonzero(self._texts.loss_weights, axis=1) + 1
        buckets = bucket_lengths(lengths, self._config.buckets)
        epochs = Epochs(lengths, buckets, self._config.tokens_per_batch, self._config.seed)

        def batch(step: int) -> dict[str, np.ndarray]:
            rows, length, size = epochs.batch(step)
            if left_out[rows].all():
                raise InputError(
                    f"the batch of step {step} holds only passages that are left out",
                    got=f"{len(rows)} passages",
                    expected="others beside them",
                    remedy="raise study_unlearning.tokens_per_batch",
                )
            padded = np.full(size, rows[0])
            padded[: len(rows)] = rows
            counted = (np.arange(size) < len(rows)) & ~left_out[padded]
            weights = self._texts.loss_weights[padded, :length] * counted[:, None].astype(np.float32)
            return {"tokens": self._texts.tokens[padded, :length], "loss_weights": weights}

        return batch
