"""What curves say of acquisition and forgetting."""

import numpy as np
import pytest

from jax_tda.core.errors import InputError
from jax_tda.studies.acquisition import measures


def test_the_local_maximum_lies_in_the_window_after_the_encounter_and_nowhere_else():
    """Law: argmax over met < t ≤ met + window; by hand. Higher values before, at and behind the window do not count."""
    curve = np.array([9.0, 9.0, 5.0, 1.0, 3.0, 3.0, 2.0, 8.0])
    assert measures.local_maximum(curve, met=2, window=4) == 4  # The first of the two 3s; 8 at t = 7 is behind 2 + 4.
    assert measures.local_maximum(curve, met=2, window=5) == 7
    assert measures.local_maximum(curve, met=2, window=1) == 3


def test_effectivity_is_the_rise_from_the_encounter_to_its_local_maximum():
    """Law: E = ℓ(θ_LAM) − ℓ(θ_met); by hand, and negative where everything in the window lies lower."""
    curve = np.array([-4.0, -4.0, -3.5, -3.0, -3.25, -5.0, -5.5])
    assert measures.effectivity(curve, met=1, window=3) == 1.0
    assert measures.effectivity(curve, met=4, window=2) == -1.75


def test_retainability_is_one_at_the_last_maximum_and_zero_at_the_start():
    """Law: R(t) = [ℓ(LAM_N + t) − ℓ(t_1)] / [ℓ(LAM_N) − ℓ(t_1)]; by hand."""
    curve = np.array([-4.0, -4.0, -3.5, -3.0, -2.0, -2.5, -4.0, -5.0])
    share, gain = measures.retainability(curve, met=(1, 3), window=2, horizon=3)
    assert gain == 2.0
    np.testing.assert_array_equal(share, [1.0, 0.75, 0.0, -0.5])


@pytest.mark.parametrize("peak", [-4.0, -4.5])
def test_nothing_gained_is_nothing_retained(peak):
    """Law: a denominator of zero, or below, gives no R; its value is kept so that it can be counted."""
    share, gain = measures.retainability(np.array([-4.0, peak, -6.0, -6.0]), met=(0,), window=1, horizon=2)
    assert gain == peak + 4.0 and np.isnan(share).all()


def test_outliers_lie_beyond_the_quartiles_by_more_than_the_factor():
    """Law: by hand. Quartiles of 1 2 3 4 100 are 2 and 4: 1.5 · 2 reaches 7, 48 · 2 reaches 100, each column alone."""
    values = np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [4.0, 0.0], [100.0, 0.0]])
    assert measures.usual(values, 1.5)[:, 0].tolist() == [True, True, True, True, False]
    assert measures.usual(values, 48.0).all()
    np.testing.assert_allclose(measures.usual_mean(values, 1.5), [2.5, 0.0])
    np.testing.assert_allclose(measures.usual_mean(values, 48.0), [22.0, 0.0])
    assert np.isnan(measures.usual_mean(values[:0], 1.5)).all()


@pytest.mark.parametrize(("decay", "intercept"), [(0.25, 0.9), (0.4, 1.0), (0.1, 0.6)])
def test_the_constants_of_a_drawn_up_curve_are_found_again(decay, intercept):
    """Law: a curve whose share falls by `decay` per decade from `intercept` gives both, R² = 1 and 10^(b/a)."""
    time = np.arange(1, 201)
    share = intercept - decay * np.log10(time)
    # Met at 3, from −6; the maximum, 2 nats higher, is at 5; from there it is kept as `share` says.
    curve = np.concatenate([[-5.0, -5.5, -5.9, -6.0, -5.0, -4.0], -6.0 + 2.0 * share])
    kept, gain = measures.retainability(curve, met=(3,), window=2, horizon=200)
    assert gain == 2.0
    found = measures.forgetting(kept)
    np.testing.assert_allclose(found, [decay, intercept, intercept / decay, 1.0], rtol=1e-9)
    np.testing.assert_allclose(found.threshold, 10 ** (intercept / decay), rtol=1e-6)


def test_the_fit_is_that_of_polyfit_and_its_r_squared_that_of_correlation():
    """Law: against NumPy's own least squares, and R² = squared correlation, on noise around a line."""
    share = 1 - 0.2 * np.log10(np.arange(1, 61)) + 0.05 * np.random.default_rng(0).normal(size=60)
    time = np.log10(np.arange(1, 61))
    found = measures.forgetting(np.concatenate([[1.0], share]))
    slope, intercept = np.polyfit(time, share, 1)
    np.testing.assert_allclose([found.decay, found.intercept], [-slope, intercept], rtol=1e-9)
    np.testing.assert_allclose(found.r_squared, np.corrcoef(time, share)[0, 1] ** 2, rtol=1e-9)


