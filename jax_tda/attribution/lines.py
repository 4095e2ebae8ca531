"""From both ends of each query's scores to the lines of a ranking."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jax_tda.artifacts import ranking
from jax_tda.artifacts.artifact import Reader
from jax_tda.artifacts.encodings import EncodingStore
from jax_tda.attribution.top_k import Ends
from jax_tda.core.errors import InputError


def answered_exactly(answers: Reader, query: EncodingStore) -> dict[str, bool]:
    """Which queries the model answers exactly.

    Raises:
      InputError: the answers are another checkpoint's, or a query has none.
    """
    exact = {row["query_id"]: row["answered_exactly"] for row in answers.read_lines("answers.jsonl")}
    made_with = answers.manifest.facts.get("checkpoint")
    # A sentence encoder's vectors are of no checkpoint.
    if made_with is not None and "embedding" not in query.facts and made_with != query.facts.get("checkpoint"):
        raise InputError(
            f"the answers {answers} are another checkpoint's than the encodings {query.reader}",
            got=f"checkpoint {made_with[:12]}",
            expected=f"checkpoint {str(query.facts.get('checkpoint'))[:12]}",
            remedy="run answer with the checkpoint that encoded",
        )
    missing = [name for name in query.ids if name not in exact]
    if missing:
        raise InputError(
            f"the answers {answers} are not those of the queries {query.reader}",
            got=f"no answer for {len(missing)} queries, such as {missing[0]!r}",
            expected="an answer for every query",
            remedy="run answer with these queries",
        )
    return exact


def of(
    parts: Iterable[Ends], queries: Sequence[str], ids: Sequence[str], exact: Mapping[str, bool], k: int
) -> Iterator[dict[str, Any]]:
    """The ranking's rows, at most k of each end, for parts of the queries in their order; `ids` by corpus position."""

    def entries(end: tuple[np.ndarray, np.ndarray], row: int) -> list[dict[str, Any]]:
        places, scores = end
        return [
            {"id": ids[place], "score": float(score)}
            for place, score in zip(places[row][:k], scores[row][:k], strict=True)
            if place >= 0
        ]

    names = iter(queries)
    for part in parts:
        for row in range(len(part.proponents[0])):
            name = next(names)
            yield ranking.row(name, exact[name], entries(part.proponents, row), entries(part.opponents, row))
