"""A corpus's influence is the sum over its documents, or its share of the best of them."""

import numpy as np

from jax_tda.studies.unlearning.influence import by_corpus


def test_influence_by_hand():
    """Law: two queries, twelve documents of two corpora; sums of scores, and shares of the ten highest."""
    scores = np.array([[9.0, 8, 7, 6, 5, 4, 3, 2, 1, 0.5, -1, -2], [-9.0, -8, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]])
    early = np.arange(12) < 6
    found = by_corpus({"trackstar": scores, "dot": -scores}, {"early": early, "late": ~early, "all": early | True})
    assert found["trackstar"] == {"early": [39.0, -13.0], "late": [3.5, 6.0], "all": [42.5, -7.0]}
    assert found["dot"]["early"] == [-39.0, 13.0]
    assert found["proponents"] == {"early": [0.6, 0.4], "late": [0.4, 0.6], "all": [1.0, 1.0]}
