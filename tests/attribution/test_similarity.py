"""Laws of scores: one dot product over norms, and equal passages are equal to the last bit."""

import numpy as np
import pytest

from jax_tda.attribution import similarity


@pytest.mark.parametrize("count", [7, 17, 67, 203])
@pytest.mark.parametrize("queries", [1, 2, 5, 9])
def test_equal_passages_of_one_call_have_one_score_bit_for_bit(count, queries):
    """Law: for odd numbers of queries and passages alike, wherever a passage stands."""
    random = np.random.default_rng(count)
    for size in (3, 300):
        rows = np.broadcast_to(random.normal(size=(1, 4, size)), (count, 4, size)).astype(np.float32)
        sides = random.normal(size=(queries, 4 * size)).astype(np.float32)
        scores = np.asarray(similarity.scores(sides, rows, np.full(count, 3, np.float32)))
        assert scores.shape == (queries, count)
        np.testing.assert_array_equal(scores, np.broadcast_to(scores[:, :1], scores.shape))
        expected = sides.astype(float) @ rows[0].astype(float).ravel() / 3
        np.testing.assert_allclose(scores[:, 0], expected, rtol=1e-4, atol=1e-5)
