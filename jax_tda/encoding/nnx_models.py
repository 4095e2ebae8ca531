"""nnx modules as pure losses: split once, merged with the parameters that are asked about."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jax_tda.core import trees
from jax_tda.encoding.sites import Site, einsum_axes
from jax_tda.models import likelihood


def loss_of(module: nnx.Module) -> Any:
    """`loss(params, example)` of an nnx module that maps tokens [B, T] to logits [B, T, V].

    Args:
      module: the module; its own `nnx.Param` values serve only as types, and whatever else it holds is kept as it is.

    Returns:
      A function of a pure dictionary of parameters and one example `{"tokens": [T], "loss_weights": [T]}`.
    """
    parts: Any = nnx.split(module, nnx.Param, ...)
    definition, own, rest = parts

    def loss(params: Any, example: Mapping[str, jax.Array]) -> jax.Array:
        given = trees.flatten(params)
        # Keys of lists are numbers in nnx and text in a dictionary of names.
        flat = [(path, leaf.replace(given["/".join(map(str, path))])) for path, leaf in nnx.to_flat_state(own)]
        logits = nnx.merge(definition, nnx.from_flat_state(flat), rest)(example["tokens"][None])[0]
        return likelihood.loss(logits.astype(jnp.float32), example["tokens"], example["loss_weights"])

    return loss


def shown_by(module: nnx.Module) -> dict[str, Site]:
    """How the kernels of an nnx module's parts are matrices, by path: those that their shapes alone do not tell.

    Linear, LinearGeneral (nnx's attention is made of it) and Einsum. A kernel with an axis more, as `nnx.vmap` makes
    one, is a stack. All take the weight path: nothing intercepts a call in nnx.
    """
    found = {}
    for path, part in nnx.iter_modules(module):
        site = None
        if isinstance(part, nnx.Linear):
            site = Site((part.in_features, part.out_features), direct=False)
        elif isinstance(part, nnx.LinearGeneral) and not part.batch_axis:
            shape, ins = (*part.in_features, *part.out_features), len(part.in_features)
            site = Site(shape, tuple(range(ins)), tuple(range(ins, len(shape))), direct=False)
        elif isinstance(part, nnx.Einsum):
            inputs, weights, result = part.einsum_str.replace(" ", "").replace("->", ",").split(",")
            axes = einsum_axes(inputs, weights, result)
            site = Site(tuple(part.kernel_shape), *axes, direct=False) if axes else None
        if site is not None:
            found["/".join(map(str, (*path, "kernel")))] = site
    return found
