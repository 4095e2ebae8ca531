"""Laws of the optimizers and their schedule, by hand."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax_tda.core.errors import InputError
from jax_tda.training.optimizers import OptimizerConfig, make, rate

PLAIN = OptimizerConfig(peak_rate=0.5, warmup_steps=0, decay_to=1.0, clip_norm=0.0, b1=0.0)


def test_the_rate_rises_linearly_then_falls_along_a_cosine_to_its_final_fraction():
    """By hand for 4 warmup steps of 13: ¼, ½, ¾, 1 of the peak, then half a cosine; the last step has decay_to."""
    config = OptimizerConfig(peak_rate=2.0, warmup_steps=4, decay_to=0.1)
    got = [float(rate(config, step, 13)) for step in range(13)]
    falling = [0.1 + 0.9 * (1 + math.cos(math.pi * step / 8)) / 2 for step in range(9)]
    np.testing.assert_allclose(got, 2 * np.array([0.25, 0.5, 0.75, 1.0, *falling]), rtol=1e-6)
    assert min(got) > 0


def test_the_rate_of_a_run_shorter_than_its_warmup_still_rises_from_above_zero():
    """One step, or fewer than the warmup: no division by zero, no rate of zero."""
    config = OptimizerConfig(peak_rate=1.0, warmup_steps=10)
    assert [round(float(rate(config, step, 3)), 6) for step in range(3)] == [0.1, 0.2, 0.3]
    assert float(rate(dataclasses.replace(config, warmup_steps=0), 0, 1)) == 1.0


def test_the_rate_multiplies_the_update_of_its_own_step():
    """With constant gradients and Adam's scaling at b1 = 0, epsilon ~ 0, update t = −rate(t) · sign."""
    config = OptimizerConfig(peak_rate=0.3, warmup_steps=3, clip_norm=0.0, b1=0.0, epsilon=1e-20)
    optimizer = make(config, 6)
    params = {"a": jnp.ones(2)}
    state = optimizer.init(params)
    for step in range(6):
        updates, state = optimizer.update({"a": jnp.array([4.0, -0.5])}, state, params)
        expected = float(rate(config, step, 6)) * np.array([-1.0, 1.0])
        np.testing.assert_allclose(updates["a"], expected, rtol=1e-4)


def test_a_long_gradient_is_shortened_to_the_clip_norm_before_the_second_moments():
    """g = (3, 4) has norm 5; clipped to 1 it enters nu as (1 − b2) (0.6², 0.8²); a short one enters as it is."""
    optimizer = make(dataclasses.replace(PLAIN, clip_norm=1.0, b2=0.9), 2)
    params = {"a": jnp.zeros(2)}
    for gradient, entered in (([3.0, 4.0], [0.6, 0.8]), ([0.3, 0.4], [0.3, 0.4])):
        _, state = optimizer.update({"a": jnp.array(gradient)}, optimizer.init(params), params)
        nu = optax.tree_utils.tree_get(state, "nu")["a"]
        np.testing.assert_allclose(nu, 0.1 * np.square(entered), rtol=1e-5)


@pytest.mark.parametrize("name", ["adamw", "adafactor"])
def test_only_kernels_decay(name):
    """With a zero gradient a step takes rate · weight_decay of every kernel, and nothing of embeddings and norms."""
    optimizer = make(dataclasses.replace(PLAIN, name=name, weight_decay=0.1), 2)
    params = {
        "mlp": {"kernel": jnp.ones((2, 2))},
        "embedding": {"embedding": jnp.ones((2, 2))},
        "n": {"scale": jnp.ones(2)},
    }
    updates, _ = optimizer.update(jax.tree.map(jnp.zeros_like, params), optimizer.init(params), params)
    np.testing.assert_allclose(updates["mlp"]["kernel"], -0.05 * np.ones((2, 2)), rtol=1e-6)
    assert not updates["embedding"]["embedding"].any() and not updates["n"]["scale"].any()


def test_adafactor_keeps_rows_and_columns_of_every_stacked_kernel():
    """A (2, 4, 6) stack has v_row (2, 4), v_col (2, 6), no v; a scale below the least size keeps its whole v."""
    optimizer = make(dataclasses.replace(PLAIN, name="adafactor", min_dim_size_to_factor=4), 2)
    params = {"kernel": jnp.zeros((2, 4, 6)), "scale": jnp.zeros((2, 3))}
    gradient = {
        "kernel": jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 6)), jnp.float32),
        "scale": jnp.ones((2, 3)),
    }
    updates, state = optimizer.update(gradient, optimizer.init(params), params)
    row, column, whole = (optax.tree_utils.tree_get(state, name) for name in ("v_row", "v_col", "v"))
    squared = np.square(gradient["kernel"])
    np.testing.assert_allclose(row["kernel"], squared.mean(2), rtol=1e-5)  # The first step's decay is 1 − 1^(−0.8) = 0.
    np.testing.assert_allclose(column["kernel"], squared.mean(1), rtol=1e-5)
    assert whole["kernel"].shape == (1,) and whole["scale"].shape == (2, 3)
    rebuilt = squared.mean(2)[:, :, None] * squared.mean(1)[:, None, :] / squared.mean((1, 2))[:, None, None]
    scaled = gradient["kernel"] / np.sqrt(rebuilt)
    scaled /= max(1, np.sqrt(np.square(scaled).mean()))
    np.testing.assert_allclose(updates["kernel"], -0.5 * scaled, rtol=1e-4)


def test_adafactor_with_a_first_moment_averages_its_updates():
    """With b1 the second update of two equal gradients is what it is without: the average of equals, debiased."""
    params, gradient = {"kernel": jnp.zeros((2, 3))}, {"kernel": jnp.array([[1.0, 2, 3], [-1, 0.5, 2]])}
    found = []
    for b1 in (0.0, 0.9):
        optimizer = make(dataclasses.replace(PLAIN, name="adafactor", b1=b1), 2)
        state = optimizer.init(params)
        for _ in range(2):
            updates, state = optimizer.update(gradient, state, params)
        assert (optax.tree_utils.tree_get(state, "ema") is not None) == (b1 > 0)
        found.append(updates["kernel"])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "lion"),
        ("peak_rate", 0.0),
        ("decay_to", 0.0),
        ("b1", 1.0),
        ("b2", -0.1),
        ("clip_norm", -1.0),
        ("epsilon", 0.0),
    ],
)
def test_impossible_settings_are_refused_by_name(field, value):
    """A final rate of 0 among them: it would make every later tail-patch 0."""
    with pytest.raises(InputError, match=f"optimizer.{field} "):
        dataclasses.replace(PLAIN, **{field: value})
