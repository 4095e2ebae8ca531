"""How likely a model finds an example: the one place where logits meet the tokens that they predict."""

from typing import Any

import jax
import jax.numpy as jnp


def token_log_probabilities(logits: jax.Array, tokens: jax.Array) -> jax.Array:
    """log p(tokens[t] | tokens[:t]) at every position t, read from the logits at t − 1; 0 at position 0.

    Args:
      logits: [..., T, V] float32.
      tokens: [..., T] int32.

    Returns:
      [..., T] float32.
    """
    predicting = logits[..., :-1, :]
    chosen = jnp.take_along_axis(predicting, tokens[..., 1:, None], axis=-1)[..., 0]
    following = chosen - jax.nn.logsumexp(predicting, axis=-1)
    return jnp.concatenate([jnp.zeros_like(logits[..., :1, 0]), following], axis=-1)


def target_log_probability(logits: jax.Array, tokens: jax.Array, loss_weights: jax.Array) -> jax.Array:
    """Σ_t loss_weights[t] · log p(tokens[t] | tokens[:t]): with weights 1 on a target, log p(target | prompt).

    Args:
      logits: [..., T, V] float32.
      tokens: [..., T] int32.
      loss_weights: [..., T] float32; the weight at position 0 has no effect.

    Returns:
      [...] float32, one number per example.
    """
    return jnp.sum(loss_weights * token_log_probabilities(logits, tokens), axis=-1)


def loss(logits: jax.Array, tokens: jax.Array, loss_weights: jax.Array) -> jax.Array:
    """−Σ_t loss_weights[t] · log p(tokens[t] | tokens[:t]), a sum over tokens, per example.

    A sum makes an example's gradient independent of what it was batched with. Arguments and result as in
    `target_log_probability`.
    """
    return -target_log_probability(logits, tokens, loss_weights)


@jax.custom_vjp
def head_loss(hidden: jax.Array, head: jax.Array, tokens: jax.Array, loss_weights: jax.Array) -> jax.Array:
    """`loss` from hidden states and a frozen head, whose forward pass already forms the gradient of the hidden states.

    The softmax is needed by both passes and is as large as [T, V]; here it lives only while the forward pass has it in
    hand, and what is kept is [T, D]. Head, tokens and weights receive no gradient.

    Args:
      hidden: [T, D], of one example.
      head: [V, D], the logits being hidden · headᵀ.
      tokens: [T] int32.
      loss_weights: [T] float32; the weight at position 0 has no effect.

    Returns:
      A float32 scalar.
    """
    return _head_loss(hidden, head, tokens, loss_weights)[0]


def _head_loss(hidden: jax.Array, head: jax.Array, tokens: jax.Array, loss_weights: jax.Array) -> Any:
    predicting, following, weights = hidden[:-1], tokens[1:], loss_weights[1:]
    logits = jnp.einsum("td,vd->tv", predicting, head, preferred_element_type=jnp.float32)
    shift = jnp.max(logits, axis=-1, keepdims=True)
    powers = jnp.exp(logits - shift)
    total = jnp.sum(powers, axis=-1, keepdims=True)
    own = head[following].astype(jnp.float32)
    chosen = jnp.sum(predicting.astype(jnp.float32) * own, axis=-1)
    value = jnp.sum(weights * (jnp.log(total[:, 0]) + shift[:, 0] - chosen))
    # ∂/∂logits = w (softmax − onehot), and the onehot's product with the head is a row of it.
    mean = jnp.einsum("tv,vd->td", powers, head, preferred_element_type=jnp.float32) / total
    gradient = jnp.pad(weights[:, None] * (mean - own), ((0, 1), (0, 0)))
    return value, gradient.astype(hidden.dtype)


def _head_loss_backward(gradient: jax.Array, cotangent: jax.Array) -> Any:
    return cotangent.astype(gradient.dtype) * gradient, None, None, None


head_loss.defvjp(_head_loss, _head_loss_backward)


def answered_exactly(logits: jax.Array, tokens: jax.Array, loss_weights: jax.Array) -> jax.Array:
    """Whether greedy decoding of as many tokens as the target has would give the target.

    The most likely token at every weighted position is compared with the token there, given the TRUE tokens before it.
    That equals decoding: the first decoded token has seen only the prompt; if it is right, the second has seen the same
    tokens as here, and so on; at the first wrong one both say no. Among equally likely tokens the lowest id is taken.

    Args:
      logits: [..., T, V] float32.
      tokens: [..., T] int32.
      loss_weights: [..., T] float32; weighted positions are those of the target, without a gap.

    Returns:
      [...] bool; False where no position after the first is weighted, because nothing was asked.
    """
    asked = loss_weights[..., 1:] != 0
    right = jnp.argmax(logits[..., :-1, :], axis=-1) == tokens[..., 1:]
    return jnp.all(right | ~asked, axis=-1) & jnp.any(asked, axis=-1)
