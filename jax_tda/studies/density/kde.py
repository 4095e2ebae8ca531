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

# Beside a product, whose digits cancel where two points are close, so many of a chunk's nearest are measured again.
_MEASURED_AGAIN = 8
_NOTHING = float(np.finfo(np.float32).min)


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
      InputError: no row, a bandwidth that is not positive, or points that are not finite or do not fit.
    """
    kernels.check(kernel, bandwidths)
    queries, rows = _checked(queries_QD, rows_ND)
    mesh = mesh or meshes.make_mesh()
    chunk = min(rows_at_once, -(-len(rows) // mesh.devices.size))
    spare = -len(rows) % (chunk * mesh.devices.size)
    padded = np.pad(rows, ((0, spare), (0, 0))).reshape(-1, chunk, rows.shape[1])
    valid = (np.arange(len(rows) + spare) < len(rows)).reshape(-1, chunk)
    held = meshes.shard_batch(mesh, (padded, valid))
    scales = jnp.asarray(kernels.scales(kernel, bandwidths), jnp.float32)
    sums = _summing(kernel, mesh)
    size = min(queries_at_once, len(queries))
    found = []
    for start in range(0, len(queries), size):
        part = queries[start : start + size]
        full = np.pad(part, ((0, size - len(part)), (0, 0)))  # One shape compiles once.
        largest, total = (np.asarray(value, np.float64) for value in jax.device_get(sums(full, *held, scales)))
        highest = largest.max(0)
        found.append((highest + np.log((total * np.exp(largest - highest)).sum(0)))[:, : len(part)])
    constant = kernels.log_normaliser(kernel, rows.shape[1], bandwidths) if normalised else np.zeros(len(bandwidths))
    return np.concatenate(found, axis=1) - np.log(len(rows)) + constant[:, None]


@functools.lru_cache(maxsize=16)
def _summing(kernel: str, mesh: Mesh) -> Any:
    """(queries, chunks, validity, scales) → largest exponent and Σ exp(exponent − largest), each [devices, H, Q]."""

    def on_device(queries: jax.Array, chunks: jax.Array, valid: jax.Array, scales: jax.Array) -> Any:
        def add(sums: Any, chunk: Any) -> Any:
            rows, real = chunk
            largest, total = sums
            exponents = -scales[:, None, None] * distances(kernel, queries, rows)[None]
            exponents = jnp.where(real[None, None], exponents, -jnp.inf)
            higher = jnp.maximum(largest, exponents.max(-1))
            added = jnp.exp(exponents - higher[..., None]).sum(-1)
            return (higher, total * jnp.exp(largest - higher) + added), None

        empty = jnp.full((scales.shape[0], queries.shape[0]), _NOTHING, jnp.float32)
        (largest, total), _ = jax.lax.scan(add, (empty, jnp.zeros_like(empty)), (chunks, valid))
        return largest[None], total[None]

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
    return squared if kernel == "gaussian" else jnp.sqrt(squared)


def nearest(
    queries_QD: np.ndarray, rows_ND: np.ndarray, count: int, kernel: str = "gaussian", queries_at_once: int = 256
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest rows of each query, nearest first, ties by row.

    Returns:
      (rows int [Q, k], distances float32 [Q, k], as `distances` gives them), k = min(count, N).
    """
    queries, rows = _checked(queries_QD, rows_ND)
    k = min(count, len(rows))

    @jax.jit
    def near(part: jax.Array, rows: jax.Array) -> Any:
        found, places = jax.lax.top_k(-distances(kernel, part, rows), k)
        return places, -found

    parts = [
        jax.device_get(near(queries[start : start + queries_at_once], rows))
        for start in range(0, len(queries), queries_at_once)
    ]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _checked(queries: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    queries, rows = np.asarray(queries, np.float32), np.asarray(rows, np.float32)
    fit = queries.ndim == rows.ndim == 2 and queries.shape[1] == rows.shape[1] and queries.size and rows.size
    if not fit or not np.isfinite(queries).all() or not np.isfinite(rows).all():
        raise InputError(
            "a density cannot be computed of these points",
            got=f"queries {queries.shape}, rows {rows.shape}" + ("" if not fit else ", some not finite"),
            expected="at least one query and one row, of the same dimension, all finite",
            remedy="leave out examples whose encoding is flagged, and encode both streams alike",
        )
    return queries, rows
