"""What the rest of the house asks of a model: a tree of parameters and a forward pass from tokens to logits."""

from collections.abc import Mapping
from typing import Any, NotRequired, Protocol, TypedDict

Params = Mapping[str, Any]  # a tree of dicts whose leaves are arrays: the Flax collection "params"


class Examples(TypedDict):
    """A batch of examples, or a single one where the leading axis B is absent.

    `loss_weights[b, t]` weighs −log p(tokens[b, t] | tokens[b, :t]); the weight at position 0 has no effect.
    """

    tokens: Any  # [B, T] int32
    loss_weights: Any  # [B, T] float32
    example_weights: NotRequired[Any]  # [B]; see models/batch_gradient.py


class LanguageModel(Protocol):
    """A causal language model: any Flax module that maps tokens [..., T] to logits [..., T, V]."""

    def init(self, rngs: Any, tokens: Any) -> Any:
        """Makes fresh variables, parameters under "params"."""

    def apply(self, variables: Any, tokens: Any) -> Any:
        """Computes float32 logits; those at position t depend on tokens[..., :t + 1] alone."""
