"""Laws of optax's optimizers: V̂ is what a sum over the gradients says, or the state is refused, whatever wraps it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

from jax_tda.core.errors import InputError
from jax_tda.encoding.second_moments import second_moments_from
from jax_tda.models import checkpoints

B2 = 0.95
SHAPES = {"left": {"kernel": (3, 4), "bias": (4,)}, "right": {"kernel": (4, 2)}}
PATHS = {"left/kernel": (3, 4), "left/bias": (4,), "right/kernel": (4, 2)}


def gradients(step):
    """Of the size that gradients have, and unlike from one number to the next."""
    random = np.random.default_rng(step)
    return jax.tree.map(
        lambda shape: np.float32(0.01 * random.normal(size=shape) + 0.01),
        SHAPES,
        is_leaf=lambda s: isinstance(s, tuple),
    )


def leaf(tree, path):
    for name in path.split("/"):
        tree = tree[name]
    return np.asarray(tree, np.float64)


def trained(optimizer, steps):
    """The state after some steps; parameters move, gradients are given."""
    params = gradients(100)
    state = optimizer.init(params)
    for step in range(steps):
        updates, state = optimizer.update(gradients(step), state, params)
        params = optax.apply_updates(params, updates)
    return state


def plain(node):
    """As orbax restores it without a target: dictionaries, lists and arrays."""
    if hasattr(node, "_fields"):
        return {name: plain(getattr(node, name)) for name in node._fields} or None
    if isinstance(node, dict):
        return {name: plain(child) for name, child in node.items()}
    return [plain(child) for child in node] if isinstance(node, (list, tuple)) else node


def of_adam(given):
    """Σ (1 − b2) b2^(t−s) g_s² / (1 − b2^t)."""
    last = len(given) - 1
    return sum((1 - B2) * B2 ** (last - s) * g**2 for s, g in enumerate(given)) / (1 - B2 ** len(given))


def of_amsgrad(given):
    return np.max([of_adam(given[: t + 1]) for t in range(len(given))], axis=0)


def of_adamax(given):
    """The square of what Adamax divides by: max_s b2^(t−s) (|g_s| + ε), with ε for the newest alone."""
    value = 0.0
    for g in given:
        value = np.maximum(B2 * value, np.abs(g) + 1e-8)
    return value**2


def of_yogi(given):
    value = np.full_like(given[0], 1e-6)
    for g in given:
        value = value - (1 - B2) * np.sign(value - g**2) * g**2
    return value / (1 - B2 ** len(given))


def of_adafactor(given):
    """Not factored: v ← d v + (1 − d)(g² + ε), d = 1 − t^−0.8."""
    value = 0.0
    for t, g in enumerate(given, 1):
        d = 1 - t**-0.8
        value = d * value + (1 - d) * (g**2 + 1e-30)
    return value


# By optax's own names; each with the sum that is its V̂.
RIGHT = {
    "adam": (lambda: optax.adam(1e-3, b2=B2), of_adam),
    "adamw": (lambda: optax.adamw(1e-3, b2=B2), of_adam),
    "nadam": (lambda: optax.nadam(1e-3, b2=B2), of_adam),
    "nadamw": (lambda: optax.nadamw(1e-3, b2=B2), of_adam),
    "radam": (lambda: optax.radam(1e-3, b2=B2), of_adam),
    "lamb": (lambda: optax.lamb(1e-3, b2=B2), of_adam),
    "yogi": (lambda: optax.yogi(1e-3, b2=B2), of_yogi),
    "amsgrad": (lambda: optax.amsgrad(1e-3, b2=B2), of_amsgrad),
    "adamax": (lambda: optax.adamax(1e-3, b2=B2), of_adamax),
    "adamaxw": (lambda: optax.adamaxw(1e-3, b2=B2), of_adamax),
    "adafactor": (lambda: optax.adafactor(1e-3), of_adafactor),
}
REFUSED = {
    "adabelief": lambda: optax.adabelief(1e-3),
    "adadelta": lambda: optax.adadelta(1e-3),
    "adagrad": lambda: optax.adagrad(1e-3),
    "adan": lambda: optax.adan(1e-3),
    "fromage": lambda: optax.fromage(1e-3),
    "lars": lambda: optax.lars(1e-3),
    "lion": lambda: optax.lion(1e-3),
    "novograd": lambda: optax.novograd(1e-3),
    "rmsprop": lambda: optax.rmsprop(1e-3),
    "rmsprop centred": lambda: optax.rmsprop(1e-3, centered=True),
    "rmsprop centred corrected": lambda: optax.rmsprop(1e-3, centered=True, bias_correction=True),
    "rmsprop corrected": lambda: optax.rmsprop(1e-3, bias_correction=True),
    "rprop": lambda: optax.rprop(1e-3),
    "sgd": lambda: optax.sgd(1e-3, momentum=0.9),
    "sm3": lambda: optax.sm3(1e-3),
    "ademamix": lambda: contrib.ademamix(1e-3),
    "simplified ademamix": lambda: contrib.simplified_ademamix(1e-3),
    "cocob": lambda: contrib.cocob(),
    "dadapt": lambda: contrib.dadapt_adamw(1.0),
    # The lowest optax of setup.py has none.
    **({"madgrad": lambda: contrib.madgrad(1e-3)} if hasattr(contrib, "madgrad") else {}),
    "prodigy": lambda: contrib.prodigy(1.0),
    "dog": lambda: contrib.dog(1.0),
    "twice": lambda: optax.chain(optax.scale_by_adam(), optax.scale_by_adam()),
    "adam and adafactor": lambda: optax.multi_transform(
        {"left": optax.adam(1e-3), "right": optax.adafactor(1e-3)}, {"left": "left", "right": "right"}
    ),
}
SIDES = {"left": "left", "right": "right"}
# Each way of wrapping, and for which gradients the inner optimizer steps: by side, the mean of so many at a time.
WRAPPERS = {
    "bare": (lambda make: make(), {"left": 1, "right": 1}),
    "chain": (lambda make: optax.chain(optax.clip_by_global_norm(1e9), make(), optax.ema(0.9)), dict(left=1, right=1)),
    "masked": (lambda make: optax.masked(make(), {"left": True, "right": False}), {"left": 1}),
    "two counts": (
        lambda make: optax.multi_transform(
            {"left": make(), "right": optax.MultiSteps(make(), 2).gradient_transformation()}, SIDES
        ),
        {"left": 1, "right": 2},
    ),
    "apply_if_finite": (lambda make: optax.apply_if_finite(make(), 3), {"left": 1, "right": 1}),
    "multi_steps": (
        lambda make: optax.MultiSteps(optax.chain(optax.clip(1e9), make()), 2).gradient_transformation(),
        {"left": 2, "right": 2},
    ),
    "nest": (
        lambda make: optax.apply_if_finite(optax.chain(optax.masked(make(), {"left": True, "right": True})), 2),
        {"left": 1, "right": 1},
    ),
}  # fmt: skip
PAIRS = [(name, wrapper) for name in RIGHT for wrapper in WRAPPERS]
# Every optimizer once and every wrapper once, among them the two with a count for each side.
_SAMPLE = {(name, "bare") for name in RIGHT} | {("adam", w) for w in WRAPPERS} | {("adafactor", "masked")}


def check(state, name, wrapper, **given):
    _, expected = RIGHT[name]
    found = second_moments_from(state, b2=B2, **given)
    for path, shape in PATHS.items():
        every = WRAPPERS[wrapper][1].get(path.split("/")[0])
        if every is None:
            with pytest.raises(InputError, match="no second moments for"):
                found.full(path, shape)
            continue
        steps = [
            np.mean([leaf(gradients(s + i), path) for i in range(every)], 0) for s in range(0, 5 - 5 % every, every)
        ]
        np.testing.assert_allclose(found.full(path, shape), expected(steps), rtol=2e-5, atol=1e-12, err_msg=path)


@pytest.mark.parametrize(
    ("name", "wrapper"),
    [pytest.param(*pair, marks=[] if pair in _SAMPLE else pytest.mark.nightly) for pair in PAIRS],
)
def test_v_of_each_optimizer_is_the_sum_over_its_own_gradients(name, wrapper):
    """Law: typed or as plain containers, V̂ is what the optimizer divides by, with each group's own count."""
    state = trained(WRAPPERS[wrapper][0](RIGHT[name][0]), 5)
    check(state, name, wrapper, optimizer=name)
    check(plain(state), name, wrapper, optimizer=name)
    if name.startswith("adamax"):
        with pytest.raises(InputError, match="does not say which optimizer"):
            second_moments_from(state, b2=B2)
    else:
        check(state, name, wrapper)
    if name not in ("amsgrad", "adafactor"):
        with pytest.raises(InputError, match="does not say which optimizer"):
            second_moments_from(plain(state), b2=B2)
        with pytest.raises(InputError, match="is not that of adafactor"):
            second_moments_from(state, optimizer="adafactor", b2=B2)


