"""Which kernels a probe can stand for: those that their modules see as they are, and that nothing else reads.

A probe beside a kernel gives the gradient of what the module multiplies with. That is the parameter's gradient only
where the module is handed the parameter itself (`nn.WeightNorm` and `nn.map_variables` hand over something computed
from it), and only where no other use of it exists. Both are read off the traced program; nothing is computed.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp

from jax_tda.core import trees
from jax_tda.core.errors import InputError
from jax_tda.encoding import probe, sites, traced
from jax_tda.encoding.sites import Site

_MARK = "a module sees "
# The versions that the tests have run with.
_KNOWN = "JAX 0.7.2 to 0.12"


def visible(model: nn.Module, params: Any, tokens: jax.ShapeDtypeStruct) -> dict[str, Site]:
    """Every parameter that a module shows, by path, with its shape there; `direct` where a probe may stand beside it.

    A kernel below `nn.scan` or `nn.vmap` is seen once, without its layer axis. One is not direct where a module sees it
    transformed, as two different matrices, or below a custom derivative, and where it is also read in another way.

    Raises:
      InputError: this version of JAX writes programs in a way that is not understood.
    """
    demand_understood()
    try:
        return _visible(model, params, tokens)
    except traced.NotUnderstoodError as problem:
        raise _not_understood(str(problem)) from problem


def _visible(model: nn.Module, params: Any, tokens: jax.ShapeDtypeStruct) -> dict[str, Site]:
    held = trees.grafted(params, _shadows(params))
    shown: dict[str, Site] = {}
    doubtful: set[str] = set()
    while True:
        shown, suspects, elsewhere = _trace(model, held, tokens, doubtful)
        if suspects <= doubtful:
            break
        # Once more, with these modules' outputs left alone: what their kernels are made from is then read elsewhere.
        doubtful |= suspects
    return {
        path: dataclasses.replace(site, direct=site.direct and path not in doubtful | elsewhere)
        for path, site in shown.items()
    }


def _shadows(params: Any) -> dict[str, Any]:
    """A stand-in for the probe of every kernel: it must reach the module just as the kernel does."""
    kernels = {path: leaf for path, leaf in trees.flatten(params).items() if path.rpartition("/")[2] in sites.KERNELS}
    return {sites.beside(path, probe.PROBE): leaf for path, leaf in kernels.items()}


def _trace(
    model: nn.Module, held: Any, tokens: Any, left_alone: set[str]
) -> tuple[dict[str, Site], set[str], set[str]]:
    """What modules show, whose kernels are not the parameters themselves, and what else the program reads."""
    kernels: dict[str, Site] = {}
    others: dict[str, Site] = {}
    suspects: set[str] = set()

    def blind(next_function: Any, arguments: Any, keywords: Any, context: nn.module.InterceptorContext) -> Any:
        output = next_function(*arguments, **keywords)
        module = context.module
        for name, site in _own(module).items():
            others["/".join((*module.path, name))] = site
        call = sites.call(context, arguments, keywords, output)
        if call is None:
            return output
        path = "/".join((*module.path, sites.name(module)))
        if path in kernels and kernels[path] != call.site:
            suspects.add(path)
        kernels[path] = call.site
        if not module.has_variable("params", probe.PROBE):
            suspects.add(path)
        if path in left_alone | suspects:
            return output
        # What depends on the kernel through the module is cut off; whatever use remains is another one.
        kernel: jax.Array = module.get_variable("params", sites.name(module))
        shadow: jax.Array = module.get_variable("params", probe.PROBE)
        return _mark(path, kernel, shadow, arguments[0], output)

    def trace(held: Any, tokens: jax.Array) -> Any:
        with nn.intercept_methods(blind):
            return model.apply({"params": held}, tokens)

    closed = jax.make_jaxpr(trace)(held, tokens)
    leaves = trees.flatten(held)
    names = list(leaves)
    marks: list[tuple[str, bool]] = []

    def visit(equation: Any, given: list[traced.Origin | None]) -> bool:
        mark = str(equation.params.get("name", ""))
        if equation.primitive.name not in traced.CALLS or not mark.startswith(_MARK):
            return False
        # Flax asks of a scanned body, before it is scanned, what is constant there; that leaves a mark of nothing.
        if given:
            path = mark.removeprefix(_MARK)
            marks.append((path, _is_itself(path, given, equation, names)))
        return True

    origins = [traced.Origin(place, tuple(range(leaf.ndim))) for place, leaf in enumerate(leaves.values())]
    traced.follow(closed.jaxpr, [*origins, None], visit)
    marked = {path for path, _ in marks}
    suspects |= {path for path, itself in marks if not itself}
    suspects |= kernels.keys() - marked - left_alone
    used = traced.needed(closed.jaxpr, [True] * len(closed.jaxpr.outvars))
    return others | kernels, suspects, {path for path, flag in zip(names, used, strict=False) if flag}


def _own(module: nn.Module) -> dict[str, Site]:
    """What the module itself holds, as it stands: a vector as a matrix of one row, a convolution's kernel flat."""
    found: dict[str, Site] = {}
    variables: Mapping[str, Any] = module.variables.get("params", {})
    for name, value in variables.items():
        shape = getattr(value, "shape", None)
        if shape is not None and name not in sites.BESIDE:
            site = sites.plain(shape, convolution=isinstance(module, nn.Conv) and name == "kernel")
            found |= {name: site} if site is not None else {}
    return found


