"""The texts of one seed: a corpus of uneven coverage, queries about every fact, and tuning data with leaked copies."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

from jax_tda.core import seeds
from jax_tda.core.errors import InputError
from jax_tda.data.facts import factbook, world_facts
from jax_tda.data.facts.world_facts import Fact
from jax_tda.studies.density import text_space

KINDS = ("verbatim", "reworded")
# A fact has five wordings, of which its query takes one.
_OTHERS = 4


@dataclasses.dataclass(frozen=True)
class World:
    """Rows as `tokenize` reads them.

    Attributes:
      passages: the corpus that is trained on from scratch.
      queries: one for each fact, in a wording that no passage uses for it. Further fields: `sentence`, `wordings` (how
        many of its passages are in the corpus), and for the facts of a pair `pair`, `role` (leaked or control), `kind`
        and `copies`.
      tuning: a sample of the corpus, and the copies that leak.
    """

    passages: list[dict[str, Any]]
    queries: list[dict[str, Any]]
    tuning: list[dict[str, Any]]


def build(seed: int, facts: int, prose: int, pairs: int, copies: Sequence[int], background: int) -> World:
    """Draws the world.

    Every fact keeps one to four of its passages, by lot, so that density varies for no other reason. But `pairs` pairs
    of facts for each kind and number of copies, two of one relation each, keep none. Of each pair one is leaked into
    the tuning data, again by lot: its query's own sentence m times, or m other wordings of it. The other is its
    control.

    Args:
      seed: of every draw.
      facts: how many, drawn at random; 0 takes all.
      prose: sentences of the factbook in the corpus.
      pairs: for each kind and number of copies.
      copies: m, of each cell; at most 4, which are the other wordings that there are.
      background: passages of the corpus that are in the tuning data too.

    Raises:
      InputError: more copies than wordings, or fewer facts than the pairs need.
    """
    if not copies or not all(0 < m <= _OTHERS for m in copies) or len(set(copies)) != len(copies):
        raise InputError(
            "these numbers of copies cannot be leaked",
            got=tuple(copies),
            expected=f"different numbers from 1 to {_OTHERS}; controls, which have none, are always there",
            remedy="set study_density.copies",
        )
    found, texts = _facts(seed, facts), _sentences(prose, seed)
    cells = [(kind, m) for kind in KINDS for m in copies]
    chosen = _pairs(found, pairs * len(cells), seed)
    roles: dict[str, dict[str, Any]] = {}
    for number, pair in enumerate(chosen):
        kind, m = cells[number % len(cells)]
        for role, fact in zip(("leaked", "control"), pair, strict=True):
            roles[fact.id] = {"pair": number, "role": role, "kind": kind, "copies": m}
    passages, kept = list(texts), dict[str, list[dict[str, Any]]]()
    for fact in found:
        random = seeds.generator(seed, "density", "coverage", fact.id)
        count = 0 if fact.id in roles else int(random.integers(1, _OTHERS + 1))
        wordings = sorted(random.choice(_others(fact), count, replace=False).tolist())
        kept[fact.id] = [_row(f"{fact.id}/{wording}", fact.sentence(wording), fact) for wording in wordings]
        passages += kept[fact.id]
    order = seeds.generator(seed, "density", "order").permutation(len(passages))
    passages = [passages[i] for i in order]
    queries = [_query(fact, kept[fact.id], roles.get(fact.id, {})) for fact in found]
    text_space.refuse_own([row["sentence"] for row in queries], [row["text"] for row in passages])
    tuning = [row | {"id": f"background/{row['id']}"} for row in _sample(passages, background, seed)]
    for fact in found:
        tuning += _copies(fact, roles.get(fact.id, {}), seed)
    return World(passages, queries, tuning)


def _facts(seed: int, count: int) -> list[Fact]:
    """Facts whose query sentence no other fact states: two countries of one name and domain would leak each other."""
    everything = world_facts.facts(seed)
    if 0 < count < len(everything):
        order = seeds.generator(seed, "density", "facts").permutation(len(everything))[:count]
        everything = [everything[i] for i in sorted(order)]
    stated: dict[str, str] = {}
    for fact in everything:
        for wording in range(_OTHERS + 1):
            stated.setdefault(text_space.plain(fact.sentence(wording)), fact.id)
    return [f for f in everything if all(stated[text_space.plain(f.sentence(w))] == f.id for w in range(_OTHERS + 1))]


@functools.lru_cache(maxsize=4)
def _sentences(count: int, seed: int) -> tuple[dict[str, Any], ...]:
    return tuple({"id": f"factbook/{s.key}", "text": s.text} for s in factbook.sentences(count, seed)) if count else ()


def _pairs(found: Sequence[Fact], wanted: int, seed: int) -> list[tuple[Fact, Fact]]:
    random = seeds.generator(seed, "density", "pairs")
    by_relation: dict[str, list[Fact]] = {}
    for i in random.permutation(len(found)):
        by_relation.setdefault(found[i].relation, []).append(found[i])
    pairs = [pair for facts in by_relation.values() for pair in zip(facts[::2], facts[1::2], strict=False)]
    if wanted < 1 or wanted > len(pairs) - 1:
        raise InputError(
            "there are not as many facts as the pairs of the leakage experiment need",
            got=f"{len(found)} facts, which make {len(pairs)} pairs of one relation",
            expected=f"more than {wanted} pairs (study_density.pairs for each kind and number of copies), at least 1",
            remedy="lower study_density.pairs, or raise study_density.facts",
        )
    return [pairs[i] for i in random.permutation(len(pairs))[:wanted]]


def _copies(fact: Fact, role: dict[str, Any], seed: int) -> list[dict[str, Any]]:
    if role.get("role") != "leaked":
        return []
    wordings = [fact.held_out] * role["copies"]
    if role["kind"] == "reworded":
        random = seeds.generator(seed, "density", "reworded", fact.id)
        wordings = sorted(random.choice(_others(fact), role["copies"], replace=False).tolist())
    return [
        _row(f"{role['kind']}/{number}/{fact.id}", fact.sentence(wording), fact)
        for number, wording in enumerate(wordings)
    ]


def _sample(passages: Sequence[dict[str, Any]], count: int, seed: int) -> list[dict[str, Any]]:
    order = seeds.generator(seed, "density", "background").permutation(len(passages))[:count]
    return [passages[i] for i in sorted(order)]


def _others(fact: Fact) -> list[int]:
    return [wording for wording in range(_OTHERS + 1) if wording != fact.held_out]


def _row(name: str, text: str, fact: Fact) -> dict[str, Any]:
    return {"id": name, "text": text, "fact_id": fact.id, "relation": fact.relation, "subject": fact.subject}


def _query(fact: Fact, stated: Sequence[dict[str, Any]], role: dict[str, Any]) -> dict[str, Any]:
    described = {"fact_id": fact.id, "relation": fact.relation, "subject": fact.subject, "object": fact.object}
    return {
        "id": f"{fact.id}/query",
        "prompt": fact.prompt(fact.held_out),
        "target": fact.target,
        "gold": [row["id"] for row in stated],
        **described,
        "sentence": fact.sentence(fact.held_out),
        "wordings": len(stated),
        **role,
    }
