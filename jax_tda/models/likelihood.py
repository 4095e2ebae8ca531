"""How likely a model finds an example: the one place where logits meet the tokens that they predict."""

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
