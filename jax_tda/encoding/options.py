"""What an encoder is asked, checked on the host: options against the plan, and examples against each other."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jax_tda.core.errors import InputError
from jax_tda.encoding import projection
from jax_tda.encoding.blocks import Plan
from jax_tda.encoding.second_moments import SecondMoments

_FEWEST_POSITIONS = 8


def check(plan: Plan, reduction: str, examples_at_once: int | None, kind: str, projected_size: int) -> None:
    """Refuses options that are not possible for the parameters that are encoded."""
    if reduction not in ("rank_one", "exact"):
        raise InputError(
            "unknown reduction of second moments",
            got=reduction,
            expected="rank_one or exact",
            remedy="set reduction to one of them",
        )
    if examples_at_once is not None and examples_at_once < 0:
        raise InputError(
            "examples_at_once is not possible",
            got=examples_at_once,
            expected="a number ≥ 0, or None",
            remedy="0 takes all examples of a batch at once, None what ran fastest",
        )
    largest = max(max(m.rows, m.columns) for m in plan.matrices)
    if kind not in projection.KINDS or (kind == "identity" and projected_size < largest):
        raise InputError(
            "the projection does not fit",
            got=f"{kind}, p = {projected_size}, for matrices with sides up to {largest}",
            expected=f"{' or '.join(projection.KINDS)}; identity needs p ≥ {largest}",
            remedy="use gaussian, or raise projected_size",
        )


def described(moments: SecondMoments | None, reduction: str, epsilon: float) -> str:
    """How V enters, in words that two encodings must share before they may be compared."""
    if moments is None:
        return "none"
    own = f", ε {moments.epsilon}" if reduction == "exact" else ""
    return f"{moments.source}, {reduction}, relative floor {epsilon}{own}"


def checked(examples: Mapping[str, Any], ids: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Tokens int32 [B, T] and loss weights float32 [B, T].

    Args:
      examples: what an encoder is handed.
      ids: how many ids the model knows; None where a loss of one's own decides what a token may be.

    Raises:
      InputError: the arrays do not fit each other, or a token is none of the model's.
    """
    tokens, weights = np.asarray(examples["tokens"]), np.asarray(examples["loss_weights"])
    fits = tokens.ndim == 2 and tokens.shape == weights.shape and tokens.size > 0
    if not fits or not np.issubdtype(tokens.dtype, np.integer):
        raise InputError(
            "examples have the wrong form",
            got=f"tokens {tokens.dtype} {tokens.shape}, loss_weights {weights.dtype} {weights.shape}",
            expected="tokens int [B, T] and loss_weights float [B, T], at least one of each",
            remedy="pad every example of a batch to one length, with weight 0 on the padding",
        )
    if ids is not None and not ((tokens >= 0) & (tokens < ids)).all():
        row, place = np.argwhere((tokens < 0) | (tokens >= ids))[0]
        raise InputError(
            "an example has a token that the model does not know",
            got=f"id {tokens[row, place]} at example {row}, position {place}",
            expected=f"ids from 0 to {ids - 1}, padding of weight 0 included",
            remedy="tokenize with the model's own vocabulary, and pad with one of its ids",
        )
    return tokens.astype(np.int32), weights.astype(np.float32)


def weighted_positions(weights: np.ndarray, most: int | None = None) -> np.ndarray:
    """int32 [B, K]: of each example the positions with a weight, which are all that the head need look at.

    K is a power of two, so that few programs are compiled, at most T − 1; positions without a weight fill what is left.

    Args:
      weights: float32 [B, T].
      most: no example has more such positions; those of this batch when None.
    """
    counted = weights[:, 1:] != 0
    most = int(counted.sum(axis=1).max(initial=1)) if most is None else most
    size = min(max(_FEWEST_POSITIONS, 1 << (most - 1).bit_length()), weights.shape[1])
    # A stable sort of "has no weight" puts weighted positions first, in order.
    order = np.argsort(~counted, axis=1, kind="stable")
    return (order[:, :size] + 1).astype(np.int32)
