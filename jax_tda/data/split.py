"""One record to the pieces that fit the context."""

import dataclasses
import itertools

from jax_tda.core.errors import InputError
from jax_tda.data import records
from jax_tda.data.vocabulary import Vocabulary

_LONG = ("split", "truncate", "refuse")


@dataclasses.dataclass(frozen=True, slots=True)
class Piece:
    """An example as the model sees it.

    Attributes:
      id: the document's id, with `#0`, `#1`, … when it was split.
      document: the id of the record that this is a piece of.
      tokens: token ids, the vocabulary's beginning id first.
      loss_start: first position whose loss counts; it counts from there to the last token.
      text: the stretch of text that the tokens spell.
      left_out: tokens of the document that no piece holds; above 0 only where it was truncated.
    """

    id: str
    document: str
    tokens: tuple[int, ...]
    loss_start: int
    text: str
    left_out: int = 0


def _where(record: records.Record) -> str:
    kind = "query" if isinstance(record, records.Query) else "passage"
    return f"{record.where}: {kind} {record.id!r}" if record.where else f"{kind} {record.id!r}"


def _too_long(record: records.Record, tokens: int, context: int, remedy: str) -> InputError:
    return InputError(
        f"{_where(record)} is longer than the context",
        got=f"{tokens} tokens",
        expected=f"at most {context} tokens, beginning and end ids included",
        remedy=remedy,
    )


def _query(query: records.Query, vocabulary: Vocabulary, context: int) -> Piece:
    if query.tokens is not None:
        prompt, target = query.tokens
        prompt = prompt[1:] if prompt[:1] == (vocabulary.beginning_id,) else prompt
        ids, first = [*prompt, *target], len(prompt)
    else:
        ids, first = vocabulary.encode_query(query.prompt, query.target)
    if first >= len(ids):
        got = f"{query.target!r} after {query.prompt!r}"
        raise records.Rejected(_where(query), "target without tokens", got=got, expected="at least one token")
    tokens = (vocabulary.beginning_id, *ids)
    if len(tokens) > context:
        raise _too_long(query, len(tokens), context, "raise the context, or shorten the prompt")
    return Piece(query.id, query.id, tokens, 1 + first, query.text)


def spelt(record: records.Record, vocabulary: Vocabulary) -> records.Record:
    """A record of token ids alone with the text that its ids spell; any other as it is.

    Raises:
      Rejected: an id is none of the vocabulary's.
    """
    if record.tokens is None:
        return record
    parts = record.tokens if isinstance(record, records.Query) else (record.tokens,)
    largest = max((max(part, default=0) for part in parts), default=0)
    if largest >= vocabulary.size:
        expected = f"ids from 0 to {vocabulary.size - 1}, of the vocabulary that made them"
        raise records.Rejected(
            _where(record), "token id outside the vocabulary", got=f"id {largest}", expected=expected
        )
    if record.text:
        return record
    if isinstance(record, records.Query):
        prompt, target = record.tokens
        return dataclasses.replace(record, prompt=vocabulary.decode(prompt), target=vocabulary.decode(target))
    return dataclasses.replace(record, text=vocabulary.decode(record.tokens))


def doubt(record: records.Record) -> str:
    """Why a query may not mean what its author thinks; empty where nothing is odd. Such a query is used as it is."""
    if not isinstance(record, records.Query) or record.tokens is not None:
        return ""
    if not record.target.strip():
        return "target of spaces alone"
    if record.prompt[-1:].isspace():
        odd = "prompt ends in a space"
        return f"{odd} and target begins with one" if record.target[:1].isspace() else odd
    return ""


def _passage_tokens(passage: records.Passage, vocabulary: Vocabulary) -> tuple[list[int], list[int]]:
    """Ids between beginning and end, and where each starts in the text (no starts where a Task made the ids)."""
    if passage.tokens is None:
        ids, spans = vocabulary.encode_with_offsets(passage.text)
        starts = [start for start, _ in spans]
    else:
        ids, starts = list(passage.tokens), []
        # Many sources put the beginning id, and the end id, some twice, themselves; each must stand once.
        if ids[:1] == [vocabulary.beginning_id]:
            del ids[0]
        while ids and ids[-1] == vocabulary.end_id:
            ids.pop()
    if not ids:
        got = repr(passage.text[:60])
        raise records.Rejected(_where(passage), "text without tokens", got=got, expected="at least one token")
    return ids, starts


def _stretch(
    passage: records.Passage, vocabulary: Vocabulary, ids: list[int], starts: list[int], begin: int, end: int
) -> str:
    if not starts:
        return vocabulary.decode(ids[begin:end])
    # From the ends of the text at the outside, so that the stretches of all pieces always make up the whole text.
    first = starts[begin] if begin else 0
    last = starts[end] if end < len(ids) else len(passage.text)
    return passage.text[first:last]


def _passage(passage: records.Passage, vocabulary: Vocabulary, context: int, on_long: str) -> list[Piece]:
    ids, starts = _passage_tokens(passage, vocabulary)
    beginning, end = vocabulary.beginning_id, vocabulary.end_id
    if len(ids) + 2 <= context:
        return [Piece(passage.id, passage.id, (beginning, *ids, end), 1, passage.text)]
    if on_long == "refuse":
        raise _too_long(passage, len(ids) + 2, context, 'set on_long = "split" or "truncate", or raise the context')
    if on_long == "truncate":
        kept = ids[: context - 1]
        text = _stretch(passage, vocabulary, ids, starts, 0, len(kept))
        return [Piece(passage.id, passage.id, (beginning, *kept), 1, text, len(ids) - len(kept))]
    cuts = list(range(0, len(ids), context - 1))
    if len(ids) - cuts[-1] > context - 2:
        # The last stretch is full and has no room for the end id: its last token opens one more piece.
        cuts.append(len(ids) - 1)
    pieces = []
    for number, (start, stop) in enumerate(itertools.pairwise([*cuts, len(ids)])):
        tokens = (beginning, *ids[start:stop], *([end] if stop == len(ids) else []))
        text = _stretch(passage, vocabulary, ids, starts, start, stop)
        pieces.append(Piece(f"{passage.id}#{number}", passage.id, tokens, 1, text))
    return pieces


def pieces(record: records.Record, vocabulary: Vocabulary, context: int, on_long: str) -> list[Piece]:
    """The examples that one record becomes.

    A passage is [beginning, tokens, end]. One that is longer than the context is split into pieces that each start
    with the beginning id and of which only the last ends with the end id, or is truncated (then without the end id:
    the text did not end there), or refused. A query is [beginning, tokens of prompt + target] without an end id, its
    text encoded as ONE string; a token across the boundary belongs to the target.

    Args:
      record: a passage or a query.
      vocabulary: what encodes it, unless the record brings its ids.
      context: the longest example, in tokens; at least 3.
      on_long: "split", "truncate" or "refuse" for passages longer than the context. A longer query is always refused.

    Returns:
      One piece, or several when a passage was split.

    Raises:
      Rejected: if the text, or the query's target, has no tokens.
      InputError: if the record is longer than the context and may not be shortened.
    """
    records.check_choice("on_long", on_long, _LONG)
    if context < 3:
        raise InputError(
            "the context is too short", got=context, expected="at least 3 tokens", remedy="raise the context"
        )
    if isinstance(record, records.Query):
        return [_query(record, vocabulary, context)]
    return _passage(record, vocabulary, context, on_long)
