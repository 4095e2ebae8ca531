"""nnx modules as pure losses: split once, merged with the parameters that are asked about."""

import dataclasses
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jax_tda.core import trees
from jax_tda.core.errors import InputError
from jax_tda.encoding import sites, traced
from jax_tda.encoding.sites import Site
from jax_tda.encoding.visibility import Shown, demand_understood, total
from jax_tda.models import likelihood, nnx_modules

_READ = "a module reads "


def loss_of(module: nnx.Module) -> Any:
    """`loss(params, example)` of an nnx module that maps tokens [B, T] to logits [B, T, V].

    Args:
      module: the module; its own `nnx.Param` values serve only as types, and whatever else it holds is kept as it is.

    Returns:
      A function of a pure dictionary of parameters and one example `{"tokens": [T], "loss_weights": [T]}`.
    """
    run = nnx_modules.running(module)

    def loss(params: Any, example: Mapping[str, jax.Array]) -> jax.Array:
        logits = run(trees.flatten(params), example["tokens"][None])[0]
        return likelihood.loss(logits.astype(jnp.float32), example["tokens"], example["loss_weights"])

    return loss


def look(module: nnx.Module, leaves: Mapping[str, Any], tokens: jax.ShapeDtypeStruct) -> Shown:
    """How the parameters of an nnx module are matrices, and what it returns.

    A parameter is seen where it is read, layer by layer inside `nnx.scan` and `nnx.vmap`, so that the axes that count
    matrices are known. Its own axes are those of the part that holds it: Linear, LinearGeneral (nnx's attention is made
    of it), Einsum, convolutions; a vector is a row. All take the weight path: nothing intercepts a call in nnx.

    Raises:
      InputError: the model is in training mode.
    """
    demand_understood()
    _demand_evaluating(module)

    def hook(path: str) -> Callable[[Any], Any]:
        def see(array: jax.Array) -> Any:
            return total(array), array + jnp.zeros(array.shape, array.dtype)

        see.__name__ = _READ + path

        def read(value: Any) -> Any:
            # A scalar has no axis to be told.
            return jax.jit(see)(value)[1] if getattr(value, "ndim", 0) else value

        return read

    run, returned = nnx_modules.running(module, hook), list[Any]()
    shapes = {path: jax.ShapeDtypeStruct(tuple(leaf.shape), leaf.dtype) for path, leaf in leaves.items()}

    def trace(given: Mapping[str, Any], tokens: jax.Array) -> Any:
        output = run(given, tokens)
        returned.append(jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf)), output))
        return output

    closed = jax.make_jaxpr(trace)(shapes, tokens)
    # Dictionaries are flattened in the order of their keys.
    names = sorted(shapes)
    seen: dict[str, list[traced.Origin]] = {}

    def visit(equation: Any, given: list[traced.Origin | None]) -> bool:
        mark = str(equation.params.get("name", ""))
        if equation.primitive.name not in traced.CALLS or not mark.startswith(_READ):
            return False
        path = mark.removeprefix(_READ)
        for origin in traced.arriving(equation, given):
            if origin is not None and names[origin.place] == path:
                seen.setdefault(path, []).append(origin)
        return True

    origins: list[traced.Origin | None] = [
        traced.Origin(place, tuple(range(len(shapes[name].shape)))) for place, name in enumerate(names)
    ]
    traced.follow(closed.jaxpr, [*origins, None], visit)
    parts, found = _of_parts(module), dict[str, Site]()
    for path, leaf in shapes.items():
        most = max((len(origin.taken) for origin in seen.get(path, [])), default=0)
        deepest = [origin for origin in seen.get(path, []) if len(origin.taken) == most]
        own = tuple(leaf.shape[axis] for axis in sorted(deepest[0].axes)) if deepest else tuple(leaf.shape)
        site = parts.get(path) or sites.plain(own)
        whole = sites.whole(site, leaf.shape, {origin.taken for origin in deepest}) if site is not None else None
        found |= {path: whole} if whole is not None else {}
    return Shown(found, None, returned[-1])


def _demand_evaluating(module: nnx.Module) -> None:
    for path, part in _parts(module):
        rate = getattr(part, "rate", getattr(part, "dropout_rate", 0.0)) or 0.0
        dropping = rate > 0 and getattr(part, "deterministic", True) is False
        if dropping or getattr(part, "use_running_average", True) is False:
            raise InputError(
                f"{type(module).__name__} is in training mode",
                got=f"{type(part).__name__} at {'/'.join(map(str, path)) or 'the top'}, "
                + (f"dropping {rate:.0%} at random" if dropping else "which normalises by its own batch"),
                expected="a model whose output follows from its parameters and one example",
                remedy="call the model's eval() first",
            )


def _parts(module: nnx.Module) -> Any:
    # A method before Flax 0.12.
    return nnx.iter_modules(module) if hasattr(nnx, "iter_modules") else module.iter_modules()


def _of_parts(module: nnx.Module) -> dict[str, Site]:
    """The kernels of parts whose attributes say what their axes are, as one layer's part holds them."""
    found: dict[str, Site] = {}
    for path, part in _parts(module):
        site = _of_part(part)
        if site is not None:
            found["/".join(map(str, (*path, "kernel")))] = site
    return found


def _of_part(part: Any) -> Site | None:
    if isinstance(part, nnx.Linear):
        return Site((part.in_features, part.out_features), direct=False)
    if isinstance(part, nnx.LinearGeneral):
        counted = tuple(part.batch_axis.values())
        ends = len(counted), len(counted) + len(part.in_features)
        shape = (*counted, *part.in_features, *part.out_features)
        return Site(shape, tuple(range(*ends)), tuple(range(ends[1], len(shape))), tuple(range(ends[0])), direct=False)
    if isinstance(part, nnx.Einsum):
        kernel = SimpleNamespace(ndim=len(part.kernel_shape), shape=tuple(part.kernel_shape))
        # Its input is not known here; positions beyond those that are named play no part.
        words = part.einsum_str.replace(" ", "").split("->")[0].split(",")
        rank = len(words[0].replace("...", ""))
        if "..." in words[0] and "..." in words[1]:
            rank += kernel.ndim - len(words[1].replace("...", ""))
        site = sites.einsum_site(part.einsum_str, SimpleNamespace(ndim=rank, shape=(1,) * rank), kernel)
        return site and dataclasses.replace(site[0], direct=False)
    if isinstance(part, nnx.Conv):
        return sites.flat(part.kernel_shape)
    if isinstance(part, nnx.ConvTranspose):
        return sites.flat(part.kernel_shape, -2 if part.transpose_kernel else -1)
    return None
