"""A randomised text is the same tokens in another order."""

import itertools

import numpy as np
import pytest

from jax_tda.studies.unlearning.randomise import cuts, randomised, words_of


def text_of(count: int) -> list[list[int]]:
    """Words of one to three tokens, no token twice."""
    tokens = iter(range(10_000))
    return [[next(tokens) for _ in range(1 + place % 3)] for place in range(count)]


@pytest.mark.parametrize("rule", ["words", "tokens"])
@pytest.mark.parametrize("count", [0, 1, 4, 16, 80])
def test_both_rules_preserve_the_multiset_of_tokens(rule, count):
    """Law: sorted, the tokens before and after are the same; a long text is really in another order."""
    words = [[token % 7 for token in word] for word in text_of(count)]
    flat = [token for word in words for token in word]
    made = randomised(words, rule, np.random.default_rng(count))
    assert sorted(made) == sorted(flat)
    assert count < 80 or made != flat


def test_the_rule_of_words_leaves_stretches_of_five_words_whole():
    """Law: with chunks of at least 5 words, n words are cut at most n / 5 times, so few neighbours part."""
    words = text_of(120)
    flat = [token for word in words for token in word]
    made = randomised(words, "words", np.random.default_rng(0))
    follows = dict(itertools.pairwise(flat))
    parted = sum(follows.get(a) != b for a, b in itertools.pairwise(made))
    assert 120 / 15 - 2 <= parted <= 120 / 5
    for word in words:
        place = made.index(word[0])
        assert made[place : place + len(word)] == word


def test_the_rule_of_tokens_cuts_chunks_of_at_most_a_tenth_of_the_text():
    """Law: n tokens fall into at least 10 chunks, so at least 9 times two neighbours part, but for chance."""
    flat = list(range(100))
    made = randomised([flat], "tokens", np.random.default_rng(1))
    parted = sum(b != a + 1 for a, b in itertools.pairwise(made))
    assert parted >= 9


@pytest.mark.parametrize(("count", "least", "most"), [(0, 5, 15), (3, 5, 15), (100, 5, 15), (57, 1, 5)])
def test_chunks_make_up_the_whole_and_keep_their_bounds(count, least, most):
    """Law: lengths add up; every one lies within the bounds, the last may be shorter."""
    found = cuts(count, least, most, np.random.default_rng(count))
    assert sum(found) == count
    assert all(least <= length <= most for length in found[:-1]) and all(0 < length <= most for length in found[-1:])


def test_words_are_told_from_the_characters_that_tokens_spell():
    """Law: tokens in the order of the text, split where the text has a space, whichever token holds the space."""
    text = "ab cde f"
    leading = [(0, 1), (1, 2), (2, 4), (4, 6), (6, 8)]  # a b ·c de ·f
    apart = [(0, 2), (3, 4), (4, 6), (7, 8)]  # ab c de f, spaces in none
    assert words_of([1, 2, 3, 4, 5], leading, text) == [[1, 2], [3, 4], [5]]
    assert words_of([1, 3, 4, 5], apart, text) == [[1], [3, 4], [5]]
