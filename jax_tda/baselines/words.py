"""What BM25 counts: words in every script, characters, pairs of characters, or the tokens of the model itself.

Words of a script that puts no space between them cannot be told without a dictionary. There each character, and each
pair of neighbours, stands for a word (as in Luk and Kwok, doi:10.1145/568954.568955), so that 東京 is found in 東京都.
"""

import functools
import itertools
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

Unit = Literal["words", "characters", "bigrams", "model"]

# Thai, Lao, Myanmar, Khmer, Tai scripts, Kana, Han; with the signs that repeat a Han character.
_WITHOUT_SPACES = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua9e0-\ua9ff\uaa60-\uaadf\uf900-\ufaff\uff66-\uff9d\U00020000-\U0003fffd"
)
_JOINERS = "\u200c\u200d"


def cut(text: str, unit: Unit, encode: Callable[[str], Sequence[int]] | None = None) -> list[str]:
    """What a text is made of, in order; lower-cased, and composed (NFC) so that é is é however it is stored.

    Args:
      text: any text.
      unit: `words`, `characters` (of words, with their combining marks), `bigrams` (pairs of neighbouring characters; a
        character alone where it has no neighbour), or `model`.
      encode: text to the model's token ids, for `model`.
    """
    if unit == "model":
        assert encode is not None
        return [str(token) for token in encode(text)]
    found = [word.group() for word in _word().finditer(unicodedata.normalize("NFC", text).lower())]
    if unit == "words":
        return [part for word in found for part in _parts(word)]
    characters = [_character().findall(word) for word in found]
    if unit == "characters":
        return list(itertools.chain.from_iterable(characters))
    return [pair for word in characters for pair in (_pairs(word) if len(word) > 1 else word)]


def _parts(word: str) -> Iterator[str]:
    """A word whole, but for its stretches in scripts without spaces: their characters, then their pairs."""
    if word.isascii():
        yield word
        return
    for stretch in _stretch().finditer(word):
        if stretch.lastgroup == "whole":
            yield stretch.group()
        else:
            characters = _character().findall(stretch.group())
            yield from characters
            yield from _pairs(characters)


def _pairs(characters: Sequence[str]) -> list[str]:
    return [first + second for first, second in itertools.pairwise(characters)]


@functools.cache
def _marks() -> str:
    """Combining marks as the inside of a character class; Python's class of letters lacks them and so cuts हिन्दी."""
    runs: list[list[int]] = []
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code))[0] == "M":
            if runs and runs[-1][1] == code - 1:
                runs[-1][1] = code
            else:
                runs.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in runs)


@functools.cache
def _word() -> re.Pattern[str]:
    inside = rf"[\w{_marks()}]"
    return re.compile(rf"\w(?:{inside}|[{_JOINERS}]+(?={inside}))*")


@functools.cache
def _character() -> re.Pattern[str]:
    return re.compile(rf"[\w{_JOINERS}][{_marks()}]*")


@functools.cache
def _stretch() -> re.Pattern[str]:
    alone = rf"(?:[{_WITHOUT_SPACES}][{_marks()}{_JOINERS}]*)"
    return re.compile(rf"(?P<pairs>{alone}+)|(?P<whole>(?:(?!{alone}).)+)", re.DOTALL)
