"""Laws of R: what it is, how it is mixed, when it is refused, and what its inverse root does."""

import numpy as np
import pytest

from jax_tda.attribution import curvature
from jax_tda.core.errors import InputError


def sample(count, blocks=2, size=6, seed=0):
    """Encodings whose components are correlated and of very different sizes."""
    random = np.random.default_rng(seed)
    mixing = random.normal(size=(blocks, size, size)) * np.logspace(0, -3, size)[:, None]
    return np.einsum("nbk,bkl->nbl", random.normal(size=(count, blocks, size)), mixing).astype(np.float32)


def diagonal(*blocks):
    return np.stack([np.diag(np.array(block, float)) for block in blocks])


def test_autocorrelation_is_the_mean_outer_product():
    """Law: (1/N) Σ g gᵀ per block, not centred, as a loop adds it up."""
    rows = sample(5) + 1
    expected = np.zeros((2, 6, 6))
    for row in rows:
        for block in range(2):
            expected[block] += np.outer(row[block].astype(float), row[block].astype(float)) / 5
    np.testing.assert_allclose(curvature.autocorrelation(rows), expected, rtol=1e-12)


def test_the_inverse_root_whitens_its_own_sample():
    """Law: with damping 0 and N = 4K, the mean of w wᵀ with w = R^(-1/2) g is the identity."""
    rows = sample(24)
    root = curvature.inverse_root(curvature.autocorrelation(rows), 0.0)
    whitened = np.einsum("nbk,bkl->nbl", rows.astype(float), root)
    mean = np.einsum("nbk,nbl->bkl", whitened, whitened) / 24
    np.testing.assert_allclose(mean, np.broadcast_to(np.eye(6), (2, 6, 6)), atol=1e-6)
    np.testing.assert_allclose(root, np.swapaxes(root, 1, 2), rtol=1e-9, atol=1e-9)


def test_damping_adds_a_share_of_each_blocks_mean_eigenvalue():
    """Law: by hand: eigenvalues (1, 3, 8) have mean 4, so damping 1/2 makes (3, 5, 10); the other block (4, 4, 4) 6."""
    root = curvature.inverse_root(diagonal((1, 3, 8), (4, 4, 4)), 0.5)
    np.testing.assert_allclose(root, diagonal(1 / np.sqrt([3, 5, 10]), 1 / np.sqrt([6, 6, 6])), atol=1e-12)


def test_damping_does_not_depend_on_the_basis_or_the_unit():
    """Law: R turned gives the root turned; R · s gives the root / √s."""
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    plain = curvature.inverse_root(diagonal((1, 3, 8)), 0.1)[0]
    turned = curvature.inverse_root((turn @ np.diag([1.0, 3, 8]) @ turn.T)[None], 0.1)[0]
    np.testing.assert_allclose(turned, turn @ plain @ turn.T, rtol=1e-9)
    np.testing.assert_allclose(curvature.inverse_root(diagonal((1e-8, 3e-8, 8e-8)), 0.1)[0], plain * 1e4, rtol=1e-9)


def test_negative_eigenvalues_of_rounding_count_as_zero():
    """Law: by hand: (−1e-9, 2) is taken for (0, 2), mean 1; damping 1 makes (1, 3)."""
    root = curvature.inverse_root(diagonal((-1e-9, 2)), 1.0)
    np.testing.assert_allclose(root[0], np.diag(1 / np.sqrt([1, 3])), atol=1e-12)


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
def test_a_mixture_is_linear(weight):
    """Law: λ R_query + (1 − λ) R_train; without queries R_train."""
    train, query = diagonal((1, 2)), diagonal((5, 10))
    expected = diagonal((1 + 4 * weight, 2 + 8 * weight))
    np.testing.assert_allclose(curvature.mix(train, query, weight), expected)
    np.testing.assert_array_equal(curvature.mix(train, None, 0.0), train)


@pytest.mark.parametrize(("component", "expected"), [(1, 9 / (9 + 10)), (2, 6 / 14), (3, 5 / 9), (4, 2 / 3)])
def test_lambda_is_read_at_one_component_of_the_pooled_spectra(component, expected):
    """Law: by hand: train pools to (9, 6, 5, 2), query to (10, 8, 4, 1), whatever block each comes from."""
    train, query = diagonal((9, 2), (5, 6)), diagonal((1, 4), (10, 8))
    assert curvature.automatic_weight(train, query, component, 99) == pytest.approx(expected)


