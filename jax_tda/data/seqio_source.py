"""Records from any seqio Task or Mixture; the one place, beside Tasks themselves, that needs TensorFlow."""

import dataclasses
import functools
import importlib
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from jax_tda.core.errors import InputError
from jax_tda.data import records
from jax_tda.data.vocabulary import ByteVocabulary, SentencePieceVocabulary, Vocabulary


def _registered(name: str, module: str) -> Any:
    """The Task or Mixture of that name, once the module that registers it is imported."""
    # Read when TensorFlow is first imported: only errors are worth a line.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import seqio
        import tensorflow as tf
    except ImportError as problem:
        raise InputError(
            f"seqio Task {name!r} cannot be read",
            got=str(problem),
            expected="the packages of the extra `seqio`",
            remedy="pip install 'jax_tda[seqio]', or give the data as JSON lines"
            if sys.version_info < (3, 14)
            else "take Python 3.13 or older (tensorflow-text has no release for this one), or give JSON lines",
        ) from problem
    try:
        # TensorFlow would take all memory of every accelerator that it sees, and JAX needs it.
        tf.config.set_visible_devices([], "GPU")
    except RuntimeError:
        pass  # TensorFlow runs already, in a program that has decided this for itself.
    if module:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as problem:
            if problem.name is None or not (module + ".").startswith(problem.name + "."):
                raise
            raise InputError(
                f"the module that registers seqio Task {name!r} cannot be imported",
                got=str(problem),
                expected="a module on the Python path",
                remedy="install it, or add its directory to PYTHONPATH",
            ) from problem
    known = sorted([*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()])
    if name not in known:
        raise InputError(
            f"no seqio Task or Mixture {name!r}",
            got=f"registered: {', '.join(known[:20]) or 'none'}{', …' if len(known) > 20 else ''}",
            expected="a registered name",
            remedy="name the module whose import registers it",
        )
    return seqio.get_mixture_or_task(name)


def _vocabulary(provider: Any, name: str) -> Vocabulary:
    import seqio

    found = [feature.vocabulary for key, feature in provider.output_features.items() if key in ("inputs", "targets")]
    if found and all(vocabulary == found[0] for vocabulary in found):
        if isinstance(found[0], seqio.SentencePieceVocabulary):
            return SentencePieceVocabulary(found[0].sp_model)
        if isinstance(found[0], seqio.ByteVocabulary):
            return ByteVocabulary(found[0].extra_ids)
    raise InputError(
        f"the vocabulary of seqio Task {name!r} cannot be read without seqio",
        got=", ".join(str(vocabulary) for vocabulary in found) or "no output feature `inputs` or `targets`",
        expected="one SentencePieceVocabulary or ByteVocabulary for inputs and targets",
        remedy="let the Task yield text (`text`, or `prompt` and `target`) and choose a vocabulary here",
    )


def vocabulary_of(name: str, module: str = "") -> Vocabulary:
    """The vocabulary with which a Task or Mixture makes its token ids.

    Args:
      name: a registered Task or Mixture.
      module: the module whose import registers it; "" if it is registered already.

    Raises:
      InputError: if it has none, several, or one of another kind than SentencePiece or bytes.
    """
    return _vocabulary(_registered(name, module), name)


