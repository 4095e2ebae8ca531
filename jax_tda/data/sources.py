"""Where text comes from: files, folders and patterns of files in many layouts, or `seqio:NAME`, any seqio Task."""

import dataclasses
import functools
import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from jax_tda.artifacts.manifest import canonical
from jax_tda.core import files, patterns
from jax_tda.data import fields, layouts, records, seqio_source, shards
from jax_tda.data.rows import Row
from jax_tda.data.vocabulary import Vocabulary

_SEQIO = "seqio:"
# Files whose digests are taken at a time.
_THREADS = 8


def is_task(source: str) -> bool:
    """Whether a source is a seqio Task or Mixture."""
    return source.startswith(_SEQIO)


@dataclasses.dataclass(frozen=True)
class Opened:
    """A source of files, its layout and columns known.

    Attributes:
      source: what the user called it.
      found: its layout and shards.
      fields: which column holds what.
    """

    source: str
    found: shards.Found
    fields: fields.Fields

    @functools.cached_property
    def has_ids(self) -> bool:
        """Whether records bring ids: as the first one that can be read does, or as the setting `fields` says."""
        if "id" in self.fields.columns:
            return True
        for number in range(len(self.found.shards)):
            for row, read in self._rows(number):
                try:
                    return "id" in read(self.where(number, row))
                except records.Rejected:
                    continue
        return True

    def rows(self, shard: int) -> Iterator[tuple[int, str, Callable[[], records.Record]]]:
        """Of each row of one shard its number, how an error names it, and what reads its record."""
        typed = self.found.layout.typed
        for number, read in self._rows(shard):
            name = None if self.has_ids else f"{self.found.shards[shard].name}/{number}"
            where = self.where(shard, number)
            yield number, where, functools.partial(self.fields.record, read, name, typed, where)

    def _rows(self, shard: int) -> Iterator[Row]:
        path = self.found.shards[shard].path
        layouts.demand_beginning(path, self.found.layout)
        return self.found.layout.rows(path, self.fields.wanted)

    def where(self, shard: int, number: int) -> str:
        """How an error names a row."""
        return f"{self.found.shards[shard].path}, {self.found.layout.unit} {number}"

    @property
    def ids(self) -> str:
        """What records are called by, for the manifest."""
        return "of the source" if self.has_ids else f"shard and {self.found.layout.unit}"


def opened(source: str, split: str, kind: records.Kind, given: tuple[str, ...] = ()) -> Opened:
    """A source of files, looked at.

    Args:
      source: a path or a pattern.
      split: of a cached seqio Task.
      kind: `passages` or `queries`.
      given: entries `OURS=COLUMN` of the setting `fields`.

    Raises:
      InputError: nothing that can be read lies there.
    """
    found = shards.find(source, split)
    return Opened(source, found, fields.of(given, kind, found.layout.defaults))


def read(
    source: str,
    module: str,
    split: str,
    kind: records.Kind,
    on_bad_record: str,
    rejected: Counter[str],
    given: tuple[str, ...] = (),
) -> Iterator[records.Record]:
    """The records of a source, in its own order.

    Args:
      source: a path, a pattern, or `seqio:` and the name of a Task or Mixture.
      module: what to import so that the Task is registered; unused for files.
      split: the Task's split, or that of a cached Task.
      kind: `passages` or `queries`.
      on_bad_record: `refuse` or `skip`.
      rejected: receives the number of records left out, by reason.
      given: entries `OURS=COLUMN`; a Task names its own features.
    """
    if is_task(source):
        return seqio_source.read(source.removeprefix(_SEQIO), module, split, kind, on_bad_record, rejected)
    place = opened(source, split, kind, given)

    def rows() -> Iterator[tuple[str, Callable[[], records.Record]]]:
        for shard in range(len(place.found.shards)):
            for _, where, reading in place.rows(shard):
                yield where, reading

    return records.admit(source, rows(), on_bad_record, rejected)


