"""Laws of the gold and the random ranking."""

import numpy as np

from jax_tda.baselines.controls import gold, random


def test_gold_stands_in_corpus_order_at_score_one_without_opponents():
    """Order of the gold list and repetition do not matter; k cuts."""
    assert gold([7, 2, 5, 2], k=10) == ([(2, 1.0), (5, 1.0), (7, 1.0)], [])
    assert gold([7, 2, 5], k=2) == ([(2, 1.0), (5, 1.0)], [])
    assert gold([], k=2) == ([], [])


def test_random_lists_hold_distinct_rows_of_the_corpus_sorted_by_score():
    """Proponents fall, opponents rise, and no row is in both."""
    [(proponents, opponents)] = random(0, ["q"], corpus_size=50, k=10)
    rows = [row for row, _ in proponents + opponents]
    assert len(set(rows)) == 20 and min(rows) >= 0 and max(rows) < 50
    scores = [score for _, score in proponents + opponents[::-1]]
    assert scores == sorted(scores, reverse=True)


def test_random_depends_on_seed_and_query_alone():
    """A query's ranking is the same whichever queries stand beside it."""
    alone = list(random(0, ["q"], 1000, 5))
    assert list(random(0, ["p", "q"], 1000, 5))[1:] == alone
    assert list(random(1, ["q"], 1000, 5)) != alone
    assert list(random(0, ["p"], 1000, 5)) != alone


def test_random_is_uniform_over_the_corpus():
    """2,000 draws of 2 of 10 rows: each row 400 times, within five standard deviations (18 each)."""
    counts = np.zeros(10)
    for proponents, _ in random(0, [str(i) for i in range(2000)], corpus_size=10, k=2):
        for row, _ in proponents:
            counts[row] += 1
    assert counts.sum() == 4000
    assert np.abs(counts - 400).max() < 90


def test_random_ranks_all_of_a_corpus_smaller_than_k():
    """Then both lists are the whole corpus, one the reverse of the other."""
    [(proponents, opponents)] = random(0, ["q"], corpus_size=3, k=10)
    assert sorted(row for row, _ in proponents) == [0, 1, 2]
    assert opponents == proponents[::-1]


def test_random_holds_no_permutation_of_a_huge_corpus():
    """A corpus of 10^15 passages, whose row numbers no machine could hold, is drawn from as readily."""
    [(proponents, _)] = random(0, ["q"], corpus_size=10**15, k=100)
    assert len({row for row, _ in proponents}) == 100
