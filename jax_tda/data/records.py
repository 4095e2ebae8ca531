"""What a corpus and a set of queries are made of, and which records are refused."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

from jax_tda.core.errors import InputError

Kind = Literal["passages", "queries"]
OnBadRecord = Literal["refuse", "skip"]


@dataclasses.dataclass(frozen=True, slots=True)
class Passage:
    """A text of the training corpus.

    Attributes:
      id: stable name, unique in the corpus.
      text: what the model reads.
      fields: every further JSON field, carried to the page.
      tokens: ids that a seqio Task made of the text; None when the text is still to be encoded.
      where: file and line, or Task and index, for messages.
    """

    id: str
    text: str
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    tokens: tuple[int, ...] | None = None
    where: str = dataclasses.field(default="", compare=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Query:
    """A prompt and the target that continues it, character for character.

    Attributes:
      id: stable name, unique among the queries.
      prompt: what is given.
      target: what follows, its leading space included; the only part whose loss counts.
      gold: ids of the passages that are right proponents.
      weak: ids of passages that might be; None where the data do not say.
      fields: every further JSON field, carried to the page.
      tokens: ids that a seqio Task made of prompt and target; None when they are still to be encoded.
      where: file and line, or Task and index, for messages.
    """

    id: str
    prompt: str
    target: str
    gold: tuple[str, ...] = ()
    weak: tuple[str, ...] | None = None
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    tokens: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    where: str = dataclasses.field(default="", compare=False)

    @property
    def text(self) -> str:
        """Prompt and target as the model reads them."""
        return self.prompt + self.target


Record = Passage | Query


class Rejected(InputError):  # noqa: N818 - what it is, not only that it is wrong; it is also counted.
    """One record that cannot be used; `reason` is what is counted where such records are skipped.

    Args:
      where: file and line, or Task and index.
      reason: what is wrong, in words that do not name the record.
      got: what was found.
      expected: what would have been right.
    """

    def __init__(self, where: str, reason: str, *, got: object, expected: object):
        self.where, self.reason = where, reason
        remedy = (
            "mend the record, or leave such records out and have them counted: "
            "`tokenize.on_bad_record = 'skip'`, `train_vocabulary.on_bad_record = 'skip'`"
        )
        super().__init__(f"{where}: {reason}", got=got, expected=expected, remedy=remedy)


def _brief(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else shown[:77] + "..."


def _string(row: Mapping[str, Any], name: str, where: str) -> str:
    if name not in row:
        raise Rejected(where, f"missing field {name!r}", got=f"fields {_brief(sorted(row))}", expected=f"{name!r}: str")
    value = row[name]
    if not isinstance(value, str):
        raise Rejected(where, f"ill-typed field {name!r}", got=_brief(value), expected="a string")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        # JSON can spell half of a surrogate pair, which is no character and in no UTF-8 file.
        raise Rejected(
            where, "invalid UTF-8", got=_brief(value), expected="whole characters in " + repr(name)
        ) from None
    return value


def _ids(row: Mapping[str, Any], name: str, where: str) -> tuple[str, ...] | None:
    value = row.get(name)
    if value is None:
        return None
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise Rejected(where, f"ill-typed field {name!r}", got=_brief(value), expected="a list of passage ids")
    return tuple(dict.fromkeys(value))


def parse(row: object, kind: Kind, where: str) -> Record:
    """The record in a row of fields.

    Args:
      row: a mapping with `id` and `text` (passages), or `id`, `prompt`, `target` and perhaps `gold`, `weak` (queries).
      kind: "passages" or "queries".
      where: how an error names the row.

    Raises:
      Rejected: if a field is missing, ill-typed or empty.
    """
    if not isinstance(row, Mapping):
        raise Rejected(where, "not an object", got=_brief(row), expected='an object: {"id": …, …}')
    own = ("id", "text") if kind == "passages" else ("id", "prompt", "target", "gold", "weak")
    fields = {name: value for name, value in row.items() if name not in own}
    identifier = _string(row, "id", where)
    if not identifier:
        raise Rejected(where, "empty id", got="''", expected="a name for the record")
    if kind == "passages":
        text = _string(row, "text", where)
        if not text.strip():
            raise Rejected(where, "empty text", got=f"{_brief(text)} (id {identifier!r})", expected="some text")
        return Passage(identifier, text, fields, where=where)
    prompt, target = _string(row, "prompt", where), _string(row, "target", where)
    if not target:
        raise Rejected(where, "empty target", got=f"'' (id {identifier!r})", expected="some text")
    gold, weak = _ids(row, "gold", where) or (), _ids(row, "weak", where)
    return Query(identifier, prompt, target, gold, weak, fields, where=where)


def tell(job: str, rejected: Counter[str]) -> None:
    """Says on screen how many records were left out, by reason."""
    if rejected:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in rejected.most_common())
        print(f"{job}: {sum(rejected.values()):,} records left out: {reasons}")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuses an option's value that is none of its choices."""
    if value not in choices:
        raise InputError(
            f"no such choice for {name}", got=repr(value), expected=" or ".join(map(repr, choices)), remedy="choose one"
        )


def demand_text(record: Record, job: str) -> Record:
    """The record; token ids alone are refused where text is needed.

    Raises:
      InputError: the record has none.
    """
    if record.tokens is not None and not record.text:
        raise InputError(
            f"{record.where}: {job} needs text",
            got=f"token ids alone (id {record.id!r})",
            expected="a source with a column of text",
            remedy="name it as `fields = ('text=COLUMN',)`, or give a source of text; ids need the vocabulary that "
            "made them",
        )
    return record


def admit(
    source: str, rows: Iterable[tuple[str, Callable[[], Record]]], on_bad_record: str, rejected: Counter[str]
) -> Iterator[Record]:
    """Yields the records that can be read, each id once.

    Args:
      source: how an error names the file or Task.
      rows: for each row, how an error names it and what reads it.
      on_bad_record: "refuse" raises at the first bad record; "skip" leaves it out.
      rejected: receives the number of records left out by reason.

    Raises:
      InputError: at a bad record that may not be skipped, and where no record is left at all.
    """
    check_choice("on_bad_record", on_bad_record, ("refuse", "skip"))
    seen: dict[str, str] = {}
    for where, read in rows:
        try:
            record = read()
            if record.id in seen:
                first = f"{record.id!r}, first at {seen[record.id]}"
                raise Rejected(where, "duplicate id", got=first, expected="an id of its own for every record")
        except Rejected as problem:
            if on_bad_record == "refuse":
                raise
            rejected[problem.reason] += 1
            continue
        seen[record.id] = where
        yield record
    if not seen:
        raise nothing_usable(source, rejected)


def nothing_usable(source: str, rejected: Counter[str]) -> InputError:
    """What is said of a source of which no record is left."""
    return InputError(
        f"{source} holds no usable record",
        got=f"left out: {dict(rejected)}" if rejected else "nothing",
        expected="at least one record",
        remedy="give another source, or mend its records",
    )
