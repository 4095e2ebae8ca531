"""The zero probe: an encoding is the gradient at a p×p matrix E = 0 hidden inside each layer.

Let a kernel W (in, out) act as W + Lᵀ E R, where L = P₀/√r and R = P₁/√c carry projection and second moments. Then
∂loss/∂E at E = 0 is P₀ (∂loss/∂W / √V) P₁ᵀ, the corrected and projected gradient. For a Dense layer with input x and
output gradient ẏ this is (x Lᵀ)ᵀ (ẏ Rᵀ): no weight gradient is formed, and as E is zero the forward pass is untouched.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jax_tda.encoding import exact_kernel

PROBE, LEFT, RIGHT, INVERSE_ROOT = "probe", "probe_left", "probe_right", "probe_inverse_root"


@jax.custom_vjp
def attach_projected(output: jax.Array, x_left: jax.Array, probe: jax.Array, right: jax.Array) -> jax.Array:
    """Adds (x Lᵀ) E R to a layer's output, for E = 0: the identity, with the gradient of E, (x Lᵀ)ᵀ (ẏ Rᵀ).

    Args:
      output: [..., out], what the layer returns.
      x_left: [..., p], its input, projected.
      probe: [p, p] zeros.
      right: [p, out].
    """
    del x_left, probe, right
    return output


def _forward(output: Any, x_left: Any, probe: Any, right: Any) -> Any:
    return output, (x_left, right)


def _backward(saved: Any, gradient: jax.Array) -> Any:
    x_left, right = saved
    gradient_right = jnp.einsum("...o,po->...p", gradient, right)
    size = x_left.shape[-1]
    probe_gradient = x_left.reshape(-1, size).T @ gradient_right.reshape(-1, size)
    # E is zero, so neither x nor the projections receive a gradient through it: None is a symbolic zero.
    return gradient, None, probe_gradient, None


attach_projected.defvjp(_forward, _backward)


def attach(output: jax.Array, x: jax.Array, probe: jax.Array, left: jax.Array, right: jax.Array) -> jax.Array:
    """Adds x Lᵀ E R to a layer's output, for E = 0: `attach_projected` with the projection of x.

    Args:
      output: [..., out].
      x: [..., in], what the layer was given.
      probe: [p, p] zeros.
      left: [p, in].
      right: [p, out].
    """
    # x is projected before the backward pass, which then keeps [..., p] instead of [..., in].
    x_left = jnp.einsum("...i,pi->...p", jax.lax.stop_gradient(x), left)
    return attach_projected(output, x_left, probe, right)


@functools.partial(jax.custom_vjp, nondiff_argnums=(6,))
def attach_exact(
    output: jax.Array,
    x: jax.Array,
    probe: jax.Array,
    left: jax.Array,
    right: jax.Array,
    inverse_root: jax.Array,
    kernel: bool = True,
) -> jax.Array:
    """Like `attach` for W + (Lᵀ E R) / √V, with V element-wise: the gradient of E is L (xᵀ ẏ / √V) Rᵀ.

    Only here is a weight gradient formed, of the layer in hand and of one example.

    Args:
      output: [..., out].
      x: [..., in].
      probe: [p, p] zeros.
      left: [p, in], P₀ itself.
      right: [p, out], P₁ itself.
      inverse_root: [in, out], 1/√V.
      kernel: whether a TPU takes the kernel for it, which the compiler cannot divide over devices.
    """
    del x, probe, left, right, inverse_root, kernel
    return output


def _forward_exact(output: Any, x: Any, probe: Any, left: Any, right: Any, inverse_root: Any, kernel: bool) -> Any:
    del probe, kernel
    return output, (x, left, right, inverse_root)


def xla_gradient(
    x: jax.Array, gradient: jax.Array, left: jax.Array, right: jax.Array, inverse_root: jax.Array
) -> jax.Array:
    """P₀ ((xᵀ ẏ) ∘ 1/√V) P₁ᵀ as three products of XLA; arguments and result as of `exact_kernel.projected_gradient`."""
    # The sum over tokens is kept in float32 where the layer computes in bfloat16.
    weight_gradient = jnp.einsum("ti,to->io", x, gradient, preferred_element_type=jnp.float32)
    # The smaller projection first: it decides what the other one costs.
    corrected = weight_gradient * inverse_root
    rows, columns = inverse_root.shape
    return (left @ corrected) @ right.T if rows >= columns else left @ (corrected @ right.T)


def exact_gradient(
    x: jax.Array, gradient: jax.Array, left: jax.Array, right: jax.Array, inverse_root: jax.Array
) -> jax.Array:
    """The same by the kernel on a TPU, by XLA elsewhere."""
    # Chosen when the program is lowered, so that one compiled for TPUs on another machine has the kernel too.
    operands = (x, gradient, left, right, inverse_root)
    found: jax.Array = jax.lax.platform_dependent(*operands, tpu=exact_kernel.projected_gradient, default=xla_gradient)
    return found


def _backward_exact(kernel: bool, saved: Any, gradient: jax.Array) -> Any:
    x, left, right, inverse_root = saved
    rows, columns = inverse_root.shape
    flat = x.reshape(-1, rows), gradient.reshape(-1, columns)
    product = exact_gradient if kernel else xla_gradient
    return gradient, None, product(*flat, left, right, inverse_root), None, None, None


attach_exact.defvjp(_forward_exact, _backward_exact)


def perturb(
    kernel: jax.Array, probe: jax.Array, left: jax.Array, right: jax.Array, inverse_root: jax.Array | None = None
) -> jax.Array:
    """The weight path: W + Lᵀ E R (∘ 1/√V) itself, for parameters whose inputs no module shows.

    Args:
      kernel: [..., in, out].
      probe: [..., p, p] zeros.
      left: [..., p, in].
      right: [..., p, out].
      inverse_root: [..., in, out], 1/√V where V is taken element-wise.
    """
    change = jnp.einsum("...pi,...pq,...qo->...io", left, probe, right)
    return kernel + (change if inverse_root is None else change * inverse_root).astype(kernel.dtype)