def test_lambda_of_a_train_spectrum_that_ended_is_zero_and_never_negative():
    """Law: rounding below zero in R_train is zero."""
    train, query = diagonal((9, -1e-12)), diagonal((4, 3))
    assert curvature.automatic_weight(train, query, 2, 99) == 0.0


@pytest.mark.parametrize("component", [4, 5, 0, -1])
def test_a_component_beyond_the_rank_of_the_queries_is_refused_with_both_numbers(component):
    """Law: three queries in one block of four reach rank 3; the rule would degenerate to λ = 1 beyond it."""
    query = curvature.autocorrelation(sample(3, blocks=1, size=4))
    train = curvature.autocorrelation(sample(40, blocks=1, size=4, seed=1))
    assert 0 < curvature.automatic_weight(train, query, 3, 3) < 1
    with pytest.raises(InputError, match="needs more queries") as caught:
        curvature.automatic_weight(train, query, component, 3)
    assert "3 queries" in caught.value.got and "rank at most 3" in caught.value.got
    assert f"at least {component}" in caught.value.expected
    assert "mix_curvature.query_weight = " in caught.value.remedy


def test_curvature_of_nothing_is_refused():
    """Law: R_query = 0 has rank 0."""
    with pytest.raises(InputError, match="needs more queries"):
        curvature.automatic_weight(diagonal((1, 2)), diagonal((0, 0)), 1, 2)


def test_too_few_queries_are_told_before_anything_is_encoded():
    """Law: min(queries, K) × blocks bounds the rank; a fixed λ needs no queries."""
    curvature.check_queries(-1.0, component=8, blocks=2, block_dimension=9, queries=4)
    curvature.check_queries(0.9, component=9, blocks=2, block_dimension=9, queries=4)
    with pytest.raises(InputError, match="needs more queries") as caught:
        curvature.check_queries(-1.0, component=9, blocks=2, block_dimension=9, queries=4)
    assert "4 queries" in caught.value.got and "at most 8" in caught.value.got
    with pytest.raises(InputError):
        curvature.check_queries(-1.0, component=19, blocks=2, block_dimension=9, queries=1000)


@pytest.mark.parametrize(("dimension", "expected"), [(65536, 983), (16384, 246), (100, 2), (10, 1)])
def test_the_component_is_a_share_of_the_dimension(dimension, expected):
    """Law: 1.5 % of the encoding's numbers, at least the first."""
    assert curvature.default_component(dimension, 0.015) == expected


@pytest.mark.parametrize(("damping", "count"), [(0.0, 23), (0.0, 1), (-0.1, 10**6), (float("nan"), 10**6)])
def test_damping_zero_needs_four_examples_per_dimension(damping, count):
    """Law: for K = 6, 24 examples are enough and 23 are not; below zero nothing is."""
    curvature.check_undamped(0.0, 24, 6)
    curvature.check_undamped(1e-6, 1, 6)
    with pytest.raises(InputError, match="damping is too small") as caught:
        curvature.check_undamped(damping, count, 6)
    assert f"{count} examples" in caught.value.got and "24 examples" in caught.value.expected


@pytest.mark.parametrize(
    ("block", "damping"),
    [((1.0, 0.0), 0.0), ((0.0, 0.0), 0.1), ((1.0, 1e-12), 0.0), ((2.0, 2.0), -1.0), ((1.0, 1.0), float("nan"))],
)
def test_a_singular_block_is_refused_by_name(block, damping):
    """Law: no root of a matrix without one."""
    with pytest.raises(InputError, match=r"curvature of block second is (singular|zero)"):
        curvature.inverse_root(diagonal(block, (1, 2)), damping, ("second", "third"))


def test_a_block_that_is_not_finite_is_refused_by_name():
    """Law: a NaN does not spread."""
    with pytest.raises(InputError, match="curvature of block second is not finite"):
        curvature.inverse_root(diagonal((1, 2), (1, np.nan)), 0.1, ("first", "second"))
