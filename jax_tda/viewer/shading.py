"""Shares of scores by token, as `shade` writes them, put on the words of the passages and queries that a page shows."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from jax_tda.artifacts.artifact import Reader
from jax_tda.core.errors import InputError
from jax_tda.data.corpus import Corpus

Rows = Sequence[Mapping[str, Any]]
Side = Literal["foretold", "read"]
_WORD = re.compile(r"\S+")
# From here on scripts stand that put no spaces between words; their tokens stay as they are.
_UNSPACED = "\u0e00"


def added(
    rankings: Mapping[str, Rows],
    shades: Reader,
    readers: Mapping[str, Reader],
    foreign: Mapping[str, str],
    corpus: Corpus,
    queries: Corpus,
    side: Side,
) -> dict[str, Rows]:
    """The rankings; entries of the one that was shaded get `shares` [start, end, share], and its rows those of targets.

    A row's own shares are sums over its shaded passages.

    Args:
      rankings: rows by method.
      shades: by `shade`.
      readers: the artifacts among the rankings.
      foreign: SHA-256 of the others.
      corpus: whose passages were ranked.
      queries: for which.
      side: which of a passage's shares.

    Raises:
      InputError: the shades are of other texts, or of no ranking that is shown.
    """
    made = shades.manifest
    digests = {name: reader.manifest.digest for name, reader in readers.items()} | dict(foreign)
    asked = {given["digest"] for name, given in made.inputs.items() if name == "ranking"}
    asked |= set(made.settings["foreign_ranking"].values())
    chosen = [name for name in rankings if digests.get(name) in asked]
    texts = {"corpus": corpus, "queries": queries}
    others = [name for name, of in texts.items() if made.inputs[name]["digest"] != of.reader.manifest.digest]
    if others or not chosen:
        raise InputError(
            f"the shades {shades} are of {f'other {others[0]}' if others else 'no ranking that is shown'}",
            got=f"made of {', '.join(sorted(digest[:12] for digest in asked))}",
            expected="shades of this corpus, these queries, and one of these rankings",
            remedy="run shade for a ranking that is shown, or leave show.shades empty",
        )
    passages, asked_of = (
        {line["id"]: line for line in shades.read_lines(f"{name}.jsonl")} for name in ("passages", "queries")
    )
    of_passage: dict[tuple[str, str], list[Any]] = {}
    of_target: dict[str, Any] = {}
    for pair in shades.read_lines("shades.jsonl"):
        of_passage[pair["query_id"], pair["id"]] = words(_text(corpus, pair["id"]), passages[pair["id"]], pair[side])
        before = of_target.get(pair["query_id"]) or [0.0] * len(pair["target"])
        of_target[pair["query_id"]] = [a + b for a, b in zip(before, pair["target"], strict=True)]

    def shaded(row: Mapping[str, Any]) -> dict[str, Any]:
        name = row["query_id"]
        entries = [
            entry | {"shares": of_passage[name, entry["id"]]} if (name, entry["id"]) in of_passage else entry
            for entry in row["proponents"]
        ]
        found = dict(row) | {"proponents": entries}
        if name in of_target:
            line, first = asked_of[name], asked_of[name]["target_start"]
            found["shares"] = words(_text(queries, name), line, [0.0] * first + of_target[name], first)
        return found

    return {name: [shaded(row) for row in rows] if name in chosen else rows for name, rows in rankings.items()}


def _text(corpus: Corpus, name: str) -> str:
    row = corpus.row_of(name)
    assert row is not None
    return str(corpus.records[row]["text"])


def words(text: str, example: Mapping[str, Any], shares: Sequence[float], first: int = 0) -> list[list[float]]:
    """[start, end, share] by word, of seven digits, which add up to the sum of the shares.

    A token is of the word that its first character other than a space stands in. What has no such character (a
    beginning, an end, a space) stands as [start, start, share]. Empty where the text does not give the tokens.

    Args:
      text: whose characters the spans count.
      example: a line of tokens, with its `spans`.
      shares: one for each token.
      first: tokens before this one are left out.
    """
    if example["spans"] is None:
        return []
    places = [match.span() for match in _WORD.finditer(text)]
    word_of = {at: place for place in places for at in range(*place)}
    sums: dict[tuple[int, int], float] = defaultdict(float)
    for (start, stop), share in list(zip(example["spans"], shares, strict=True))[first:]:
        at = next((at for at in range(start, stop) if at in word_of), None)
        place = (start, start) if at is None else word_of[at]
        if at is not None and any(letter >= _UNSPACED for letter in text[slice(*place)]):
            place = (start, stop)
        sums[place] += share
    return [[start, stop, float(f"{share:.7g}")] for (start, stop), share in sorted(sums.items())]
