"""R: the autocorrelation of encodings, its mixture for a task, and R^(-1/2). Linear algebra in float64 on the host.

Source: TrackStar (arXiv 2410.17413): R = λ R_eval + (1 − λ) R_train per block, before unit norm.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jax_tda.core.errors import InputError

# Called after each eigendecomposition, the long part of the work.
Done = Callable[[], object]


def _untold() -> None:
    """Nobody watches."""


def autocorrelation(rows_NBK: np.ndarray) -> np.ndarray:
    """(1/N) Σ g gᵀ for each block: float64 [blocks, K, K] of encodings [N, blocks, K]."""
    rows = np.asarray(rows_NBK, np.float64)
    return np.einsum("nbk,nbl->bkl", rows, rows, optimize=True) / rows.shape[0]


def mix(train_BKK: np.ndarray, query_BKK: np.ndarray | None, weight: float) -> np.ndarray:
    """λ R_query + (1 − λ) R_train, with λ = `weight`."""
    if query_BKK is None:
        return train_BKK
    return weight * query_BKK + (1.0 - weight) * train_BKK


def automatic_weight(
    train_BKK: np.ndarray, query_BKK: np.ndarray, component: int, queries: int, done: Done = _untold
) -> float:
    """λ such that about `component` task-template directions are down-weighted.

    λ = σ_train[k] / (σ_query[k] + σ_train[k]): eigenvalues pooled over the blocks, sorted descending, at the k-th.

    Args:
      train_BKK: R_train.
      query_BKK: R_query.
      component: k, counted from 1.
      queries: how many queries R_query was estimated from, for the message.
      done: called after each of the eigendecompositions, one for a block of R_train and two for one of R_query.

    Raises:
      InputError: k exceeds the numerical rank of the pooled R_query, where the rule would degenerate to λ = 1.
    """
    train, query = _pooled(train_BKK, done), _pooled(query_BKK, done)
    rank = sum(_numerical_rank(block, done) for block in query_BKK)
    if not 1 <= component <= rank:
        raise too_few_queries(component, rank, queries)
    k = component - 1
    return float(train[k] / (query[k] + train[k]))


def too_few_queries(component: int, rank: int, queries: int) -> InputError:
    """The refusal of the λ rule, naming both numbers."""
    return InputError(
        "the rule for lambda needs more queries",
        got=f"{queries} queries, whose pooled curvature has rank at most {rank}",
        expected=f"a rank of at least {component}, the component at which the rule reads the spectra",
        remedy="fix lambda in the config with the line `mix_curvature.query_weight = 0.9`, or give more queries",
    )


def check_queries(query_weight: float, component: int, blocks: int, block_dimension: int, queries: int) -> None:
    """Refuses, before anything is encoded, a rule for λ that so few queries can never satisfy.

    Raises:
      InputError: λ is left to the rule (`query_weight` < 0) and R_query cannot reach rank `component`.
    """
    rank = min(queries, block_dimension) * blocks
    if query_weight < 0 and component > rank:
        raise too_few_queries(component, rank, queries)


def default_component(dimension: int, fraction: float) -> int:
    """k for encodings of `dimension` numbers: 1000 of 65,536 in the paper, the same share of fewer here."""
    return max(1, round(fraction * dimension))


class Spectrum(NamedTuple):
    """R = U diag(σ) Uᵀ of each block: eigenvalues [blocks, K], ascending, none negative, and vectors [blocks, K, K]."""

    values: np.ndarray
    vectors: np.ndarray


def spectrum(curvature_BKK: np.ndarray, names: tuple[str, ...] | None = None, done: Done = _untold) -> Spectrum:
    """The eigenvalues and vectors of each block, float64; negative ones are rounding and count as zero.

    Args:
      curvature_BKK: [blocks, K, K], symmetric.
      names: block names, for messages.
      done: called after each block.

    Raises:
      InputError: a block is not finite, or zero.
    """
    found = Spectrum(np.empty(curvature_BKK.shape[:2], np.float64), np.empty(curvature_BKK.shape, np.float64))
    for index, block in enumerate(np.asarray(curvature_BKK, np.float64)):
        name = names[index] if names else index
        if not np.all(np.isfinite(block)):
            raise InputError(
                f"the curvature of block {name} is not finite",
                got="NaN or infinity",
                expected="an autocorrelation of finite encodings",
                remedy="estimate the curvature again; rows that are NaN must be left out of it",
            )
        values, found.vectors[index] = np.linalg.eigh(block)
        found.values[index] = np.maximum(values, 0.0)
        done()
        if not values[-1] > 0:
            raise InputError(
                f"the curvature of block {name} is zero",
                got="no gradient in any example it was estimated from",
                expected="a block that some example has a gradient in",
                remedy="exclude the block's parameters from the encoding",
            )
    return found


def damped(values_BK: np.ndarray, damping: float, names: tuple[str, ...] | None = None) -> np.ndarray:
    """σ + damping × mean(σ) of each block: float64 [blocks, K].

    Args:
      values_BK: eigenvalues, ascending.
      damping: in units of the block's mean eigenvalue.
      names: block names, for messages.

    Raises:
      InputError: a block stays singular.
    """
    found = values_BK + damping * values_BK.mean(axis=1, keepdims=True)
    for index, (values, raised) in enumerate(zip(values_BK, found, strict=True)):
        if not raised[0] > values[-1] * values.size * np.finfo(np.float32).eps * 1e-3:
            raise InputError(
                f"the curvature of block {names[index] if names else index} is singular",
                got=f"smallest eigenvalue {raised[0]:.3g}, largest {values[-1]:.3g}, damping {damping}",
                expected="a positive definite matrix",
                remedy="raise damping (0.1 is the default), or estimate the curvature from more examples",
            )
    return found


def inverse_root(
    curvature_BKK: np.ndarray, damping: float, names: tuple[str, ...] | None = None, done: Done = _untold
) -> np.ndarray:
    """R^(-1/2) for each block: U diag((max(σ, 0) + damping × mean(σ))^(-1/2)) Uᵀ, float64.

    Args:
      curvature_BKK: [blocks, K, K], symmetric.
      damping: in units of the block's mean eigenvalue.
      names: block names, for messages.
      done: called after each block.

    Raises:
      InputError: a block is not finite, or singular with damping 0.
    """
    values, vectors = spectrum(curvature_BKK, names, done)
    roots = np.sqrt(damped(values, damping, names))
    for index, root in enumerate(roots):
        vectors[index] = (vectors[index] / root) @ vectors[index].T
    return vectors


def check_undamped(damping: float, sample: int, dimension: int) -> None:
    """Refuses damping 0 for a sample too small to determine R.

    Raises:
      InputError: damping is negative, or 0 with fewer than 4 examples per block dimension.
    """
    if not damping >= 0 or (damping == 0 and sample < 4 * dimension):
        raise InputError(
            "the damping is too small for this sample",
            got=f"damping {damping} with R from {sample} examples",
            expected=f"damping > 0, or at least {4 * dimension} examples (4 × block dimension {dimension})",
            remedy="set `mix_curvature.damping = 0.1`, or raise `estimate_curvature.sample_size`",
        )


def _numerical_rank(block_KK: np.ndarray, done: Done) -> int:
    """Eigenvalues above what rounding R to float32 leaves: its spectral norm is about √K ε σ_max."""
    values = np.linalg.eigvalsh(np.asarray(block_KK, np.float64))
    done()
    return int(np.sum(values > values[-1] * np.sqrt(values.size) * np.finfo(np.float32).eps))


def _pooled(curvature_BKK: np.ndarray, done: Done) -> np.ndarray:
    found = []
    for block in curvature_BKK:
        found.append(np.linalg.eigvalsh(np.asarray(block, np.float64)))
        done()
    values = np.concatenate(found)
    # R has no negative eigenvalue; rounding gives some.
    return np.sort(np.maximum(values, 0.0))[::-1]
