"""What a method says of itself in the manifest of its ranking, for judges and pages that know no method by name."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Annotated, Any

from jax_tda.artifacts.artifact import Reader
from jax_tda.core.bounds import Bound, Items, Text
from jax_tda.core.declared import declared
from jax_tda.core.quantities import Name

Line = Annotated[str, Text(r"[^\0\n\r]{0,200}", "of one line, of at most 200 characters")]


@dataclasses.dataclass(frozen=True)
@declared("method")
class MethodWords:
    """How tables and pages show a method; no score depends on it.

    Args:
      label: its name in tables; empty for the name of the ranking. One that begins with spaces adds something to the
        method above it.
      about: one short sentence.
      place: where it stands among others: the smallest first, and by name where places are equal.
      compared_with: methods that its figures are compared with, on the same queries.
      score: what a score of it means, in one short sentence.
      unit: what its scores are measured in, such as nats; empty for a number without unit.
    """

    label: Line = ""
    about: Line = ""
    place: Annotated[int, Bound(0, 10**6)] = 500
    compared_with: Annotated[tuple[Name, ...], Items(0, 64, different=True)] = ()
    score: Line = ""
    unit: Line = ""


def of_rankings(names: Collection[str], readers: Mapping[str, Reader]) -> dict[str, MethodWords]:
    """The words of each ranking, in the order of tables; one without words is called by its name.

    Args:
      names: of the rankings.
      readers: the artifacts among them.

    Raises:
      InputError: a manifest says what no words can be.
    """
    facts = {name: readers[name].manifest.facts if name in readers else {} for name in names}
    return in_order({name: _read(said.get("words")) for name, said in facts.items()})


def in_order(words: Mapping[str, MethodWords]) -> dict[str, MethodWords]:
    """The same, in the order of tables."""
    return {name: words[name] for name in sorted(words, key=lambda name: (words[name].place, name))}


def as_facts(words: MethodWords) -> dict[str, Any]:
    """What a ranking's manifest says of its method; nothing where nothing was given."""
    return {} if words == MethodWords() else {"words": dataclasses.asdict(words)}


def of_report(report: Mapping[str, Any]) -> dict[str, MethodWords]:
    """The words that a report carries, in its order."""
    given = report.get("words", {})
    return in_order({name: _read(given.get(name)) for name in report["methods"]})


def _read(found: Mapping[str, Any] | None) -> MethodWords:
    return MethodWords(**found) if found else MethodWords()
