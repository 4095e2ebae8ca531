"""Laws of the BM25 ranking."""

import math
import re

import numpy as np
import pytest

from jax_tda.baselines.lexical import LexicalConfig, bm25
from jax_tda.core.errors import InputError

STOP = {"the", "of", "is"}


def reference(passages, query, k1=1.5, b=0.75):
    """BM25 from its formula, one passage and one word at a time."""
    words = [[w for w in re.findall(r"\w+", text.lower()) if w not in STOP] for text in passages]
    mean = sum(map(len, words)) / len(words)
    scores = []
    for passage in words:
        score = 0.0
        for w in (w for w in re.findall(r"\w+", query.lower()) if w not in STOP):
            n, f = sum(w in other for other in words), passage.count(w)
            inverse = math.log(1 + (len(words) - n + 0.5) / (n + 0.5))
            score += inverse * f / (f + k1 * (1 - b + b * len(passage) / mean))
        scores.append(score)
    return scores


@pytest.fixture(scope="module")
def corpus():
    draw = np.random.default_rng(0)
    vocabulary = ["The", "of", "is", "Ulaanbaatar", "K", "1949", "river", "Äpfel", "o'brien", "x", "capital", "lies"]
    return [" ".join(draw.choice(vocabulary, size=draw.integers(2, 12))) for _ in range(40)]


def test_scores_equal_the_ten_line_reference(corpus):
    """Every score of the whole ranking, for queries with repeated, unknown, cased and accented words."""
    queries = ["capital of Ulaanbaatar", "river river äpfel", "K 1949 nowhere", "O'BRIEN lies"]
    for query, (proponents, _) in zip(queries, bm25(corpus, queries, k=40), strict=True):
        expected = reference(corpus, query)
        assert len(proponents) == sum(score > 0 for score in expected)
        for row, score in proponents:
            assert score == pytest.approx(expected[row], rel=1e-9)


def test_order_is_by_score_and_ties_by_corpus_position(corpus):
    """Sorting all (score, position) pairs gives the same lists, at every k."""
    tied = corpus + corpus
    for k in (1, 3, 17, 80, 200):
        [(proponents, opponents)] = bm25(tied, ["capital lies x"], k)
        scores = {row: score for row, score in bm25(tied, ["capital lies x"], len(tied))[0][1]}
        assert len(scores) == len(tied)
        best = sorted((row for row in scores if scores[row] > 0), key=lambda row: (-scores[row], row))
        assert [row for row, _ in proponents] == best[:k]
        assert [row for row, _ in opponents] == sorted(scores, key=lambda row: (scores[row], row))[:k]


def test_a_query_that_shares_no_word_has_no_proponents():
    """Stop words alone, unknown words and an empty query: all scores are 0, and 0 proves nothing."""
    for proponents, opponents in bm25(["a river", "x lies"], ["the of is", "nowhere", ""], k=2):
        assert proponents == []
        assert opponents == [(0, 0.0), (1, 0.0)]


def test_a_corpus_without_a_word_ranks_nothing():
    """Neither empty text nor stop words alone divide by a mean length of zero."""
    assert bm25(["", "the of"], ["river"], k=5) == [([], [(0, 0.0), (1, 0.0)])]
    assert bm25(["river"], [], k=5) == []


def test_words_of_one_character_count():
    """Potassium's symbol is a word."""
    [(proponents, _)] = bm25(["symbol Na sodium", "symbol K potassium"], ["K"], k=5)
    assert [row for row, _ in proponents] == [1]


def test_stop_words_can_be_kept():
    """An empty list of stop words keeps every word."""
    [(proponents, _)] = bm25(["the river", "a lake"], ["the"], k=5, config=LexicalConfig(stop_words=""))
    assert [row for row, _ in proponents] == [0]


@pytest.mark.parametrize(
    "config", [LexicalConfig(variant="bm25+"), LexicalConfig(b=2.0), LexicalConfig(stop_words="klingon")]
)
def test_settings_out_of_range_are_refused(config):
    """Before the corpus is read."""
    with pytest.raises(InputError, match="expected"):
        bm25(["river"], ["river"], k=1, config=config)
