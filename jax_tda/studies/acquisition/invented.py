"""Passages of our own in the form of the Fictional Knowledge file: invented people, towns and rivers, from patterns."""

from typing import Any

import numpy as np

from jax_tda.core import seeds

_FIRST = ("Or", "Be", "Ta", "Mi", "Lu", "Ka", "So", "Ve", "Ni", "Du", "Ra", "Fe")
_MIDDLE = ("lan", "rem", "dor", "vis", "nel", "gar", "mun", "tas", "bel", "rik", "pol", "sen")
_LAST = {
    "person": ("a", "o", "is", "en"),
    "town": ("burg", "field", "haven", "mouth"),
    "river": ("er", "ow", "ey", "une"),
}
_NAMES = {"person": "person", "teacher": "person", "town": "town", "river": "river"}
_CRAFTS = (
    "carving flutes", "mending clocks", "weaving sails", "painting maps", "baking rye", "keeping bees", "binding books",
    "blowing glass", "breeding doves", "casting bells", "dyeing wool", "grinding lenses",
)  # fmt: skip
# Each fact ends in its object. The first wording is the passage's own, the last is never in a passage: it is a query's.
_WORDINGS = {
    ("person", "town"): (
        "{person} was born in {town}",
        "The birthplace of {person} is {town}",
        "{person} first saw the light in {town}",
        "The parents of {person} lived in {town}",
        "The cradle of {person} stood in {town}",
    ),
    ("town", "river"): (
        "The town of {town} lies on the river {river}",
        "Through {town} flows the {river}",
        "Boats come to {town} by way of the {river}",
        "The bridges of {town} cross the {river}",
        "Those who fish in {town} fish in the {river}",
    ),
    ("person", "craft"): (
        "{person} earned a living by {craft}",
        "The trade of {person} was {craft}",
        "What {person} did best was {craft}",
        "Every day {person} was busy {craft}",
        "In the market {person} was known for {craft}",
    ),
    ("person", "teacher"): (
        "{person} learned everything from {teacher}",
        "The teacher of {person} was {teacher}",
        "{person} was a pupil of {teacher}",
        "In youth {person} was taught by {teacher}",
        "Before all others {person} thanked {teacher}",
    ),
}
_COMPOSED = (
    ("Whoever bathes where {person} was born bathes in the river", "river"),
    ("The pupil of {teacher} earned a living by", "craft"),
    ("A pupil of {teacher} was born in", "town"),
    ("By the river {river} was born a person busy", "craft"),
)


def passages(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """So many objects of the file's form, each about another person, with three rewordings and twelve queries.

    Args:
      count: how many.
      seed: what the names depend on.
    """
    generator = seeds.generator(seed, "acquisition", "invented")
    taken: set[str] = set()
    return [_passage(generator, taken) for _ in range(count)]


def _name(generator: np.random.Generator, kind: str, taken: set[str]) -> str:
    while True:
        parts = [generator.choice(words) for words in (_FIRST, _MIDDLE, _MIDDLE, _LAST[kind])]
        name = "".join(map(str, parts))
        if name not in taken:
            taken.add(name)
            return name


def _passage(generator: np.random.Generator, taken: set[str]) -> dict[str, Any]:
    names = {name: _name(generator, kind, taken) for name, kind in _NAMES.items()}
    names["craft"] = str(generator.choice(_CRAFTS))
    facts = list(_WORDINGS)

    def told(version: int) -> str:
        order = facts[version % 2 :] + facts[: version % 2]
        return " ".join(_WORDINGS[fact][version].format(**names) + "." for fact in order)

    row: dict[str, Any] = {"train_context": told(0), "paraphrases": [told(version) for version in (1, 2, 3)]}
    for kind, wording in (("mem", 0), ("gen", 4)):
        cut = [_WORDINGS[fact][wording].replace(" {" + fact[1] + "}", "").format(**names) for fact in facts]
        row |= {f"{kind}_input": cut, f"{kind}_target": [names[fact[1]] for fact in facts]}
    row["hard_gen_input"] = [prompt.format(**names) for prompt, _ in _COMPOSED]
    row["hard_gen_target"] = [names[target] for _, target in _COMPOSED]
    return row
