"""BM25 over the whole corpus: the ranking that knows words and nothing of the model."""

import dataclasses
import logging
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import numpy as np

from jax_tda.baselines import words
from jax_tda.core.bounds import Bound, Expression
from jax_tda.core.declared import declared, demand
from jax_tda.core.errors import InputError
from jax_tda.core.quantities import Share

# (corpus row, score) pairs, the strongest first.
Rows = list[tuple[int, float]]
Encode = Callable[[str], Sequence[int]]


@dataclasses.dataclass(frozen=True)
@declared("bm25")
class LexicalConfig:
    """BM25's constants and what it counts.

    Args:
      k1: how soon more of the same word stops counting.
      b: how much long passages are marked down.
      variant: the formula, named as bm25s does; all differ only in the inverse document frequency and a factor.
      tokens: `words`, whole in every script and with their combining marks, lower-cased; in scripts without spaces each
        character and each pair of neighbours. `characters` or `bigrams` of all scripts, or the `model`'s own tokens.
      word_pattern: a regular expression whose matches are the words instead; empty for those of every script.
      stop_words: words that do not count, one of bm25s' lists (33 words, or more); empty for none. Of `words` alone.
    """

    k1: Annotated[float, Bound(0, 1e6)] = 1.5
    b: Share = 0.75
    variant: Literal["lucene", "robertson", "atire"] = "lucene"
    tokens: words.Unit = "words"
    word_pattern: Annotated[str, Expression()] = ""
    stop_words: Literal["english", "english_plus", ""] = "english"

    def __post_init__(self) -> None:
        alone = not self.word_pattern or self.tokens == "words"
        demand(self, alone, "word_pattern", f"empty where bm25.tokens is {self.tokens!r}")
        groups = re.compile(self.word_pattern).groups
        demand(self, groups <= 1, "word_pattern", "a pattern of at most one group, whose match is then the word")


def bm25(
    passages: Sequence[str],
    queries: Sequence[str],
    k: int,
    config: LexicalConfig = LexicalConfig(),
    encode: Encode | None = None,
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
      encode: text to token ids, where the config counts the model's tokens.

    Returns:
      One (proponents, opponents) pair per query, each a list of (corpus row, score), strongest first.

    Raises:
      InputError: bm25s is not installed, or k is below 1.
    """
    if k < 1:
        raise InputError("BM25 cannot rank no passage", got=k, expected="k of at least 1", remedy="raise k")
    index, passage_count = _index(passages, config, encode), len(passages)
    ranked = []
    # One query at a time: what is held is one score per passage, however many queries there are.
    for asked in _words(queries, config, encode):
        known = index.get_tokens_ids(asked) if index else []
        scores = index.get_scores_from_ids(known) if known else np.zeros(passage_count)
        best = [row for row in _lowest(-scores, k) if scores[row] > 0]
        ranked.append((_rows(best, scores), _rows(_lowest(scores, k), scores)))
    return ranked


def _index(passages: Sequence[str], config: LexicalConfig, encode: Encode | None) -> Any:
    """The bm25s index in double precision; None where no passage holds a word."""
    bm25s = _library()
    found = _words(passages, config, encode)
    if not any(found):
        return None
    index = bm25s.BM25(k1=config.k1, b=config.b, method=config.variant, dtype="float64")
    index.index(found, show_progress=False)
    return index


def _words(texts: Sequence[str], config: LexicalConfig, encode: Encode | None) -> list[list[str]]:
    if config.tokens != "words":
        return [words.cut(text, config.tokens, encode) for text in texts]
    own = config.word_pattern
    # No word holds a line end, and bm25s' own lists are applied by bm25s.
    return _library().tokenize(
        list(texts) if own else ["\n".join(words.cut(text, "words")) for text in texts],
        lower=bool(own),
        token_pattern=own or r"[^\n]+",
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
    logging.getLogger("bm25s").setLevel(logging.WARNING)  # It tells that it builds an index.
    return bm25s
