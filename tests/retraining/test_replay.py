"""Laws of going back through training: whole retrainings with a weight a little higher and a little lower."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_tda.models import likelihood
from jax_tda.models.decoder import Decoder, DecoderConfig
from jax_tda.retraining.replay import Replay
from jax_tda.training import optimizers
from jax_tda.training.optimizers import OptimizerConfig
from jax_tda.training.step import continued_state

TINY = DecoderConfig(vocabulary_size=11, layers=1, width=8, heads=2, kv_heads=1, mlp_width=12)
STEPS, DOCUMENTS = 7, 5
OPTIMIZERS = {
    "adamw": OptimizerConfig(
        peak_rate=1e-2, warmup_steps=2, epsilon=1e-3, b2=0.9, weight_decay=0.1, clip_norm=0.5, decay_to=0.2
    ),
    "adafactor": OptimizerConfig(
        "adafactor", peak_rate=1e-2, warmup_steps=2, min_dim_size_to_factor=4, factored_epsilon=1e-6, clip_norm=0
    ),
    "sgd": OptimizerConfig("sgd", peak_rate=0.3, warmup_steps=2, clip_norm=0, b1=0.5),
}
# Documents 0 and 1 have two rows each; the last document stands twice with the same text.
OF_ROW = np.array([0, 0, 1, 1, 2, 3, 4, 4])


@functools.cache
def tokens():
    drawn = np.random.default_rng(0).integers(1, TINY.vocabulary_size, (8, 6)).astype(np.int32)
    drawn[7] = drawn[6]
    return drawn


def look(step):
    """Batches of two lengths over all rows again and again; the last place of each is padding that repeats a row."""
    length = 6 if step % 3 else 4
    rows = (np.arange(3) + 3 * step) % 8
    rows = np.append(rows, rows[0])
    weights = np.ones((4, length), np.float32)
    weights[3] = 0
    return {"tokens": tokens()[rows, :length], "loss_weights": weights}, OF_ROW[rows]


def replay(name, segments=0, config=TINY):
    """Under float64."""
    model, optimizer = Decoder(config), optimizers.make(OPTIMIZERS[name], STEPS)

    def begin():
        drawn = model.init(jax.random.key(0), jnp.zeros((1, 2), jnp.int32))["params"]
        return continued_state(optimizer, jax.tree.map(lambda leaf: leaf.astype(jnp.float64), drawn))

    return Replay(model, optimizer, begin, look, STEPS, DOCUMENTS, segments), model


def asked(model):
    """log p of two targets, of parameters."""
    weights = np.array([[0, 0, 0, 1, 1, 1], [0, 1, 0, 0, 0, 0]], np.float32)
    queries = np.random.default_rng(1).integers(1, TINY.vocabulary_size, (2, 6)).astype(np.int32)

    def values(params):
        logits = model.apply({"params": params}, queries)
        return likelihood.target_log_probability(logits, queries, jnp.asarray(weights))

    return jax.jit(values), jax.jit(jax.jacrev(values))


def derivatives(run, slopes, weights):
    kept = run.kept(weights)
    return run.derivatives(kept, slopes(kept[-1].params), weights)


@pytest.mark.parametrize(
    "name", [name if name == "adamw" else pytest.param(name, marks=pytest.mark.nightly) for name in OPTIMIZERS]
)
def test_the_derivative_by_every_weight_is_that_of_whole_retrainings(name):
    """Law: to 1e-3 of central differences of whole retrainings, in float64, over epochs and repeated documents."""
    with jax.enable_x64(True):
        run, model = replay(name)
        values, slopes = asked(model)
        one, h = np.ones(DOCUMENTS), 1e-4
        found = derivatives(run, slopes, one)
        for document in range(DOCUMENTS):
            up, down = (np.asarray(values(run.train(one + sign * h * np.eye(DOCUMENTS)[document]))) for sign in (1, -1))
            np.testing.assert_allclose(found[:, document], (up - down) / (2 * h), rtol=1e-3, atol=1e-7)


def test_the_sign_says_what_happens_without_the_document_and_half_weights_are_gone_back_through_too():
    """Law: positive where training without the document leaves the target less likely."""
    with jax.enable_x64(True):
        run, model = replay("adamw")
        values, slopes = asked(model)
        half = np.full(DOCUMENTS, 0.5)
        found = derivatives(run, slopes, half)
        without = np.array([values(run.train(half * (np.arange(DOCUMENTS) != d))) for d in range(DOCUMENTS)])
        change = np.asarray(values(run.train(half))) - without
        clear = np.abs(change.T) > 0.2 * np.abs(change).max()
        assert clear.sum() >= 3
        assert (np.sign(found) == np.sign(change.T))[clear].all()


@pytest.mark.nightly
@pytest.mark.parametrize("segments", [1, 3])
def test_it_does_not_depend_on_the_number_of_segments_or_of_queries_at_once(segments):
    """Law: which states are kept, and how many queries go together, change rounding alone."""
    with jax.enable_x64(True):
        run, model = replay("adamw")
        _, slopes = asked(model)
        one = np.ones(DOCUMENTS)
        whole = derivatives(run, slopes, one)
        again, _ = replay("adamw", segments)
        kept = again.kept(one)
        assert len(kept) == again.segments + 1 and again.segments * again.length >= STEPS
        of = slopes(kept[-1].params)
        for query in range(2):
            alone = jax.tree.map(lambda leaf, q=query: leaf[q : q + 1], of)
            np.testing.assert_allclose(again.derivatives(kept, alone, one)[0], whole[query], rtol=1e-9)


@pytest.mark.nightly
def test_a_row_that_was_never_seen_has_a_derivative_all_the_same():
    """Second moments of 0 until the last step: finite, and right along all documents together."""
    # Untied, and ids 7 to 10 in no batch before the last: their second moments are 0 until then.
    with jax.enable_x64(True):
        run, model = replay("adamw", config=TINY.__class__(**{**TINY.__dict__, "tied": False}))
        values, slopes = asked(model)
        own = run._look

        def rare(step):
            batch, documents = own(step)
            return (batch if step == STEPS - 1 else {**batch, "tokens": batch["tokens"] % 7}), documents

        run._look = rare
        one, h = np.ones(DOCUMENTS), 1e-4
        found = derivatives(run, slopes, one)
        assert np.isfinite(found).all()
        up, down = (np.asarray(values(run.train(one + sign * h))) for sign in (1, -1))
        np.testing.assert_allclose(found.sum(axis=1), (up - down) / (2 * h), rtol=1e-3, atol=1e-7)


def test_its_memory_is_said_beforehand_and_grows_with_queries():
    """States and cotangents are counted before anything is trained."""
    with jax.enable_x64(True):
        run, _ = replay("sgd", segments=2)
        params = sum(leaf.size * 8 for leaf in jax.tree.leaves(jax.eval_shape(run._begin).params))
        assert run.state_bytes() == pytest.approx(2 * params, rel=0.01)
        assert run.peak_bytes(1) > (run.segments + run.length + 1) * run.state_bytes()
        assert run.peak_bytes(8) - run.peak_bytes(1) >= 7 * 2 * params