def test_what_does_not_fall_has_no_threshold():
    """Law: without a negative slope the line never reaches zero ahead."""
    found = measures.forgetting(np.linspace(1.0, 2.0, 20))
    assert found.decay < 0 and np.isnan(found.x_intercept) and np.isnan(found.threshold)


@pytest.mark.parametrize("level", [0.7, 0.1, 1.0])
def test_a_flat_curve_has_no_threshold(level):
    """Law: the same share at every step does not fall, whatever the rounding of its mean."""
    found = measures.forgetting(np.full(51, level))
    assert found.decay == 0 and found.intercept == pytest.approx(level)
    assert np.isnan([found.x_intercept, found.r_squared, found.threshold]).all()


def test_a_threshold_beyond_every_number_is_infinite():
    """Law: 0.9 − 0.002 log10 t reaches 0 after 10^450 steps; 0.9 − 0.003 log10 t after 10^300, which is a number."""
    time = np.log10(np.arange(1, 201))
    far, near = (measures.forgetting(np.append(1.0, 0.9 - decay * time)) for decay in (0.002, 0.003))
    assert far.x_intercept == pytest.approx(450) and far.threshold == np.inf
    assert np.log10(near.threshold) == pytest.approx(300)


def test_where_nobody_looked_is_no_maximum():
    """Law: by hand: of −4, no look, −3, −2 the maximum is at 3 and E is 2."""
    curve = np.array([-4.0, np.nan, -3.0, -2.0])
    assert measures.local_maximum(curve, met=0, window=3) == 3
    assert measures.effectivity(curve, met=0, window=3) == 2.0


@pytest.mark.parametrize(
    ("curve", "window"),
    [([-4.0, -3.0], 0), ([-4.0], 1), ([-4.0, -3.0], 2), ([-4.0, np.nan, np.nan], 2)],
)
def test_a_window_without_a_look_is_refused(curve, window):
    """Law: no step in it, none on the curve, its end behind the curve's, and nobody who looked."""
    with pytest.raises(InputError, match="no local maximum after step 0"):
        measures.local_maximum(np.array(curve), 0, window)


def test_a_horizon_beyond_the_curve_is_refused():
    """Law: after a maximum at 1 of a curve that ends at 2 there is one step, and not two."""
    curve = np.array([-4.0, -3.0, -3.5])
    assert len(measures.retainability(curve, (0,), 1, 1).share) == 2
    with pytest.raises(InputError, match="ends before the horizon"):
        measures.retainability(curve, (0,), 1, 2)


@pytest.mark.parametrize("curve", [[np.nan, np.nan], [-4.0, -np.inf, -2.0], [np.inf, np.nan]])
def test_a_curve_without_looks_or_with_an_infinite_one_is_refused(curve):
    """Law: no line is drawn through what is no number, nor past it."""
    with pytest.raises(InputError, match="nothing to draw lines between"):
        measures.filled(np.array(curve))


@pytest.mark.filterwarnings("error")
def test_a_mean_that_keeps_nothing_is_no_number():
    """Law: by hand. Quartiles of 0 and 10 are 2.5 and 7.5; a reach of a tenth of 5 keeps neither, and of 1s both."""
    found = measures.usual_mean(np.array([[0.0, 1.0], [10.0, 1.0]]), 0.1)
    assert np.isnan(found[0]) and found[1] == 1.0


def test_between_two_looks_the_curve_is_straight():
    """Law: by hand."""
    np.testing.assert_allclose(measures.filled(np.array([1.0, np.nan, np.nan, 4.0, 2.0])), [1, 2, 3, 4, 2])


def test_the_rank_correlation_is_that_of_ranks_counted_one_by_one():
    """Law: Spearman's, ties sharing the mean of their places, against counting; monotone pairs give 1 and −1."""
    generator = np.random.default_rng(1)
    left, right = generator.integers(0, 6, 40).astype(float), generator.normal(size=40)

    def ranks(values):
        return [
            sum(other < value for other in values) + (sum(other == value for other in values) + 1) / 2
            for value in values
        ]

    expected = np.corrcoef(ranks(left), ranks(right))[0, 1]
    np.testing.assert_allclose(measures.rank_correlation(left, right), expected, rtol=1e-9)
    np.testing.assert_allclose(measures.rank_correlation(right, np.exp(right)), 1.0)
    np.testing.assert_allclose(measures.rank_correlation(right, -right), -1.0)
    assert np.isnan(measures.rank_correlation(np.ones(5), np.arange(5.0)))
