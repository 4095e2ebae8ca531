"""Products of a decoder's kernels whose weight gradient takes a CPU's fast path.

XLA's fast product wants the summed axis last in its left factor and first in its right one. In xᵀ ẏ it is first in
both, and XLA then takes a path of about half the rate: so one factor, the narrower one, is transposed before.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jax_tda.models.widths import wide


def weight_gradient(x: jax.Array, gradient: jax.Array) -> jax.Array:
    """Σ_n x_n ẏ_nᵀ, [in, out] in float32 (float64 where they are), of x [N, in] and ẏ [N, out]."""
    if x.shape[1] > gradient.shape[1]:
        # The wide side goes over the columns of the product; the barrier keeps XLA from undoing the transposition.
        return jax.lax.optimization_barrier(weight_gradient(gradient, x)).T
    turned = jax.lax.optimization_barrier(x.T)
    return jnp.matmul(turned, gradient, preferred_element_type=wide(x))


@jax.custom_vjp
def product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """x [..., in] times kernel [in, out]; of derivatives only the reverse one."""
    return jnp.matmul(x, kernel)


def _forward(x: jax.Array, kernel: jax.Array) -> Any:
    return jnp.matmul(x, kernel), (x, kernel)


def _backward(saved: Any, gradient: jax.Array) -> Any:
    x, kernel = saved
    flat = x.reshape(-1, kernel.shape[0]), gradient.reshape(-1, kernel.shape[1])
    return jnp.matmul(gradient, kernel.T), weight_gradient(*flat).astype(kernel.dtype)


product.defvjp(_forward, _backward)


def intercept(next_function: Any, arguments: Any, keywords: Any, context: nn.module.InterceptorContext) -> Any:
    """For `nn.intercept_methods`: every Dense layer multiplies by `product`; all else is as ever."""
    module = context.module
    if type(module) is not nn.Dense or context.method_name != "__call__":
        return next_function(*arguments, **keywords)
    bias: Any = module.get_variable("params", "bias") if module.use_bias else None
    kernel: Any = module.get_variable("params", "kernel")
    x, kernel, bias = module.promote_dtype(arguments[0], kernel, bias, dtype=module.dtype)
    output = product(x, kernel)
    return output if bias is None else output + jnp.broadcast_to(bias, output.shape)
