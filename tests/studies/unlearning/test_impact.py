"""Impact, interaction and agreement, by hand and against dumber ways."""

import numpy as np
import pytest

from jax_tda.evaluation.bootstrap import BootstrapConfig
from jax_tda.studies.unlearning import impact

ABILITY = np.array(["read", "read", "add", "add"])
NAMES = ("read", "add")
FEW = BootstrapConfig(resamples=60)


def test_impact_and_its_cells_by_hand():
    """Law: after − before for every query, and the mean over each ability's queries."""
    before = [0.9, 0.7, 0.5, 0.3]
    effect = impact.effects(before, {"books": [0.1, 0.3, 0.5, 0.5]})["books"]
    np.testing.assert_allclose(effect, [-0.8, -0.4, 0.0, 0.2])
    np.testing.assert_allclose(impact.cells(effect, ABILITY, NAMES), [-0.6, 0.1])
    found = impact.intervals(effect, ABILITY, NAMES, 0, FEW)
    assert found["read"]["mean"] == pytest.approx(-0.6) and found["read"]["n"] == 2
    assert impact.hit(found["read"]) and not impact.hit(found["add"])
    assert not impact.hit(found["read"], abs(found["read"]["mean"]))


def test_interaction_by_hand():
    """Law: where one corpus stands in for the other, taking both away is worse than the two losses added."""
    before = np.array([1.0, 1.0, 0.8])
    one, other, both = (np.array(after) - before for after in ([0.9, 1.0, 0.8], [0.8, 0.5, 0.7], [0.1, 0.5, 0.9]))
    np.testing.assert_allclose(impact.interaction(one, other, both), [-0.6, 0.0, 0.2])


def test_correlations_are_those_of_numpy():
    """Law: Pearson's is corrcoef; Spearman's is the same of ranks, equal values sharing theirs; a constant has none."""
    generator = np.random.default_rng(0)
    one, other = generator.normal(size=(2, 30))
    assert impact.pearson(one, other) == pytest.approx(np.corrcoef(one, other)[0, 1])
    tied = np.round(one)
    rank = [1 + sum(x < y for x in tied) + (sum(x == y for x in tied) - 1) / 2 for y in tied]
    np.testing.assert_allclose(impact.ranks(tied), rank)
    assert impact.spearman(tied, other) == pytest.approx(np.corrcoef(rank, impact.ranks(other))[0, 1])
    assert np.isnan(impact.pearson(one, np.ones(30)))


def test_agreement_is_whole_with_itself_and_turned_with_its_opposite():
    """Law: 1 with itself and −1 with its opposite, whichever queries are drawn, so that the interval is a point."""
    effect = np.random.default_rng(1).normal(size=(2, 4))
    same = impact.agreement(effect, effect, ABILITY, NAMES, 0, FEW)
    np.testing.assert_allclose([list(one.values()) for one in same.values()], 1)
    opposite = impact.agreement(effect, -effect, ABILITY, NAMES, 0, FEW)
    np.testing.assert_allclose([list(opposite[name].values()) for name in ("pearson", "spearman")], -1)


def test_statistics_by_hand():
    """Law: without the diagonal only other corpora's abilities count; corpora are ranked within each ability."""
    one, other = np.array([[-9.0, -1.0, 0.0], [-2.0, -8.0, 1.0], [0.0, -3.0, -7.0]]), np.zeros((3, 3))
    other[:] = [[0.0, -1.0, 0.0], [-2.0, 0.0, 1.0], [0.0, -3.0, 0.0]]
    assert impact.STATISTICS["pearson_apart"](one, other) == pytest.approx(1)
    assert impact.STATISTICS["pearson"](one, other) < 0.5
    # First in one: 0, 1, 2. First in the other: 1, 2, 0.
    assert impact.STATISTICS["corpora_first"](one, other) == 0
    assert impact.STATISTICS["corpora_first"](one, one) == 1
    assert impact.STATISTICS["corpora_ranked"](one, -one) == pytest.approx(-1)


@pytest.mark.parametrize(
    ("other", "both", "said"),
    [([2, 4, 6, 8.1], 3, "correlated"), ([1, -1, -1, 1], 0, "orthogonal"), ([1, -1, -1, 1], 1, "neither")],
)
def test_two_rows_of_impact_are_correlated_orthogonal_or_neither(other, both, said):
    """Law: rows alike in numbers and order are correlated; unlike rows are orthogonal only if no ability needs both."""
    assert impact.relation(np.array([1.0, 2, 3, 4]), np.array(other, float), both) == said
