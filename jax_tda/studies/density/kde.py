"""Exact log densities: every query against every row, a chunk at a time, rows divided over the devices."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from jax_tda.core import mesh as meshes
from jax_tda.core.errors import InputError
from jax_tda.studies.density import kernels

# Beside a product, whose digits cancel where two points are close, so many of a chunk's nearest are measured again; and
# all of a query's distances in the chunk where more than these are closer than this share of ‖x‖² + ‖y‖².
_MEASURED_AGAIN, _CLOSE = 8, 2.0**-6
_MOST = float(np.finfo(np.float32).max)


def log_density(
    queries_QD: np.ndarray,
    rows_ND: np.ndarray,
    bandwidths: np.ndarray,
    kernel: str,
    *,
    normalised: bool = True,
    rows_at_once: int = 512,
    queries_at_once: int = 256,
    mesh: Mesh | None = None,
) -> np.ndarray:
    """log (1/N) Σ_i K_h(x_q, y_i) for every query and bandwidth, by logsumexp.

    One pass over the rows serves all bandwidths. At most queries_at_once × rows_at_once distances stand in memory on
    each device. Source: LMD3 (arXiv 2405.06331).

    Args:
      queries_QD: points.
      rows_ND: the points whose density is asked.
      bandwidths: h, [H].
      kernel: one of `kernels.KERNELS`.
      normalised: whether K_h integrates to 1, without which densities of different h cannot be compared.
      rows_at_once: rows of a chunk.
      queries_at_once: queries of a pass.
      mesh: the devices; all when None.

    Returns:
      float64 [H, Q].

    Raises:
      InputError: no row, a bandwidth that is not positive, points that are not finite or do not fit, or a density that
        no number can hold.
    """
    kernels.check(kernel, bandwidths)
    check_points(queries_QD, rows_ND)
    queries, rows, unit = _placed(queries_QD, rows_ND)
    mesh = mesh or meshes.make_mesh()
    chunk = min(rows_at_once, -(-len(rows) // mesh.devices.size))
    spare = -len(rows) % (chunk * mesh.devices.size)
    padded = np.pad(rows, ((0, spare), (0, 0))).reshape(-1, chunk, rows.shape[1])
    valid = (np.arange(len(rows) + spare) < len(rows)).reshape(-1, chunk)
    held = meshes.shard_batch(mesh, (padded, valid))
    exact = kernels.scales(kernel, np.asarray(bandwidths, np.float64) / unit)
    scales = jnp.asarray(np.minimum(exact, _MOST), jnp.float32)
    sums = _summing(kernel, mesh)
    size = min(queries_at_once, len(queries))
    found = []
    for start in range(0, len(queries), size):
        part = queries[start : start + size]
        full = np.pad(part, ((0, size - len(part)), (0, 0)))  # One shape compiles once.
        least, total = (np.asarray(value, np.float64) for value in jax.device_get(sums(full, *held, scales)))
        nearest = least.min(0)
        total = (total * np.exp(-_scaled(exact, least - nearest))).sum(0)
        found.append((np.log(total) - _scaled(exact, nearest))[:, : len(part)])
    constant = kernels.log_normaliser(kernel, rows.shape[1], bandwidths) if normalised else np.zeros(len(bandwidths))
    return checked_finite(np.concatenate(found, axis=1) - np.log(len(rows)) + constant[:, None])


def _scaled(scales_H: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Scales times distances, [..., H, Q]; a distance of 0 stays 0 under a scale that overflows."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(distances[..., None, :] > 0, scales_H[:, None] * distances[..., None, :], 0.0)


@functools.lru_cache(maxsize=16)
def _summing(kernel: str, mesh: Mesh) -> Any:
    """(queries, chunks, validity, scales) → least distance m [devices, Q] and Σ exp(−scale · (distance − m)), with H.

    The exponents are of what a distance has above the least, so that they keep their digits in a narrow kernel.
    """

    def on_device(queries: jax.Array, chunks: jax.Array, valid: jax.Array, scales: jax.Array) -> Any:
        def add(sums: Any, chunk: Any) -> Any:
            rows, real = chunk
            least, total = sums
            apart = jnp.where(real[None], distances(kernel, queries, rows), _MOST)
            lower = jnp.minimum(least, apart.min(-1))
            above = jnp.exp(-scales[:, None, None] * (apart - lower[:, None])[None])
            added = jnp.where(real[None, None], above, 0.0).sum(-1)
            return (lower, total * jnp.exp(-scales[:, None] * (least - lower)[None]) + added), None

        empty = jnp.full(queries.shape[:1], _MOST, jnp.float32)
        nothing = jnp.zeros((scales.shape[0], queries.shape[0]), jnp.float32)
        (least, total), _ = jax.lax.scan(add, (empty, nothing), (chunks, valid))
        return least[None], total[None]

    whole, split = PartitionSpec(), PartitionSpec(meshes.DATA)
    shared = jax.shard_map(
        on_device, mesh=mesh, in_specs=(whole, split, split, whole), out_specs=split, check_vma=False
    )
    return jax.jit(shared)


def distances(kernel: str, queries_QD: jax.Array, rows_CD: jax.Array) -> jax.Array:
    """The kernel's distances [Q, C]: squared (gaussian), plain (exponential) or in L1 (laplacian)."""
    if kernel == "laplacian":  # No product gives it; one query at a time keeps the differences in the cache.
        return jax.lax.map(lambda query: jnp.sum(jnp.abs(rows_CD - query[None]), axis=-1), queries_QD)
    squares = jnp.sum(queries_QD**2, -1)[:, None] + jnp.sum(rows_CD**2, -1)[None]
    squared = jnp.maximum(squares - 2 * jnp.matmul(queries_QD, rows_CD.T, precision="highest"), 0.0)
    _, near = jax.lax.top_k(-squared, min(_MEASURED_AGAIN, rows_CD.shape[0]))
    exact = jax.vmap(lambda query, rows: jnp.sum((rows - query[None]) ** 2, axis=-1))(queries_QD, rows_CD[near])
    squared = squared.at[jnp.arange(squared.shape[0])[:, None], near].set(exact)
    crowded = jnp.sum(squared < _CLOSE * squares, axis=-1) > _MEASURED_AGAIN
    squared = jax.lax.cond(
        crowded.any(), _by_differences, lambda *given: given[-1], queries_QD, rows_CD, crowded, squared
    )
    return squared if kernel == "gaussian" else jnp.sqrt(squared)


