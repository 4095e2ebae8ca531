"""The programs of the road, lowered for a mesh whose devices need not be there, from shapes alone."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jax_tda.attribution import scan, similarity, top_k
from jax_tda.core.mesh import DATA, MODEL
from jax_tda.encoding.abstract import encode_program
from jax_tda.training.abstract import step_program

Lower = Callable[[], jax.stages.Lowered]


def curvature(mesh: Mesh, rows: int, blocks: int, size: int) -> jax.stages.Lowered:
    """R + Σ g gᵀ of rows [N, B, K] that every device has its share of, as it has of R [B, K, K], updated in place.

    Args:
      mesh: the devices.
      rows: N.
      blocks: B.
      size: K.
    """

    def update(total_BKK: jax.Array, rows_NBK: jax.Array) -> jax.Array:
        return total_BKK + jnp.einsum("nbk,nbl->bkl", rows_NBK, rows_NBK, precision="highest")

    spread = PartitionSpec(None, (DATA, MODEL), None)
    total = _shaped(mesh, (blocks, size, size), jnp.float32, spread)
    given = _shaped(mesh, (rows, blocks, size), jnp.float32, PartitionSpec((DATA, MODEL)))
    return jax.jit(update, donate_argnums=0, out_shardings=NamedSharding(mesh, spread)).lower(total, given)


def score(devices: Sequence[Any], rows: int, blocks: int, size: int, queries: int, k: int) -> jax.stages.Lowered:
    """Scores of rows [N, B, K] for all queries, and the k best and worst so far with them, as one process makes them.

    Args:
      devices: of one process; each has its part of the rows, and all queries.
      rows: N.
      blocks: B.
      size: K.
      queries: Q.
      k: how many of each end are kept.
    """
    spread = scan.divided(devices)
    mesh: Any = spread.mesh
    rows = -(-rows // len(devices)) * len(devices)

    def update(
        high: Any, low: Any, side_QD: jax.Array, rows_NBK: jax.Array, norms_N: jax.Array, start: jax.Array
    ) -> Any:
        return top_k.merge(high, low, [similarity.scores(side_QD, rows_NBK, norms_N)], start, k)

    end = _shaped(mesh, (queries, k), jnp.int32), _shaped(mesh, (queries, k), jnp.float32)
    side = _shaped(mesh, (queries, blocks * size), jnp.float32)
    given = [_shaped(mesh, shape, jnp.float32, spread.spec) for shape in ((rows, blocks, size), (rows,))]
    return jax.jit(update, donate_argnums=(0, 1)).lower(end, end, side, *given, _shaped(mesh, (), jnp.int32))


def _shaped(
    mesh: Mesh, shape: tuple[int, ...], dtype: Any, spec: PartitionSpec = PartitionSpec()
) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, spec))


def of(config: Any, mesh: Mesh, host: Sequence[Any], rows: int) -> Mapping[str, Lower]:
    """Every program of a `PlanConfig` by name, each lowered when called.

    Args:
      config: the plan's.
      mesh: the devices.
      host: the devices of one host alone.
      rows: encodings that a curvature update is given.
    """
    blocks, size, encode = config.blocks, config.encode.projected_size**2, config.encode
    batch = {
        "batch": config.examples_per_group * mesh.shape[DATA],
        "context": config.tokenize.context,
        "weights": config.mesh.weights,
    }

    def encoding(reduction: str) -> jax.stages.Lowered:
        program, arguments = encode_program(
            config.encoded_decoder,
            mesh,
            blocks=encode.blocks,
            projected_size=encode.projected_size,
            reduction=reduction,
            examples_at_once=encode.examples_at_once,
            unroll_layers=encode.unroll_layers,
            **batch,
        )
        return program.lower(*arguments)

    def training() -> jax.stages.Lowered:
        program, arguments = step_program(config.decoder, config.optimizer, mesh, **batch)
        return program.lower(*arguments)

    return {
        "training step": training,
        "encode, rank one": lambda: encoding("rank_one"),
        "encode, exact": lambda: encoding("exact"),
        "curvature": lambda: curvature(mesh, rows, blocks, size),
        "score": lambda: score(host, encode.shard_rows, blocks, size, config.queries, config.score.top_k),
    }
