"""Laws of the BM25 ranking."""

import math
import re
import unicodedata

import numpy as np
import pytest

from jax_tda.baselines.lexical import LexicalConfig, bm25
from jax_tda.baselines.words import cut
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
    "given",
    [{"variant": "bm25+"}, {"b": 2.0}, {"stop_words": "klingon"}, {"word_pattern": "("}, {"word_pattern": "(a)(b)"}],
)
def test_settings_out_of_range_are_refused(given):
    """When the config is made."""
    with pytest.raises(InputError, match=rf"bm25\.{next(iter(given))} is not possible"):
        LexicalConfig(**given)


def test_a_pattern_of_words_goes_with_words_alone_and_no_ranking_is_empty():
    """A setting that would have no effect is refused, and so is k = 0."""
    with pytest.raises(InputError, match="word_pattern"):
        LexicalConfig(word_pattern=r"\S+", tokens="bigrams")
    with pytest.raises(InputError, match="at least 1"):
        bm25(["river"], ["river"], k=0)


def test_plain_english_is_ranked_bit_for_bit_as_by_the_pattern_of_before(corpus):
    """Law: where a text holds no combining mark and no script without spaces, words are what \\w+ finds."""
    before = LexicalConfig(word_pattern=r"(?u)\b\w+\b")
    texts = [*corpus, "It isn't a_b C3PO's 3.14 naïve_Ärger, x—y\tz\nend", "", "... !", "Ünïcode ÇA va 10⁻³ ½"]
    asked = ["isn't it Äpfel", "3 14 naïve_ärger", "x y z", "capital of the river", "½ va"]
    assert bm25(texts, asked, len(texts)) == bm25(texts, asked, len(texts), before)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("हिन्दी में पढ़ना", ["हिन्दी", "में", "पढ़ना"]),
        ("தமிழ் மொழி", ["தமிழ்", "மொழி"]),
        ("العَرَبِيَّة لغة", ["العَرَبِيَّة", "لغة"]),
        ("می‌خواهم بروم", ["می‌خواهم", "بروم"]),
        ("cafe\u0301 au lait", ["café", "au", "lait"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("東京", ["東", "京", "東京"]),
        ("JR東京駅2番 exit", ["jr", "東", "京", "駅", "東京", "京駅", "2", "番", "exit"]),
        ("ภาษาไทย", ["ภ", "า", "ษ", "า", "ไ", "ท", "ย", "ภา", "าษ", "ษา", "าไ", "ไท", "ทย"]),
        ("The plain words", ["the", "plain", "words"]),
    ],
)
def test_words_of_every_script_are_kept_whole_or_become_characters_and_their_pairs(text, words):
    """Law: combining marks and joiners stay in their word; where no space parts words, pairs of characters stand in."""
    normal = [unicodedata.normalize("NFC", word) for word in words]
    assert cut(text, "words") == normal
    assert all(word in unicodedata.normalize("NFC", text).lower() for word in normal)


def test_a_name_is_found_in_a_sentence_of_a_script_without_spaces():
    """東京 meets 東京は日本の首都です, before a passage that shares one character; हिन्दी meets हिन्दी alone."""
    passages = [
        "大阪は西にある。",
        "東京は日本の首都です。",
        "京都は古い町だ。",
        "हिन्दी भाषा",
        "हिमालय पर्वत",
        "a river",
    ]
    japanese, hindi = bm25(passages, ["東京", "हिन्दी"], 10)
    assert [row for row, _ in japanese[0]] == [1, 2] and [row for row, _ in hindi[0]] == [3]


@pytest.mark.parametrize(
    ("tokens", "found"),
    [
        ("characters", ["o", "n", "हि", "न्", "दी", "東", "京"]),
        ("bigrams", ["on", "हिन्", "न्दी", "東京"]),
        ("model", ["79", "110"]),
    ],
)
def test_characters_pairs_and_the_models_tokens_are_choices(tokens, found):
    """Law: each choice is a ranking by the same formula over other units; stop words are words and count here."""
    text = "On हिन्दी 東京" if tokens != "model" else "On"
    assert cut(text, tokens, lambda text: list(text.encode())) == found
    config = LexicalConfig(tokens=tokens)
    [(proponents, _)] = bm25(["the of", "on", "x"], ["the"], 3, config, encode=lambda text: list(text.encode()))
    assert proponents[0][0] == 0
