"""BM25 over the whole corpus: the ranking that knows words and nothing of the model."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from jax_tda.core.errors import InputError

# (corpus row, score) pairs, the strongest first.
Rows = list[tuple[int, float]]

_VARIANTS = ("lucene", "robertson", "atire")
_STOP_WORDS = ("english", "english_plus", "")


@dataclasses.dataclass(frozen=True)
class LexicalConfig:
    """BM25's constants and how text becomes words.

    `variant` names the formula as bm25s does; all three differ only in the inverse document frequency and in a constant
    factor. `word_pattern` keeps words of one character, which chemical symbols and digits are. Words are lower-cased;
    `stop_words` is one of bm25s' lists ("english", 33 words, or "english_plus"), or empty to keep every word.
    """

    k1: float = 1.5
    b: float = 0.75
    variant: str = "lucene"
    word_pattern: str = r"(?u)\b\w+\b"
    stop_words: str = "english"


def bm25(
    passages: Sequence[str], queries: Sequence[str], k: int, config: LexicalConfig = LexicalConfig()
) -> list[tuple[Rows, Rows]]:
    """Proponents and opponents of each query by BM25, exact over the whole corpus.

    The score of passage d, summed over the query's words w with repetition (Lucene's variant):

        Σ_w ln(1 + (N - n_w + ½) / (n_w + ½)) · f / (f + k1 (1 - b + b |d| / mean|d|))      f = count of w in d

    Proponents are the k highest scores above zero, so a query that shares no word with the corpus has none. Opponents
    are the k lowest scores; word overlap cannot speak against a fact, so these are as a rule the first passages that
    share no word with the query, at score 0. Ties go to the earlier passage, in both lists.

    Args:
      passages: the corpus, in its order.
      queries: the text to look for, one per query.
      k: the most entries of each list.

    Returns:
      One (proponents, opponents) pair per query, each a list of (corpus row, score), strongest first.

    Raises:
      InputError: bm25s is not installed, or a setting is out of range.
    """
    _check(k, config)
    index, passage_count = _index(passages, config), len(passages)
    ranked = []
    # One query at a time: what is held is one score per passage, however many queries there are.
    for words in _words(queries, config):
        known = index.get_tokens_ids(words) if index else []
        scores = index.get_scores_from_ids(known) if known else np.zeros(passage_count)
        best = [row for row in _lowest(-scores, k) if scores[row] > 0]
        ranked.append((_rows(best, scores), _rows(_lowest(scores, k), scores)))
    return ranked


def _index(passages: Sequence[str], config: LexicalConfig) -> Any:
    """The bm25s index in double precision; None where no passage holds a word."""
    bm25s = _library()
    words = _words(passages, config)
    if not any(words):
        return None
    index = bm25s.BM25(k1=config.k1, b=config.b, method=config.variant, dtype="float64")
    index.index(words, show_progress=False)
    return index


def _words(texts: Sequence[str], config: LexicalConfig) -> list[list[str]]:
    return _library().tokenize(
        list(texts),
        lower=True,
        token_pattern=config.word_pattern,
        stopwords=config.stop_words or [],
        return_ids=False,
        show_progress=False,
    )


def _lowest(values_N: np.ndarray, k: int) -> np.ndarray:
    """Rows of the k lowest values, lowest first, ties by row; `argpartition` alone would pick among ties freely."""
    if values_N.size > k:
        bound = np.partition(values_N, k - 1)[k - 1]
        rows = np.flatnonzero(values_N <= bound)
    else:
        rows = np.arange(values_N.size)
    return rows[np.argsort(values_N[rows], kind="stable")][:k]


def _rows(rows: Sequence[int] | np.ndarray, scores_N: np.ndarray) -> Rows:
    return [(int(row), float(scores_N[row])) for row in rows]


def _library() -> Any:
    try:
        import bm25s
    except ImportError as error:
        raise InputError(
            "BM25 needs the package bm25s.",
            got="bm25s is not installed",
            expected="bm25s, which comes with the extra 'demo'",
            remedy="pip install 'jax-tda[demo]', or pip install bm25s.",
        ) from error
    return bm25s


def _check(k: int, config: LexicalConfig) -> None:
    known = config.variant in _VARIANTS and config.stop_words in _STOP_WORDS
    if k < 1 or config.k1 < 0 or not 0 <= config.b <= 1 or not known:
        raise InputError(
            "BM25 cannot run with these settings.",
            got=f"k={k}, {config}",
            expected=f"k >= 1, k1 >= 0, 0 <= b <= 1, variant one of {_VARIANTS}, stop_words one of {_STOP_WORDS}",
            remedy="Mend the settings of LexicalConfig.",
        )
