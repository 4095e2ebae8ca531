"""Which modules show a kernel's inputs to a probe, and how each parameter is a matrix (in, out).

Dense, DenseGeneral (linen's attention is made of it), Einsum and Embed, the last in both of its uses. A kernel's axes
are those that its input is summed over (in) and those that its output gains (out); all others are positions.
"""

import dataclasses
import functools
import math
from typing import Any, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype

from jax_tda.encoding import probe
from jax_tda.models.layout import Gathering


class Places(Protocol):
    """What says how that which stands beside a kernel is used where weights are divided over devices."""

    def use(self, path: str, name: str, array: jax.Array) -> jax.Array:
        """The leaf `name` beside the kernel of this path, as it is used."""


_NAMES = {nn.Dense: "kernel", nn.DenseGeneral: "kernel", nn.Einsum: "kernel", nn.Embed: "embedding"}
KERNELS = frozenset(_NAMES.values())
# What stands beside a probed kernel; no parameter of the model's.
BESIDE = frozenset((probe.PROBE, probe.LEFT, probe.RIGHT, probe.INVERSE_ROOT))


@dataclasses.dataclass(frozen=True)
class Site:
    """A parameter as a matrix.

    Args:
      shape: its shape inside its module, without a layer axis.
      in_axes: its input axes, in order.
      out_axes: its output axes, in order.
      table: whether it is an embedding, whose input is an id.
      direct: whether a probe sees all that becomes of it.
    """

    shape: tuple[int, ...]
    in_axes: tuple[int, ...] = (0,)
    out_axes: tuple[int, ...] = (1,)
    table: bool = False
    direct: bool = True

    @property
    def rows(self) -> int:
        """Size of the input side."""
        return math.prod(self.shape[axis] for axis in self.in_axes)

    @property
    def columns(self) -> int:
        """Size of the output side."""
        return math.prod(self.shape[axis] for axis in self.out_axes)

    def matrix(self, kernel: Any) -> Any:
        """[..., in, out] of a kernel with any leading layer axes."""
        lead = kernel.ndim - len(self.shape)
        order = (*range(lead), *(lead + axis for axis in (*self.in_axes, *self.out_axes)))
        return kernel.transpose(order).reshape(*kernel.shape[:lead], self.rows, self.columns)

    def kernel(self, matrix: Any) -> Any:
        """The kernel whose `matrix` [..., in, out] is given."""
        lead = matrix.ndim - 2
        order = (*self.in_axes, *self.out_axes)
        back = (*range(lead), *(lead + order.index(axis) for axis in range(len(order))))
        return matrix.reshape(*matrix.shape[:lead], *(self.shape[axis] for axis in order)).transpose(back)

    def leads(self, shape: tuple[int, ...]) -> int | None:
        """How many layer axes, none or one, lead a parameter of this shape; None where it is not this one's stack."""
        spare = len(shape) - len(self.shape)
        return spare if spare in (0, 1) and tuple(shape[spare:]) == tuple(self.shape) else None


@dataclasses.dataclass(frozen=True)
class Call:
    """One use of a kernel: its site, and how input and output are laid out as [positions, in] and [positions, out]."""

    site: Site
    x: Any
    to_rows: Any
    from_rows: Any


def plain(shape: tuple[int, ...], convolution: bool = False) -> Site | None:
    """How a parameter that no product shows is a matrix: scalar and vector as one row, a convolution's kernel flat.

    None where it has more axes: which of them are inputs is then unknown.
    """
    if len(shape) > 2 and not convolution:
        return None
    axes = tuple(range(len(shape)))
    return Site(shape, axes[:-1], axes[-1:], direct=False)


def apply(
    model: nn.Module, params: dict[str, Any], tokens: jax.Array, method: str | None = None, places: Places | None = None
) -> Any:
    """The model's logits, or what another of its methods gives, with a probe beside every kernel that holds one."""
    with nn.intercept_methods(functools.partial(_intercept, places)):
        return model.apply({"params": params}, tokens, method=method)


def _intercept(
    places: Places | None,
    next_function: Any,
    arguments: Any,
    keywords: Any,
    context: nn.module.InterceptorContext,
) -> Any:
    """Attaches a probe to the output of every module whose parameters hold one."""
    output = next_function(*arguments, **keywords)
    module = context.module
    if type(module) not in _NAMES or not module.has_variable("params", probe.PROBE):
        return output
    shown = call(context, arguments, keywords, output)
    if shown is None:
        return output

    def beside_it(leaf: str) -> jax.Array:
        held: jax.Array = module.get_variable("params", leaf)
        return held if places is None else places.use("/".join((*module.path, name(module))), leaf, held)

    zero: jax.Array = module.get_variable("params", probe.PROBE)
    left, right = beside_it(probe.LEFT), beside_it(probe.RIGHT)
    rows = shown.to_rows(output)
    if shown.site.table:
        if context.method_name == "attend":
            # The table's transpose: its input side is where logits arrive.
            x_right = jnp.einsum("...i,pi->...p", jax.lax.stop_gradient(shown.x), right)
            rows = probe.attach_projected(rows, x_right, zero.T, left)
        else:
            rows = probe.attach_projected(rows, left.T[shown.x], zero, right)
    elif module.has_variable("params", probe.INVERSE_ROOT):
        root = beside_it(probe.INVERSE_ROOT)
        # A kernel of our own cannot be divided by the compiler.
        rows = probe.attach_exact(rows, shown.x, zero, left, right, root, places is None)
    else:
        rows = probe.attach(rows, shown.x, zero, left, right)
    return shown.from_rows(rows)


