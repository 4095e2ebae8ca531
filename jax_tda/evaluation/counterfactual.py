"""How well scores predict what retraining without documents showed: arrays in, one number for each query out.

A score is positive where a document raises a target's log-probability. Sources: LDS from TRAK (arXiv 2303.14186), the
area under the curve of mislabelled examples from influence functions (arXiv 1703.04730).
"""

import numpy as np

from jax_tda.core.errors import InputError

# None where there is nothing to judge.
PerQuery = list[float | None]


def average_ranks(values: np.ndarray) -> np.ndarray:
    """float64 of the shape of `values`: ranks 1 … n along the last axis, equal values sharing the mean of theirs."""
    flat = np.asarray(values, np.float64).reshape(-1, values.shape[-1])
    found = np.empty_like(flat)
    for row, ranks in zip(flat, found, strict=True):
        _, place, counts = np.unique(row, return_inverse=True, return_counts=True)
        ranks[:] = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return found.reshape(values.shape)


def pearson(predicted: np.ndarray, measured: np.ndarray) -> PerQuery:
    """The correlation of each row of two arrays [queries, n].

    Where what was measured does not vary there is nothing to predict: None. A prediction that does not vary, or that
    holds NaN, predicts nothing: 0 and None.
    """
    found: PerQuery = []
    for left, right in zip(np.asarray(predicted, np.float64), np.asarray(measured, np.float64), strict=True):
        if np.isnan(left).any() or np.ptp(right) == 0:
            found.append(None)
            continue
        a, b = left - left.mean(), right - right.mean()
        scale = np.linalg.norm(a) * np.linalg.norm(b)
        found.append(float(a @ b / scale) if np.ptp(left) and scale else 0.0)
    return found


def spearman(predicted: np.ndarray, measured: np.ndarray) -> PerQuery:
    """The correlation of the ranks of each row of two arrays [queries, n]; None and 0 as in `pearson`."""
    unknown = np.isnan(predicted).any(axis=-1, keepdims=True)
    return pearson(np.where(unknown, np.nan, average_ranks(predicted)), average_ranks(measured))


def summed_scores(scores: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """What scores predict of every member: Σ over the documents that it keeps.

    Args:
      scores: [queries, documents].
      kept: bool [members, documents].

    Returns:
      float64 [queries, members].
    """
    return np.asarray(scores, np.float64) @ kept.T.astype(np.float64)


def lds(scores: np.ndarray, kept: np.ndarray, measured: np.ndarray) -> PerQuery:
    """The linear datamodeling score of each query: Spearman over members of Σ_{i kept} score_i and what was measured.

    Args:
      scores: [queries, documents].
      kept: bool [members, documents].
      measured: [members, queries], log-probabilities of the targets.
    """
    return spearman(summed_scores(scores, kept), measured.T)


def loo(scores: np.ndarray, fall: np.ndarray) -> PerQuery:
    """Pearson of the scores of documents and the fall of the target's log-probability without each of them.

    Args:
      scores: [queries, n] of the n documents that were left out alone.
      fall: [n, queries], log p of the full run less log p without the document.
    """
    return pearson(scores, fall.T)


def reliability(repeats: np.ndarray, members: np.ndarray) -> PerQuery:
    """√(1 − σ² / s²): how far a method that knew the mean over seeds of every subset could correlate with one seed's.

    σ² is the variance over seeds of the same run, s² that over members; both unbiased. 0 where seeds differ as much as
    members do.

    Args:
      repeats: [seeds, queries], at least 2 seeds.
      members: [members, queries], at least 2.
    """
    noise, spread = repeats.var(axis=0, ddof=1, dtype=np.float64), members.var(axis=0, ddof=1, dtype=np.float64)
    return [float(np.sqrt(max(0.0, 1 - n / s))) if s > 0 else None for n, s in zip(noise, spread, strict=True)]


def mislabel_auc(self_scores: np.ndarray, noisy: np.ndarray) -> float:
    """The probability that a mislabelled example has a greater self-influence than another one, ties counting half.

    It equals the area under the curve of mislabelled examples found over clean ones looked at, largest score first.

    Args:
      self_scores: [documents].
      noisy: bool [documents].

    Raises:
      InputError: there is no mislabelled document, or no other.
    """
    found = int(np.sum(noisy))
    if not 0 < found < len(noisy):
        raise InputError(
            "mislabelled documents cannot be told from others",
            got=f"{found} mislabelled of {len(noisy)} documents",
            expected="some of each",
            remedy="say which documents are mislabelled",
        )
    ranks = average_ranks(np.asarray(self_scores, np.float64))
    return float((ranks[noisy].sum() - found * (found + 1) / 2) / (found * (len(noisy) - found)))
