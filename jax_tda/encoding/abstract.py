"""The encoder's program for a decoder that is nowhere: shapes and places alone, so that a compiler can be asked."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from jax_tda.core import mesh as meshes
from jax_tda.core import trees
from jax_tda.encoding.blocks import DEFAULT_EXCLUDE, Matrix
from jax_tda.encoding.program import Program
from jax_tda.models.decoder import Decoder, DecoderConfig


def encode_program(
    config: DecoderConfig,
    mesh: Mesh,
    *,
    blocks: str = "groups",
    projected_size: int = 64,
    reduction: str = "rank_one",
    batch: int,
    context: int,
    weights: str = "",
    examples_at_once: int | None = None,
    unroll_layers: bool | None = None,
    exclude: tuple[str, ...] = DEFAULT_EXCLUDE,
) -> tuple[Any, tuple[Any, ...]]:
    """What `Encoder.encode` compiles for a batch of passages, and its arguments as `jax.ShapeDtypeStruct`s.

    Args:
      config: the decoder; `remat`, `dtype` and `parameter_dtype` are taken from it.
      mesh: the devices, which may be those of a topology that is not there.
      blocks: as of `Encoder`.
      projected_size: p.
      reduction: `rank_one`, `exact` (second moments element-wise) or `none`.
      batch: examples over all data groups.
      context: tokens of each.
      weights: as of `MeshConfig`.
      examples_at_once: as of `Encoder`.
      unroll_layers: as of `Encoder`.
      exclude: as of `Encoder`.

    Returns:
      (a jitted function, its arguments): `function.lower(*arguments).compile()` asks the compiler.
    """
    model = Decoder(config)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 2), jnp.int32))["params"])
    program = Program(
        model,
        shapes,
        blocks,
        projected_size,
        exclude=exclude,
        reduction="exact" if reduction == "exact" else "rank_one",
        examples_at_once=examples_at_once,
        unroll_layers=unroll_layers,
        mesh=mesh,
        weights=weights,
    )
    places, whole = program.places, meshes.replicated(mesh)
    leaves = jax.eval_shape(program.arranged, trees.flatten(shapes))
    leaves = {path: _placed(leaf, places.leaf(path, leaf.shape) if places else whole) for path, leaf in leaves.items()}
    sides = {}
    for matrix in program.plan.matrices:
        own = jax.eval_shape(lambda matrix=matrix: program.arranged_sides(matrix, _sides(matrix, program)))
        sides[matrix.path] = jax.tree.map(_placed, own, places.sides(matrix, own) if places else _like(own, whole))
    rows = program.padded(batch)
    given = [((rows, context), jnp.int32), ((rows, context), jnp.float32), ((rows, context), jnp.int32)]
    split = meshes.batch_sharding(mesh)
    examples = [jax.ShapeDtypeStruct(shape, dtype, sharding=split) for shape, dtype in given]
    return program.compiled(), (leaves, sides, *examples)


def _sides(matrix: Matrix, program: Program) -> tuple[Any, Any, Any]:
    lead = (matrix.layers,) if matrix.layers else ()
    p = program.projected_size
    root = jnp.zeros((*lead, matrix.rows, matrix.columns)) if program.reduction == "exact" else None
    return jnp.zeros((*lead, p, matrix.rows)), jnp.zeros((*lead, p, matrix.columns)), root


def _placed(leaf: Any, where: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where)


def _like(tree: Any, where: Any) -> Any:
    return jax.tree.map(lambda _: where, tree)
