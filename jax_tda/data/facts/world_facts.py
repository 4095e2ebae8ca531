"""The embedded corpus: facts about countries and elements in several wordings, and prose that may repeat them."""

import dataclasses
import functools
import re
from typing import Any

from jax_tda.core import seeds
from jax_tda.data.facts import countries, elements, factbook, relations


@dataclasses.dataclass(frozen=True, slots=True)
class Fact:
    """A statement that passages make and one query asks for.

    Attributes:
      id: relation and the subject's code.
      relation: a key of `relations.WORDINGS`.
      subject: as sentences say it.
      object: what the query's target says.
      held_out: index of the wording that no passage uses for this fact.
    """

    id: str
    relation: str
    subject: str
    object: str
    held_out: int

    def prompt(self, wording: int) -> str:
        """The sentence up to the object, without the space before it."""
        return relations.WORDINGS[self.relation][wording].format(subject=self.subject)

    @property
    def target(self) -> str:
        """The object with the space before it."""
        return f" {self.object}"

    def sentence(self, wording: int) -> str:
        """The whole sentence; an object that ends in a full stop gets no second one."""
        text = self.prompt(wording) + self.target
        return text if text.endswith(".") else text + "."


@dataclasses.dataclass(frozen=True)
class WorldFacts:
    """The corpus.

    Attributes:
      passages: rows of a corpus file: `id`, `text`, and what the page shows.
      queries: rows of a query file: `id`, `prompt`, `target`, `gold`, `weak`, and what the page shows.
      facts: the facts, in the order of the queries.
    """

    passages: list[dict[str, Any]]
    queries: list[dict[str, Any]]
    facts: list[Fact]


@functools.lru_cache(maxsize=4096)
def _whole_words(words: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(words)}(?!\w)")


def holds(text: str, words: str) -> bool:
    """Whether a text holds the words, in this spelling and not as part of longer words."""
    return words in text and _whole_words(words).search(text) is not None


def facts(seed: int = 0) -> list[Fact]:
    """Every fact of the data, relation by relation.

    A fact is left out where its subject gives the object away (Singapore's capital), and where it would be the only
    one about its subject: each fact has others that share its subject.

    Args:
      seed: which wording is held out for each fact depends on it.
    """
    found = []
    for subject in [*countries.read(), *elements.read()]:
        clear = {
            relation: object_
            for relation, object_ in subject.objects.items()
            if object_ and not holds(subject.name, object_)
        }
        for relation, object_ in clear.items() if len(clear) > 1 else ():
            name = f"{relation}/{subject.key}"
            wording = int(seeds.generator(seed, "world_facts", "held_out", name).integers(5))
            found.append(Fact(name, relation, subject.name, object_, wording))
    rank = list(relations.WORDINGS)
    return sorted(found, key=lambda fact: rank.index(fact.relation))


def _fact_passages(fact: Fact) -> list[dict[str, Any]]:
    shown = {"fact_id": fact.id, "relation": fact.relation, "subject": fact.subject, "object": fact.object}
    return [
        {"id": f"{fact.id}/{wording}", "text": fact.sentence(wording), **shown, "wording": wording, "source": "facts"}
        for wording in range(5)
        if wording != fact.held_out
    ]


def _weak(found: list[Fact], prose: list[dict[str, Any]]) -> dict[str, list[str]]:
    """For each fact, the prose that holds its subject and its object as whole words."""
    by_subject: dict[str, list[Fact]] = {}
    for fact in found:
        by_subject.setdefault(fact.subject, []).append(fact)
    weak: dict[str, list[str]] = {fact.id: [] for fact in found}
    for row in prose:
        for subject, related in by_subject.items():
            if holds(row["text"], subject):
                for fact in related:
                    if holds(row["text"], fact.object):
                        weak[fact.id].append(row["id"])
    return weak


def build(seed: int = 0, prose_sentences: int = 1000) -> WorldFacts:
    """Builds the corpus from the installed packages; the same seed and packages give the same rows.

    Each fact has five wordings that end in its object: four become passages, the fifth, another one for each fact,
    becomes its query. `gold` are those four passages; `weak` is prose that holds subject and object as whole words.
    Passages stand in a random order, so that ties, broken by position, favour no relation.

    Args:
      seed: steers which wording is held out, which prose is drawn and the order of the passages.
      prose_sentences: how many sentences of prose to add.

    Raises:
      InputError: if a package of the extra `demo` is not installed.
    """
    found = facts(seed)
    prose = [
        {"id": f"factbook/{sentence.key}", "text": sentence.text, "source": "factbook"}
        for sentence in factbook.sentences(prose_sentences, seed)
    ]
    stated = {fact.id: _fact_passages(fact) for fact in found}
    rows = [row for passages in stated.values() for row in passages] + prose
    order = seeds.generator(seed, "world_facts", "order").permutation(len(rows))
    weak = _weak(found, prose)
    queries = [
        {
            "id": f"{fact.id}/query",
            "prompt": fact.prompt(fact.held_out),
            "target": fact.target,
            "gold": [row["id"] for row in stated[fact.id]],
            "weak": weak[fact.id],
            **{"fact_id": fact.id, "relation": fact.relation, "subject": fact.subject, "object": fact.object},
            "wording": fact.held_out,
        }
        for fact in found
    ]
    return WorldFacts([rows[i] for i in order], queries, found)
