"""Unlearning and training without, on a model small enough for a test."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_tda.core.errors import InputError
from jax_tda.models.batch_gradient import mean_loss
from jax_tda.models.decoder import Decoder, DecoderConfig
from jax_tda.studies.unlearning import decisions
from jax_tda.studies.unlearning.loop import Sets, Texts, Unlearner, UnlearningConfig, ascent, check
from jax_tda.studies.unlearning.retrain import Trainer
from jax_tda.training.loop import TrainingConfig, train
from jax_tda.training.optimizers import OptimizerConfig
from jax_tda.training.run import PretrainConfig
from jax_tda.training.step import TrainState, train_step

MODEL = Decoder(DecoderConfig(vocabulary_size=24, layers=1, width=8, heads=2, kv_heads=2, mlp_width=8))
CONFIG = UnlearningConfig(
    epochs=2, batch=4, chunk=4, evaluate_every=2, evaluated=8, validation=4, tolerance=0.0, rate=5e-3
)


def texts(count: int, seed: int) -> Texts:
    tokens = np.random.default_rng(seed).integers(4, 24, (count, 8)).astype(np.int32)
    weights = np.ones((count, 8), np.float32)
    weights[:, 0] = 0
    return Texts(tokens, weights)


def sets(**changes: Texts) -> Sets:
    given = {"forget": texts(10, 0), "randomised": texts(4, 1), "pool": texts(24, 2), "validation": texts(4, 3)}
    return Sets(**(given | changes))


@pytest.fixture(scope="module")
def params():
    return MODEL.init(jax.random.key(0), jnp.zeros((1, 2), jnp.int32))["params"]


def test_a_run_follows_the_decisions_that_its_own_log_replays(params):
    """Law: the losses in the log, given to the pure decisions, give back every line of it; each chunk is used once."""
    before = jax.tree.map(np.array, params)
    unlearned, log = Unlearner(MODEL, CONFIG).unlearn(params, sets(), seed=0)
    schedule = decisions.Schedule(**{f.name: log[0][f.name] for f in dataclasses.fields(decisions.Schedule)})
    told, losses = decisions.from_log(log[1:])
    assert decisions.replayed(schedule, losses) == told
    chunks = [action.number for action in told if action.kind == "retrain"]
    assert chunks == list(range(len(chunks))) and told[-1].kind == "stop"
    assert losses[-1].forget > log[0]["losses"]["forget"]
    jax.tree.map(np.testing.assert_array_equal, before, params)
    assert any(np.any(a != b) for a, b in zip(jax.tree.leaves(unlearned), jax.tree.leaves(params), strict=True))


def test_thresholds_are_the_original_models_losses_on_other_text(params):
    """Law: the forget threshold is the mean token's −log p of the randomised text, the other that of the validation
    text and its tolerance, both by a plain softmax; batches filled up with nothing change neither."""
    given = sets(randomised=texts(5, 1), validation=texts(6, 3))
    _, log = Unlearner(MODEL, dataclasses.replace(CONFIG, tolerance=0.5)).unlearn(params, given, seed=0)

    def dumb(some: Texts) -> float:
        logits = np.asarray(MODEL.apply({"params": params}, some.tokens), np.float64)
        p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        return -float(np.mean([np.log(p[b, t - 1, some.tokens[b, t]]) for b in range(len(some)) for t in range(1, 8)]))

    assert log[0]["forget_above"] == pytest.approx(dumb(given.randomised), rel=1e-5)
    assert log[0]["validation_above"] == pytest.approx(1.5 * dumb(given.validation), rel=1e-5)


def test_the_first_step_of_ascent_goes_up_the_gradient_by_the_rate(params):
    """Law: Adam's first step is the rate times the gradient's sign; ascent adds it, where training subtracts it."""
    optimizer, forget = ascent(dataclasses.replace(CONFIG, rate=1e-3)), texts(10, 0)
    start = TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))
    step = jax.jit(train_step, static_argnums=(0, 1))
    state, _ = step(MODEL, optimizer, start, dataclasses.asdict(forget))
    gradient = jax.grad(lambda p: mean_loss(MODEL, p, forget.tokens, forget.loss_weights))(params)
    for new, old, slope in zip(*map(jax.tree.leaves, (state.params, params, gradient)), strict=True):
        clear = np.abs(slope) > 1e-5
        np.testing.assert_allclose((new - old)[clear], 1e-3 * np.sign(slope)[clear], rtol=2e-3)


def nothing() -> Texts:
    return texts(0, 0)


def padded(some: Texts, count: int) -> Texts:
    return Texts(*(np.pad(array, ((0, 0), (0, count))) for array in (some.tokens, some.loss_weights)))


def weightless(some: Texts) -> Texts:
    """Only the first token counts, of which no loss is taken."""
    return Texts(some.tokens, np.eye(1, some.tokens.shape[1], dtype=np.float32).repeat(len(some), axis=0))


def joined(one: Texts, other: Texts) -> Texts:
    return Texts(np.concatenate([one.tokens, other.tokens]), np.concatenate([one.loss_weights, other.loss_weights]))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"forget": nothing()}, "forget set is empty"),
        ({"validation": nothing()}, "validation set is empty"),
        ({"validation": texts(10, 0)}, "forget set and the validation set overlap"),
        ({"pool": joined(texts(24, 2), texts(1, 0))}, "forget set and the pool set overlap"),
        ({"validation": texts(4, 2)}, "pool set and the validation set overlap"),
        ({"validation": padded(texts(10, 0), 2)}, "forget set and the validation set overlap"),
        ({"pool": padded(joined(texts(24, 2), texts(1, 0)), 3)}, "forget set and the pool set overlap"),
        ({"validation": padded(texts(4, 2), 1)}, "pool set and the validation set overlap"),
        ({"forget": weightless(texts(10, 0))}, "forget set weighs nothing"),
        ({"validation": weightless(texts(4, 3))}, "validation set weighs nothing"),
        ({"pool": texts(23, 5)}, "pool of text for retraining is too small"),
    ],
)
def test_sets_that_could_not_be_meant_are_refused_before_anything_is_compiled(changed, said):
    """Law: no empty set, no passage in two sets, however they are padded, and a pool for the worst case: 2 epochs × 3
    steps × 4 passages."""
    check(sets(), CONFIG)
    with pytest.raises(InputError, match=said):
        check(sets(**changed), CONFIG)


@pytest.mark.parametrize(
    "wrong", [{"rate": 0.0}, {"tolerance": -0.1}, {"randomisation": "letters"}, {"chunk": 0}, {"b1": 1.0}]
)
def test_settings_that_cannot_be_meant_are_refused(wrong):
    """Law: the setting is named, with what would have been right."""
    with pytest.raises(InputError, match=f"unlearning.{next(iter(wrong))}"):
        dataclasses.replace(CONFIG, **wrong)


TRAINED = PretrainConfig(
    optimizer=OptimizerConfig(peak_rate=1e-2, warmup_steps=1), steps=4, tokens_per_batch=64, buckets=1, seed=3
)


def test_training_without_nothing_is_training():
    """Law: with no passage left out the parameters are those of the training loop on the same batches."""
    some = texts(20, 4)
    trainer = Trainer(MODEL, some, TRAINED)
    batch_of = trainer.batches(np.zeros(20, bool))
    there = train(MODEL, TRAINED.optimizer, TrainingConfig(steps=4, seed=3, save_every=0), batch_of)
    # Losses are summed over eight devices in the loop and over one here.
    again = trainer.without(np.zeros(20, bool))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), again, there.params)


def test_what_is_left_out_has_no_part_in_training():
    """Law: other tokens in its place give the same parameters, bit for bit; counted in, they do not."""
    some, left_out = texts(20, 4), np.arange(20) % 4 == 0
    other = Texts(np.where(left_out[:, None], texts(20, 5).tokens, some.tokens), some.loss_weights)
    one, two = (Trainer(MODEL, each, TRAINED) for each in (some, other))
    jax.tree.map(np.testing.assert_array_equal, one.without(left_out), two.without(left_out))
    counted = zip(*(jax.tree.leaves(each.without(np.zeros(20, bool))) for each in (one, two)), strict=True)
    assert any(np.any(a != b) for a, b in counted)


def test_a_batch_of_nothing_but_what_is_left_out_is_refused():
    """Law: it would have no loss; the step is named."""
    with pytest.raises(InputError, match="batch of step 0"):
        Trainer(MODEL, texts(20, 4), TRAINED).without(np.ones(20, bool))
