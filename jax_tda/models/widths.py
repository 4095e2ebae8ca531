"""In which type a decoder computes: as its config says, sums in float32 at least, and in float64 where parameters are.

Laws are checked in float64, where a derivative and a finite difference agree to many digits.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax.linen import dtypes


def wide(array: jax.Array) -> Any:
    """The type of sums over this array: float32, or float64 where it is float64."""
    return jnp.promote_types(array.dtype, jnp.float32)


def widened(array: jax.Array) -> jax.Array:
    """The array in the type of its sums."""
    return array.astype(wide(array))


def computed(array: jax.Array, dtype: str) -> jax.Array:
    """The array in the config's type, or in float64 if it is float64."""
    return array if array.dtype == jnp.float64 else array.astype(dtype)


def promote(*arrays: Any, **keywords: Any) -> list[Any]:
    """Flax's `promote_dtype`, but float64 goes before the type that a layer is said to compute in."""
    if any(array is not None and jnp.result_type(array) == jnp.float64 for array in arrays):
        keywords["dtype"] = jnp.float64
    return list(dtypes.promote_dtype(*arrays, **keywords))
