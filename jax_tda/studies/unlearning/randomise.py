"""Randomised copies of a text: cut into chunks, and the chunks put in another order.

The loss of the original model on them is the level at which a text counts as unlearned. Both rules are those of GRACE
(arXiv 2402.11537): chunks of 5 to 15 words as its code has it, chunks of 1 to n/10 tokens as its text may be read.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import numpy as np

Rule = Literal["words", "tokens"]
RULES: tuple[Rule, ...] = get_args(Rule)
_WORDS = (5, 15)


def cuts(count: int, least: int, most: int, generator: np.random.Generator) -> list[int]:
    """Lengths of chunks that make up `count` pieces, each drawn evenly from least … most; the last takes what is left.

    Args:
      count: pieces, at least 0.
      least: the shortest chunk, at least 1.
      most: the longest chunk.
      generator: draws.
    """
    found = []
    while count > 0:
        found.append(min(int(generator.integers(least, most + 1)), count))
        count -= found[-1]
    return found


def randomised(words: Sequence[Sequence[int]], rule: str, generator: np.random.Generator) -> list[int]:
    """The tokens of a text in a new order; which tokens there are, and how often, is preserved.

    Args:
      words: the tokens of each word of the text, beginning and end of sequence left out.
      rule: `words` cuts into chunks of 5 to 15 words, `tokens` into chunks of 1 to n/10 of the n tokens, at least 1.
      generator: draws the cuts and the order.
    """
    pieces: Iterable[Sequence[int]] = words
    least, most = _WORDS
    if rule == "tokens":
        pieces = [(token,) for word in words for token in word]
        least, most = 1, max(1, len(pieces) // 10)
    pieces = list(pieces)
    ends = np.cumsum([0, *cuts(len(pieces), least, most, generator)])
    chunks = [pieces[start:stop] for start, stop in itertools.pairwise(ends)]
    order = generator.permutation(len(chunks))
    return [token for chunk in order for piece in chunks[chunk] for token in piece]


def words_of(tokens: Sequence[int], offsets: Sequence[tuple[int, int]], text: str) -> list[list[int]]:
    """The tokens of each word: a token belongs to the word whose characters it spells; its leading space is its own.

    Args:
      tokens: the text's tokens.
      offsets: for each the characters of the text that it spells, as (start, stop).
      text: the text.
    """
    found: list[list[int]] = []
    for index, (token, (start, _)) in enumerate(zip(tokens, offsets, strict=True)):
        begins = start < len(text) and (text[start].isspace() or (start > 0 and text[start - 1].isspace()))
        if index == 0 or begins:
            found.append([])
        found[-1].append(token)
    return found
