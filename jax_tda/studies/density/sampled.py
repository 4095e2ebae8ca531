"""A density estimated from near neighbours and a sample of the rest, for corpora that are too large to scan."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jax_tda.core import seeds
from jax_tda.core.errors import InputError
from jax_tda.studies.density import kde, kernels


class Estimate(NamedTuple):
    """log Ẑ per query, and the standard error of Ẑ as a share of Ẑ, which is that of log Ẑ where it is small."""

    log_density: np.ndarray
    relative_error: np.ndarray


def sampled_log_density(
    queries_QD: np.ndarray,
    read_rows: Callable[[np.ndarray], np.ndarray],
    count: int,
    bandwidth: float,
    kernel: str,
    neighbours_QK: np.ndarray,
    sample: int,
    seed: int,
    normalised: bool = True,
) -> Estimate:
    """log of Ẑ = (1/N) (Σ_{i ∈ near} K_h(x, y_i) + (N − k) · mean over a uniform sample of the rest).

    One sample without replacement serves all queries, each without its own neighbours: what is left is a uniform sample
    of the query's rest. So Ẑ is unbiased for the density, whatever rows are called near (those of an approximate search
    too); its log is not. Its standard error is (N − k)/N · s/√n · √(1 − n/(N − k)), s the sample's deviation.
    Source: DEANN (arXiv 2107.02736) as LMD3 (arXiv 2405.06331) names it; sharing one sample is ours.

    Args:
      queries_QD: points.
      read_rows: row numbers → points [n, D]; asked for neighbours and sample alone.
      count: N.
      bandwidth: h.
      kernel: one of `kernels.KERNELS`.
      neighbours_QK: different row numbers for each query, [Q, k]; k may be 0.
      sample: rows of the shared sample, above k + 1 and at most N.
      seed: of the sample.
      normalised: whether K_h integrates to 1.

    Raises:
      InputError: a bandwidth that is not positive, a sample that is too small or larger than the corpus, neighbours
        that are no different rows for each query, or points that are not finite or do not fit.
    """
    kernels.check(kernel, [bandwidth])
    _check_neighbours(neighbours_QK, len(queries_QD), count)
    k = neighbours_QK.shape[1]
    if not k + 1 < sample <= count:
        raise InputError(
            "this sample cannot stand for the rest of the corpus",
            got=f"{sample} rows beside {k} neighbours, of {count} rows",
            expected="more than the neighbours and one, at most the whole corpus",
            remedy="set study_density.sample between study_density.neighbours + 2 and the corpus's size",
        )
    queries = np.asarray(queries_QD, np.float64)
    drawn = seeds.generator(seed, "density", "sample").choice(count, sample, replace=False)
    sampled = np.asarray(read_rows(drawn), np.float64)
    near = [np.asarray(read_rows(row), np.float64) for row in neighbours_QK] if k else []
    kde.check_points(queries, np.concatenate([sampled, *near]))
    scale = kernels.scales(kernel, np.array([bandwidth]))[0]
    exponents_QS = -scale * _distances(kernel, queries, sampled)
    rest_QS = ~(drawn[None, :, None] == neighbours_QK[:, None, :]).any(-1)
    near_QK = np.array(
        [-scale * _distances(kernel, query[None], rows)[0] for query, rows in zip(queries, near, strict=False)]
    ).reshape(len(queries), k)
    top = np.concatenate([exponents_QS, near_QK], axis=1).max(1)
    weights_QS = np.exp(exponents_QS - top[:, None]) * rest_QS
    n = rest_QS.sum(1)
    mean = weights_QS.sum(1) / n
    variance = (((weights_QS - mean[:, None]) * rest_QS) ** 2).sum(1) / np.maximum(n - 1, 1)
    total = np.exp(near_QK - top[:, None]).sum(1) + (count - k) * mean
    spread = (count - k) * np.sqrt(variance / n * np.maximum(1 - n / max(count - k, 1), 0))
    constant = kernels.log_normaliser(kernel, queries.shape[1], np.array([bandwidth]))[0] if normalised else 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        found = Estimate(np.log(total) + top - np.log(count) + constant, spread / total)
    kde.checked_finite(found.log_density)
    return found


def _check_neighbours(neighbours_QK: np.ndarray, queries: int, count: int) -> None:
    fit = neighbours_QK.ndim == 2 and len(neighbours_QK) == queries
    ordered = np.sort(neighbours_QK, axis=-1)
    if not fit or (ordered < 0).any() or (ordered >= count).any() or (np.diff(ordered, axis=-1) == 0).any():
        raise InputError(
            "these are no neighbours of the queries",
            got=f"row numbers {neighbours_QK.shape}" + (", some out of range or repeated" if fit else ""),
            expected=f"different numbers from 0 to {count - 1} for each of {queries} queries",
            remedy="take them from kde.nearest, of the same queries and rows",
        )


def _distances(kernel: str, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
    if kernel == "laplacian":
        return np.stack([np.abs(rows - query).sum(-1) for query in queries])
    squares = (queries**2).sum(-1)[:, None] + (rows**2).sum(-1)[None]
    squared = np.maximum(squares - 2 * queries @ rows.T, 0.0)
    return squared if kernel == "gaussian" else np.sqrt(squared)
