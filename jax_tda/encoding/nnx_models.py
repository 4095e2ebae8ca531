"""nnx modules as pure losses: split once, merged with the parameters that are asked about."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jax_tda.core import trees
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