def name(module: nn.Module) -> str:
    """What a module of a known kind calls its kernel."""
    return next(held for kind, held in _NAMES.items() if isinstance(module, kind))


def beside(path: str, leaf: str) -> str:
    """The path of a leaf in the module that holds the parameter of this path."""
    parent = path.rpartition("/")[0]
    return f"{parent}/{leaf}" if parent else leaf


def call(context: nn.module.InterceptorContext, arguments: Any, keywords: Any, output: Any) -> Call | None:
    """The use of a kernel in this call of a module, if it is one whose gradient a probe gives."""
    module = context.module
    # A subclass may do anything with its kernel; its own use of it is then found elsewhere, and the weight path taken.
    if type(module) not in _NAMES or context.method_name not in ("__call__", "attend") or not arguments:
        return None
    # So may a product of the user's own, such as a quantised one.
    casts = module.promote_dtype is promote_dtype or isinstance(module.promote_dtype, Gathering)
    if getattr(module, "dot_general_cls", None) is not None or not casts:
        return None
    if getattr(module, "dot_general", None) not in (None, jax.lax.dot_general):
        return None
    kernel: jax.Array = module.get_variable("params", name(module))
    x = arguments[0]

    def same(array: Any) -> Any:
        return array

    if isinstance(module, nn.Embed):
        return Call(Site(kernel.shape, table=True), x, same, same)
    if context.method_name != "__call__":
        return None
    if isinstance(module, nn.Dense):
        return Call(Site(kernel.shape), x, same, same)
    if isinstance(module, nn.Einsum):
        given = keywords.get("einsum_str", arguments[1] if len(arguments) > 1 else None) or module.einsum_str
        return _einsum(str(given), kernel, x, output)
    if module.batch_dims not in ((), None):
        return None
    axes = (module.axis,) if isinstance(module.axis, int) else tuple(module.axis)
    site = Site(kernel.shape, tuple(range(len(axes))), tuple(range(len(axes), kernel.ndim)))
    moved = jnp.moveaxis(x, axes, range(-len(axes), 0))
    features = len(site.out_axes)
    return Call(
        site,
        moved.reshape(*moved.shape[: -len(axes)], site.rows),
        lambda array: array.reshape(*array.shape[:-features], site.columns),
        lambda array: array.reshape(output.shape),
    )


def einsum_axes(inputs: str, weights: str, result: str) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Input and output axes of a kernel in an einsum that is a matrix product over positions; None in any other.

    No letter twice, none in all three, none summed on one side alone.
    """
    ins = [c for c in weights if c in inputs and c not in result]
    outs = [c for c in weights if c not in inputs and c in result]
    simple = all(len(set(word.replace(".", ""))) == len(word.replace(".", "")) for word in (inputs, weights, result))
    lost = any(c not in result for c in inputs if c not in weights and c != ".")
    if "." in weights or not simple or lost or len(ins) + len(outs) != len(weights):
        return None
    return tuple(weights.index(c) for c in ins), tuple(weights.index(c) for c in outs)


def _einsum(equation: str, kernel: jax.Array, x: jax.Array, output: jax.Array) -> Call | None:
    inputs, weights, result = _letters(equation, x)
    axes = einsum_axes(inputs, weights, result)
    if axes is None:
        return None
    site = Site(kernel.shape, *axes)
    ins, outs = ([weights[axis] for axis in side] for side in axes)
    positions = [c for c in inputs if c not in weights]
    moved = x.transpose([inputs.index(c) for c in (*positions, *ins)])
    order = [result.index(c) for c in (*positions, *outs)]
    back = [order.index(axis) for axis in range(len(order))]
    lead = moved.shape[: len(positions)]
    kept = [output.shape[axis] for axis in order]
    return Call(
        site,
        moved.reshape(*lead, site.rows),
        lambda array: array.transpose(order).reshape(*lead, site.columns),
        lambda array: array.reshape(kept).transpose(back),
    )


def _letters(equation: str, x: jax.Array) -> tuple[str, str, str]:
    """The equation without an ellipsis, whose axes get letters of their own."""
    left, result = equation.replace(" ", "").split("->")
    inputs, weights = left.split(",")
    spare = iter(sorted(set("ABCDEFGHIJKLMNOPQRSTUVWXYZ") - set(equation)))
    if "..." in inputs:
        named = "".join(next(spare) for _ in range(x.ndim - (len(inputs) - 3)))
        inputs, result = inputs.replace("...", named), result.replace("...", named)
    return inputs, weights, result