@pytest.mark.parametrize("name", REFUSED)
def test_what_divides_otherwise_is_refused_in_its_types_and_as_plain_containers(name):
    """Law: neither AdaBelief's variance nor RMSProp's mean is taken for Adam's; no name of ours is theirs."""
    state = trained(REFUSED[name](), 2)
    for given in (state, plain(state)):
        with pytest.raises(InputError):
            second_moments_from(given)
    with pytest.raises(InputError, match="cannot be read"):
        second_moments_from(state, optimizer=name.split()[0] if name != "adam and adafactor" else "both")


def test_a_plain_state_is_what_orbax_restores(tmp_path):
    """Law: the containers of these tests are those of a checkpoint on disk, with the same V̂ and the same refusal."""
    for number, name in enumerate(("adam", "adafactor")):
        state = trained(WRAPPERS["two counts"][0](RIGHT[name][0]), 5)
        checkpoints.save(str(tmp_path / name), {"opt_state": state})
        restored = checkpoints.restore_untyped(str(tmp_path / name))
        check(restored, name, "two counts", optimizer=name)
        if number == 0:
            with pytest.raises(InputError, match=r"does not say which optimizer[\s\S]*AdaBelief"):
                second_moments_from(restored)


def test_muons_matrices_have_no_moments_and_its_other_parameters_have_adams():
    """Law: what Muon steps by orthogonalising is refused by name where it is encoded."""
    state = trained(contrib.muon(1e-3, adam_b2=B2), 3)
    found = second_moments_from(state, b2=B2)
    steps = [leaf(gradients(s), "left/bias") for s in range(3)]
    np.testing.assert_allclose(found.full("left/bias", (4,)), of_adam(steps), rtol=2e-5)
    with pytest.raises(InputError, match="no second moments for left/kernel"):
        found.full("left/kernel", (3, 4))


