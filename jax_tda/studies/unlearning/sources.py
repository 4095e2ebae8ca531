"""Eight made sources that share one vocabulary and teach different things, each with queries of its own.

atlas and quiz state the same facts in two styles, so that one can stand in for the other. guild states other facts of
the same kind, kinds facts that follow from what sort of animal it is. sums and order are about the same pairs of
numbers, mirror and echo about the same strings of letters. Nothing is taken from anywhere: names are drawn. Ours.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from jax_tda.core import seeds

NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen"
).split()
_LETTERS = "a b c d e f g h".split()
_KINDS = {
    "bird": ("seeds", "trees"),
    "fish": ("weed", "rivers"),
    "snake": ("eggs", "sand"),
    "goat": ("grass", "hills"),
    "moth": ("leaves", "lamps"),
    "worm": ("mud", "holes"),
}
_RELATIONS = ("capital", "river", "coin", "ruler")
_TRADES = ("oath", "craft", "street")
_ONSETS = "b br d dr f g gr k kl l m n p pr r s st t tr v z".split()
_VOWELS, _ENDS = "a e i o u".split(), "l m n r s x".split()

# {0} and {1} are what is given and {2} what is asked for; a fact's queries use one wording that no document has for it.
_WORDINGS = {
    "atlas": ("the {1} of {0} is {2}", "in {0} the {1} is {2}", "{0} has as its {1} {2}", "the {1} in {0} , {2}"),
    "quiz": (
        "question {1} of {0} answer {2}",
        "asked {0} {1} answer {2}",
        "name {1} {0} answer {2}",
        "{1} {0} say {2}",
    ),
    "sums": ("{0} plus {1} makes {2}", "adding {0} and {1} makes {2}", "{0} with {1} is {2}", "to {0} add {1} get {2}"),
    "order": (
        "of {0} and {1} more is {2}",
        "more of {0} or {1} is {2}",
        "{0} against {1} wins {2}",
        "{0} or {1} top {2}",
    ),
    "guild": ("{0} keeps the {1} {2}", "{0} , whose {1} is {2}", "{1} with {0} : {2}", "{0} and the {1} {2}"),
    "kinds": ("the {0} {1} {2}", "every {0} {1} {2}", "see how a {0} {1} {2}", "a {0} that {1} {2}"),
}
NAMES = ("atlas", "quiz", "sums", "order", "mirror", "echo", "guild", "kinds")


@dataclasses.dataclass(frozen=True)
class Source:
    """What documents of a source may say, and what is asked of it.

    Attributes:
      name: one of `NAMES`.
      sentences: each a statement, without its full stop.
      questions: (prompt, target) of the held-out queries; none of them is the beginning of a sentence.
    """

    name: str
    sentences: tuple[str, ...]
    questions: tuple[tuple[str, str], ...]


def _names(generator: np.random.Generator, count: int, taken: set[str]) -> list[str]:
    """Drawn names of two syllables, none of them taken yet."""
    found: list[str] = []
    while len(found) < count:
        onset, vowel, middle, last, end = (generator.choice(x) for x in (_ONSETS, _VOWELS, _ONSETS, _VOWELS, _ENDS))
        name = f"{onset}{vowel}{middle}{last}{end}"
        if name not in taken:
            taken.add(name)
            found.append(name)
    return found


Facts = list[tuple[str, str, str]]


def _world(generator: np.random.Generator, places: int, animals: int) -> dict[str, Facts]:
    """(subject, relation, object) of an invented world: its places, people and animals, whom a kind decides."""
    taken: set[str] = set()

    def drawn(relations: tuple[str, ...], count: int) -> Facts:
        subjects = _names(generator, count, taken)
        answers = {relation: _names(generator, count, taken) for relation in relations}
        return [(subject, r, answers[r][i]) for i, subject in enumerate(subjects) for r in relations]

    geography, trades = drawn(_RELATIONS, places), drawn(_TRADES, places)
    zoology = []
    for index, animal in enumerate(_names(generator, animals, taken)):
        kind = list(_KINDS)[index % len(_KINDS)]
        food, home = _KINDS[kind]
        zoology += [(animal, "is a", kind), (animal, "eats", food), (animal, "lives in", home)]
    return {"atlas": geography, "quiz": geography, "guild": trades, "kinds": zoology}


def _stated(name: str, facts: Facts, generator: np.random.Generator) -> Source:
    """A source of facts: of each, one of the wordings asks and all others may stand in documents."""
    sentences, questions = [], []
    for fact in facts:
        held_out = int(generator.integers(len(_WORDINGS[name])))
        for number, wording in enumerate(_WORDINGS[name]):
            text = wording.format(*fact)
            if number == held_out:
                questions.append((text.removesuffix(f" {fact[2]}"), f" {fact[2]}"))
            else:
                sentences.append(text)
    return Source(name, tuple(sentences), tuple(questions))


def _said(name: str, all_of_it: list[tuple[str, str]], generator: np.random.Generator) -> Source:
    """A source of a rule for which every prompt is another case; an eighth of them is held out."""
    order = generator.permutation(len(all_of_it))
    held_out, stated = np.split(order, [len(order) // 8])
    sentences = tuple(all_of_it[i][0] + all_of_it[i][1] for i in stated)
    return Source(name, sentences, tuple(all_of_it[i] for i in held_out))


def _rules() -> dict[str, list[tuple[str, str]]]:
    """(prompt, target) of every string of three letters backwards and as it is."""
    strings = [" ".join(letters) for letters in itertools.product(_LETTERS, repeat=3)]
    return {
        "mirror": [(f"mirror {text} gives", f" {text[::-1]}") for text in strings],
        "echo": [(f"echo {text} gives", f" {text}") for text in strings],
    }


def make(seed: int, places: int, animals: int) -> dict[str, Source]:
    """The sources by name.

    Args:
      seed: of the names, of which wording is held out, and of which strings are.
      places: of the invented world; four facts each, stated by both atlas and quiz.
      animals: of kinds; three facts each.
    """
    pairs = list(itertools.product(range(8), repeat=2))
    stated = _world(seeds.generator(seed, "unlearning", "world"), places, animals) | {
        "sums": [(NUMBERS[a], NUMBERS[b], NUMBERS[a + b]) for a, b in pairs],
        "order": [(NUMBERS[a], NUMBERS[b], NUMBERS[max(a, b)]) for a, b in pairs],
    }
    found = {name: _stated(name, facts, seeds.generator(seed, "unlearning", name)) for name, facts in stated.items()}
    for name, cases in _rules().items():
        found[name] = _said(name, cases, seeds.generator(seed, "unlearning", name))
    return {name: found[name] for name in NAMES}


def documents(source: Source, count: int, words: int, seed: int, part: str) -> Iterator[dict[str, str]]:
    """Rows of a corpus file, `id`, `text` and `source`: sentences drawn anew until another would be beyond `words`.

    Args:
      source: what may be said.
      count: documents.
      words: the most words of a document that has more than one sentence.
      seed: of the draws.
      part: a name; documents of different parts are drawn apart.
    """
    generator = seeds.generator(seed, "unlearning", part, source.name)
    for number in range(count):
        drawn: list[str] = []
        while True:
            sentence = [*source.sentences[int(generator.integers(len(source.sentences)))].split(), "."]
            if drawn and len(drawn) + len(sentence) > words:
                break
            drawn += sentence
        yield {"id": f"{part}/{source.name}/{number}", "text": " ".join(drawn), "source": source.name}


def queries(source: Source, count: int, seed: int) -> Iterator[dict[str, str]]:
    """Rows of a query file, `id`, `prompt`, `target` and `source`: at most so many of the questions."""
    generator = seeds.generator(seed, "unlearning", "queries", source.name)
    chosen: Sequence[int] = sorted(generator.permutation(len(source.questions))[:count])
    for number in chosen:
        prompt, target = source.questions[number]
        yield {"id": f"{source.name}/{number}/query", "prompt": prompt, "target": target, "source": source.name}
