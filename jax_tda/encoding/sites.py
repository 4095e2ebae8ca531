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

from jax_tda.encoding import direction_probe, probe
from jax_tda.models.layout import Gathering
from jax_tda.models.widths import promote


class Places(Protocol):
    """What says how that which stands beside a kernel is used where weights are divided over devices."""

    def use(self, path: str, name: str, array: jax.Array) -> jax.Array:
        """The leaf `name` beside the kernel of this path, as it is used."""


_NAMES = {nn.Dense: "kernel", nn.DenseGeneral: "kernel", nn.Einsum: "kernel", nn.Embed: "embedding"}
KERNELS = frozenset(_NAMES.values())
# What stands beside a probed kernel; no parameter of the model's.
BESIDE = frozenset((probe.PROBE, probe.LEFT, probe.RIGHT, probe.INVERSE_ROOT, *direction_probe.LEAVES))


@dataclasses.dataclass(frozen=True)
class Site:
    """A parameter as matrices (in, out): every axis is an input's, an output's, or counts matrices.

    Args:
      shape: its shape.
      in_axes: its input axes, in order.
      out_axes: its output axes, in order.
      layer_axes: the axes that count matrices, the outermost first; None where a model does not tell.
      table: whether it is an embedding, whose input is an id.
      direct: whether a probe sees all that becomes of it.
    """

    shape: tuple[int, ...]
    in_axes: tuple[int, ...] = (0,)
    out_axes: tuple[int, ...] = (1,)
    layer_axes: tuple[int, ...] | None = ()
    table: bool = False
    direct: bool = True

    @property
    def layers(self) -> int:
        """How many matrices it holds; 0 where it is a single one."""
        return self._size(self.layer_axes) if self.layer_axes else 0

    @property
    def rows(self) -> int:
        """Size of the input side."""
        return self._size(self.in_axes)

    @property
    def columns(self) -> int:
        """Size of the output side."""
        return self._size(self.out_axes)

    def _size(self, axes: tuple[int, ...]) -> int:
        return math.prod(self.shape[axis] for axis in axes)

    @property
    def _order(self) -> tuple[int, ...]:
        return (*(self.layer_axes or ()), *self.in_axes, *self.out_axes)

    def matrix(self, kernel: Any) -> Any:
        """[layers, in, out], or [in, out], of the parameter."""
        lead = (self.layers,) if self.layers else ()
        return kernel.transpose(self._order).reshape(*lead, self.rows, self.columns)

    def kernel(self, matrix: Any) -> Any:
        """The parameter whose `matrix` is given."""
        order = self._order
        back = [order.index(axis) for axis in range(len(order))]
        return matrix.reshape([self.shape[axis] for axis in order]).transpose(back)

    def beside(self, matrix: Any) -> Any:
        """[layers, a, b] with its axes where those of the parameter are, so that loops take the same ones off it.

        Below `nn.scan` an axis may be counted from either end: the rank is the parameter's, and what is spare is 1.
        """
        counted = self.layer_axes or ()
        own = [axis for axis in range(len(self.shape)) if axis not in counted]
        order = (*counted, *own)
        sizes = (*(self.shape[axis] for axis in counted), *matrix.shape[-2:], *(1,) * (len(own) - 2))
        return matrix.reshape(sizes).transpose([order.index(axis) for axis in range(len(order))])

    def within(self, shape: tuple[int, ...], taken: tuple[int, ...]) -> "Site":
        """The site of the whole parameter of which loops over these axes show a module this one."""
        own = [axis for axis in range(len(shape)) if axis not in taken]

        def moved(axes: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(own[axis] for axis in axes)

        layers = (*taken, *moved(self.layer_axes or ()))
        return dataclasses.replace(
            self, shape=shape, in_axes=moved(self.in_axes), out_axes=moved(self.out_axes), layer_axes=layers
        )

    def one(self) -> "Site":
        """The site of one of its matrices, held apart."""
        counted = self.layer_axes or ()
        own = [axis for axis in range(len(self.shape)) if axis not in counted]
        in_axes, out_axes = (tuple(own.index(axis) for axis in axes) for axes in (self.in_axes, self.out_axes))
        shape = tuple(self.shape[axis] for axis in own)
        return dataclasses.replace(self, shape=shape, in_axes=in_axes, out_axes=out_axes, layer_axes=())


def whole(site: Site, shape: tuple[int, ...], seen: set[tuple[int, ...]]) -> Site | None:
    """The parameter of which a module shows this site; None where its shape contradicts the module's.

    Args:
      site: as its module shows it.
      shape: the parameter's shape.
      seen: the axes that loops were seen to run over, on all ways to a module. Without any, shapes must tell; where
        they fit in several ways, `layer_axes` is None.
    """
    shape = tuple(shape)
    spare = len(shape) - len(site.shape)

    def left(taken: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(size for axis, size in enumerate(shape) if axis not in taken)

    possible = seen or {(axis,) for axis in range(len(shape))}
    fitting = sorted(taken for taken in possible | {()} if len(taken) == spare and left(taken) == site.shape)
    if len(fitting) == 1:
        return site.within(shape, fitting[0])
    return dataclasses.replace(site, shape=shape, layer_axes=None) if spare > 0 else None


@dataclasses.dataclass(frozen=True)
class Call:
    """One use of a kernel: its site, and how input and output are laid out as [positions, in] and [positions, out]."""

    site: Site
    x: Any
    to_rows: Any
    from_rows: Any


def plain(shape: tuple[int, ...]) -> Site | None:
    """How a parameter that no product shows is a matrix: scalar and vector as one row, a matrix as it stands.

    None where it has more axes: which of them are inputs is then unknown.
    """
    return flat(shape) if len(shape) <= 2 else None


def flat(shape: tuple[int, ...], out_axis: int = -1, layer_axes: tuple[int, ...] = ()) -> Site:
    """One output axis, and all others, but for those that count matrices, together as input: a convolution's kernel."""
    axes = tuple(axis for axis in range(len(shape)) if axis not in layer_axes)
    out = axes[out_axis:][:1]
    return Site(tuple(shape), tuple(axis for axis in axes if axis not in out), out, layer_axes, direct=False)


def convolution(module: nn.Module, shape: tuple[int, ...]) -> Site | None:
    """How the kernel of a convolution is a matrix (everything that one output is summed over, out)."""
    if isinstance(module, nn.ConvTranspose):
        return flat(shape, -2 if module.transpose_kernel else -1)
    if isinstance(module, nn.ConvLocal):
        return flat(shape, layer_axes=tuple(range(len(shape) - 2)))
    return flat(shape) if isinstance(module, nn.Conv) else None


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
    if shown is None or not shown.site.direct:
        return output

    def beside_it(leaf: str) -> jax.Array:
        held: jax.Array = module.get_variable("params", leaf)
        # A kernel of more axes has as many here, of size 1.
        held = held.reshape(held.shape[:2])
        return held if places is None else places.use("/".join((*module.path, name(module))), leaf, held)

    zero: jax.Array = module.get_variable("params", probe.PROBE)
    zero = zero.reshape(zero.shape[:2])
    if not module.has_variable("params", probe.LEFT):
        others = {leaf: beside_it(leaf) for leaf in direction_probe.LEAVES if module.has_variable("params", leaf)}
        return shown.from_rows(direction_probe.attach(shown.to_rows(output), shown.x, zero, others))
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
    """The use of a kernel in this call of a module of a known kind; direct where a probe gives its gradient."""
    module = context.module
    # A subclass may do anything with its kernel; its own use of it is then found elsewhere, and the weight path taken.
    if type(module) not in _NAMES or context.method_name not in ("__call__", "attend") or not arguments:
        return None
    kernel: jax.Array = module.get_variable("params", name(module))
    x = arguments[0]
    found = _use(module, context.method_name, kernel, x, output, keywords, arguments)
    if found is None or _own_product(module):
        # So may a product of the user's own, such as a quantised one.
        return found and dataclasses.replace(found, site=dataclasses.replace(found.site, direct=False))
    return found


def _own_product(module: Any) -> bool:
    casts = module.promote_dtype in (promote_dtype, promote) or isinstance(module.promote_dtype, Gathering)
    if getattr(module, "dot_general_cls", None) is not None or not casts:
        return True
    return getattr(module, "dot_general", None) not in (None, jax.lax.dot_general)


def _use(
    module: Any, method: str, kernel: jax.Array, x: Any, output: Any, keywords: Any, arguments: Any
) -> Call | None:
    if isinstance(module, nn.Embed):
        return Call(Site(kernel.shape, table=True), x, _same, _same)
    if method != "__call__":
        return None
    if isinstance(module, nn.Dense):
        return Call(Site(kernel.shape), x, _same, _same)
    if isinstance(module, nn.Einsum):
        given = keywords.get("einsum_str", arguments[1] if len(arguments) > 1 else None) or module.einsum_str
        return _einsum(str(given), kernel, x, output)
    return _dense_general(module, kernel, x, output)


def _same(array: Any) -> Any:
    return array


def _not_probed(site: Site, x: Any) -> Call:
    return Call(dataclasses.replace(site, direct=False), x, _same, _same)


def _dense_general(module: Any, kernel: jax.Array, x: Any, output: Any) -> Call | None:
    """The kernel is (batch, in, features), its input axes in the order of the input, however `axis` names them."""
    asked, batched = ((one,) if isinstance(one, int) else tuple(one or ()) for one in (module.axis, module.batch_dims))
    axes, batch = (sorted(axis % x.ndim for axis in given) for given in (asked, batched))
    ends = len(batch), len(batch) + len(axes)
    site = Site(kernel.shape, tuple(range(*ends)), tuple(range(ends[1], kernel.ndim)), tuple(range(len(batch))))
    if kernel.shape[: ends[1]] != tuple(x.shape[axis] for axis in (*batch, *axes)):
        return None
    if batch:
        return _not_probed(site, x)
    moved = jnp.moveaxis(x, axes, range(-len(axes), 0))
    features = len(site.out_axes)
    return Call(
        site,
        moved.reshape(*moved.shape[: -len(axes)], site.rows),
        lambda array: array.reshape(*array.shape[:-features], site.columns),
        lambda array: array.reshape(output.shape),
    )


def einsum_site(equation: str, x: Any, kernel: Any) -> tuple[Site, str, str, str] | None:
    """The kernel of an einsum, and its three words without an ellipsis, whose axes get letters of their own.

    Letters shared with the input alone are inputs, with the result alone outputs; with both, they count matrices.
    Direct where it is a matrix product over positions. None where a letter of the kernel stands twice or alone.

    Args:
      equation: as Einsum takes it.
      x: what has the input's rank; its sizes are compared with the kernel's where it has any.
      kernel: what has the kernel's shape.
    """
    left, result = equation.replace(" ", "").split("->")
    inputs, weights = left.split(",")
    spare = sorted(set("ABCDEFGHIJKLMNOPQRSTUVWXYZ") - set(equation))
    ranks = [array.ndim - len(word.replace("...", "")) for word, array in ((inputs, x), (weights, kernel))]
    # Axes of an ellipsis are counted from the right, as shapes are broadcast.
    most = max(rank if "..." in word else 0 for rank, word in zip(ranks, (inputs, weights), strict=True))
    named = "".join(spare[:most])
    inputs, weights = (
        word.replace("...", named[most - rank :] if rank else "")
        for word, rank in zip((inputs, weights), ranks, strict=True)
    )
    result = result.replace("...", named)
    twice = any(len(set(word)) != len(word) for word in (inputs, weights, result))
    ins = [c for c in weights if c in inputs and c not in result]
    outs = [c for c in weights if c not in inputs and c in result]
    both = [c for c in weights if c in inputs and c in result]
    if len(set(weights)) != len(weights) or len(ins) + len(outs) + len(both) != len(weights):
        return None
    lost = any(c not in result for c in inputs if c not in weights)
    sizes = dict(zip(inputs, x.shape, strict=True))
    stretched = any(sizes[c] != kernel.shape[weights.index(c)] for c in (*ins, *both))
    in_axes, out_axes, layer_axes = (tuple(weights.index(c) for c in side) for side in (ins, outs, both))
    direct = not (twice or lost or both or stretched)
    return Site(tuple(kernel.shape), in_axes, out_axes, layer_axes, direct=direct), inputs, weights, result


def _einsum(equation: str, kernel: jax.Array, x: jax.Array, output: jax.Array) -> Call | None:
    found = einsum_site(equation, x, kernel)
    if found is None or not found[0].direct:
        return found and _not_probed(found[0], x)
    site, inputs, weights, result = found
    ins, outs = ([weights[axis] for axis in side] for side in (site.in_axes, site.out_axes))
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
