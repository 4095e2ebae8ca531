"""Laws of training: it learns, it resumes to the same bits, it does not depend on the number of devices."""

import dataclasses
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_tda.core import mesh as meshes
from jax_tda.core import processes
from jax_tda.core.errors import InputError
from jax_tda.models import likelihood
from jax_tda.models.batch_gradient import mean_loss
from jax_tda.models.decoder import Decoder, DecoderConfig
from jax_tda.training.loop import TrainingConfig, train
from jax_tda.training.optimizers import OptimizerConfig

MODEL = Decoder(DecoderConfig(vocabulary_size=9, layers=2, width=16, heads=2, kv_heads=1, mlp_width=16))
OPTIMIZER = OptimizerConfig(peak_rate=1e-2, warmup_steps=2)
CONFIG = TrainingConfig(steps=6, log_every=2, save_every=0)


def copies(step):
    """Three random tokens, then the same three again, which alone are weighted; odd steps are longer by padding."""
    half = np.random.default_rng(step).integers(1, 9, (8, 3))
    tokens = np.concatenate([np.ones((8, 1)), half, half], 1).astype(np.int32)
    weights = np.tile(np.array([0, 0, 0, 0, 1, 1, 1], np.float32), (8, 1))
    wide = ((0, 0), (0, 2 * (step % 2)))
    return {"tokens": np.pad(tokens, wide), "loss_weights": np.pad(weights, wide)}


def one_device():
    return meshes.make_mesh(devices=jax.devices()[:1])


def demand_same(got, expected):
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(np.asarray(a), np.asarray(b)), got, expected)


class KilledError(Exception):
    """Stands for the end of the process."""


def killed_at(step, batches=copies):
    def source(now):
        if now == step:
            raise KilledError
        return batches(now)

    return source


def test_the_mean_loss_weighs_every_token_of_the_batch_alike():
    """mean_loss = Σ w (−log p) / Σ w over the whole batch, the first position's weights left out of both."""
    params = jax.jit(MODEL.init)(jax.random.key(0), jnp.zeros((1, 2), jnp.int32))["params"]
    batch = copies(1)
    weights = np.random.default_rng(0).uniform(size=batch["tokens"].shape).astype(np.float32)
    logp = likelihood.token_log_probabilities(
        jax.jit(MODEL.apply)({"params": params}, batch["tokens"]), batch["tokens"]
    )
    expected = np.average(-np.asarray(logp)[:, 1:], weights=weights[:, 1:])
    np.testing.assert_allclose(mean_loss(MODEL, params, batch["tokens"], weights), expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["adamw", "adafactor"])
def test_a_model_learns_to_copy(name):
    """The loss on copying falls from log(8)-like ignorance to less than half of it."""
    seen = []
    optimizer = dataclasses.replace(OPTIMIZER, name=name, min_dim_size_to_factor=8)
    config = TrainingConfig(steps=300, log_every=50, save_every=0)
    train(MODEL, optimizer, config, lambda step: copies(2 * step), mesh=one_device(), log=lambda *row: seen.append(row))
    assert [step for step, _ in seen] == [50, 100, 150, 200, 250, 300]
    assert seen[0][1]["loss"] > 1.0 and seen[-1][1]["loss"] < 0.5 * seen[0][1]["loss"]


@pytest.mark.parametrize("name", ["adamw", "adafactor"])
def test_a_killed_run_started_again_ends_at_the_same_bits(tmp_path, name):
    """Killed at step 5 after a checkpoint at 4, killed again at 5, then left alone = never killed."""
    optimizer = dataclasses.replace(OPTIMIZER, name=name, min_dim_size_to_factor=8)
    expected = train(MODEL, optimizer, CONFIG, copies)
    config = dataclasses.replace(CONFIG, save_every=2)
    directory = str(tmp_path / "progress")
    for _ in range(2):
        with pytest.raises(KilledError):
            train(MODEL, optimizer, config, killed_at(5), progress_directory=directory)
    asked = []
    got = train(MODEL, optimizer, config, lambda step: asked.append(step) or copies(step), progress_directory=directory)
    assert asked == [4, 5]
    demand_same(got, expected)


def test_a_run_that_is_asked_to_stop_saves_its_step_and_ends_at_the_same_bits(tmp_path):
    """Law: SIGTERM during a step lets it end, keeps it although no checkpoint was due, and the rest goes on from it."""
    options = {"mesh": one_device(), "progress_directory": str(tmp_path / "progress")}
    taken = []

    def source(step):
        taken.append(step)
        if step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return copies(step)

    with pytest.raises(processes.Stopped):
        train(MODEL, OPTIMIZER, CONFIG, source, **options)
    got = train(MODEL, OPTIMIZER, CONFIG, source, **options)
    assert taken == [0, 1, 2, 3, 4, 5]
    demand_same(got, train(MODEL, OPTIMIZER, CONFIG, copies, mesh=one_device()))


