"""Which kernels a probe can stand for: those that their modules see as they are, and that nothing else reads.

A probe beside a kernel gives the gradient of what the module multiplies with. That is the parameter's gradient only
where the module is handed the parameter itself (`nn.WeightNorm` and `nn.map_variables` hand over something computed
from it), and only where no other use of it exists. Both are read off the traced program; nothing is computed.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp

from jax_tda.core import trees
from jax_tda.core.errors import InputError
from jax_tda.encoding import probe, sites, traced
from jax_tda.encoding.sites import Site

_MARK, _HELD = "a module sees ", "a module holds "
# The versions that the tests have run with.
_KNOWN = "JAX 0.7.2 to 0.12"


class Shown(NamedTuple):
    """What a model's program shows.

    Args:
      sites: every parameter that a module shows, by path.
      ids: the rows of the smallest table that tokens are looked up in; None where none was seen.
      output: what the model returns, in shapes.
    """

    sites: dict[str, Site]
    ids: int | None
    output: Any


class _Seen(NamedTuple):
    """What one trace found.

    Args:
      kernels: as a module shows them to a probe.
      others: all else that modules hold.
      taken: of each parameter the axes that loops run over, on every way to a module.
      suspects: kernels that are not the parameters themselves.
      elsewhere: what the program reads beside modules.
      ids: as of `Shown`.
      output: as of `Shown`.
    """

    kernels: dict[str, Site]
    others: dict[str, Site]
    taken: dict[str, set[tuple[int, ...]]]
    suspects: set[str]
    elsewhere: set[str]
    ids: int | None
    output: Any


def visible(model: nn.Module, params: Any, tokens: jax.ShapeDtypeStruct) -> dict[str, Site]:
    """Every parameter that a module shows, by path, as matrices; `direct` where a probe may stand beside it.

    Which axes of a kernel below `nn.scan` or `nn.vmap` count matrices is read off the program. One is not direct where
    a module sees it transformed, as two different matrices, or below a custom derivative, and where it is also read in
    another way.

    Raises:
      InputError: this version of JAX writes programs in a way that is not understood.
    """
    return look(model, params, tokens).sites


def look(model: nn.Module, params: Any, tokens: jax.ShapeDtypeStruct) -> Shown:
    """`visible`, and what else the trace shows."""
    demand_understood()
    try:
        return _look(model, params, tokens)
    except traced.NotUnderstoodError as problem:
        raise _not_understood(str(problem)) from problem


def _look(model: nn.Module, params: Any, tokens: jax.ShapeDtypeStruct) -> Shown:
    held = trees.grafted(params, _shadows(params))
    doubtful: set[str] = set()
    while True:
        seen = _trace(model, held, tokens, doubtful)
        if seen.suspects <= doubtful:
            break
        # Once more, with these modules' outputs left alone: what their kernels are made from is then read elsewhere.
        doubtful |= seen.suspects
    shapes = {path: tuple(leaf.shape) for path, leaf in trees.flatten(params).items()}
    found = {}
    for path, site in (seen.others | seen.kernels).items():
        lifted = sites.whole(site, shapes[path], seen.taken.get(path, set())) if path in shapes else None
        if lifted is not None:
            found[path] = dataclasses.replace(
                lifted, direct=site.direct and path not in doubtful | seen.elsewhere and lifted.layer_axes is not None
            )
    return Shown(found, seen.ids, seen.output)


def _shadows(params: Any) -> dict[str, Any]:
    """A stand-in for the probe of every kernel: it must reach the module just as the kernel does."""
    kernels = {path: leaf for path, leaf in trees.flatten(params).items() if path.rpartition("/")[2] in sites.KERNELS}
    return {sites.beside(path, probe.PROBE): leaf for path, leaf in kernels.items()}


def _trace(model: nn.Module, held: Any, tokens: Any, left_alone: set[str]) -> _Seen:
    """What modules show and hold, whose kernels are not the parameters themselves, and what else the program reads."""
    seen = _Seen({}, {}, {}, set(), set(), None, None)
    kernels, others, taken, suspects = seen.kernels, seen.others, seen.taken, seen.suspects
    leaves = trees.flatten(held)
    names = list(leaves)
    stacks: dict[str, list[str]] = {}

    def blind(next_function: Any, arguments: Any, keywords: Any, context: nn.module.InterceptorContext) -> Any:
        output = next_function(*arguments, **keywords)
        module = context.module
        variables = module.variables.get("params", {})
        below: dict[str, Any] = {}
        for name, leaf in trees.flatten(variables).items():
            if name.rpartition("/")[2] in sites.BESIDE or not hasattr(leaf, "shape"):
                continue
            path = "/".join((*module.path, name))
            below[path] = leaf
            site = (sites.convolution(module, leaf.shape) if name == "kernel" else None) or sites.plain(leaf.shape)
            # What no module holds by itself (`nn.share_scope`) is shown by the one above, which is called later.
            if site is not None and (name in variables or path not in others):
                others[path] = site
        looped = {p: leaf for p, leaf in below.items() if p in leaves and 0 < leaf.ndim < leaves[p].ndim}
        if looped:
            stacks["/".join(module.path)] = list(looped)
            output = _mark_held("/".join(module.path), list(looped.values()), output)
        call = sites.call(context, arguments, keywords, output)
        if call is None:
            return output
        path = "/".join((*module.path, sites.name(module)))
        if path in kernels and kernels[path] != call.site:
            suspects.add(path)
        kernels[path] = call.site
        if not call.site.direct or not module.has_variable("params", probe.PROBE):
            suspects.add(path)
        if path in left_alone | suspects:
            return output
        # What depends on the kernel through the module is cut off; whatever use remains is another one.
        kernel: jax.Array = module.get_variable("params", sites.name(module))
        shadow: jax.Array = module.get_variable("params", probe.PROBE)
        return _mark(path, kernel, shadow, arguments[0], output)

    def trace(held: Any, tokens: jax.Array) -> Any:
        with nn.intercept_methods(blind):
            output = model.apply({"params": held}, tokens)
        returned.append(jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf)), output))
        return output

    returned: list[Any] = []
    closed = jax.make_jaxpr(trace)(held, tokens)
    marks: list[tuple[str, bool]] = []
    bounds: list[int] = []

    def visit(equation: Any, given: list[traced.Origin | None]) -> bool:
        mark = str(equation.params.get("name", ""))
        if equation.primitive.name not in traced.CALLS or not mark.startswith((_MARK, _HELD)):
            return False
        # Flax asks of a scanned body, before it is scanned, what is constant there; that leaves a mark of nothing.
        if not given:
            return True
        if mark.startswith(_HELD):
            for origin in traced.arriving(equation, given):
                path = names[origin.place] if origin is not None else ""
                if origin is not None and path in stacks[mark.removeprefix(_HELD)]:
                    taken.setdefault(path, set()).add(origin.taken)
            return True
        path = mark.removeprefix(_MARK)
        kernel, shadow = (*traced.arriving(equation, given), None, None)[:2]
        marks.append((path, _is_itself(path, kernel, shadow, names)))
        if marks[-1][1] and kernel is not None:
            taken.setdefault(path, set()).add(kernel.taken)
        if kernels[path].table and given[2] is not None and given[2].place == len(names):
            bounds.append(kernels[path].shape[0])
        return True

    origins = [traced.Origin(place, tuple(range(leaf.ndim))) for place, leaf in enumerate((*leaves.values(), tokens))]
    traced.follow(closed.jaxpr, list(origins), visit)
    marked = {path for path, _ in marks}
    suspects |= {path for path, itself in marks if not itself}
    suspects |= kernels.keys() - marked - left_alone
    used = traced.needed(closed.jaxpr, [True] * len(closed.jaxpr.outvars))
    elsewhere = {path for path, flag in zip(names, used, strict=False) if flag}
    return seen._replace(elsewhere=elsewhere, ids=min(bounds, default=None), output=returned[-1])


def _mark_held(path: str, arrays: list[jax.Array], output: Any) -> Any:
    """The module's output, and an equation in the program that says what the module holds, layer by layer."""
    leaves, structure = jax.tree.flatten(output)
    place = next((n for n, leaf in enumerate(leaves) if _is_real(leaf)), None)
    if place is None:
        return output

    def see(arrays: list[jax.Array], leaf: jax.Array) -> Any:
        return *(total(array) for array in arrays), leaf + jnp.zeros(leaf.shape, leaf.dtype)

    see.__name__ = _HELD + path
    leaves[place] = jax.jit(see)(arrays, leaves[place])[-1]
    return jax.tree.unflatten(structure, leaves)


