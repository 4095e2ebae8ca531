"""Laws of the percentile bootstrap."""

import numpy as np
import pytest

from jax_tda.core.errors import InputError
from jax_tda.evaluation import bootstrap
from jax_tda.evaluation.bootstrap import BootstrapConfig, Interval, mean_interval, paired


def test_interval_equals_a_plain_loop_of_resamples():
    """Resampling one query at a time with another generator gives the same interval, up to Monte Carlo error."""
    draw = np.random.default_rng(1)
    values = draw.random(60) ** 3
    means = sorted(sum(values[draw.integers(60)] for _ in range(60)) / 60 for _ in range(4000))
    found = mean_interval(values, seed=0, config=BootstrapConfig(resamples=4000))
    assert found.mean == pytest.approx(values.mean())
    # The standard error of a 2.5 % quantile of 4,000 draws is about 0.04 standard deviations of the mean.
    tolerance = 0.2 * values.std() / np.sqrt(60)
    assert found.low == pytest.approx(means[100], abs=tolerance)
    assert found.high == pytest.approx(means[3900], abs=tolerance)


def test_interval_covers_the_true_mean_about_as_often_as_it_says():
    """Of 200 samples of 50 normal values, 90 to 98 % of the intervals hold the true mean (95 % minus small-n bias)."""
    draw = np.random.default_rng(2)
    covered = 0
    for _ in range(200):
        found = mean_interval(draw.normal(3.0, 1.0, 50), seed=0, config=BootstrapConfig(resamples=400))
        covered += found.low <= 3.0 <= found.high
    assert 180 <= covered <= 196


def test_no_value_gives_null_and_never_nan():
    """n = 0 has neither mean nor interval."""
    assert mean_interval([], seed=0) == Interval(None, None, None, 0)
    assert mean_interval([None, None], seed=0).as_dict() == {"mean": None, "low": None, "high": None, "n": 0}


def test_queries_without_a_value_are_left_out_and_not_counted():
    """None is not zero."""
    assert mean_interval([None, 2.0, None, 4.0], seed=0) == mean_interval([2.0, 4.0], seed=0)
    assert mean_interval([None, 2.0, None, 4.0], seed=0).n == 2


def test_one_query_gives_an_interval_of_no_width():
    """There is nothing to resample."""
    assert mean_interval([0.25], seed=3) == Interval(0.25, 0.25, 0.25, 1)


def test_result_depends_on_the_seed_and_not_on_order_or_chunks(monkeypatch):
    """Same seed, other order of queries, other chunk of resamples: the same interval."""
    values = np.random.default_rng(4).random(37)
    whole = mean_interval(values, seed=5)
    assert mean_interval(values[::-1], seed=5) == whole
    monkeypatch.setattr(bootstrap, "_DRAWN_AT_ONCE", 37 * 7)
    assert mean_interval(values, seed=5) == whole
    assert mean_interval(values, seed=6).low != whole.low


def test_paired_difference_cancels_what_the_queries_share():
    """a = b + 1 on very different queries: the difference is 1 without doubt, though both means are wide."""
    b = {str(i): value for i, value in enumerate(np.random.default_rng(7).normal(0, 100, 40))}
    a = {query: value + 1 for query, value in b.items()}
    found = paired(a, b, seed=0)
    assert (found.mean, found.low, found.high, found.n) == (*[pytest.approx(1.0)] * 3, 40)
    alone = mean_interval(a.values(), seed=0)
    assert alone.high - alone.low > 10


def test_paired_takes_only_queries_that_both_have():
    """A missing entry and None are the same."""
    found = paired({"p": 1.0, "q": 5.0, "r": None}, {"q": 2.0, "r": 1.0, "s": 9.0}, seed=0)
    assert found == Interval(3.0, 3.0, 3.0, 1)


@pytest.mark.parametrize("values", [[1.0, float("nan")], [float("inf")]])
def test_a_value_that_is_not_finite_is_refused(values):
    """NaN in a report would be silent everywhere after it."""
    with pytest.raises(InputError, match="not finite"):
        mean_interval(values, seed=0)


@pytest.mark.parametrize("wrong", [{"resamples": 0}, {"level": 1.0}, {"level": 95}])
def test_impossible_settings_are_refused(wrong):
    """No resamples, or an interval of everything; where they are set, which is before any long work."""
    with pytest.raises(InputError, match="remedy"):
        BootstrapConfig(**wrong)
