"""What each member of a bank is trained without: drawn by named seeds, checked before anything is trained."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jax_tda.core.errors import InputError
from jax_tda.core.seeds import generator
from jax_tda.data.corpus import Corpus

# Everything; a random half kept; a random share left out; a query's first documents left out, or as many drawn blindly;
# one document left out; everything under another seed; a subset of another member under another seed.
KINDS = ("full", "half", "drop", "remove", "control", "loo", "repeat", "reseeded")


@dataclasses.dataclass(frozen=True, eq=False)
class Member:
    """One training run of a bank.

    Args:
      kind: of `KINDS`.
      seed: of its initial parameters and the order of its batches.
      left_out: int64, the numbers of the documents that it is trained without, ascending.
      told: what else there is to say: of `remove` the method, the query and k, of `control` k, of `reseeded` the member
        whose subset it has.
    """

    kind: str
    seed: int
    left_out: np.ndarray
    told: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def described(self) -> dict[str, Any]:
        """The line that stands in the bank."""
        return {"kind": self.kind, "seed": self.seed, "documents_left_out": len(self.left_out), **self.told}


class Documents:
    """The documents of a corpus by number, in the order of the corpus.

    Args:
      corpus: the tokenized corpus, whose rows are documents or pieces of them.
    """

    def __init__(self, corpus: Corpus):
        numbers: dict[str, int] = {}
        self.of_row = np.array([numbers.setdefault(name, len(numbers)) for name in corpus.documents], np.int64)
        self.numbers, self.names = numbers, list(numbers)
        self._corpus = corpus

    def __len__(self) -> int:
        return len(self.names)

    def number_of(self, name: str) -> int | None:
        """The number of the document that an id means, be it a piece's."""
        document = self._corpus.document_of(name)
        return None if document is None else self.numbers[document]

    def first(self, ids: Sequence[str], k: int) -> list[int]:
        """The numbers of the first k documents that a list of ids names, each once; fewer where it names fewer."""
        found: dict[int, None] = {}
        for name in ids:
            number = self.number_of(name)
            if number is not None:
                found.setdefault(number)
            if len(found) == k:
                break
        return list(found)


def halves(count: int, documents: int, seed: int) -> Iterator[np.ndarray]:
    """What `count` random halves leave out: all but ⌊n / 2⌋ of n documents."""
    for number in range(count):
        order = generator(seed, "bank", "half", number).permutation(documents)
        yield np.sort(order[documents // 2 :])


def drops(count: int, share: float, documents: int, seed: int) -> Iterator[np.ndarray]:
    """What `count` members leave out: a random share of the documents, rounded."""
    size = round(share * documents)
    for number in range(count):
        yield np.sort(generator(seed, "bank", "drop", number).choice(documents, size, replace=False))


def singles(count: int, documents: int, seed: int) -> np.ndarray:
    """The documents that are left out alone: all where `count` is not less, else a random sample, ascending."""
    if count >= documents:
        return np.arange(documents)
    return np.sort(generator(seed, "bank", "loo").choice(documents, count, replace=False))


def controls(count: int, k: int, documents: int, seed: int) -> Iterator[np.ndarray]:
    """k documents drawn blindly, `count` times."""
    for number in range(count):
        yield np.sort(generator(seed, "bank", "control", k, number).choice(documents, k, replace=False))


def sampled_queries(query_ids: Sequence[str], count: int, seed: int) -> list[str]:
    """Some queries in their own order, drawn by the seed; all where there are no more than `count`."""
    if count >= len(query_ids):
        return list(query_ids)
    chosen = generator(seed, "bank", "queries").choice(len(query_ids), count, replace=False)
    return [query_ids[row] for row in sorted(chosen)]


def removals(
    documents: Documents,
    rankings: Mapping[str, Sequence[Mapping[str, Any]]],
    queries: Sequence[str],
    firsts: Sequence[int],
    seed: int,
) -> Iterator[Member]:
    """For every ranking, query and k one member without the ranking's first k documents for that query.

    Raises:
      InputError: a ranking has no line for a query, or names fewer documents than k.
    """
    for method, rows in rankings.items():
        by_query = {row["query_id"]: row for row in rows}
        for query in queries:
            row = by_query.get(query)
            if row is None:
                raise InputError(
                    f"the ranking {method} says nothing of the query {query!r}",
                    got=f"lines for {len(by_query)} queries",
                    expected="a line for every query of the bank",
                    remedy="rank for these queries, or set bank.remove = 0",
                )
            found = documents.first([entry["id"] for entry in row["proponents"]], max(firsts))
            for k in firsts:
                if len(found) < k:
                    raise InputError(
                        f"the ranking {method} names too few documents for the query {query!r}",
                        got=f"{len(found)} documents of this corpus among its proponents",
                        expected=f"at least {k}, the greatest of bank.remove_first up to there",
                        remedy="rank with a larger top_k, lower bank.remove_first, or choose others with bank.methods",
                    )
                told = {"method": method, "query_id": query, "k": k}
                yield Member("remove", seed, np.sort(np.array(found[:k])), told)


def check(members: Sequence[Member], documents: Documents, corpus: Corpus) -> None:
    """Refuses a bank that no member can be learned from.

    Raises:
      InputError: a member leaves nothing to train on, or leaves out nothing although it should.
    """
    lengths = corpus.spans[:, 0] - np.maximum(corpus.spans[:, 1], 1)
    weight = np.bincount(documents.of_row, np.maximum(lengths, 0), len(documents))
    total = weight.sum()
    for number, member in enumerate(members):
        name = f"member {number} of the bank ({member.kind})"
        if total - weight[member.left_out].sum() <= 0:
            raise InputError(
                f"{name} leaves nothing to train on",
                got=f"{len(member.left_out)} of {len(documents)} documents left out",
                expected="at least one document whose loss counts",
                remedy="leave out less (bank.drop_share, bank.remove_first), or take a larger corpus",
            )
        if member.kind not in ("full", "repeat", "reseeded") and not len(member.left_out):
            raise InputError(
                f"{name} leaves out nothing",
                got=f"0 of {len(documents)} documents",
                expected="at least one document",
                remedy="raise bank.drop_share, or take a larger corpus",
            )


def packed(members: Sequence[Member], documents: int) -> np.ndarray:
    """int8 [members, ⌈documents / 8⌉]: a bit for each document, the highest of a byte first, 1 where it was kept."""
    kept = np.ones((len(members), documents), bool)
    for row, member in zip(kept, members, strict=True):
        row[member.left_out] = False
    return np.packbits(kept, axis=1).view(np.int8)


def unpacked(bits: np.ndarray, documents: int) -> np.ndarray:
    """bool [members, documents] of what `packed` made."""
    return np.unpackbits(np.asarray(bits).view(np.uint8), axis=1, count=documents).astype(bool)
