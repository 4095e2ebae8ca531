"""Laws of the likelihood convention, against loops in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_tda.models import likelihood
from jax_tda.models.decoder import Decoder, DecoderConfig


def example(seed=0, shape=(2, 3, 5), vocabulary=7):
    random = np.random.default_rng(seed)
    logits = random.normal(size=(*shape, vocabulary)).astype(np.float32) * 3
    tokens = random.integers(0, vocabulary, shape).astype(np.int32)
    return logits, tokens, random.uniform(size=shape).astype(np.float32)


def test_a_token_is_predicted_by_the_logits_before_it():
    """Position t holds log softmax(logits[t − 1])[tokens[t]], position 0 holds 0; any leading axes."""
    logits, tokens, _ = example()
    expected = np.zeros(tokens.shape)
    for i, j in np.ndindex(2, 3):
        for t in range(1, 5):
            p = np.exp(logits[i, j, t - 1].astype(np.float64))
            expected[i, j, t] = np.log(p[tokens[i, j, t]] / p.sum())
    np.testing.assert_allclose(likelihood.token_log_probabilities(logits, tokens), expected, rtol=1e-5, atol=1e-6)


def test_the_loss_is_the_weighted_sum_per_example_and_ignores_the_first_weight():
    """loss[i] = −Σ_{t ≥ 1} w[i, t] log p[i, t] = −target_log_probability[i]; w[i, 0] counts for nothing."""
    logits, tokens, weights = example(1)
    logp = np.asarray(likelihood.token_log_probabilities(logits, tokens))
    expected = -(weights[..., 1:] * logp[..., 1:]).sum(-1)
    losses = likelihood.loss(logits, tokens, weights)
    assert losses.shape == (2, 3)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    np.testing.assert_array_equal(losses, -likelihood.target_log_probability(logits, tokens, weights))
    changed = weights.copy()
    changed[..., 0] = 1e6
    np.testing.assert_array_equal(likelihood.loss(logits, tokens, changed), losses)


def test_the_gradient_of_the_loss_is_softmax_minus_one_hot():
    """∂loss/∂logits[t − 1] = w[t] (softmax(logits[t − 1]) − onehot(tokens[t])), and 0 at the last position."""
    logits, tokens, weights = example(2, (5,))
    gradient = jax.grad(likelihood.loss)(jnp.asarray(logits), tokens, weights)
    p = np.exp(logits.astype(np.float64))
    expected = np.zeros_like(p)
    for t in range(1, 5):
        expected[t - 1] = weights[t] * (p[t - 1] / p[t - 1].sum() - np.eye(7)[tokens[t]])
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)


def test_very_large_logits_stay_finite():
    """Adding a constant to all logits changes no probability, however large it is."""
    logits, tokens, weights = example(3, (5,))
    shifted = likelihood.loss(logits + np.float32(1e4), tokens, weights)
    # At 1e4 a float32 has steps of 1e-3.
    np.testing.assert_allclose(shifted, likelihood.loss(logits, tokens, weights), atol=2e-2)


@pytest.mark.parametrize("vocabulary", [7, 512, 1100])
def test_the_loss_by_pieces_of_the_vocabulary_is_the_loss_and_its_gradient(vocabulary):
    """head_loss = loss(hidden · headᵀ), value and gradient, also where logits differ by hundreds."""
    random = np.random.default_rng(0)
    hidden = jnp.asarray(random.normal(size=(6, 5)) * np.array([1, 100, 1, 1, 0.1, 1])[:, None], jnp.float32)
    head = jnp.asarray(random.normal(size=(vocabulary, 5)), jnp.float32)
    tokens = jnp.asarray(random.integers(0, vocabulary, 6), jnp.int32)
    weights = jnp.asarray([9, 1, 0, 0.5, 2, 1], jnp.float32)

    def by_pieces(hidden):
        return likelihood.head_loss(hidden[:-1], head, tokens[1:], weights[1:])

    def whole(hidden):
        return likelihood.loss(hidden @ head.T, tokens, weights)

    value, gradient = jax.jit(jax.value_and_grad(by_pieces))(hidden)
    expected, expected_gradient = jax.jit(jax.value_and_grad(whole))(hidden)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-5)


def test_an_answer_is_exact_when_greedy_decoding_token_by_token_gives_it():
    """answered_exactly = the outcome of actually decoding, for right and wrong targets of one to three tokens."""
    model = Decoder(DecoderConfig(vocabulary_size=7, layers=1, width=8, heads=2, kv_heads=2, mlp_width=8, tied=False))
    params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 2), jnp.int32))
    apply = jax.jit(model.apply)
    random = np.random.default_rng(0)
    outcomes = []
    for trial in range(12):
        prompt = [1, *random.integers(0, 7, 2)]
        decoded = list(prompt)
        count = 1 + trial % 3
        for _ in range(count):
            decoded.append(int(jnp.argmax(apply(params, jnp.array(decoded, jnp.int32))[-1])))
        target = decoded[len(prompt) :]
        if trial % 2:  # A wrong token somewhere in the target.
            target[random.integers(count)] = random.integers(7)
        tokens = np.array([*prompt, *target, 0, 0], np.int32)
        weights = np.array([0] * len(prompt) + [1] * count + [0, 0], np.float32)
        answered = bool(likelihood.answered_exactly(apply(params, tokens), tokens, weights))
        assert answered == (target == decoded[len(prompt) :])
        outcomes.append(answered)
    assert any(outcomes) and not all(outcomes)


@pytest.mark.parametrize(("token", "answered"), [(2, True), (4, False)])
def test_among_equally_likely_tokens_the_lowest_id_is_taken(token, answered):
    """With tokens 2 and 4 tied for the first place, the answer is 2."""
    logits = np.zeros((2, 5), np.float32)
    logits[0, [2, 4]] = 1
    weights = np.array([0, 1], np.float32)
    assert bool(likelihood.answered_exactly(logits, np.array([0, token]), weights)) is answered


def test_nothing_asked_is_nothing_answered():
    """Without a weighted position after the first the answer is False, also when every token is right."""
    logits, weights = np.zeros((2, 3), np.float32), np.array([1, 0], np.float32)
    assert not likelihood.answered_exactly(logits, np.array([0, 0]), weights)
