"""What a model must be to be encoded, and what is said of one that is not."""

from typing import Any

import jax
import jax.numpy as jnp
from flax.errors import InvalidRngError, ScopeCollectionNotFound, ScopeVariableNotFoundError, TraceContextError

from jax_tda.core.errors import InputError
from jax_tda.encoding.visibility import Shown

_PURE = "a pure loss(params, example) that applies the model with all that it needs"
# Of what Flax says, what helps.
_REMEDIES = (
    (
        (InvalidRngError,),
        "a model that draws random numbers (dropout) has no one gradient: set its `deterministic` to True (or its rate "
        f"to 0), or pass {_PURE}",
    ),
    (
        (ScopeCollectionNotFound, ScopeVariableNotFoundError),
        f"a model with more than parameters (batch_stats) is given as {_PURE}, or made to use its running averages",
    ),
    ((TraceContextError,), f"call the model's eval(), so that nothing in it changes while it runs, or pass {_PURE}"),
)
_OTHERWISE = "pass example_length if the model takes one length alone, or a pure loss(params, example)"


def cannot_be_traced(model: Any, shape: tuple[int, ...], problem: Exception) -> InputError:
    """What is said of a model that does not run on tokens of this shape alone."""
    remedy = next((words for kinds, words in _REMEDIES if isinstance(problem, kinds)), _OTHERWISE)
    # A collection that is not there is missed by name, or in the making of it: that needs random numbers for params.
    if "batch_stats" in str(problem) or 'for "params"' in str(problem):
        remedy = _REMEDIES[1][1]
    return InputError(
        f"{type(model).__name__} cannot be traced",
        got=f"{type(problem).__name__}: {problem}",
        expected=f"a model that maps int tokens {shape} to logits, with these parameters",
        remedy=remedy,
    )


def ids(model: Any, shown: Shown, shape: tuple[int, ...]) -> int:
    """How many ids tokens may be: no more than logits, nor than rows of the table that they are looked up in.

    Raises:
      InputError: the model returns anything but logits [B, T, V].
    """
    output = shown.output
    fits = hasattr(output, "shape") and len(output.shape) == 3 and output.shape[:2] == shape
    if not (fits and jnp.issubdtype(output.dtype, jnp.floating)):
        described = jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape)}", output)
        raise InputError(
            f"{type(model).__name__} does not return logits alone",
            got=f"{described} of tokens {list(shape)}",
            expected=f"floats {[*shape, 'V']}",
            remedy="wrap the model in one that returns its logits; what it returns beside them (auxiliary losses) is "
            "no part of −Σ w log p, and a loss that has them is given as a pure loss(params, example)",
        )
    return int(min(output.shape[-1], shown.ids or output.shape[-1]))
