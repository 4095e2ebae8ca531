"""Which rows go together: length buckets for reading a corpus once, and for training on it for ever.

Padding costs time and each length costs a compilation; a few buckets keep both small. No number depends on them.
"""

from collections.abc import Iterator

import numpy as np

from jax_tda.core import seeds


def bucket_lengths(lengths: np.ndarray, buckets: int, multiple: int = 8) -> tuple[int, ...]:
    """At most `buckets` padded lengths for these example lengths, cut at quantiles, each a multiple of `multiple`.

    The last is the longest example exactly, so that nothing is padded beyond it.
    """
    longest = int(lengths.max())
    cuts = np.quantile(lengths, np.arange(1, buckets) / buckets) if buckets > 1 else np.array([])
    rounded = {int(-(-int(np.ceil(cut)) // multiple) * multiple) for cut in cuts}
    return (*sorted(cut for cut in rounded if cut < longest), longest)


def assign(lengths: np.ndarray, buckets: tuple[int, ...]) -> np.ndarray:
    """The index of the smallest bucket that holds each length."""
    return np.searchsorted(np.array(buckets), lengths)


def sweep(
    rows: np.ndarray, lengths: np.ndarray, buckets: tuple[int, ...], tokens_per_batch: int
) -> Iterator[tuple[np.ndarray, int, int]]:
    """Every row once, bucket by bucket: (rows, length, batch size) of each batch.

    Args:
      rows: row numbers.
      lengths: their lengths.
      buckets: padded lengths.
      tokens_per_batch: padded tokens per batch; a batch has at least one example.
    """
    which = assign(lengths, buckets)
    for index, length in enumerate(buckets):
        size = max(1, tokens_per_batch // length)
        members = rows[which == index]
        for start in range(0, len(members), size):
            yield members[start : start + size], length, size


class Epochs:
    """Training batches as a pure function of the step, so that a resumed run goes on exactly where it stopped.

    Every epoch holds every row once. Rows are shuffled, put into batches of one bucket each, and the batches shuffled.

    Args:
      lengths: the length of every row.
      buckets: padded lengths.
      tokens_per_batch: padded tokens per batch.
      seed: of the shuffling.
    """

    def __init__(self, lengths: np.ndarray, buckets: tuple[int, ...], tokens_per_batch: int, seed: int):
        self._lengths, self._buckets, self._seed = lengths, buckets, seed
        self._tokens_per_batch = tokens_per_batch
        self._epoch, self._batches = -1, list[tuple[np.ndarray, int, int]]()
        self.steps_per_epoch = len(self._shuffled(0))

    def _shuffled(self, epoch: int) -> list[tuple[np.ndarray, int, int]]:
        generator = seeds.generator(self._seed, "epoch", epoch)
        rows = generator.permutation(len(self._lengths))
        batches = list(sweep(rows, self._lengths[rows], self._buckets, self._tokens_per_batch))
        return [batches[i] for i in generator.permutation(len(batches))]

    def batch(self, step: int) -> tuple[np.ndarray, int, int]:
        """(rows, length, batch size) of one step."""
        epoch, index = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._batches = epoch, self._shuffled(epoch)
        return self._batches[index]
