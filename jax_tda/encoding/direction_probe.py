"""Probes without a projection: contractions of each layer's weight gradient that are formed in the backward pass.

A leaf beside a kernel is zero or a constant, so that the forward pass is untouched; the backward pass decides what its
"gradient" is. `attach_directions` gives ⟨xᵀẏ, U_q⟩ for every direction, `attach_positions` the same position by
position, `attach_factors` the sums xᵀx and ẏᵀẏ, and `attach_squares` the square of the gradient in another basis.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

DIRECTIONS, WANTED, BY_POSITION = "probe_directions", "probe_wanted", "probe_by_position"
FACTOR_IN, FACTOR_OUT = "probe_factor_in", "probe_factor_out"
BASIS_IN, BASIS_OUT = "probe_basis_in", "probe_basis_out"
LEAVES = (DIRECTIONS, WANTED, BY_POSITION, FACTOR_IN, FACTOR_OUT, BASIS_IN, BASIS_OUT)


def attach(output: jax.Array, x: jax.Array, own: jax.Array, others: Mapping[str, jax.Array]) -> jax.Array:
    """Whichever of the four probes stands beside a kernel.

    Args:
      output: [..., out], what the layer returns.
      x: [..., in], what it was given.
      own: the leaf whose gradient is wanted: ε, the count, or the squares.
      others: the further leaves of that probe, by name.
    """
    if DIRECTIONS in others:
        return attach_directions(output, x, own, others[DIRECTIONS], others.get(WANTED))
    if BY_POSITION in others:
        return attach_positions(output, x, own, others[BY_POSITION])
    if FACTOR_IN in others:
        return attach_factors(output, x, own, others[FACTOR_IN], others[FACTOR_OUT])
    return attach_squares(output, x, own, others[BASIS_IN], others[BASIS_OUT])


def _weight_gradient(x: jax.Array, gradient: jax.Array) -> jax.Array:
    """xᵀ ẏ [in, out], summed over positions in float32 at least."""
    rows, columns = x.reshape(-1, x.shape[-1]), gradient.reshape(-1, gradient.shape[-1])
    return jnp.einsum("ti,to->io", rows, columns, preferred_element_type=jnp.promote_types(x.dtype, jnp.float32))


@jax.custom_vjp
def attach_directions(
    output: jax.Array, x: jax.Array, steps: jax.Array, directions: jax.Array, wanted: jax.Array | None = None
) -> jax.Array:
    """Adds x (Σ_q ε_q U_q) to a layer's output, for ε = 0: the identity, with the gradient ⟨xᵀẏ, U_q⟩ of each ε_q.

    Args:
      output: [..., out], what the layer returns.
      x: [..., in], what it was given.
      steps: ε, [Q, 1] zeros; with `wanted` [K, 1].
      directions: U, [Q, in·out].
      wanted: int [K, 1], the q of each ε; None for all of them in their order.
    """
    del x, steps, directions, wanted
    return output


def _directions_forward(output: Any, x: Any, steps: Any, directions: Any, wanted: Any) -> Any:
    del steps
    return output, (x, directions, wanted)


def _directions_backward(saved: Any, gradient: jax.Array) -> Any:
    x, directions, wanted = saved
    chosen = directions if wanted is None else directions[wanted[:, 0]]
    found = chosen @ _weight_gradient(x, gradient).reshape(-1).astype(directions.dtype)
    return gradient, None, found[:, None], None, None


attach_directions.defvjp(_directions_forward, _directions_backward)


@jax.custom_vjp
def attach_positions(output: jax.Array, x: jax.Array, steps: jax.Array, directions: jax.Array) -> jax.Array:
    """Adds Σ_q ε_qt x_t U_q to a layer's output, for ε = 0: the identity, with the gradient x_tᵀ U_q ẏ_t of each ε_qt.

    Args:
      output: [..., out], T rows.
      x: [..., in], T rows.
      steps: ε, [Q, T] zeros.
      directions: U, [Q, in·out].
    """
    del x, steps, directions
    return output


def _positions_forward(output: Any, x: Any, steps: Any, directions: Any) -> Any:
    del steps
    return output, (x, directions)


def _positions_backward(saved: Any, gradient: jax.Array) -> Any:
    x, directions = saved
    rows, columns = x.reshape(-1, x.shape[-1]), gradient.reshape(-1, gradient.shape[-1])
    wide = jnp.promote_types(directions.dtype, jnp.float32)
    moved = jnp.einsum("ti,qio->qto", rows.astype(wide), directions.reshape(-1, rows.shape[1], columns.shape[1]))
    found = jnp.einsum("qto,to->qt", moved, columns.astype(wide))
    return gradient, None, found.astype(directions.dtype), None


attach_positions.defvjp(_positions_forward, _positions_backward)


@jax.custom_vjp
def attach_factors(
    output: jax.Array, x: jax.Array, count: jax.Array, factor_in: jax.Array, factor_out: jax.Array
) -> jax.Array:
    """The identity, with the "gradients" Σ_t x_t x_tᵀ, Σ_t ẏ_t ẏ_tᵀ and the number of positions t with ẏ_t ≠ 0.

    Positions whose output gradient is zero, such as padding, belong to none of them. Source: K-FAC, expanded over
    positions (arXiv 1503.05671, 2311.00636).

    Args:
      output: [..., out].
      x: [..., in].
      count: [1, 1] zero.
      factor_in: [in, in] zeros.
      factor_out: [out, out] zeros.
    """
    del x, count, factor_in, factor_out
    return output


def _factors_forward(output: Any, x: Any, count: Any, factor_in: Any, factor_out: Any) -> Any:
    del count, factor_in, factor_out
    return output, x


def _factors_backward(x: Any, gradient: jax.Array) -> Any:
    rows = x.reshape(-1, x.shape[-1]).astype(jnp.promote_types(x.dtype, jnp.float32))
    columns = gradient.reshape(-1, gradient.shape[-1]).astype(rows.dtype)
    seen = (columns != 0).any(axis=1, keepdims=True).astype(rows.dtype)
    rows = rows * seen
    return gradient, None, jnp.sum(seen).reshape(1, 1), rows.T @ rows, columns.T @ columns


attach_factors.defvjp(_factors_forward, _factors_backward)


@jax.custom_vjp
def attach_squares(
    output: jax.Array, x: jax.Array, squares: jax.Array, basis_in: jax.Array, basis_out: jax.Array
) -> jax.Array:
    """The identity, with the "gradient" (Q_inᵀ (xᵀẏ) Q_out)², element by element, of one example.

    Args:
      output: [..., out].
      x: [..., in].
      squares: [in, out] zeros.
      basis_in: Q_in, [in, in], a column for each vector.
      basis_out: Q_out, [out, out].
    """
    del x, squares, basis_in, basis_out
    return output


def _squares_forward(output: Any, x: Any, squares: Any, basis_in: Any, basis_out: Any) -> Any:
    del squares
    return output, (x, basis_in, basis_out)


def _squares_backward(saved: Any, gradient: jax.Array) -> Any:
    x, basis_in, basis_out = saved
    # Rotated before the product: the sum over positions is the same.
    turned = _weight_gradient(x.astype(basis_in.dtype) @ basis_in, gradient.astype(basis_out.dtype) @ basis_out)
    return gradient, None, jnp.square(turned), None, None


attach_squares.defvjp(_squares_forward, _squares_backward)