def _by_differences(queries_QD: jax.Array, rows_CD: jax.Array, which_Q: jax.Array, squared_QC: jax.Array) -> jax.Array:
    """Squared distances with those of some queries measured by differences."""

    def one(given: Any) -> jax.Array:
        query, again, squared = given
        measured: jax.Array = jax.lax.cond(
            again, lambda: jnp.sum((rows_CD - query[None]) ** 2, axis=-1), lambda: squared
        )
        return measured

    return jax.lax.map(one, (queries_QD, which_Q, squared_QC))


def nearest(
    queries_QD: np.ndarray, rows_ND: np.ndarray, count: int, kernel: str = "gaussian", queries_at_once: int = 256
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest rows of each query, nearest first, ties by row.

    Returns:
      (rows int [Q, k], distances float64 [Q, k], as `distances` gives them), k = count.

    Raises:
      InputError: fewer than one neighbour or more than there are rows, or points that are not finite or do not fit.
    """
    check_points(queries_QD, rows_ND)
    if not 1 <= count <= len(rows_ND):
        raise InputError(
            "there are not so many nearest rows",
            got=f"{count} neighbours, of {len(rows_ND)} rows",
            expected="at least one, and at most all rows",
            remedy="set study_density.neighbours to a number that the corpus holds",
        )
    queries, rows, unit = _placed(queries_QD, rows_ND)

    @jax.jit
    def near(part: jax.Array, rows: jax.Array) -> Any:
        found, places = jax.lax.top_k(-distances(kernel, part, rows), count)
        return places, -found

    parts = [
        jax.device_get(near(queries[start : start + queries_at_once], rows))
        for start in range(0, len(queries), queries_at_once)
    ]
    apart = np.concatenate([part[1] for part in parts]).astype(np.float64)
    places = np.concatenate([part[0] for part in parts])
    return places, checked_finite(apart * unit * (unit if kernel == "gaussian" else 1.0))


def check_points(queries: np.ndarray, rows: np.ndarray) -> None:
    """Refuses points that have no density.

    Raises:
      InputError: no query or no row, different dimensions, or a value that is not finite.
    """
    queries, rows = np.asarray(queries), np.asarray(rows)
    fit = queries.ndim == rows.ndim == 2 and queries.shape[1] == rows.shape[1] and queries.size and rows.size
    if not fit or not np.isfinite(queries).all() or not np.isfinite(rows).all():
        raise InputError(
            "a density cannot be computed of these points",
            got=f"queries {queries.shape}, rows {rows.shape}" + ("" if not fit else ", some not finite"),
            expected="at least one query and one row, of the same dimension, all finite",
            remedy="leave out examples whose encoding is flagged, and encode both streams alike",
        )


def checked_finite(values: np.ndarray) -> np.ndarray:
    """The values, if numbers hold them.

    Raises:
      InputError: one is infinite or none.
    """
    if not np.isfinite(values).all():
        raise InputError(
            "a density or distance is beyond what numbers hold",
            got=f"{int((~np.isfinite(values)).sum())} of {values.size} values that are not finite",
            expected="finite values",
            remedy="take a wider bandwidth, or points and bandwidths in a unit that suits them",
        )
    return values


def _placed(queries: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """(queries, rows, unit): float32 points around the rows' middle, in a unit that makes the largest at most 1.

    The middle is rounded to the rows' spread and the unit is a power of two, so points that float32 held already lose
    no digit, and those that lie around the origin are only scaled.
    """
    queries, rows = np.asarray(queries, np.float64), np.asarray(rows, np.float64)
    middle = rows.mean(0)
    spread = float(np.abs(rows - middle).mean())
    middle = np.round(middle / _power(spread)) * _power(spread) if spread > 0 else rows[0]
    queries, rows = checked_finite(queries - middle), checked_finite(rows - middle)
    unit = _power(float(max(np.abs(queries).max(), np.abs(rows).max())))
    return (queries / unit).astype(np.float32), (rows / unit).astype(np.float32), unit


def _power(value: float) -> float:
    """The power of two at or above a value; 1 for 0."""
    return float(2.0 ** np.ceil(np.log2(value))) if value > 0 else 1.0
