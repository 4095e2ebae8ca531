"""Rows of levanter's TreeCaches: token ids in jagged arrays, beside a ledger of the shards."""

import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from jax_tda.artifacts.jagged_arrays import JaggedArray
from jax_tda.core import files
from jax_tda.core.errors import InputError
from jax_tda.data.rows import Row, Wanted

LEDGER = "shard_ledger.json"
IDS = "input_ids"


def shards(folder: str) -> list[str]:
    """The names of a cache's parts below its folder, "" for one that is in one piece.

    Raises:
      InputError: the cache is unfinished, or its ledger is none.
    """
    ledger = _ledger(folder)
    if not ledger.get("is_finished"):
        raise _unusable(folder, "a cache that is not finished")
    if ledger.get("layout", "consolidated") == "consolidated":
        return [""]
    names = [str(name) for name in ledger.get("finished_shards", [])]
    if not names or any(name.startswith("/") or ".." in name.split("/") or "://" in name for name in names):
        raise _unusable(folder, f"parts called {', '.join(names[:3]) or 'nothing'}")
    return names


def tokenizer(folder: str) -> str:
    """What the ledger says of the tokenizer; empty where it says nothing."""
    said = (_ledger(folder).get("metadata") or {}).get("preprocessor_metadata")
    return str(said.get("tokenizer") or "") if isinstance(said, dict) else ""


def _ledger(folder: str) -> dict[str, Any]:
    try:
        ledger = json.loads(files.read(f"{folder}/{LEDGER}"))
    except (ValueError, RecursionError) as problem:
        raise _unusable(folder, f"{LEDGER}: {problem}") from problem
    if not isinstance(ledger, dict) or not isinstance(ledger.get("total_num_rows"), int):
        raise _unusable(folder, f"{LEDGER} without total_num_rows")
    return ledger


def rows(path: str, wanted: Wanted) -> Iterator[Row]:
    """The rows of one part, from 0: its `input_ids`; what lies beside them (masks of attention, segments) is left."""
    del wanted
    number = 0
    try:
        ids = JaggedArray(f"{path}/{IDS}")
        if not ids.whole_numbers:
            raise _unusable(path, f"{IDS} that are no whole numbers")
        for row in ids.rows():
            yield number, functools.partial(_read, row)
            number += 1
    except (ValueError, OSError) as problem:
        if isinstance(problem, InputError):
            raise
        raise _unusable(path, f"{str(problem).splitlines()[0][:300]}, after row {number:,}") from problem


def _read(row: np.ndarray, where: str) -> Mapping[str, Any]:
    del where
    return {IDS: row.tolist()}


def _unusable(folder: str, got: str) -> InputError:
    return InputError(
        f"{folder} is no whole cache of levanter's",
        got=got,
        expected=f"{LEDGER} of a finished cache, and {IDS}/offsets and {IDS}/data beside it",
        remedy="let levanter finish the cache, or copy it again",
    )