def _plain(value: Any, name: str, where: str) -> Any:
    """A feature's value as JSON would hold it."""
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as problem:
            raise records.Rejected(where, "invalid UTF-8", got=str(problem), expected=f"text in {name!r}") from None
    if isinstance(value, np.ndarray):
        return _plain(value.tolist(), name, where)
    if isinstance(value, np.generic):
        return _plain(value.item(), name, where)
    if isinstance(value, list):
        return [_plain(item, name, where) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise records.Rejected(where, f"ill-typed field {name!r}", got=type(value).__name__, expected="text or numbers")


def _parse(
    example: dict[str, Any], vocabulary: Vocabulary | None, kind: records.Kind, where: str, name: str
) -> records.Record:
    row = {key: _plain(value, key, where) for key, value in example.items()}
    # A Task may call an example by a number; the id of a record is a string.
    row["id"] = str(row["id"]) if "id" in row else name
    if vocabulary is None:
        return records.parse(row, kind, where)
    prompt, target = (_unpadded(row.pop(feature, ())) for feature in ("inputs", "targets"))
    if not target:
        raise records.Rejected(where, "targets without tokens", got=f"id {row['id']!r}", expected="at least one token")
    if not all(isinstance(token, int) and 0 <= token < vocabulary.size for token in prompt + target):
        expected = f"ids from 0 to {vocabulary.size - 1}"
        raise records.Rejected(where, "token id outside the vocabulary", got=f"id {row['id']!r}", expected=expected)
    if kind == "passages":
        fields = {key: value for key, value in row.items() if key != "id"}
        return records.Passage(row["id"], vocabulary.decode(prompt + target), fields, prompt + target, where)
    # Ids may spell nothing at all (an end id alone), and are used all the same.
    stand_in = {**row, "prompt": vocabulary.decode(prompt), "target": vocabulary.decode(target) or " "}
    query = records.parse(stand_in, kind, where)
    assert isinstance(query, records.Query)
    return dataclasses.replace(query, tokens=(prompt, target))


def _unpadded(ids: Any) -> tuple[Any, ...]:
    """Ids without the padding behind them, which is id 0 in every vocabulary of seqio and has no loss."""
    kept = list(ids) if isinstance(ids, list | tuple) else [ids]
    while kept and kept[-1] == 0:
        kept.pop()
    return tuple(kept)


def _dataset(task: Any, split: str) -> Any:
    """The Task's examples once, in its own order, the same in every run."""
    arguments = {"sequence_length": None, "split": split, "shuffle": False, "num_epochs": 1, "use_cached": False}
    try:
        return task.get_dataset(seed=0, **arguments)
    except ValueError as refused:
        # seqio refuses a seed to a source whose function has no parameter for one; it says so by the parameters' names.
        if "seed" not in str(refused) or "args" not in str(refused):
            raise
        return task.get_dataset(seed=None, **arguments)


def _form(dataset: Any, provider: Any, kind: records.Kind, name: str) -> Vocabulary | None:
    """None if the examples are text; the vocabulary of their ids if they are tokens."""
    spec = dataset.element_spec
    needed = {"text"} if kind == "passages" else {"prompt", "target"}
    if needed <= set(spec):
        return None
    if "targets" in spec and spec["targets"].dtype.is_integer:
        return _vocabulary(provider, name)
    raise InputError(
        f"the examples of seqio Task {name!r} cannot be read as {kind}",
        got=", ".join(f"{key}: {value.dtype.name}" for key, value in sorted(spec.items())),
        expected=f"text in {' and '.join(sorted(needed))}, or token ids in `targets` (and `inputs`)",
        remedy="add a preprocessor that names the features so",
    )


def rows(name: str, module: str, split: str, kind: records.Kind) -> Iterator[tuple[str, Callable[[], records.Record]]]:
    """Of each example of a seqio Task, or of a Mixture's Tasks one after another, where it stands and what reads it.

    Every example comes once, in the Task's own order without shuffling; a Mixture's rates, which say how often to
    train on a Task, are not used. Examples are text (`text`, or `prompt` and `target`) or token ids (`targets` and
    perhaps `inputs`, used as they are). The id of an example is its field `id`, a string or a whole number, else
    `TASK/INDEX`. seqio turns a Feature into int32 ids only when a preprocessor tokenizes it, so an `id` that is no
    output feature stays a string.

    Args:
      name: a registered Task or Mixture.
      module: the module whose import registers it; "" if it is registered already.
      split: one of its splits.
      kind: "passages" or "queries".

    Raises:
      InputError: at an unknown name, module or split, and at features that hold no records of this kind.
    """
    provider = _registered(name, module)
    import seqio

    if split not in provider.splits:
        raise InputError(
            f"seqio Task {name!r} has no split {split!r}",
            got=repr(split),
            expected=" or ".join(map(repr, sorted(provider.splits))),
            remedy="choose one of its splits",
        )
    for task in seqio.get_subtasks(provider):
        if split not in task.splits:
            continue
        dataset = _dataset(task, split)
        vocabulary = _form(dataset, provider, kind, task.name)
        for index, example in enumerate(dataset.as_numpy_iterator()):
            where = f"seqio Task {task.name!r}, split {split!r}, example {index}"
            yield where, functools.partial(_parse, example, vocabulary, kind, where, f"{task.name}/{index}")


def read(
    name: str, module: str, split: str, kind: records.Kind, on_bad_record: str, rejected: Counter[str]
) -> Iterator[records.Record]:
    """The records of a Task or Mixture, as `rows` has them, bad ones refused, or left out and counted."""
    found = rows(name, module, split, kind)
    return records.admit(f"seqio {name!r}, split {split!r},", found, on_bad_record, rejected)
