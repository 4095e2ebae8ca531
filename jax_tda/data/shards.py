"""From what a user calls a corpus to its shards: a file, a pattern, a folder of files, or one that a library wrote."""

import dataclasses
import json
import os
import re
from typing import Any

from jax_tda.core import files, patterns
from jax_tda.core.errors import InputError
from jax_tda.data import layouts, tree_caches
from jax_tda.data.layouts import Layout

# What libraries write beside their shards.
_BESIDE = re.compile(r"(dataset_infos?|features|state|metadata.*|(info|stats)\..+)\.json|[._].*")
_STATE, _DICTIONARY = "state.json", "dataset_dict.json"


@dataclasses.dataclass(frozen=True)
class Shard:
    """One file of a source, or one part of a cache.

    Attributes:
      path: where it lies.
      name: what it is called within the source; ids of rows without any are made of it.
    """

    path: str
    name: str


@dataclasses.dataclass(frozen=True)
class Found:
    """What lies at a source.

    Attributes:
      layout: of all its shards.
      shards: in the order of their names, which is the order of the records.
      left_out: names of files in the folder that are none of them.
      said: what the source says of itself that a user should know.
    """

    layout: Layout
    shards: tuple[Shard, ...]
    left_out: tuple[str, ...] = ()
    said: str = ""

    def __str__(self) -> str:
        count = len(self.shards)
        words = [f"{self.layout.name}, {count:,} shard{'' if count == 1 else 's'}"]
        if count > 1:
            words[0] += f": {self.shards[0].name}{', …,' if count > 2 else ','} {self.shards[-1].name}"
        if self.left_out:
            words.append(f"{len(self.left_out)} other files left out: {', '.join(self.left_out[:5])}")
        return "; ".join([*words, *([self.said] if self.said else [])])


def find(source: str, split: str) -> Found:
    """What lies at a source.

    Args:
      source: a path, or a pattern with *, ? or [.
      split: of a cached seqio Task.

    Raises:
      InputError: nothing, several layouts, or something unfinished lies there.
    """
    if files.is_file(source):
        found = _of_files([Shard(str(source), os.path.basename(str(source)))], str(source), ())
    elif files.is_folder(source):
        found = _of_folder(str(source).rstrip("/"), split)
    elif patterns.is_pattern(str(source)):
        found = _of_pattern(str(source))
    else:
        files.demand_regular(source)
        raise _nothing(source, "nothing at this path")
    layouts.demand_beginning(found.shards[0].path, found.layout)
    return found


def _nothing(source: str, got: str) -> InputError:
    return InputError(
        f"there is no corpus at {source}",
        got=got,
        expected="a file (JSON lines, .gz, .zst, Parquet, Arrow, ArrayRecord, TFRecord), a folder of such shards, a "
        "pattern (*), or seqio:NAME",
        remedy="check the path",
    )


def _of_pattern(pattern: str) -> Found:
    start = patterns.beginning(pattern)
    paths = [path for path in patterns.matching(pattern) if files.is_file(path)]
    if not paths:
        raise _nothing(pattern, "no file that the pattern matches")
    return _of_files([Shard(path, path.removeprefix(start)) for path in paths], pattern, ())


def _of_files(shards: list[Shard], source: str, left_out: tuple[str, ...]) -> Found:
    kinds = {shard.name: layouts.of_file(shard.name) or layouts.JSON_LINES for shard in shards}
    first = kinds[shards[0].name]
    if other := next((name for name, kind in kinds.items() if kind is not first), None):
        raise InputError(
            f"{source} holds files of several layouts",
            got=f"{shards[0].name} ({first.name}) and {other} ({kinds[other].name})",
            expected="shards of one layout",
            remedy="give a pattern that only one of them matches, such as "
            f"{os.path.dirname(shards[0].path)}/*{os.path.splitext(shards[0].name)[1]}",
        )
    return Found(first, tuple(sorted(shards, key=lambda shard: shard.name)), left_out)


def _of_folder(folder: str, split: str) -> Found:
    names = files.names(folder)
    if tree_caches.LEDGER in names:
        inner = tree_caches.shards(folder)
        parts = [Shard(f"{folder}/{name}".rstrip("/"), name or os.path.basename(folder)) for name in inner]
        told = tree_caches.tokenizer(folder)
        return Found(layouts.TREE_CACHE, tuple(parts), said=f"tokenized, it says, by {told}" if told else "")
    if _DICTIONARY in names:
        raise _choose_part(folder, "a dictionary of data sets", _read(folder, _DICTIONARY, "splits"))
    if _STATE in names:
        return _saved(folder)
    if splits := [found[1] for name in names if (found := re.fullmatch(r"info\.(.+)\.json", name))]:
        return _cached_task(folder, split, splits, names)
    kept = [name for name in names if not _BESIDE.fullmatch(name)]
    shards = [name for name in kept if layouts.of_file(name) and files.is_file(f"{folder}/{name}")]
    if not shards:
        inner = [name for name in kept if files.is_folder(f"{folder}/{name}")]
        if inner:
            raise _choose_part(folder, "no shards, but folders", inner)
        raise _nothing(folder, f"a folder of {', '.join(names[:5])}" if names else "an empty folder")
    _demand_all(folder, shards)
    left = tuple(name for name in names if name not in shards)
    return _of_files([Shard(f"{folder}/{name}", name) for name in shards], folder, left)


