"""Texts as points: hashed words and pairs of words, weighted by rarity, projected at random; and what words overlap."""

import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from jax_tda.core import seeds
from jax_tda.core.errors import InputError

_WORD = re.compile(r"\w+")
_BUCKETS = 2**15


def plain(text: str) -> str:
    """A text without what does not tell texts apart: case and spaces."""
    return " ".join(text.casefold().split())


def refuse_own(queries: Sequence[str], corpus: Sequence[str]) -> None:
    """Refuses queries that stand in the corpus, whose density would count themselves.

    A query stands there if its words, in whatever case and punctuation, are a run of words of a passage.

    Raises:
      InputError: naming the first of them.
    """
    passages = [f" {_run(text)} " for text in corpus]
    holders: dict[str, set[int]] = {}
    for row, passage in enumerate(passages):
        for word in passage.split():
            holders.setdefault(word, set()).add(row)

    def stands(text: str) -> bool:
        run = _run(text)
        # Only passages that hold its rarest word can hold it whole.
        rows = min((holders.get(word, set()) for word in run.split()), key=len, default=set[int]())
        return any(f" {run} " in passages[row] for row in rows)

    own = [text for text in queries if stands(text)]
    if own:
        raise InputError(
            "a query stands in the corpus whose density is asked",
            got=f"{len(own)} such, {own[0]!r} first",
            expected="queries that are not passages; only the leakage experiment puts them there, on purpose",
            remedy="hold the query's wording out of the corpus",
        )


class TextSpace:
    """Unit vectors of texts, after what is rare in a corpus: a text space of this study's own, not a trained one.

    A text's terms are its words and its pairs of neighbouring words, each hashed to one of 32,768 buckets; a bucket
    weighs (1 + log count) · (1 + log((1 + N) / (1 + documents that hold it))), and the weights are multiplied with a
    random matrix of signs and brought to length 1. Cosines are those of the weights up to about 1/√size.

    Args:
      corpus: the texts whose frequencies decide.
      size: dimensions.
      seed: of the signs.
    """

    def __init__(self, corpus: Sequence[str], size: int, seed: int):
        held = np.zeros(_BUCKETS)
        for text in corpus:
            held[list(set(_buckets(text)))] += 1
        self._rarity = 1 + np.log((1 + len(corpus)) / (1 + held))
        random = seeds.generator(seed, "density", "text space")
        self._signs = random.integers(0, 2, (_BUCKETS, size), dtype=np.int8) * np.int8(2) - np.int8(1)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [N, size], each of length 1; a text without a word is zero."""
        points = np.zeros((len(texts), self._signs.shape[1]), np.float32)
        for point, text in zip(points, texts, strict=True):
            counts = Counter(_buckets(text))
            places = list(counts)
            weights = (1 + np.log(list(counts.values()))) * self._rarity[places]
            point += (weights.astype(np.float32) @ self._signs[places].astype(np.float32)) if places else 0.0
        return unit(points)


def unit(points_ND: np.ndarray) -> np.ndarray:
    """Points brought to length 1; a zero stays zero."""
    lengths = np.linalg.norm(points_ND.reshape(len(points_ND), -1), axis=1, keepdims=True)
    return (points_ND.reshape(len(points_ND), -1) / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def overlap(queries: Sequence[str], corpus: Sequence[str]) -> np.ndarray:
    """The greatest share of a query's pairs of neighbouring words that one passage holds, per query."""
    holders: dict[str, list[int]] = {}
    for row, text in enumerate(corpus):
        for pair in set(_pairs(text)):
            holders.setdefault(pair, []).append(row)
    shares = np.zeros(len(queries))
    for place, text in enumerate(queries):
        pairs = set(_pairs(text))
        found = np.concatenate([np.array(holders.get(pair, []), int) for pair in pairs] or [np.zeros(0, int)])
        shares[place] = np.bincount(found, minlength=1).max() / len(pairs) if pairs else 0.0
    return shares


def _run(text: str) -> str:
    """A text's words, one space between them; a text without a word as it is."""
    return " ".join(_words(text)) or plain(text)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _pairs(text: str) -> list[str]:
    words = _words(text)
    return [f"{first} {second}" for first, second in itertools.pairwise(words)]


def _buckets(text: str) -> list[int]:
    # Python's own hash differs from process to process.
    return [
        int.from_bytes(hashlib.blake2b(term.encode("utf-8", "replace"), digest_size=4).digest(), "big") % _BUCKETS
        for term in [*_words(text), *_pairs(text)]
    ]
