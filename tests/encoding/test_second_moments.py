"""Laws of second moments: read from any optax state, rebuilt as optax divides by them, reduced to rank one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax_tda.core import trees
from jax_tda.core.errors import InputError
from jax_tda.encoding.second_moments import inverse_root, rank_one, second_moments_from
from jax_tda.models import checkpoints

# Every order of sizes that decides which axes optax factors, in miniature: 8 stands for 128.
SHAPES = {
    "square": (8, 8),
    "wide": (8, 16),
    "tall": (16, 8),
    "heads/out": (16, 2, 8),  # (256, 8, 128)
    "stacked": (2, 8, 16),  # (2, 128, 256)
    "stacked_tall": (2, 16, 8),
    "stacked_square": (2, 8, 8),
    "deep": (10, 8, 8),  # (160, 128, 128): optax factors over the layer axis
    "deeper_than_wide": (12, 8, 9),
    "heads/small": (16, 2, 4),  # (256, 4, 64): not factored
    "small": (4, 20),
    "scale": (8,),
    "one": (1,),
}
B2 = 0.9


def gradients(seed, nested=True):
    random = np.random.default_rng(seed)
    leaves = {path: jnp.asarray(random.normal(size=shape), jnp.float32) for path, shape in SHAPES.items()}
    return trees.unflatten(leaves) if nested else leaves


def factored():
    return optax.scale_by_factored_rms(min_dim_size_to_factor=8)


def after(optimizer, steps=3, repeat=1):
    """The state after some steps, each gradient given `repeat` times, and the last update."""
    state, update = optimizer.init(gradients(0)), jax.jit(optimizer.update)
    for step in range(steps):
        for _ in range(repeat):
            updates, state = update(gradients(step), state, gradients(0))
    return updates, state


def test_v_of_adafactor_is_what_optax_divides_by_on_every_kind_of_kernel():
    """Law: V rebuilt from the state = (gradient / update)² of the step that left that state."""
    updates, state = after(factored())
    moments = second_moments_from(state)
    divided, given = trees.flatten(updates), trees.flatten(gradients(2))
    for path, shape in SHAPES.items():
        expected = (np.asarray(given[path], np.float64) / np.asarray(divided[path], np.float64)) ** 2
        np.testing.assert_allclose(moments.full(path, shape), expected, rtol=1e-5, err_msg=path)
    assert moments.source == "adafactor"


def test_v_of_adafactor_at_optaxs_own_threshold():
    """Law: the same where 128 is 128 and nothing is in miniature."""
    shapes = {"heads": (256, 8, 128), "stacked": (2, 128, 256), "unfactored": (256, 4, 64), "square": (128, 128)}
    random = np.random.default_rng(5)
    given = {path: random.normal(size=shape).astype(np.float32) for path, shape in shapes.items()}
    optimizer = optax.scale_by_factored_rms()
    updates, state = jax.jit(optimizer.update)(given, optimizer.init(given), given)
    factors = {path: state.v_row[path].shape for path in shapes}
    assert factors == {"heads": (8, 128), "stacked": (2, 128), "unfactored": (1,), "square": (128,)}
    moments = second_moments_from(state)
    for path, shape in shapes.items():
        expected = (given[path].astype(np.float64) / np.asarray(updates[path], np.float64)) ** 2
        np.testing.assert_allclose(moments.full(path, shape), expected, rtol=1e-5, err_msg=path)


@functools.cache
def bare(kind):
    return second_moments_from(after(INNER[kind])[1], b2=B2)


INNER = {"adam": optax.scale_by_adam(b2=B2), "adafactor": factored()}


def label(params):
    return {name: "tuned" if name in ("square", "heads", "deep") else "left" for name in params}


# What optimizers are really wrapped in; each steps once for `repeat` gradients. None: every parameter has moments.
WRAPPERS = {
    "chain": (lambda inner: optax.chain(optax.clip_by_global_norm(1e9), inner, optax.trace(0.9)), 1, None),
    "masked": (lambda inner: optax.masked(inner, lambda p: {k: v == "tuned" for k, v in label(p).items()}), 1, "tuned"),
    "multi_transform": (
        lambda inner: optax.multi_transform({"tuned": inner, "left": optax.sgd(0.1)}, label), 1, "tuned"
    ),
    "both_sides": (lambda inner: optax.multi_transform({"tuned": inner, "left": inner}, label), 1, None),
    "multi_steps": (lambda inner: optax.MultiSteps(optax.chain(inner, optax.scale(-0.1)), 2), 2, None),
    "nested": (
        lambda inner: optax.MultiSteps(
            optax.chain(optax.masked(inner, lambda p: jax.tree.map(lambda _: True, p))), 2), 2, None
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["adam", "adafactor"])
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_v_is_found_through_wrappers_and_in_what_orbax_restores_without_a_target(wrapper, kind, tmp_path):
    """Law: chain, masked, multi_transform and MultiSteps, in memory or from disk, hold the V of the bare optimizer."""
    wrap, repeat, part = WRAPPERS[wrapper]
    _, state = after(wrap(INNER[kind]), repeat=repeat)
    checkpoints.save(str(tmp_path / "state"), {"opt_state": state})
    covered = [path for path in SHAPES if part is None or path.split("/")[0] in ("square", "heads", "deep")]
    for found in (state, checkpoints.restore_untyped(str(tmp_path / "state"))["opt_state"]):
        moments = second_moments_from(found, optimizer=kind, b2=B2)
        assert sorted(moments.leaves) == sorted(covered)
        assert moments.source == kind
        for path in covered:
            expected = bare(kind).full(path, SHAPES[path])
            np.testing.assert_allclose(moments.full(path, SHAPES[path]), expected, rtol=1e-6, err_msg=path)


def test_adams_v_is_bias_corrected():
    """Law: V̂ = Σ (1 − b2) b2^(t−s) g_s² / (1 − b2^t), added up by hand."""
    _, state = after(optax.adamw(1e-3, b2=B2))
    moments = second_moments_from(state, b2=B2)
    for path, shape in SHAPES.items():
        value = sum(
            (1 - B2) * B2 ** (2 - s) * np.asarray(gradients(s, nested=False)[path], np.float64) ** 2 for s in range(3)
        )
        np.testing.assert_allclose(moments.full(path, shape), value / (1 - B2**3), rtol=1e-5)
    wrong = second_moments_from(state)  # optax's default b2
    assert not np.allclose(wrong.full("square", (8, 8)), moments.full("square", (8, 8)), rtol=0.1)


def test_the_outer_collection_of_flax_is_looked_through():
    """Law: a state of {"params": …} speaks of the same paths as one of the parameters themselves."""
    optimizer = factored()
    wrapped = {"params": gradients(0)}
    _, state = jax.jit(optimizer.update)(wrapped, optimizer.init(wrapped), wrapped)
    assert sorted(second_moments_from(state).leaves) == sorted(SHAPES)


def test_rank_one_is_row_mean_times_column_mean_over_mean():
    """Law: V_ij ≈ r_i c_j / mean(V) for each layer, and the residual is the largest relative loss, by hand."""
    values = np.random.default_rng(0).uniform(0.5, 2.0, (2, 3, 4))
    found = rank_one(values, "kernel", 0.0)
    expected, lost = np.empty_like(values), []
    for layer, v in enumerate(values):
        for i in range(3):
            for j in range(4):
                expected[layer, i, j] = v[i].mean() * v[:, j].mean() / v.mean()
        lost.append(np.sqrt(((v - expected[layer]) ** 2).sum() / (v**2).sum()))
    scale = found.row_scale[:, :, None] * found.column_scale[:, None, :]
    np.testing.assert_allclose(1 / scale**2, expected, rtol=1e-12)
    assert found.residual == pytest.approx(max(lost))


def test_rank_one_loses_nothing_of_an_outer_product():
    """Law: what was rank one stays what it was."""
    random = np.random.default_rng(1)
    values = np.outer(random.uniform(1, 9, 5), random.uniform(1, 9, 3))
    found = rank_one(values, "kernel", 0.0)
    np.testing.assert_allclose(np.outer(found.row_scale, found.column_scale), 1 / np.sqrt(values), rtol=1e-12)
    assert found.residual < 1e-12


def test_epsilon_is_a_floor_of_each_factor_relative_to_its_mean():
    """Law: V_ij becomes (r_i + ε r̄)(c_j + ε c̄) / mean(V), by hand on [[1, 3], [5, 7]] with ε = 1/2."""
    found = rank_one(np.array([[1.0, 3.0], [5.0, 7.0]]), "kernel", 0.5)
    # Rows 2 and 6, columns 3 and 5, mean 4: floors of 2.
    by_hand = np.array([[4 * 5, 4 * 7], [8 * 5, 8 * 7]]) / 4
    np.testing.assert_allclose(1 / np.outer(found.row_scale, found.column_scale) ** 2, by_hand)


@pytest.mark.parametrize("dead", [np.s_[0], np.s_[:, 1], np.s_[:2, :2]])
def test_a_dead_row_or_column_is_not_divided_by_zero(dead):
    """Law: 1/√V stays finite where training never went, and unchanged elsewhere."""
    values = np.ones((4, 3))
    values[dead] = 0.0
    found = rank_one(values, "kernel", 1e-10)
    scale = np.outer(found.row_scale, found.column_scale).astype(np.float32)
    assert np.all(np.isfinite(scale)) and np.all(scale > 0)
    alive = values.mean(1)[:, None] * values.mean(0)[None, :] > 0
    by_hand = np.sqrt(values.mean() / np.outer(values.mean(1), values.mean(0))[alive])
    np.testing.assert_allclose(scale[alive], by_hand, rtol=1e-6)


@pytest.mark.parametrize("kind", ["adam", "adafactor"])
def test_the_exact_correction_divides_as_the_optimizer_does_from_a_state_that_orbax_restored(kind, tmp_path):
    """Law: √V̂ + ε = gradient / update of the step that left the state: Adam without momentum, or Adafactor."""
    optimizer = optax.scale_by_adam(b1=0.0, b2=B2, eps=0.1) if kind == "adam" else factored()
    updates, state = after(optimizer)
    checkpoints.save(str(tmp_path / "state"), {"opt_state": state})
    restored = checkpoints.restore_untyped(str(tmp_path / "state"))["opt_state"]
    moments = second_moments_from(restored, optimizer=kind, b2=B2, epsilon=0.1)
    assert moments.epsilon == (0.1 if kind == "adam" else 0.0)
    for path, update in trees.flatten(updates).items():
        given = np.asarray(gradients(2, nested=False)[path], np.float64)
        root = inverse_root(moments.full(path, SHAPES[path]), moments.epsilon, path)
        np.testing.assert_allclose(1 / root, given / np.asarray(update, np.float64), rtol=1e-5, err_msg=path)


@pytest.mark.parametrize(("bad", "epsilon"), [(0.0, 0.0), (np.nan, 1e-8)])
def test_moments_that_nothing_can_be_divided_by_are_refused(bad, epsilon):
    """Law: a single dead element without ε, or one that is no number, is refused with the parameter's name."""
    values = np.ones((3, 4))
    assert np.all(inverse_root(values * 4, 0.0, "w") == 0.5)
    values[1, 2] = bad
    with pytest.raises(InputError, match="second moments of w cannot be divided by") as caught:
        inverse_root(values, epsilon, "w")
    assert caught.value.got.startswith("1 elements")


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_moments_that_are_all_zero_or_not_finite_are_refused(bad):
    """Law: one layer that cannot correct anything is refused with the parameter's name."""
    values = np.ones((2, 3, 4))
    values[1] = bad
    with pytest.raises(InputError, match="layers/mlp/up/kernel cannot correct anything"):
        rank_one(values, "layers/mlp/up/kernel", 1e-10)


