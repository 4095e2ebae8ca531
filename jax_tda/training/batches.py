"""The batches of a training run as a pure function of the step, and the corpus rows that each is made of."""

import numpy as np

from jax_tda.data.batches import Epochs, bucket_lengths
from jax_tda.data.corpus import Corpus
from jax_tda.models.interface import Examples


class TrainingBatches:
    """What one recipe trains on, step by step; the corpus's tokens are held in memory.

    Args:
      corpus: the tokenized corpus.
      buckets: how many padded lengths.
      tokens_per_batch: padded tokens per update.
      seed: of the order.
      groups: the number of data groups; batch sizes are multiples of it, so that each has its share.
    """

    def __init__(self, corpus: Corpus, buckets: int, tokens_per_batch: int, seed: int, groups: int = 1):
        lengths = corpus.spans[:, 0]
        self._groups = groups
        self._epochs = Epochs(lengths, bucket_lengths(lengths, buckets), tokens_per_batch, seed)
        self._tokens = corpus.examples(np.arange(corpus.count), corpus.longest, corpus.count)

    def _place(self, step: int) -> tuple[np.ndarray, int, int]:
        """The rows, filled up with the first one to a batch's size; their length; how many of them count."""
        rows, length, size = self._epochs.batch(step)
        padded = np.full(-(-size // self._groups) * self._groups, rows[0])
        padded[: len(rows)] = rows
        return padded, length, len(rows)

    def rows(self, step: int) -> np.ndarray:
        """[B] the corpus row of every place of a step's batch; places that are padding repeat a row at weight 0."""
        return self._place(step)[0]

    def batch(self, step: int) -> Examples:
        """`tokens` [B, T] and `loss_weights` [B, T] of a step."""
        padded, length, count = self._place(step)
        weights = self._tokens["loss_weights"][padded, :length] * (np.arange(len(padded)) < count)[:, None]
        return {"tokens": self._tokens["tokens"][padded, :length], "loss_weights": weights}
