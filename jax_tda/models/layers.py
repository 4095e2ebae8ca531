"""The two layouts of a decoder's parameters, stacked for scanning or one subtree per layer, turned into each other."""

from typing import Any

import jax
import jax.numpy as jnp

from jax_tda.core.errors import InputError
from jax_tda.models.interface import Params

STACKED = "layers"


def unstacked_path(path: str, layer: int) -> str:
    """Where `unstack_layers` puts one layer of the parameter at the '/'-joined `path`."""
    return f"{STACKED}_{layer}/{path.removeprefix(f'{STACKED}/')}"


def stack_layers(params: Params) -> dict[str, Any]:
    """`layers_0/…`, `layers_1/…`, … become `layers/…` with a leading layer axis; the rest stays.

    Raises:
      InputError: if there are no such subtrees, or their numbers leave a gap.
    """
    names = sorted((name for name in params if name.startswith(f"{STACKED}_")), key=lambda name: int(name[7:]))
    if not names or names != [f"{STACKED}_{layer}" for layer in range(len(names))]:
        raise InputError(
            "These parameters are not those of unrolled layers.",
            got=", ".join(sorted(params)),
            expected=f"{STACKED}_0, {STACKED}_1, … without a gap",
            remedy="pass the parameters of a decoder with scan_layers=False",
        )
    rest = {name: leaf for name, leaf in params.items() if name not in names}
    return {**rest, STACKED: jax.tree.map(lambda *leaves: jnp.stack(leaves), *(params[name] for name in names))}


def unstack_layers(params: Params) -> dict[str, Any]:
    """`layers/…` with a leading layer axis becomes `layers_0/…`, `layers_1/…`, …; the rest stays.

    Raises:
      InputError: if there is no such subtree.
    """
    if STACKED not in params:
        raise InputError(
            "These parameters are not those of scanned layers.",
            got=", ".join(sorted(params)),
            expected=f"a subtree {STACKED!r} with a leading layer axis",
            remedy="pass the parameters of a decoder with scan_layers=True",
        )
    stacked = params[STACKED]
    count = jax.tree.leaves(stacked)[0].shape[0]
    separate = {f"{STACKED}_{layer}": jax.tree.map(lambda leaf, i=layer: leaf[i], stacked) for layer in range(count)}
    return {**{name: leaf for name, leaf in params.items() if name != STACKED}, **separate}
