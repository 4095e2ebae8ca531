"""A TPU kernel for the exact probe's gradient, P₀ ((xᵀ ẏ) ∘ 1/√V) P₁ᵀ, that never stores xᵀẏ.

Each tile of the weight gradient lives in on-chip memory alone: summed over tokens, divided, projected, added up. XLA's
three products write it to HBM instead, whole and once per example in flight. The kernel is written for one example;
`jax.vmap` puts the examples in front of the grid.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

# With these a bfloat16 tile is fed about as fast as a v5e multiplies, and two of every operand fit 16 MiB of VMEM.
TOKENS, ROWS, COLUMNS = 512, 512, 512


def projected_gradient(
    x: jax.Array,
    gradient: jax.Array,
    left: jax.Array,
    right: jax.Array,
    inverse_root: jax.Array,
    *,
    tiles: tuple[int, int, int] = (TOKENS, ROWS, COLUMNS),
    interpret: Any = False,
) -> jax.Array:
    """P₀ ((xᵀ ẏ) ∘ 1/√V) P₁ᵀ, summed over tokens in float32.

    Bfloat16 inputs are multiplied as they are; anything else, and every projection, in full float32.

    Args:
      x: [T, in], one example's inputs of a layer.
      gradient: [T, out], the gradient ẏ of its outputs.
      left: [p, in], P₀.
      right: [p, out], P₁.
      inverse_root: [in, out], 1/√V.
      tiles: sizes of a tile in tokens, in and out; multiples of 128. A shorter side is one tile of its own length.
      interpret: what `pallas_call` takes, to run without a TPU.

    Returns:
      float32 [p, p].
    """
    (length, rows), columns, p = x.shape, gradient.shape[1], left.shape[0]
    if not (x.dtype == gradient.dtype == jnp.bfloat16):
        x, gradient = x.astype(jnp.float32), gradient.astype(jnp.float32)
    sizes = (length, rows, columns)
    t, i, o = (min(tile, size) for tile, size in zip(tiles, sizes, strict=True))
    # Tokens go by fastest, so that a tile is finished before the next one begins.
    grid = (pl.cdiv(rows, i), pl.cdiv(columns, o), pl.cdiv(length, t))
    projections = [
        pl.BlockSpec((p, i), lambda row, column, token: (0, row)),
        pl.BlockSpec((p, o), lambda row, column, token: (0, column)),
    ]
    result: jax.Array = pl.pallas_call(
        functools.partial(_kernel, sizes=sizes),
        out_shape=jax.ShapeDtypeStruct((p, p), jnp.float32),
        grid=grid,
        in_specs=[
            pl.BlockSpec((t, i), lambda row, column, token: (token, row)),
            pl.BlockSpec((t, o), lambda row, column, token: (token, column)),
            *projections,
            pl.BlockSpec((i, o), lambda row, column, token: (row, column)),
        ],
        out_specs=pl.BlockSpec((p, p), lambda row, column, token: (0, 0)),
        scratch_shapes=[pltpu.VMEM((i, o), jnp.float32)],
        compiler_params=pltpu.CompilerParams(dimension_semantics=("arbitrary",) * 3),
        interpret=interpret,
        name="exact_probe_gradient",
    )(x, gradient, left.astype(jnp.float32), right.astype(jnp.float32), inverse_root.astype(jnp.float32))
    return result


def _kernel(x: Any, gradient: Any, left: Any, right: Any, root: Any, out: Any, tile: Any, *, sizes: Any) -> None:
    row, column, token = (pl.program_id(axis) for axis in range(3))
    length, rows, columns = sizes

    @pl.when((row == 0) & (column == 0) & (token == 0))
    def _() -> None:
        out[...] = jnp.zeros_like(out)

    @pl.when(token == 0)
    def _() -> None:
        tile[...] = jnp.zeros_like(tile)

    tile[...] += _product(_inside(x[...], 0, token, length), _inside(gradient[...], 0, token, length), 0, 0)

    @pl.when(token == pl.num_programs(2) - 1)
    def _() -> None:
        corrected = _inside(_inside(tile[...] * root[...], 0, row, rows), 1, column, columns)
        half = _product(_inside(left[...], 1, row, rows), corrected, 1, 0)
        out[...] += _product(half, _inside(right[...], 1, column, columns), 1, 1)


def _product(a: jax.Array, b: jax.Array, a_axis: int, b_axis: int) -> jax.Array:
    # One pass of the multiplier is exact for bfloat16; float32 takes several.
    precision = jax.lax.Precision.DEFAULT if a.dtype == jnp.bfloat16 else jax.lax.Precision.HIGHEST
    dimensions = (((a_axis,), (b_axis,)), ((), ()))
    return jax.lax.dot_general(a, b, dimensions, precision=precision, preferred_element_type=jnp.float32)


def _inside(block: jax.Array, axis: int, index: jax.Array, size: int) -> jax.Array:
    """The block with zeros where it reaches over the array's edge: what stands there may be anything, NaN included."""
    if size % block.shape[axis] == 0:
        return block
    place = jax.lax.broadcasted_iota(jnp.int32, block.shape, axis) + index * block.shape[axis]
    return jnp.where(place < size, block, jnp.zeros_like(block))