def _is_real(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jnp.floating)


def total(array: jax.Array) -> jax.Array:
    """The sum whose axes tell, once `vmap` has added its own, which axis that is."""
    return jax.lax.reduce_sum(array, axes=tuple(range(array.ndim)))


def _mark(path: str, kernel: jax.Array, shadow: jax.Array, x: jax.Array, output: jax.Array) -> jax.Array:
    """A stand-in for a module's output, and an equation in the program that says what the module saw.

    The stand-in depends on the module's input, so that what was read by hand further below still reaches the logits,
    but not on its kernel.
    """

    def see(kernel: jax.Array, shadow: jax.Array, x: jax.Array, output: jax.Array) -> Any:
        return total(kernel), total(shadow), jnp.zeros(output.shape, output.dtype) + jnp.sum(x).astype(output.dtype)

    see.__name__ = _MARK + path
    stand_in: jax.Array = jax.jit(see)(kernel, shadow, x, output)[-1]
    return stand_in


def _is_itself(path: str, kernel: traced.Origin | None, shadow: traced.Origin | None, names: list[str]) -> bool:
    """Whether they are the parameters of these names, but for axes that loops took off both alike."""
    if kernel is None or shadow is None:
        return False
    named = names[kernel.place] == path and names[shadow.place] == sites.beside(path, probe.PROBE)
    in_order = list(kernel.axes) == sorted(kernel.axes)
    return named and in_order and (kernel.axes, kernel.taken) == (shadow.axes, shadow.taken)


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
        found = {path for path, site in _look(model, params, tokens).sites.items() if site.direct}
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