def _mark(path: str, kernel: jax.Array, shadow: jax.Array, x: jax.Array, output: jax.Array) -> jax.Array:
    """A stand-in for a module's output, and an equation in the program that says what the module saw.

    The stand-in depends on the module's input, so that what was read by hand further below still reaches the logits,
    but not on its kernel.
    """

    def see(kernel: jax.Array, shadow: jax.Array, x: jax.Array, output: jax.Array) -> Any:
        # The axes of the sums tell, once `vmap` has added its own, which axis that is.
        sums = [jax.lax.reduce_sum(array, axes=tuple(range(array.ndim))) for array in (kernel, shadow)]
        return *sums, jnp.zeros(output.shape, output.dtype) + jnp.sum(x).astype(output.dtype)

    see.__name__ = _MARK + path
    stand_in: jax.Array = jax.jit(see)(kernel, shadow, x, output)[-1]
    return stand_in


def _is_itself(path: str, given: list[traced.Origin | None], mark: Any, names: list[str]) -> bool:
    """Whether kernel and shadow are the parameters of these names, but for leading axes that both lost alike."""
    (inner,) = traced.inner_programs(mark)
    for name, origin, variable in zip(
        (path, sites.beside(path, probe.PROBE)), given[:2], inner.invars[:2], strict=True
    ):
        if origin is None or names[origin.place] != name:
            return False
        axes = next(
            (e.params["axes"] for e in inner.eqns if e.primitive.name == "reduce_sum" and variable in e.invars), None
        )
        if axes is None:
            raise traced.NotUnderstoodError("a sum over all axes that is no reduce_sum")
        # What `vmap` added is not summed over.
        for axis in sorted(set(range(len(origin.axes))) - set(axes), reverse=True):
            origin = origin.stepped(axis)
        whole = len(origin.axes) + len(origin.taken)
        # What loops and `vmap` ran over must lead, in order, and the others follow in order.
        if (*sorted(origin.taken), *origin.axes) != tuple(range(whole)):
            return False
    return True


class _Step(nn.Module):
    """A layer of `_Known`."""

    @nn.compact
    def __call__(self, x: jax.Array, _: None) -> tuple[jax.Array, None]:
        return x + nn.Dense(2, name="inside")(x), None


class _Known(nn.Module):
    """Kernels whose answers are known: seen as they are (scanned, mapped), transformed, and read by hand."""

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        x = nn.Embed(3, 2, name="table")(tokens)
        axes: Any = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}}
        x, _ = nn.scan(nn.remat(_Step), length=2, **axes)(name="layers")(x, None)
        x = nn.vmap(nn.Dense, in_axes=None, axis_size=2, **axes)(2, name="mapped")(x).sum(0)
        double = nn.map_variables(nn.Dense, "params", lambda held: jax.tree.map(lambda leaf: 2 * leaf, held), init=True)
        read = nn.Dense(2, name="read")
        x = read(double(2, name="doubled")(x))
        return x @ read.variables["params"]["kernel"].T


@functools.cache
def demand_understood() -> None:
    """Refuses a JAX whose programs are not read as they are meant: a model is traced of which all is known."""
    model, tokens = _Known(), jax.ShapeDtypeStruct((1, 2), jnp.int32)
    params = jax.eval_shape(model.init, jax.random.key(0), tokens)["params"]
    expected = {"table/embedding", "layers/inside/kernel", "mapped/kernel"}
    try:
        found = {path for path, site in _visible(model, params, tokens).items() if site.direct}
    except (traced.NotUnderstoodError, LookupError, AttributeError, TypeError, ValueError) as problem:
        raise _not_understood(f"{type(problem).__name__}: {problem}") from problem
    if found != expected:
        raise _not_understood(f"{', '.join(sorted(found)) or 'nothing'} taken for {', '.join(sorted(expected))}")


def _not_understood(problem: str) -> InputError:
    return InputError(
        "programs traced by this version of JAX are not understood",
        got=f"JAX {jax.__version__}, flax {flax.__version__}: {problem}",
        expected=f"programs as {_KNOWN} write them",
        remedy=f"install one of {_KNOWN} (pip install 'jax>=0.7.2,<0.13'), or pass a pure loss(params, example)",
    )
