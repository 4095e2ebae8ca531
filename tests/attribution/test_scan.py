"""Laws of a pass over a store on several devices."""

import jax
import numpy as np
import pytest

from jax_tda.attribution import scan, similarity


@pytest.mark.parametrize("count", [5, 16, 23])
def test_rows_divided_over_devices_score_as_on_one(count):
    """Law: scores are equal up to rounding, equal rows of a shard still tie, and what fills it up is not ranked."""
    random = np.random.default_rng(count)
    rows = random.normal(size=(count, 2, 9)).astype(np.float32)
    rows[-1] = rows[0]
    sides = [similarity.query_side(random.normal(size=(3, 2, 9)).astype(np.float32), None, True).reshape(3, -1)]
    usable = np.arange(count) != 2
    found = []
    for where in (None, scan.divided(jax.devices())):
        shard = scan.shard_of(7, rows, usable, 23, where)
        assert (shard.start, shard.filled) == (7, count) and shard.rows.shape[0] == (24 if where else 23)
        (scores,) = scan.score(shard, sides, scan.plain_norms(shard))
        scores = np.asarray(scores)
        assert np.isnan(scores[:, [2]]).all() and np.isnan(scores[:, count:]).all()
        np.testing.assert_array_equal(scores[:, 0], scores[:, count - 1])
        found.append(scores[:, :count])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-6)