@pytest.mark.parametrize("eps_root", [0.0, 1e-4])
def test_hyperparameters_are_read_where_optax_injected_them(eps_root):
    """Law: b2, ε and the ε under the root are those of each group; others given contradict them."""

    def made(b2, eps=1e-6):
        return optax.inject_hyperparams(optax.adam)(1e-3, b2=b2, eps=eps, eps_root=eps_root)

    state = trained(optax.multi_transform({"left": made(B2), "right": made(0.5)}, SIDES), 4)
    for given in (state, plain(state)):
        found = second_moments_from(given, optimizer="adam")
        assert found.epsilon == 1e-6
        steps = [leaf(gradients(s), "left/kernel") for s in range(4)]
        np.testing.assert_allclose(found.full("left/kernel", (3, 4)), of_adam(steps) + eps_root, rtol=2e-5)
        right = [leaf(gradients(s), "right/kernel") for s in range(4)]
        by_half = sum(0.5 ** (4 - s) * g**2 for s, g in enumerate(right)) / (1 - 0.5**4)
        np.testing.assert_allclose(found.full("right/kernel", (4, 2)), by_half + eps_root, rtol=2e-5)
    with pytest.raises(InputError, match="b2 is not possible"):
        second_moments_from(state, b2=0.9)
    state = trained(optax.multi_transform({"left": made(B2), "right": made(B2, 1e-3)}, SIDES), 1)
    with pytest.raises(InputError, match="different ε"):
        second_moments_from(state)


@pytest.mark.parametrize("b2", [1.0, 1.5, -0.1, float("nan"), float("inf")])
def test_an_impossible_b2_is_named(b2):
    """Law: 1 − b2^t would be 0, negative or no number."""
    state = trained(optax.adam(1e-3), 2)
    with pytest.raises(InputError, match="b2 is not possible"):
        second_moments_from(state, b2=b2)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1e-9])
def test_moments_that_are_no_mean_of_squares_are_named(bad):
    """Law: a training that diverged, or a damaged file, is refused with the parameter's name."""
    state = trained(optax.scale_by_adam(b2=B2), 2)
    state.nu["left"]["kernel"] = state.nu["left"]["kernel"].at[1, 2].set(bad)
    found = second_moments_from(state, b2=B2)
    assert np.all(found.full("right/kernel", (4, 2)) > 0)
    with pytest.raises(InputError, match=r"left/kernel are no mean of squares[\s\S]*1 of 12"):
        found.full("left/kernel", (3, 4))


def test_adams_type_with_large_gradients_needs_its_name():
    """Law: where every |mu| ≤ 2 nu Adamax may have left the state, so that nobody guesses."""
    params = {"w": jnp.full((3,), 1e4)}
    adam, adamax = optax.adam(1e-3), optax.adamax(1e-3)
    for optimizer in (adam, adamax):
        _, state = optimizer.update(params, optimizer.init(params), params)
        with pytest.raises(InputError, match="does not say which optimizer"):
            second_moments_from(state)
    _, state = adam.update(params, adam.init(params), params)
    np.testing.assert_allclose(second_moments_from(state, optimizer="adam").full("w", (3,)), 1e8, rtol=1e-5)


def test_bfloat16_moments_stop_at_half_and_are_named():
    """Law: ν of a constant gradient 1 with b2 = .999 stays at .5 in bfloat16; the source names the type."""
    optimizer = optax.scale_by_adam(b2=0.999)
    gradient = {"w": jnp.ones((2,), jnp.bfloat16)}
    state = jax.jit(lambda state: jax.lax.fori_loop(0, 4000, lambda _, s: optimizer.update(gradient, s)[1], state))(
        optimizer.init(gradient)
    )
    np.testing.assert_array_equal(np.asarray(state.nu["w"], np.float32), 0.5)
    with pytest.warns(UserWarning, match=r"bfloat16[\s\S]*half of g²"):
        found = second_moments_from(state, optimizer="adam")
    assert found.source == "adam, kept in bfloat16"
    assert second_moments_from(trained(optax.adam(1e-3), 1)).source == "adam"


def test_states_of_several_models_at_once_are_refused():
    """Law: counts of unlike ages, as a vmapped training has them, are no count."""
    state = trained(optax.scale_by_adam(), 2)
    with pytest.raises(InputError, match="several models are mixed"):
        second_moments_from(state._replace(count=jnp.array([2, 3])))
