"""Which kernels a probe can stand for: those that their modules see as they are, and that nothing else reads.

A probe beside a kernel gives the gradient of what the module multiplies with. That is the parameter's gradient only
where the module is handed the parameter itself (`nn.WeightNorm` and `nn.map_variables` hand over something computed
from it), and only where no other use of it exists. Both are read off the traced program; nothing is computed.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.extend import core
from jax.interpreters import partial_eval

from jax_tda.core import trees
from jax_tda.encoding import probe, sites
from jax_tda.encoding.sites import Site

_MARK = "a module sees "
# Equations that hand their operands to an inner program one by one, unchanged. A rule for derivatives of the model's
# own (custom_vjp) is not among them: it may do anything to the gradient of what it is handed.
_CALLS = ("jit", "pjit", "checkpoint", "remat2", "closed_call", "core_call")
# A parameter (its place in the list) and how many leading axes scans have taken off; None is anything else.
_Origin = tuple[int, int] | None


def visible(model: nn.Module, params: Any, tokens: jax.ShapeDtypeStruct) -> dict[str, Site]:
    """Every parameter that a module shows, by path, with its shape there; `direct` where a probe may stand beside it.

    A kernel below `nn.scan` or `nn.vmap` is seen once, without its layer axis. One is not direct where a module sees it
    transformed, as two different matrices, or below a custom derivative, and where it is also read in another way.
    """
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
    lead = {path: leaves[path].ndim - len(site.shape) for path, site in kernels.items() if path in leaves}
    marks: list[tuple[str, bool]] = []
    _follow(closed.jaxpr, [(place, 0) for place in range(len(names))] + [None], names, lead, marks)
    marked = {path for path, _ in marks}
    suspects |= {path for path, itself in marks if not itself}
    suspects |= kernels.keys() - marked - left_alone
    _, used = partial_eval.dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars))
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


def _follow(
    program: core.Jaxpr, origins: list[_Origin], names: list[str], lead: dict[str, int], marks: list[tuple[str, bool]]
) -> None:
    """Follows parameters through calls and scans, unchanged, to the marks; appends each mark's path and its verdict."""
    known = {variable: origin for variable, origin in zip(program.invars, origins, strict=True) if origin is not None}
    for equation in program.eqns:
        given = [None if isinstance(v, core.Literal) else known.get(v) for v in equation.invars]
        kind, parameters = equation.primitive.name, equation.params
        mark = str(parameters.get("name", ""))
        if kind in _CALLS and mark.startswith(_MARK):
            path = mark.removeprefix(_MARK)
            # Flax asks of a scanned body, before it is scanned, what is constant there; that leaves a mark of nothing.
            if not given:
                continue
            marks.append((path, _is_itself(path, given, parameters["jaxpr"].jaxpr, names, lead)))
            continue
        if kind == "scan":
            constants, carried = parameters["num_consts"], parameters["num_carry"]
            given[constants : constants + carried] = [None] * carried
            given[constants + carried :] = [g and (g[0], g[1] + 1) for g in given[constants + carried :]]
        for inner in _inner(parameters):
            passes = kind in (*_CALLS, "scan") and len(inner.invars) == len(given)
            _follow(inner, given if passes else [None] * len(inner.invars), names, lead, marks)


def _inner(parameters: dict[str, Any]) -> list[core.Jaxpr]:
    leaves = jax.tree.leaves(list(parameters.values()), is_leaf=lambda x: isinstance(x, core.Jaxpr | core.ClosedJaxpr))
    return [
        x.jaxpr if isinstance(x, core.ClosedJaxpr) else x
        for x in leaves
        if isinstance(x, core.Jaxpr | core.ClosedJaxpr)
    ]


def _is_itself(path: str, given: list[_Origin], inner: core.Jaxpr, names: list[str], lead: dict[str, int]) -> bool:
    """Whether kernel and shadow are the parameters of these names, but for leading axes that both lost alike."""
    for name, origin, variable in zip(
        (path, sites.beside(path, probe.PROBE)), given[:2], inner.invars[:2], strict=True
    ):
        if origin is None or names[origin[0]] != name:
            return False
        axes = next(e.params["axes"] for e in inner.eqns if e.primitive.name == "reduce_sum" and variable in e.invars)
        aval: Any = variable.aval
        mapped = aval.ndim - len(axes)
        # What `vmap` mapped must lead, and there must be no further axis.
        if set(axes) != set(range(mapped, aval.ndim)) or origin[1] + mapped != lead.get(path):
            return False
    return True
