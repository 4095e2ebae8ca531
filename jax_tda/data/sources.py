"""Where text comes from: a file of JSON lines, or `seqio:NAME`, any seqio Task or Mixture."""

import hashlib
from collections import Counter
from collections.abc import Iterator

from jax_tda.core import files
from jax_tda.core.errors import InputError
from jax_tda.data import json_lines, records, seqio_source
from jax_tda.data.vocabulary import Vocabulary

_SEQIO = "seqio:"


def read(
    source: str, module: str, split: str, kind: records.Kind, on_bad_record: str, rejected: Counter[str]
) -> Iterator[records.Record]:
    """The records of a source, in its own order.

    Args:
      source: a path, or `seqio:` and the name of a Task or Mixture.
      module: what to import so that the Task is registered; unused for files.
      split: the Task's split; unused for files.
      kind: `passages` or `queries`.
      on_bad_record: `refuse` or `skip`.
      rejected: receives the number of records left out, by reason.
    """
    if source.startswith(_SEQIO):
        return seqio_source.read(source.removeprefix(_SEQIO), module, split, kind, on_bad_record, rejected)
    return json_lines.read(source, kind, on_bad_record, rejected)


def identity(source: str, module: str, split: str) -> dict[str, str]:
    """What a manifest says of a source: the bytes of a file, or the names of a Task, its module and split."""
    if source.startswith(_SEQIO):
        return {"task": source.removeprefix(_SEQIO), "module": module, "split": split}
    hasher = hashlib.sha256()
    files.demand_regular(source)
    if files.is_file(source):
        for block in files.blocks(source):
            hasher.update(block)
    return {"sha256": hasher.hexdigest()}


def check_exists(source: str) -> None:
    """Refuses a path where there is no file; a Task is looked up when it is read.

    Raises:
      InputError: there is no file, or it is none that can be read more than once.
    """
    if source.startswith(_SEQIO):
        return
    files.demand_regular(source)
    if not files.is_file(source):
        raise InputError(
            f"there is no corpus at {source}",
            got="no file",
            expected="a file of JSON lines, or seqio:NAME",
            remedy="check the path",
        )


def own_vocabulary(source: str, module: str) -> Vocabulary | None:
    """The vocabulary of a Task that yields token ids; None for text."""
    if not source.startswith(_SEQIO):
        return None
    return seqio_source.vocabulary_of(source.removeprefix(_SEQIO), module)