def _demand_all(folder: str, names: list[str]) -> None:
    """Refuses a folder that lacks a shard of those that names such as `c4-00003-of-00008` count, or has two sets."""
    counted = dict[tuple[str, str, str], set[int]]()
    for name in names:
        if numbered := re.fullmatch(r"(.*[-._])(\d+)-of-(\d+)(.*)", name):
            before, number, total, behind = numbered.groups()
            counted.setdefault((before, total, behind), set()).add(int(number))
    if len(counted) > 1:
        sets = [f"{before}*-of-{total}{behind}" for before, total, behind in counted]
        raise InputError(
            f"{folder} is several corpora",
            got=", ".join(sets),
            expected="one set of shards that count themselves",
            remedy=f"give a pattern of one, as {folder}/{sets[0]}, or of all that are meant",
        )
    for (before, total, behind), numbers in counted.items():
        if missing := sorted(set(range(int(total))) - numbers):
            lost = f"{before}{missing[0]:0{len(total)}d}-of-{total}{behind}"
            raise InputError(
                f"{folder} is not whole",
                got=f"{len(numbers)} of {int(total)} shards; {lost} is missing",
                expected="every shard that the names count",
                remedy="fetch the missing ones, or give a pattern of those that are meant",
            )


def _choose_part(folder: str, got: str, parts: Any) -> InputError:
    names = ", ".join(str(part) for part in parts) if isinstance(parts, list) else str(parts)
    first = parts[0] if isinstance(parts, list) and parts else "NAME"
    return InputError(
        f"{folder} is several corpora",
        got=f"{got}: {names}",
        expected="one of them",
        remedy=f"give one, as {folder}/{first}, or a pattern such as {folder}/**/*.parquet",
    )


def _read(folder: str, name: str, key: str) -> Any:
    try:
        return json.loads(files.read(f"{folder}/{name}"))[key]
    except (ValueError, KeyError, TypeError, RecursionError) as problem:
        raise InputError(
            f"{folder}/{name} cannot be read",
            got=f"{type(problem).__name__}: {problem}",
            expected=f"JSON with {key!r}",
            remedy="write the data set again, or copy it whole",
        ) from problem


def _saved(folder: str) -> Found:
    """What `save_to_disk` of Hugging Face's datasets wrote."""
    listed = _read(folder, _STATE, "_data_files")
    try:
        names = [str(entry["filename"]) for entry in listed]
    except (TypeError, KeyError) as problem:
        raise _incomplete(folder, "entries of _data_files without a filename", _STATE) from problem
    state = json.loads(files.read(f"{folder}/{_STATE}"))
    if state.get("_indices_data_files") or state.get("_indices_files"):
        raise _incomplete(folder, "rows chosen by an index, as datasets before 2.0 saved them", "flattened rows")
    if not names or any("/" in name for name in names):
        raise _incomplete(folder, f"data files {names[:3]}", "the names of files in the folder")
    if missing := sorted(set(names) - set(files.names(folder))):
        raise _incomplete(folder, f"no {missing[0]}", f"all {len(names)} files that {_STATE} names")
    # In the order that the library reads them, which is that of the rows.
    return Found(layouts.ARROW, tuple(Shard(f"{folder}/{name}", name) for name in names))


def _cached_task(folder: str, split: str, splits: list[str], names: list[str]) -> Found:
    """What seqio's cache_tasks_main wrote of one Task."""
    if split not in splits:
        raise InputError(
            f"the cached seqio Task at {folder} has no split {split!r}",
            got=", ".join(splits),
            expected=f"a split {split!r}",
            remedy="set tokenize.seqio_split (and train_vocabulary.seqio_split) to one of them",
        )
    wanted = _read(folder, f"info.{split}.json", "num_shards")
    shards = sorted(name for name in names if re.fullmatch(rf"{re.escape(split)}\.tfrecord(-\d+-of-\d+)?", name))
    if len(shards) != wanted:
        raise _incomplete(folder, f"{len(shards)} shards", f"{wanted} shards, as info.{split}.json says")
    return Found(layouts.SEQIO_CACHE, tuple(Shard(f"{folder}/{name}", name) for name in shards))


def _incomplete(folder: str, got: str, expected: str) -> InputError:
    return InputError(
        f"{folder} is not whole", got=got, expected=expected, remedy="write the data set again, or copy it whole"
    )
