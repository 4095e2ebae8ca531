"""The zero probe: an encoding is the gradient at a p×p matrix E = 0 hidden inside each layer.

Let a kernel W (in, out) act as W + Lᵀ E R, where L = P₀/√r and R = P₁/√c carry projection and second moments. Then
∂loss/∂E at E = 0 is P₀ (∂loss/∂W / √V) P₁ᵀ, the corrected and projected gradient. For a Dense layer with input x and
output gradient ẏ this is (x Lᵀ)ᵀ (ẏ Rᵀ): no weight gradient is formed, and as E is zero the forward pass is untouched.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

PROBE, LEFT, RIGHT, INVERSE_ROOT = "probe", "probe_left", "probe_right", "probe_inverse_root"


@jax.custom_vjp
def attach(output: jax.Array, x: jax.Array, probe: jax.Array, left: jax.Array, right: jax.Array) -> jax.Array:
    """Adds x Lᵀ E R to a layer's output, for E = 0: the identity, with the gradient of E.

    Args:
      output: [..., out], what the layer returns.
      x: [..., in], what it was given.
      probe: [p, p] zeros.
      left: [p, in].
      right: [p, out].
    """
    del x, probe, left, right
    return output


def _forward(output: Any, x: Any, probe: Any, left: Any, right: Any) -> Any:
    # x is projected here, so that the backward pass keeps [..., p] instead of [..., in].
    return output, (jnp.einsum("...i,pi->...p", x, left), right)


def _backward(saved: Any, gradient: jax.Array) -> Any:
    x_left, right = saved
    gradient_right = jnp.einsum("...o,po->...p", gradient, right)
    size = x_left.shape[-1]
    probe_gradient = x_left.reshape(-1, size).T @ gradient_right.reshape(-1, size)
    # E is zero, so neither x nor the projections receive a gradient through it: None is a symbolic zero.
    return gradient, None, probe_gradient, None, None


attach.defvjp(_forward, _backward)


@jax.custom_vjp
def attach_exact(
    output: jax.Array, x: jax.Array, probe: jax.Array, left: jax.Array, right: jax.Array, inverse_root: jax.Array
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
    """
    del x, probe, left, right, inverse_root
    return output


def _forward_exact(output: Any, x: Any, probe: Any, left: Any, right: Any, inverse_root: Any) -> Any:
    return output, (x, left, right, inverse_root)


def _backward_exact(saved: Any, gradient: jax.Array) -> Any:
    x, left, right, inverse_root = saved
    rows, columns = inverse_root.shape
    # The sum over tokens is kept in float32 where the layer computes in bfloat16.
    weight_gradient = jnp.einsum(
        "ti,to->io", x.reshape(-1, rows), gradient.reshape(-1, columns), preferred_element_type=jnp.float32
    )
    # The smaller projection first: it decides what the other one costs.
    corrected = weight_gradient * inverse_root
    probe_gradient = (left @ corrected) @ right.T if rows >= columns else left @ (corrected @ right.T)
    return gradient, None, probe_gradient, None, None, None


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


def _intercept(next_function: Any, arguments: Any, keywords: Any, context: nn.module.InterceptorContext) -> Any:
    output = next_function(*arguments, **keywords)
    module = context.module
    if (
        context.method_name != "__call__"
        or not isinstance(module, nn.Dense)
        or not module.has_variable("params", PROBE)
    ):
        return output
    held: list[jax.Array] = [module.get_variable("params", name) for name in (PROBE, LEFT, RIGHT)]
    if module.has_variable("params", INVERSE_ROOT):
        return attach_exact(output, arguments[0], *held, module.get_variable("params", INVERSE_ROOT))
    return attach(output, arguments[0], *held)


def apply(model: nn.Module, params: dict[str, Any], tokens: jax.Array, method: str | None = None) -> Any:
    """The model's logits, or what another of its methods gives, with a probe beside every kernel that holds one."""
    with nn.intercept_methods(_intercept):
        return model.apply({"params": params}, tokens, method=method)


def visible_kernels(model: nn.Module, params: Any, tokens: jax.ShapeDtypeStruct) -> dict[str, tuple[int, ...]]:
    """Which kernels a probe can see, by path, with the (in, out) shape they have inside their module.

    Traces the model without computing anything. A kernel below `nn.scan` is seen once, without its layer axis.
    """
    seen: dict[str, tuple[int, ...]] = {}

    def note(next_function: Any, arguments: Any, keywords: Any, context: nn.module.InterceptorContext) -> Any:
        module = context.module
        output = next_function(*arguments, **keywords)
        if context.method_name == "__call__" and isinstance(module, nn.Dense):
            seen["/".join((*module.path, "kernel"))] = module.get_variable("params", "kernel").shape
        return output

    def trace(params: Any, tokens: jax.Array) -> Any:
        with nn.intercept_methods(note):
            return model.apply({"params": params}, tokens)

    jax.eval_shape(trace, params, tokens)
    return seen
