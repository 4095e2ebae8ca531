"""Whether a ranking, and the gold of queries, belong to a corpus: what is unknown is refused or counted."""

from collections.abc import Mapping, Sequence
from typing import Any

from jax_tda.artifacts import foreign_ranking, lineage
from jax_tda.artifacts.artifact import Reader
from jax_tda.core.errors import InputError
from jax_tda.data.corpus import Corpus


def check_rows(name: str, rows: Sequence[Mapping[str, Any]], corpus: Corpus, queries: Corpus) -> None:
    """Every query has its line, and every id of both ends is a piece or document of the corpus.

    Raises:
      InputError: naming the ranking, and the line where somebody else made it.
    """
    asked, given = set(queries.ids), {row["query_id"] for row in rows}
    known: dict[str, bool] = {}

    def is_known(passage: str) -> bool:
        if passage not in known:
            known[passage] = passage in corpus.ids or passage in corpus.documents
        return known[passage]

    unknown = {
        entry["id"]: row["query_id"]
        for row in rows
        for end in foreign_ranking.ENDS
        for entry in row.get(end, [])
        if not is_known(entry["id"])
    }
    for what, found in {
        "queries without a line": {query: "" for query in asked - given},
        "unknown queries": {query: query for query in given - asked},
        "unknown passages": unknown,
    }.items():
        if found:
            first = min(found)
            raise InputError(
                f"the ranking {name} does not belong to these queries and this corpus",
                got=f"{len(found)} {what}, such as {first!r}{foreign_ranking.place(rows, found[first])}",
                expected="a line for every query, and ids of this corpus",
                remedy="rank this corpus for these queries; a query without proponents has an empty list",
            )


def documents(corpus: Corpus, names: Sequence[str]) -> set[str]:
    """The documents that ids mean, a piece its document; an id that means none stands for itself."""
    return {corpus.document_of(name) or name for name in names}


def gold_counts(corpus: Corpus, queries: Corpus) -> dict[str, dict[str, int]]:
    """`gold_missing`: ids that mean no document; `gold_pieces`: those of pieces; how many, and of how many queries."""
    missing, pieces = [], []
    for record in queries.records:
        named = {name: corpus.document_of(name) for name in record["gold"]}
        missing.append(sum(document is None for document in named.values()))
        pieces.append(sum(document not in (None, name) for name, document in named.items()))
    return {
        name: {"ids": sum(counts), "queries": sum(count > 0 for count in counts)}
        for name, counts in (("gold_missing", missing), ("gold_pieces", pieces))
    }


def compare(
    readers: Mapping[str, Reader], foreign: Mapping[str, str], judged_with: Mapping[str, Reader]
) -> dict[str, str]:
    """Refuses rankings that were made of something else; says which could not be asked, and gives the reasons.

    Raises:
      InputError: a ranking was made with other texts, answers or another model.
    """
    if answers := judged_with.get("answers"):
        texts = {name: judged_with[name] for name in ("queries", "checkpoint") if name in judged_with}
        lineage.check_made_of(f"the artifact {answers}", answers, texts)
    reasons = dict.fromkeys(foreign, "it has no manifest")
    for name, reader in readers.items():
        if unknown := lineage.check_made_of(f"the ranking {name}", reader, judged_with):
            reasons[name] = f"its manifest does not tell its {', '.join(unknown)}"
    for name, reason in sorted(reasons.items()):
        print(f"whether the ranking {name} was made of these texts is not known: {reason}")
    return reasons