class Work:
    """The rows of a source in parts that can be read one by one, again from any row on.

    Args:
      source: a path, a pattern, or `seqio:NAME`, which is one part.
      module: what registers the Task.
      split: the Task's.
      kind: `passages` or `queries`.
      given: entries of the setting `fields`.
    """

    def __init__(self, source: str, module: str, split: str, kind: records.Kind, given: tuple[str, ...]):
        self.source = source
        self._task = (source.removeprefix(_SEQIO), module, split, kind)
        self._place = None if is_task(source) else opened(source, split, kind, given)
        self.count = 1 if self._place is None else len(self._place.found.shards)

    @property
    def layout(self) -> str:
        """What the manifest says of the source's form."""
        return "seqio" if self._place is None else self._place.found.layout.name

    @property
    def ids(self) -> str:
        """What the manifest says of the records' ids."""
        return "of the Task" if self._place is None else self._place.ids

    def __str__(self) -> str:
        if self._place is None:
            return self.source
        return f"{self._place.found}; ids {self._place.ids}"

    def rows(self, part: int, skip: int = 0) -> Iterator[tuple[str, Callable[[], records.Record]]]:
        """Of each row of a part how an error names it, and what reads its record; the first `skip` rows are passed."""
        if self._place is None:
            found = seqio_source.rows(*self._task)
        else:
            found = ((where, reading) for _, where, reading in self._place.rows(part))
        return itertools.islice(found, skip, None)

    def where(self, part: int, row: int) -> str:
        """How an error names the row that stands at `row`, from 0, in a part; of files it is read again for this."""
        if self._place is None:
            return f"{self.source}, record {row}"
        return next(where for where, _ in self.rows(part, row))


def _digest(path: str) -> str:
    hasher = hashlib.sha256()
    for block in files.blocks(path):
        hasher.update(block)
    return hasher.hexdigest()


def identity(source: str, module: str, split: str) -> dict[str, object]:
    """What a manifest says of a source: the bytes of its files, or the names of a Task, its module and split.

    One file is known by its SHA-256; several, or a cache, by that of their names and SHA-256s, so that
    where they lie does not matter.
    """
    if is_task(source):
        return {"task": source.removeprefix(_SEQIO), "module": module, "split": split}
    files.demand_regular(source)
    if files.is_file(source):
        return {"sha256": _digest(source)}
    if not source or not (files.is_folder(source) or patterns.matching(source)):
        return {"sha256": hashlib.sha256().hexdigest()}  # Whoever reads it says that nothing is there.
    found = shards.find(source, split)
    if found.layout is layouts.TREE_CACHE:
        named = {f"{s.name}/{name}": f"{s.path}/{name}" for s in found.shards for name in sorted(files.sizes(s.path))}
    else:
        named = {shard.name: shard.path for shard in found.shards}
    with ThreadPoolExecutor(_THREADS) as pool:
        digests = dict(zip(named, pool.map(_digest, named.values()), strict=True))
    whole = hashlib.sha256(canonical(digests)).hexdigest()
    return {"layout": found.layout.name, "shards": len(found.shards), "sha256": whole}


def described(source: str, split: str) -> str:
    """What a dry run says of a source: which layout was found and how many shards; words where nothing is there yet."""
    if not source or is_task(source):
        return source or "-"
    if not (files.exists(source) or patterns.matching(source)):
        return f"{source} (nothing there yet)"
    return f"{source} ({shards.find(source, split)})"


def check_exists(source: str, split: str = "train") -> None:
    """Refuses a source of files that is not there or not whole; a Task is looked up when it is read.

    Raises:
      InputError: so it is.
    """
    if not is_task(source):
        shards.find(source, split)


def own_vocabulary(source: str, module: str) -> Vocabulary | None:
    """The vocabulary of a Task that yields token ids; None for text."""
    if not is_task(source):
        return None
    return seqio_source.vocabulary_of(source.removeprefix(_SEQIO), module)
