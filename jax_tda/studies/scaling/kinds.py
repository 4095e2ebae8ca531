"""What an influential passage is to a query, when it does not state the query's fact."""

import re
from collections.abc import Collection, Mapping
from typing import Any

from jax_tda.data.facts.world_facts import holds

# From the nearest to the farthest; a passage is of the first kind that fits.
KINDS = ("states", "both entities", "one entity", "same relation", "shared name", "other")
_NAME = re.compile(r"[^\W\d_]{4,}")


def kind_of(query: Mapping[str, Any], passage: Mapping[str, Any], gold: Collection[str]) -> str:
    """The kind of one passage for one query.

    `states`: it was made from the fact. `both entities`, `one entity`: it holds subject and object, or one of them, as
    whole words. `same relation`: it was made from another fact of the relation. `shared name`: it holds a word of four
    letters or more of subject or object, whatever its case. `other`: none of these. The kinds are the paper's, the
    rules that tell them are ours.

    Args:
      query: the query's fields `subject`, `object`, `relation`.
      passage: its record: `document`, `text`, `fields`.
      gold: documents that state the fact.
    """
    text = passage["text"]
    if passage["document"] in gold:
        return "states"
    held = sum(holds(text, query[name]) for name in ("subject", "object"))
    if held:
        return "both entities" if held == 2 else "one entity"
    if passage["fields"].get("relation") == query["relation"]:
        return "same relation"
    words = {word.casefold() for word in _NAME.findall(text)}
    names = {word.casefold() for name in ("subject", "object") for word in _NAME.findall(query[name])}
    return "shared name" if words & names else "other"
