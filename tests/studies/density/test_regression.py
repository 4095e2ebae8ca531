"""Regressions from second moments beside least squares on the rows themselves."""

import math

import numpy as np
import pytest

from jax_tda.core import seeds
from jax_tda.core.errors import InputError
from jax_tda.studies.density import logistic
from jax_tda.studies.density.estimates import over_seeds
from jax_tda.studies.density.regression import Moments, permutation_p

RANDOM = np.random.default_rng(0)
N = 80
A, B = RANDOM.normal(size=N), RANDOM.normal(size=N) * 30 + 1000
X = 0.5 * A + RANDOM.normal(size=N)
Y = 2 * A - 0.01 * B + X + RANDOM.normal(size=N)
COLUMNS = {"a": A, "b": B, "x": X, "y": Y, "constant": np.full(N, 3.0), "twice": 2 * A - 1}


def rss(y, *columns):
    design = np.stack([np.ones(len(y)), *columns], 1)
    return float(np.sum((y - design @ np.linalg.lstsq(design, y, rcond=None)[0]) ** 2))


def test_r_squared_and_partial_r_squared_are_those_of_least_squares():
    """Law: 1 − RSS / TSS, and the share of the controls' RSS that one column more takes away."""
    moments = Moments(COLUMNS)
    draws = moments.draws(0, 0)
    assert moments.r_squared(draws, "y", ["a", "b"])[0] == pytest.approx(1 - rss(Y, A, B) / rss(Y))
    assert moments.partial(draws, "y", "x", ["a", "b"])[0] == pytest.approx(1 - rss(Y, A, B, X) / rss(Y, A, B))


def test_a_constant_or_collinear_control_changes_nothing():
    """Law: neither explains what the others do not."""
    moments = Moments(COLUMNS)
    draws = moments.draws(0, 0)
    plain = moments.partial(draws, "y", "x", ["a", "b"])
    np.testing.assert_allclose(moments.partial(draws, "y", "x", ["a", "b", "constant", "twice"]), plain, rtol=1e-9)


def test_the_slope_is_the_standardised_coefficient():
    """Law: least squares' coefficient times σ_x / σ_y."""
    moments = Moments(COLUMNS)
    design = np.stack([np.ones(N), A, X], 1)
    coefficient = np.linalg.lstsq(design, Y, rcond=None)[0][-1]
    assert moments.slope(moments.draws(0, 0), "y", "x", ["a"])[0] == pytest.approx(coefficient * X.std() / Y.std())


def test_a_bootstrap_draw_is_the_regression_of_the_rows_of_whole_clusters():
    """Law: draw b holds each cluster's rows as often as it was drawn, no row without its cluster."""
    clusters = np.arange(N) // 4
    moments = Moments(COLUMNS, clusters)
    found = moments.partial(moments.draws(3, 7), "y", "x", ["a"])
    names = sorted(set(map(str, clusters)))
    counts = seeds.generator(7, "density", "bootstrap").multinomial(20, np.full(20, 1 / 20), size=3)
    for draw, count in enumerate(counts, 1):
        rows = np.concatenate(
            [np.tile(np.flatnonzero(clusters == int(n)), c) for n, c in zip(names, count, strict=True)]
        )
        rows = rows.astype(int)
        assert found[draw] == pytest.approx(1 - rss(Y[rows], A[rows], X[rows]) / rss(Y[rows], A[rows]), rel=1e-6)


def test_permutations_find_what_is_there_and_nothing_else():
    """Law: the smallest p that so many permutations can give for an effect; for chance, each p as often as another."""
    assert permutation_p(Y, X, [A, B], 199, 0) == pytest.approx(1 / 200)
    random = np.random.default_rng(1)
    chance = [permutation_p(A + random.normal(size=N), random.normal(size=N), [A], 99, seed) for seed in range(100)]
    assert 0.4 < np.mean(chance) < 0.6 and 1 <= sum(p <= 0.1 for p in chance) <= 25


def test_columns_that_cannot_be_regressed_are_refused():
    """Law: lengths agree, every number is finite, three rows at least."""
    for columns in ({"x": A, "y": Y[:-1]}, {"x": A, "y": np.where(A > 0, np.nan, Y)}, {"x": A[:2], "y": Y[:2]}):
        with pytest.raises(InputError, match="regressed"):
            Moments(columns)