def test_a_state_that_has_seen_no_step_is_refused():
    """Law: Adam's count 0 would divide 0 by 0."""
    with pytest.raises(InputError, match="seen no step"):
        second_moments_from(optax.adam(1e-3).init(gradients(0)))


def test_a_parameter_that_the_state_lacks_and_one_of_another_shape_are_refused():
    """Law: the message names the parameter, whichever optimizer kept the moments."""
    for optimizer in (factored(), optax.scale_by_adam()):
        moments = second_moments_from(after(optimizer)[1])
        with pytest.raises(InputError, match="no second moments for absent"):
            moments.full("absent", (8, 8))
        for shape in [(8, 17), (16, 16), (2, 8, 16), (8,), (1, 1)]:
            with pytest.raises(InputError, match="second moments of wide do not fit"):
                moments.full("wide", shape)


def test_two_optimizers_at_once_are_refused():
    """Law: Adam's and Adafactor's moments side by side have no common meaning."""
    both = optax.multi_transform({"tuned": optax.adam(1e-3), "left": factored()}, label)
    with pytest.raises(InputError, match="could not be read") as caught:
        second_moments_from(after(both)[1])
    assert "side by side" in caught.value.got


@pytest.mark.parametrize("state", [optax.sgd(0.1, momentum=0.9).init({"w": jnp.ones(2)}), {}, (), None])
def test_a_state_without_second_moments_is_refused(state):
    """Law: SGD corrects nothing."""
    with pytest.raises(InputError, match="could not be read"):
        second_moments_from(state)


def test_what_another_optimizer_keeps_under_nu_is_not_taken_for_adams():
    """Law: AdaBelief's variance is refused by name; AMSGrad takes its largest; b2 is read where optax injected it."""
    params = {"mlp": {"kernel": jnp.ones((3, 4))}}
    gradient = {"mlp": {"kernel": jnp.arange(12.0).reshape(3, 4) + 1}}

    def stepped(optimizer):
        return optimizer.update(gradient, optimizer.init(params), params)[1]

    with pytest.raises(InputError, match="not Adam's"):
        second_moments_from(stepped(optax.adabelief(1e-3)))
    squares = np.asarray(gradient["mlp"]["kernel"]) ** 2
    # After one step every corrected second moment is the squared gradient, whatever b2 was.
    for state in (stepped(optax.amsgrad(1e-3, b2=0.9)), stepped(optax.inject_hyperparams(optax.adam)(1e-3, b2=0.9))):
        np.testing.assert_allclose(second_moments_from(state).full("mlp/kernel", (3, 4)), squares, rtol=1e-5)
