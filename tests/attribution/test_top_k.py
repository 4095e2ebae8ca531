"""Laws of the two ends of a ranking that arrives in shards."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from jax_tda.attribution.top_k import Best, merged
from tests.attribution import stores


def ranked(scores, cuts, k):
    """Feeds the columns of `scores` in shards that begin at `cuts`."""
    best = Best(len(scores), k)
    edges = [0, *cuts, scores.shape[1]]
    for start, stop in itertools.pairwise(edges):
        best.update(jnp.asarray(scores[:, start:stop]), start)
    return best.ends()


def expect(got, scores, rows):
    for place, wanted in enumerate(rows):
        filled = len(wanted)
        assert got[0][place, :filled].tolist() == wanted
        np.testing.assert_array_equal(got[1][place, :filled], scores[place, wanted])
        assert np.all(got[0][place, filled:] == -1) and np.all(np.isnan(got[1][place, filled:]))


@pytest.mark.parametrize("seed", range(5))
def test_shards_give_the_whole_ranking_with_ties_by_row(seed):
    """Law: both ends of few distinct scores, cut anywhere, are those of sorting everything at once."""
    random = np.random.default_rng(seed)
    count, k = int(random.integers(1, 40)), int(random.integers(1, 12))
    scores = random.integers(-2, 3, (3, count)).astype(np.float32)
    scores[random.uniform(size=scores.shape) < 0.1] = np.nan
    cuts = sorted(random.choice(np.arange(1, max(count, 2)), min(count - 1, seed % 5), replace=False).tolist())
    ends = ranked(scores, cuts, k)
    best, worst = stores.ends(scores, k)
    expect(ends.proponents, scores, best)
    expect(ends.opponents, scores, worst)


@pytest.mark.parametrize("seed", range(5))
def test_ends_of_disjoint_rows_are_merged_to_those_of_all(seed):
    """Law: however rows are dealt out, both ends are those of one pass over all, ties and empty places included."""
    random = np.random.default_rng(seed)
    count, k, parts = int(random.integers(4, 40)), int(random.integers(1, 12)), int(random.integers(1, 5))
    scores = random.integers(-2, 3, (3, count)).astype(np.float32)
    scores[random.uniform(size=scores.shape) < 0.2] = np.nan
    found = []
    for part in range(parts):
        best = Best(3, k)
        for row in range(part, count, parts):
            best.update(jnp.asarray(scores[:, row : row + 1]), row)
        found.append(best.ends())
    ends = merged([found[place] for place in random.permutation(parts)])
    best, worst = stores.ends(scores, k)
    expect(ends.proponents, scores, best)
    expect(ends.opponents, scores, worst)


def test_zero_and_minus_zero_are_one_score():
    """Law: the sign of a zero breaks no tie."""
    scores = np.array([[-0.0, 0.0, -0.0, 0.0, -1.0, 1.0]], np.float32)
    for cuts in ([], [1], [3], [1, 2, 3]):
        ends = ranked(scores, cuts, 6)
        assert ends.proponents[0].tolist() == [[5, 0, 1, 2, 3, 4]]
        assert ends.opponents[0].tolist() == [[4, 0, 1, 2, 3, 5]]


def test_what_is_not_finite_takes_nobodys_place():
    """Law: NaN and overflow are not ranked at either end, and leave no hole."""
    scores = np.array([[np.inf, 1.0, np.nan, 2.0, -np.inf]], np.float32)
    ends = ranked(scores, [2], 4)
    assert ends.proponents[0].tolist() == [[3, 1, -1, -1]]
    assert ends.opponents[0].tolist() == [[1, 3, -1, -1]]
    assert ends.opponents[1][0, :2].tolist() == [1.0, 2.0]


def test_places_that_nobody_fills_are_marked():
    """Law: k beyond the rows gives row −1 and score NaN."""
    ends = ranked(np.array([[3.0, 1.0]], np.float32), [], 4)
    assert ends.proponents[0].tolist() == [[0, 1, -1, -1]]
    assert np.isnan(ends.proponents[1][0, 2:]).all()