def test_eight_devices_train_like_one():
    """The states after six steps differ by rounding alone: 1e-5 of each array's norm."""
    eight, one = train(MODEL, OPTIMIZER, CONFIG, copies), train(MODEL, OPTIMIZER, CONFIG, copies, mesh=one_device())
    for a, b in zip(jax.tree.leaves(eight.params), jax.tree.leaves(one.params), strict=True):
        assert len(a.sharding.device_set) == 8 and len(b.sharding.device_set) == 1
        a, b = np.asarray(a), np.asarray(b)
        assert np.linalg.norm(a - b) <= 1e-5 * np.linalg.norm(b)


def test_looking_saving_and_evaluating_change_nothing(tmp_path):
    """Neither how often the losses are read, nor checkpoints, curves and evaluations touch the result."""
    plain = train(MODEL, OPTIMIZER, CONFIG, copies)
    evaluated = []
    busy = dataclasses.replace(CONFIG, log_every=1, save_every=1, evaluate_every=4)
    got = train(
        MODEL,
        OPTIMIZER,
        busy,
        copies,
        progress_directory=str(tmp_path / "progress"),
        scalars_directory=str(tmp_path / "curves"),
        evaluate=lambda step, params: evaluated.append(step) or {"size": float(len(jax.tree.leaves(params)))},
    )
    demand_same(got, plain)
    assert evaluated == [4, 6]
    assert [path.name.startswith("events") for path in (tmp_path / "curves").iterdir()] == [True]


def test_what_is_logged_is_the_mean_over_the_steps_since_the_last_look():
    """The losses read every second step are the means of those read at every step; the rate is the last step's."""
    rows = {}
    for every in (1, 2):
        config = dataclasses.replace(CONFIG, log_every=every)
        train(MODEL, OPTIMIZER, config, copies, log=lambda step, row, every=every: rows.update({(every, step): row}))
    for step in (2, 4, 6):
        for name in ("loss", "gradient_norm"):
            expected = (rows[1, step - 1][name] + rows[1, step][name]) / 2
            np.testing.assert_allclose(rows[2, step][name], expected, rtol=1e-6)
        assert rows[2, step]["rate"] == rows[1, step]["rate"]
        assert rows[2, step]["tokens_per_second"] > 0


def test_a_loss_that_is_no_number_stops_training_and_names_its_step(tmp_path):
    """A batch without weights at step 3 (0 / 0) stops the run there; the checkpoint left behind is from before."""

    def batches(step):
        batch = copies(step)
        return {**batch, "loss_weights": batch["loss_weights"] * (step != 3)}

    config = dataclasses.replace(CONFIG, log_every=6, save_every=2)
    with pytest.raises(InputError, match="diverged at step 3"):
        train(MODEL, OPTIMIZER, config, batches, progress_directory=str(tmp_path))
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["step_000000002"]


def test_no_run_goes_on_from_the_progress_of_another(tmp_path):
    """Another rate, another model, another number of steps: refused by name; other log intervals are not."""
    with pytest.raises(KilledError):
        train(MODEL, OPTIMIZER, CONFIG, killed_at(0), progress_directory=str(tmp_path))
    other_model = Decoder(dataclasses.replace(MODEL.config, rope_theta=7.0))
    for model, optimizer, config, named in (
        (MODEL, dataclasses.replace(OPTIMIZER, peak_rate=1.0), CONFIG, "optimizer"),
        (other_model, OPTIMIZER, CONFIG, "model"),
        (MODEL, OPTIMIZER, dataclasses.replace(CONFIG, steps=7), "training"),
    ):
        with pytest.raises(InputError, match=f"other settings: {named}"):
            train(model, optimizer, config, copies, progress_directory=str(tmp_path))
    with pytest.raises(KilledError):
        config = dataclasses.replace(CONFIG, log_every=3, save_every=2)
        train(MODEL, OPTIMIZER, config, killed_at(0), progress_directory=str(tmp_path))


@pytest.mark.parametrize("field", ["steps", "log_every", "save_every", "evaluate_every"])
def test_impossible_training_settings_are_refused_by_name(field):
    """A run has at least one step."""
    with pytest.raises(InputError, match=f"training.{field} "):
        dataclasses.replace(CONFIG, **{field: -1})
