"""One row for each layout of a file of records: its names, how it begins, what reads it."""

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping

from jax_tda.core import files
from jax_tda.core.errors import InputError
from jax_tda.data import array_records, arrow_tables, compressed, json_lines, tf_records, tree_caches
from jax_tda.data.rows import Row, Wanted


@dataclasses.dataclass(frozen=True)
class Layout:
    """How records lie in a file, or in a folder.

    Attributes:
      name: what it is called on screen.
      names: what a file of it is called, by its end; the ending of a compression is taken off before.
      marks: what each file begins with; empty where nothing tells.
      rows: gives the rows of one file.
      unit: what a row is called there.
      typed: whether its columns have types.
      compressible: whether a file may be compressed as a whole.
      defaults: which columns hold what, by itself.
    """

    name: str
    names: str
    marks: tuple[bytes, ...]
    rows: Callable[[str, Wanted], Iterator[Row]]
    unit: str
    typed: bool
    compressible: bool = False
    defaults: Mapping[str, str] = dataclasses.field(default_factory=dict)


_ARROW = (b"ARROW1", b"\xff\xff\xff\xff")
_SHARD = r"(-\d+-of-\d+)?$"
_NEVER = r"(?!)"

JSON_LINES = Layout("JSON lines", r"\.(jsonl|ndjson|json)$", (), json_lines.rows, "line", False, True)
PARQUET = Layout("Parquet", r"\.(parquet|pq)$", (b"PAR1",), arrow_tables.parquet, "row", True)
ARROW = Layout("Arrow", r"\.(arrow|feather)$", _ARROW, arrow_tables.arrow, "row", True)
ARRAY_RECORD = Layout(
    "ArrayRecord", rf"\.(array_?record|riegeli){_SHARD}", (b"\x83\xaf\x70\xd1",), array_records.rows, "record", True
)
TF_RECORD = Layout("TFRecord", rf"\.tfrecords?{_SHARD}", (), tf_records.rows, "record", True, True)
SEQIO_CACHE = dataclasses.replace(
    TF_RECORD,
    name="seqio cache",
    names=_NEVER,
    defaults={"tokens": "targets", "prompt_tokens": "inputs", "target_tokens": "targets"},
)
TREE_CACHE = Layout("levanter cache", _NEVER, (), tree_caches.rows, "row", True, defaults={"tokens": tree_caches.IDS})

BY_NAME = (JSON_LINES, PARQUET, ARROW, ARRAY_RECORD, TF_RECORD)
ALL = (*BY_NAME, SEQIO_CACHE, TREE_CACHE)


def of_file(name: str) -> Layout | None:
    """The layout that a file's name tells; None where it tells none."""
    bare = name.lower().removesuffix(compressed.ending(name))
    return next((layout for layout in BY_NAME if re.search(layout.names, bare)), None)


def demand_beginning(path: str, layout: Layout) -> None:
    """Refuses a file that begins as another layout's do, or not as its own layout's do; an empty one says nothing.

    Raises:
      InputError: so it is.
    """
    if layout is TREE_CACHE or compressed.ending(path):
        return
    first = files.read_range(path, 0, 8)
    others = [one.name for one in BY_NAME if one is not layout and first.startswith(one.marks or (b"\0no",))]
    others += [f"a file compressed as {kind}" for kind, mark in compressed.MARKS.items() if first.startswith(mark)]
    if (others and not first.startswith(layout.marks or (b"\0no",))) or (
        first and layout.marks and not first.startswith(layout.marks)
    ):
        raise InputError(
            f"{path} is not what its name says",
            got=f"a file that begins as {others[0]}" if others else f"a file that begins with {first!r}",
            expected=f"{layout.name}, as its name says",
            remedy="rename the file after what it holds, or fetch it again",
        )
