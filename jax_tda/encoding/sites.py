"""Which modules show a kernel's inputs to a probe, and how each kernel is a matrix (in, out).

Dense, DenseGeneral (linen's attention is made of it), Einsum and Embed, the last in both of its uses. A kernel's axes
are those that its input is summed over (in) and those that its output gains (out); all others are positions.
"""

import dataclasses
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.interpreters import partial_eval

from jax_tda.core import trees
from jax_tda.encoding import probe

_NAMES = {nn.Dense: "kernel", nn.DenseGeneral: "kernel", nn.Einsum: "kernel", nn.Embed: "embedding"}


@dataclasses.dataclass(frozen=True)
class Site:
    """A kernel as a matrix.

    Args:
      shape: the kernel's shape inside its module, without a layer axis.
      in_axes: its input axes, in order.
      out_axes: its output axes, in order.
      table: whether it is an embedding, whose input is an id.
    """

    shape: tuple[int, ...]
    in_axes: tuple[int, ...] = (0,)
    out_axes: tuple[int, ...] = (1,)
    table: bool = False

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


@dataclasses.dataclass(frozen=True)
class _Call:
    """One use of a kernel: its site, and how input and output are laid out as [positions, in] and [positions, out]."""

    site: Site
    x: Any
    to_rows: Any
    from_rows: Any


def visible(model: nn.Module, params: Any, tokens: jax.ShapeDtypeStruct) -> dict[str, Site]:
    """Every kernel that probes can see the whole use of, by path.

    Traces the model without computing anything. A kernel below `nn.scan` is seen once, without its layer axis. A kernel
    that is also read in any other way (a table multiplied by hand) is not among them: a probe would miss that use.
    """
    seen: dict[str, Site] = {}

    def blind(next_function: Any, arguments: Any, keywords: Any, context: nn.module.InterceptorContext) -> Any:
        output = next_function(*arguments, **keywords)
        call = _call(context, arguments, keywords, output)
        if call is None:
            return output
        seen["/".join((*context.module.path, _name(context.module)))] = call.site
        # What depends on the kernel through the module is cut off; whatever use remains is another one.
        return jnp.zeros(output.shape, output.dtype)

    def trace(params: Any, tokens: jax.Array) -> Any:
        with nn.intercept_methods(blind):
            return model.apply({"params": params}, tokens)

    closed = jax.make_jaxpr(trace)(params, tokens)
    _, used = partial_eval.dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars))
    elsewhere = {path for path, flag in zip(trees.flatten(params), used, strict=False) if flag}
    return {path: site for path, site in seen.items() if path not in elsewhere}


def apply(model: nn.Module, params: dict[str, Any], tokens: jax.Array, method: str | None = None) -> Any:
    """The model's logits, or what another of its methods gives, with a probe beside every kernel that holds one."""
    with nn.intercept_methods(_intercept):
        return model.apply({"params": params}, tokens, method=method)


def _intercept(next_function: Any, arguments: Any, keywords: Any, context: nn.module.InterceptorContext) -> Any:
    """Attaches a probe to the output of every module whose parameters hold one."""
    output = next_function(*arguments, **keywords)
    module = context.module
    if type(module) not in _NAMES or not module.has_variable("params", probe.PROBE):
        return output
    call = _call(context, arguments, keywords, output)
    if call is None:
        return output
    held: list[jax.Array] = [module.get_variable("params", n) for n in (probe.PROBE, probe.LEFT, probe.RIGHT)]
    rows = call.to_rows(output)
    if call.site.table:
        zero, left, right = held
        if context.method_name == "attend":
            # The table's transpose: its input side is where logits arrive.
            x_right = jnp.einsum("...i,pi->...p", jax.lax.stop_gradient(call.x), right)
            rows = probe.attach_projected(rows, x_right, zero.T, left)
        else:
            rows = probe.attach_projected(rows, left.T[call.x], zero, right)
    elif module.has_variable("params", probe.INVERSE_ROOT):
        root: jax.Array = module.get_variable("params", probe.INVERSE_ROOT)
        rows = probe.attach_exact(rows, call.x, *held, root)
    else:
        rows = probe.attach(rows, call.x, *held)
    return call.from_rows(rows)


def _name(module: nn.Module) -> str:
    return next(name for kind, name in _NAMES.items() if isinstance(module, kind))


def _call(context: nn.module.InterceptorContext, arguments: Any, keywords: Any, output: Any) -> _Call | None:
    module = context.module
    # A subclass may do anything with its kernel; its own use of it is then found elsewhere, and the weight path taken.
    if type(module) not in _NAMES or context.method_name not in ("__call__", "attend") or not arguments:
        return None
    kernel: jax.Array = module.get_variable("params", _name(module))
    x = arguments[0]

    def same(array: Any) -> Any:
        return array

    if isinstance(module, nn.Embed):
        return _Call(Site(kernel.shape, table=True), x, same, same)
    if context.method_name != "__call__":
        return None
    if isinstance(module, nn.Dense):
        return _Call(Site(kernel.shape), x, same, same)
    if isinstance(module, nn.Einsum):
        given = keywords.get("einsum_str", arguments[1] if len(arguments) > 1 else None) or module.einsum_str
        return _einsum(str(given), kernel, x, output)
    if module.batch_dims not in ((), None):
        return None
    axes = (module.axis,) if isinstance(module.axis, int) else tuple(module.axis)
    site = Site(kernel.shape, tuple(range(len(axes))), tuple(range(len(axes), kernel.ndim)))
    moved = jnp.moveaxis(x, axes, range(-len(axes), 0))
    features = len(site.out_axes)
    return _Call(
        site,
        moved.reshape(*moved.shape[: -len(axes)], site.rows),
        lambda array: array.reshape(*array.shape[:-features], site.columns),
        lambda array: array.reshape(output.shape),
    )


def _einsum(equation: str, kernel: jax.Array, x: jax.Array, output: jax.Array) -> _Call | None:
    """A use by einsum that is a matrix product: no letter twice, none in all three, none summed on one side alone."""
    inputs, weights, result = _letters(equation, x)
    if "." in weights:
        return None
    ins = [c for c in weights if c in inputs and c not in result]
    outs = [c for c in weights if c not in inputs and c in result]
    positions = [c for c in inputs if c not in weights]
    simple = all(len(set(word)) == len(word) for word in (inputs, weights, result))
    if not simple or len(ins) + len(outs) != len(weights) or any(c not in result for c in positions):
        return None
    site = Site(kernel.shape, tuple(weights.index(c) for c in ins), tuple(weights.index(c) for c in outs))
    moved = x.transpose([inputs.index(c) for c in (*positions, *ins)])
    order = [result.index(c) for c in (*positions, *outs)]
    back = [order.index(axis) for axis in range(len(order))]
    lead = moved.shape[: len(positions)]
    kept = [output.shape[axis] for axis in order]
    return _Call(
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
