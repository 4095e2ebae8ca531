"""Laws of the two-sided projection."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from jax_tda import Encoder
from jax_tda.core.errors import InputError
from jax_tda.encoding import projection

P = 6


def sides(shape, seed, p=P, kind="gaussian", path="kernel"):
    rows, columns = shape
    left = projection.matrix(kind, seed, path, "left", 0, p, rows)
    right = projection.matrix(kind, seed, path, "right", 0, p, columns)
    return np.asarray(left, np.float64), np.asarray(right, np.float64)


@pytest.mark.parametrize("shape", [(9, 9), (4, 20), (20, 4), (2, 3), (1, 12)])
def test_inner_products_are_unbiased_for_every_shape(shape):
    """Law: E⟨P₀ A P₁ᵀ, P₀ B P₁ᵀ⟩ = ⟨A, B⟩, to 4 standard errors over 150 seeds."""
    random = np.random.default_rng(0)
    a, noise = random.normal(size=shape), random.normal(size=shape)
    pairs = {"itself": (a, a), "near": (a, a + noise), "other": (a, noise - a)}
    seen = {name: [] for name in pairs}
    for seed in range(150):
        left, right = sides(shape, seed)
        for name, (first, second) in pairs.items():
            seen[name].append(np.sum((left @ first @ right.T) * (left @ second @ right.T)))
    for name, (first, second) in pairs.items():
        error = np.std(seen[name]) / np.sqrt(len(seen[name]))
        assert abs(np.mean(seen[name]) - np.sum(first * second)) < 4 * error
        # The test would notice a side scaled by √2: the mean of ⟨A, A⟩ is known to better than half of it.
        assert name != "itself" or 4 * error < 0.5 * np.sum(a * a)


@pytest.mark.parametrize(("p", "size"), [(4, 2000), (16, 500), (40, 200)])
def test_entries_are_normal_with_variance_one_over_p(p, size):
    """Law: mean 0, variance 1/p and fourth moment 3/p², whatever the side's length, to 4 standard errors."""
    entries = np.asarray(projection.matrix("gaussian", 0, "kernel", "left", 0, p, size), np.float64) * np.sqrt(p)
    count = entries.size
    assert abs(entries.mean()) < 4 / np.sqrt(count)
    assert abs((entries**2).mean() - 1) < 4 * np.sqrt(2 / count)
    assert abs((entries**4).mean() - 3) < 4 * np.sqrt(96 / count)


def test_layers_sides_paths_and_seeds_are_independent():
    """Law: no two of them share numbers; correlations stay within 4.5 standard errors."""
    drawn = {
        (seed, path, side, layer): value.ravel()
        for seed, path, side in itertools.product((0, 1), ("a/kernel", "b/kernel"), ("left", "right"))
        for layer, value in enumerate(np.asarray(projection.matrix("gaussian", seed, path, side, 3, 20, 50)))
    }
    assert len(drawn) == 24
    correlations = np.corrcoef(np.stack(list(drawn.values()))) - np.eye(24)
    assert np.max(np.abs(correlations)) < 4.5 / np.sqrt(1000)


def test_a_projection_depends_on_its_names_alone():
    """Law: the same names give the same bits, alone or among more layers, and the same fingerprint."""
    few, many = (np.asarray(projection.matrix("gaussian", 7, "w", "left", n, 4, 5)) for n in (2, 3))
    np.testing.assert_array_equal(few, many[:2])
    left, right = (projection.matrix("gaussian", 7, "w", side, 2, 4, 5) for side in ("left", "right"))
    assert projection.fingerprint(left, right) == projection.fingerprint(jnp.asarray(few), right)
    assert projection.fingerprint(left, right) != projection.fingerprint(right, left)
    assert projection.fingerprint(left, right) != projection.fingerprint(left.at[0, 0, 0].add(1e-6), right)


def test_identity_is_the_identity_over_zeros():
    """Law: P = [I; 0] in every layer."""
    expected = np.concatenate([np.eye(3), np.zeros((2, 3))])
    np.testing.assert_array_equal(projection.matrix("identity", 0, "w", "left", 0, 5, 3), expected)
    stacked = projection.matrix("identity", 9, "w", "right", 2, 5, 3)
    np.testing.assert_array_equal(stacked, np.stack([expected, expected]))


def bilinear(params, example):
    """A loss of one matrix whose gradient is dense: no module, so that the weight path takes it."""
    x = jnp.take(jnp.asarray(INPUTS), example["tokens"], axis=0)
    return jnp.sum(example["loss_weights"][:, None] * jnp.tanh(x @ params["kernel"]))


INPUTS = np.random.default_rng(2).normal(size=(4, 5)).astype(np.float32)
PARAMS = {"kernel": np.random.default_rng(3).normal(size=(5, 3)).astype(np.float32)}
BATCH = {"tokens": np.array([[0, 1], [2, 3]]), "loss_weights": np.array([[1.0, 0.5], [2.0, 1.0]])}


def test_projecting_is_multiplying_by_a_kronecker_product():
    """Law: vec(P₀ G P₁ᵀ) = (P₀ ⊗ P₁) vec(G), row by row, with the G that the identity projection shows."""
    plain = Encoder(bilinear, PARAMS, None, "matrices", 5, projection_kind="identity")
    gradients = np.asarray(plain.encode(BATCH)["kernel"], np.float64)[:, :, :3]
    assert np.linalg.norm(gradients) > 1
    encoder = Encoder(bilinear, PARAMS, None, "matrices", 4, seed=11)
    left, right = (np.asarray(side, np.float64) for side in encoder.projections("kernel"))
    assert left.shape == (4, 5) and right.shape == (4, 3)
    expected = gradients.reshape(2, -1) @ np.kron(left, right).T
    np.testing.assert_allclose(encoder.encode(BATCH)["kernel"].reshape(2, -1), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("kind", "p"), [("identity", 4), ("rademacher", 8)])
def test_a_projection_that_does_not_fit_is_refused(kind, p):
    """Law: identity needs p ≥ both sides, and no kind is silently replaced by another."""
    with pytest.raises(InputError, match="projection does not fit"):
        Encoder(bilinear, PARAMS, None, "matrices", p, projection_kind=kind)
    with pytest.raises(InputError, match="no projection for head"):
        Encoder(bilinear, PARAMS, None, "matrices", 4).projections("head")
