"""The tables of docs/models.md: every entry of every family and architecture, made from the gate's own tables."""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from jax_tda.models.importers import family_fields, gguf_fields, rope
from jax_tda.models.importers.foreign_fields import ABSENT, Field

_PLACE = re.compile(r"(?<=<!-- fields -->\n).*?(?=<!-- /fields -->)", re.DOTALL)


def _cells(name: str, field: Field) -> str:
    default = repr(field.default) if field.default is ABSENT or not _plain(field.default) else json.dumps(field.default)
    return f"| `{name}` | {default} | {field.use} | {field.words} |"


def _plain(value: object) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))


def _table(fields: Mapping[str, Field]) -> Iterator[str]:
    """The entries that are read or must have a value, one a row, and those without an effect in one line."""
    rows = {name: field for name, field in fields.items() if not field.idle}
    if rows:
        yield "| entry | where it is missing | use | values |"
        yield "|---|---|---|---|"
        yield from (_cells(name, field) for name, field in rows.items())
        yield ""
    if idle := sorted(fields.keys() - rows.keys()):
        yield f"No effect on logits: {', '.join(f'`{name}`' for name in idle)}."
        yield ""


def _shared(tables: Mapping[str, Mapping[str, Field]]) -> dict[str, Field]:
    """What stands in all tables alike."""
    first, *others = tables.values()
    return {name: field for name, field in first.items() if all(table.get(name) == field for table in others)}


def _group(tables: Mapping[str, Mapping[str, Field]]) -> Iterator[str]:
    shared = _shared(tables)
    yield from _table(shared)
    for name, table in tables.items():
        yield f"#### `{name}`"
        yield ""
        yield from _table({entry: field for entry, field in table.items() if entry not in shared})


def page() -> str:
    """The text between the marks."""
    lines = ["", "### config.json: all families", "", *_group(family_fields.TABLES)]
    lines += ["### `rope_parameters`, `rope_scaling`", ""]
    lines += [f"Kinds: {', '.join(f'`{kind}`' for kind in rope.KINDS)}; a kind reads only its own entries.", ""]
    lines += [*_table(rope.ENTRIES), "### GGUF: all architectures", "", *_group(gguf_fields.TABLES)]
    return "\n".join(lines)


def update(text: str) -> str:
    """A page with the tables between its marks."""
    return _PLACE.sub(lambda _: page(), text)


if __name__ == "__main__":
    place = Path(sys.argv[1])
    place.write_text(update(place.read_text("utf-8")), "utf-8")