def test_a_logistic_regression_on_a_yes_or_no_is_the_logarithm_of_the_odds_ratio():
    """Law: with one binary predictor the coefficients are known in closed form, and so is the likelihood."""
    x = np.repeat([0.0, 1.0], [40, 60])
    right = np.concatenate([np.repeat([0, 1], [30, 10]), np.repeat([0, 1], [15, 45])])
    b, likelihood = logistic.fit(x[:, None], right)
    assert b == pytest.approx([math.log(10 / 30), math.log(45 / 15) - math.log(10 / 30)], rel=1e-4)
    expected = 10 * math.log(0.25) + 30 * math.log(0.75) + 45 * math.log(0.75) + 15 * math.log(0.25)
    assert likelihood == pytest.approx(expected, rel=1e-6)
    odds, share = logistic.added_deviance(x, right, [])
    alone = 55 * math.log(0.55) + 45 * math.log(0.45)
    assert odds == pytest.approx(b[1] * x.std(), rel=1e-4) and share == pytest.approx(1 - expected / alone, rel=1e-5)


def test_a_predictor_that_separates_stays_finite_and_a_single_answer_explains_nothing():
    """Law: no overflow where all right answers lie on one side; no log-odds where all are right."""
    x = np.linspace(-1, 1, 20)
    odds, share = logistic.added_deviance(x, (x > 0).astype(float), [])
    assert np.isfinite(odds) and 0.9 < share <= 1
    assert logistic.added_deviance(x, np.ones(20), []) == (0.0, 0.0)
    drawn = logistic.bootstrap(x, (x > 0).astype(float), [], np.arange(20) // 2, 5, 0)
    assert drawn.shape == (6, 2) and np.isfinite(drawn).all() and drawn[0].tolist() == [odds, share]


def test_where_nothing_is_left_to_explain_nothing_is_explained():
    """Law: R² and partial R² of a constant outcome, and beside controls that give the outcome, are 0, and p is 1."""
    moments = Moments(COLUMNS | {"flat": np.full(N, 0.1), "given": 3 * A - B + 7})
    draws = moments.draws(5, 0)
    np.testing.assert_array_equal(moments.r_squared(draws, "flat", ["x"]), 0)
    np.testing.assert_array_equal(moments.partial(draws, "flat", "x", ["a"]), 0)
    np.testing.assert_array_equal(moments.partial(draws, "given", "x", ["a", "b"]), 0)
    assert permutation_p(3 * A - B + 7, X, [A, B], 99, 0) == 1


def test_a_draw_without_a_varying_outcome_explains_nothing():
    """Law: one answer in twelve is 1; a draw that misses it has R² 0, not 1."""
    rare = np.eye(12)[0]
    moments = Moments({"y": rare, "x": RANDOM.normal(size=12)})
    counts = seeds.generator(0, "density", "bootstrap").multinomial(12, np.full(12, 1 / 12), size=40)
    missed = counts[:, 0] == 0
    assert missed.any()
    np.testing.assert_array_equal(moments.r_squared(moments.draws(40, 0), "y", ["x"])[1:][missed], 0)


def test_a_regression_does_not_hang_on_the_unit_of_its_outcome():
    """Law: an outcome times 1e-13 has the same R²."""
    moments = Moments({"y": Y, "small": 1e-13 * Y, "x": X})
    draws = moments.draws(3, 0)
    np.testing.assert_allclose(moments.r_squared(draws, "small", ["x"]), moments.r_squared(draws, "y", ["x"]))


def test_as_many_columns_as_rows_explain_whatever_there_is_and_so_say_nothing():
    """Law: NaN in each draw, and an estimate of nothing; one column fewer has a share."""
    columns = {f"c{number}": RANDOM.normal(size=6) for number in range(4)} | {"y": Y[:6], "x": X[:6]}
    moments = Moments(columns)
    draws, four = moments.draws(3, 0), [f"c{number}" for number in range(4)]
    for found in (moments.partial(draws, "y", "x", four), moments.slope(draws, "y", "x", four)):
        assert np.isnan(found).all() and over_seeds([found], 0.95).mean is None
    assert np.isnan(moments.r_squared(draws, "y", [*four, "x"])).all()
    assert 0 <= moments.partial(draws, "y", "x", four[:3])[0] <= 1


def test_a_predictor_that_its_controls_hold_has_p_1():
    """Law: what is left of it is rounding, which no permutation judges."""
    assert [permutation_p(Y, a * A + b, [A], 99, 1) for a, b in RANDOM.normal(size=(20, 2))] == [1.0] * 20


def test_beside_controls_that_separate_a_predictor_takes_nothing_away():
    """Law: the share of their deviance is 0 where they leave none, and within [0, 1] in every draw."""
    x, noise = np.linspace(-1, 1, 40), RANDOM.normal(size=40)
    right = (x > 0).astype(float)
    assert logistic.added_deviance(noise, right, [x])[1] == 0
    assert logistic.added_deviance(noise, right, [right])[1] == 0
    shares = [
        logistic.added_deviance(random.normal(size=10), np.arange(10) % 2, list(random.normal(size=(4, 10))))[1]
        for random in map(np.random.default_rng, range(60))
    ]
    assert min(shares) >= 0 and max(shares) <= 1 and 0 in shares
