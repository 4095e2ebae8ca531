"""Laws of the retrieval metrics, on three queries worked out by hand."""

import numpy as np
import pytest

from jax_tda.core.errors import InputError
from jax_tda.evaluation.retrieval import precision_at, recall_at, reciprocal_rank

BY_HAND = [
    # ranking, gold, reciprocal rank, recall@3, precision@3
    (["a", "b", "c", "d"], {"a", "c"}, 1.0, 1.0, 2 / 3),
    (["a", "b", "c", "d"], {"d"}, 1 / 4, 0.0, 0.0),
    (["a", "b"], {"z"}, 0.0, 0.0, 0.0),
]


@pytest.mark.parametrize("ranked, gold, reciprocal, recall, precision", BY_HAND)
def test_every_metric_equals_the_one_worked_out_by_hand(ranked, gold, reciprocal, recall, precision):
    """First correct at rank 1, at rank 4 (past the cut-off), and nowhere."""
    assert reciprocal_rank(ranked, gold) == reciprocal
    assert recall_at(3, ranked, gold) == recall
    assert precision_at(3, ranked, gold) == precision


def test_metrics_equal_a_loop_over_ranks():
    """A slow loop over ranks, 1, 2, 3, …, agrees on random rankings."""
    draw = np.random.default_rng(0)
    for _ in range(50):
        ranked = [str(i) for i in draw.permutation(20)[: draw.integers(0, 20)]]
        gold = [str(i) for i in draw.choice(20, size=3, replace=False)]
        first, hits = None, 0
        for rank, document in enumerate(ranked, start=1):
            if document in gold:
                first = first or rank
                hits += rank <= 10
        assert reciprocal_rank(ranked, gold) == (1 / first if first else 0)
        assert recall_at(10, ranked, gold) == (hits > 0)
        assert precision_at(10, ranked, gold) == pytest.approx(hits / 10)


def test_a_query_without_gold_has_no_metric():
    """None, not 0: such a query must not pull a mean down."""
    assert reciprocal_rank(["a"], []) is None
    assert recall_at(10, ["a"], []) is None
    assert precision_at(10, ["a"], []) is None


def test_an_empty_ranking_scores_zero():
    """A method that returns nothing found nothing."""
    assert reciprocal_rank([], ["a"]) == 0
    assert recall_at(10, [], ["a"]) == 0
    assert precision_at(10, [], ["a"]) == 0


def test_precision_divides_by_k_even_when_fewer_are_returned():
    """One correct entry alone is 1/10, not 1/1."""
    assert precision_at(10, ["a"], ["a"]) == 0.1


def test_two_pieces_of_one_gold_document_are_two_correct_entries():
    """The caller has mapped `long#0` and `long#1` to `long`."""
    assert precision_at(4, ["long", "x", "long", "y"], ["long"]) == 0.5


def test_a_cut_off_of_zero_is_refused():
    """Nothing can be correct among the first zero entries."""
    with pytest.raises(InputError, match="expected"):
        recall_at(0, ["a"], ["a"])
