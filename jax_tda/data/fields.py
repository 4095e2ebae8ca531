"""Which column of a source holds which part of a record, and what becomes of the others."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

from jax_tda.core.bounds import Items, Text
from jax_tda.core.errors import InputError
from jax_tda.data import records
from jax_tda.data.rows import Reading

FieldMap = Annotated[tuple[Annotated[str, Text(r"\w*=.+", "OURS=COLUMN or =COLUMN")], ...], Items()]

_OWN: dict[records.Kind, tuple[str, ...]] = {
    "passages": ("id", "text", "tokens"),
    "queries": ("id", "prompt", "target", "gold", "weak", "prompt_tokens", "target_tokens"),
}
_MASK = "attention_mask"


@dataclasses.dataclass(frozen=True)
class Fields:
    """What the settings `fields` say, for one kind of record.

    Attributes:
      kind: `passages` or `queries`.
      columns: of each part of a record the column that holds it, where that is called otherwise.
      left_out: columns that are not read.
      alone: whether no column is read but those that make the record.
    """

    kind: records.Kind
    columns: Mapping[str, str]
    left_out: frozenset[str]
    alone: bool

    def wanted(self, column: str) -> bool:
        """Whether a column is used."""
        own = {self.columns.get(name, name) for name in _OWN[self.kind]}
        return column not in self.left_out and (not self.alone or column in own or column == _MASK)

    @property
    def of_tokens(self) -> bool:
        """Whether records come as token ids."""
        return bool({"tokens", "target_tokens"} & self.columns.keys())

    def record(self, read: Reading, name: str | None, typed: bool, where: str) -> records.Record:
        """The record in a row.

        Args:
          read: gives the row's columns.
          name: the id that it gets, where the source has none.
          typed: whether columns have types: an id may be a whole number, one value stand for a list of one.
          where: how an error names the row.

        Raises:
          Rejected: the row holds no such record.
        """
        row = self._renamed({key: value for key, value in read(where).items() if self.wanted(key)}, where)
        if name is not None and "id" in row:
            got, expected = repr(row["id"])[:80], "none, as the first record of the source has none, or one in each"
            raise records.Rejected(where, "an id where others have none", got=got, expected=expected)
        identifier = row.get("id") if name is None else name
        if typed and isinstance(identifier, int) and not isinstance(identifier, bool):
            identifier = str(identifier)
        if identifier is not None:
            row["id"] = identifier
        for several in ("gold", "weak"):
            if typed and isinstance(row.get(several), str | int) and self.kind == "queries":
                row[several] = [row[several]]
        return self._of_tokens(row, where) if self.of_tokens else records.parse(row, self.kind, where)

    def _renamed(self, row: dict[str, Any], where: str) -> dict[str, Any]:
        taken = {}
        for ours, column in self.columns.items():
            if column in row:
                taken[ours] = row.pop(column)
            elif ours in ("id", "text", "prompt", "target", "tokens", "target_tokens"):
                got = f"columns {', '.join(sorted(row)[:20])}"
                expected = f"{column!r} for {ours!r}, as the setting `fields` says"
                raise records.Rejected(where, f"missing column {column!r}", got=got, expected=expected)
        return row | taken

    def _of_tokens(self, row: dict[str, Any], where: str) -> records.Record:
        mask = row.pop(_MASK, None)
        if self.kind == "passages":
            ids = _unpadded(_ids(row.pop("tokens"), "tokens", where), mask, where)
            if not ids:
                raise records.Rejected(where, "no token ids", got="an empty list", expected="at least one")
            given = row.get("text")
            text = given if isinstance(given, str) else ""
            parsed = records.parse(row | {"text": text if text.strip() else "-"}, "passages", where)
            assert isinstance(parsed, records.Passage)
            return dataclasses.replace(parsed, text=text, tokens=ids)
        prompt = _ids(row.pop("prompt_tokens", ()), "prompt_tokens", where)
        target = _ids(row.pop("target_tokens"), "target_tokens", where)
        if not target:
            raise records.Rejected(where, "target without tokens", got="an empty list", expected="at least one id")
        parsed = records.parse(row | {"prompt": "", "target": "-"}, "queries", where)
        assert isinstance(parsed, records.Query)
        return dataclasses.replace(parsed, target="", tokens=(prompt, target))


def _ids(value: Any, name: str, where: str) -> tuple[int, ...]:
    ids = tuple(value) if isinstance(value, list | tuple) else (value,)
    if not all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in ids):
        raise records.Rejected(where, f"ill-typed field {name!r}", got=repr(value)[:80], expected="token ids")
    return ids


def _unpadded(ids: tuple[int, ...], mask: Any, where: str) -> tuple[int, ...]:
    """Without what a mask of attention beside the ids says is padding behind them."""
    if mask is None:
        return ids
    shown = mask if isinstance(mask, list) else [mask]
    kept = sum(map(bool, shown))
    if len(shown) != len(ids) or not all(shown[:kept]):
        got = f"{len(shown)} entries for {len(ids)} ids, or zeros before the last one"
        raise records.Rejected(where, f"ill-typed {_MASK!r}", got=got, expected="ones, then zeros, one each")
    return ids[:kept]


def of(given: tuple[str, ...], kind: records.Kind, defaults: Mapping[str, str]) -> Fields:
    """What entries `OURS=COLUMN`, `=COLUMN` (left out), `=*` (all others left out) say; the other kind's mean nothing.

    Raises:
      InputError: an entry names no part of a record, or one twice.
    """
    columns, left_out, alone = dict[str, str](), set[str](), False
    known = [name for names in _OWN.values() for name in names]
    for entry in given:
        ours, _, column = entry.partition("=")
        if not ours:
            alone = alone or column == "*"
            left_out.add(column)
        elif ours not in known or ours in columns:
            raise InputError(
                f"the entry {entry!r} of the setting `fields` is not possible",
                got=f"{ours!r}" + (" twice" if ours in columns else ""),
                expected=f"one of {', '.join(dict.fromkeys(known))}, each once; nothing before = leaves a column out",
                remedy="mend the entry",
            )
        else:
            columns[ours] = column
    own = {ours: column for ours, column in {**defaults, **columns}.items() if ours in _OWN[kind]}
    return Fields(kind, own, frozenset(left_out), alone)
