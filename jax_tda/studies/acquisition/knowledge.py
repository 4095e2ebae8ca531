"""Invented passages and the queries that ask for them: files of the Fictional Knowledge form, checked."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from etils import epath

from jax_tda.core.errors import InputError

# Memorisation: a sentence of the passage, cut before its last name. Semantic generalisation: the same in other words.
# Composition: what follows from the passage, and stands nowhere in it.
KINDS = ("mem", "gen", "hard_gen")
_FORM = "a JSON list of objects with train_context, paraphrases, and for mem, gen, hard_gen: KIND_input, KIND_target"


@dataclasses.dataclass(frozen=True)
class Query:
    """A prompt and the target that continues it, leading space included: one of the paper's probes, of one of KINDS."""

    kind: str
    prompt: str
    target: str


@dataclasses.dataclass(frozen=True)
class Passage:
    """An invented text, its rewordings and its queries; `number` is its place in the file, from 0."""

    number: int
    text: str
    paraphrases: tuple[str, ...]
    queries: tuple[Query, ...]

    def versions(self, schedule: str, encounters: int) -> tuple[str, ...]:
        """The text of each encounter: the original, then the rewordings, or the original again and again, or once."""
        if schedule == "once":
            return (self.text,)
        if schedule == "paraphrased":
            return (self.text, *self.paraphrases[: encounters - 1])
        return (self.text,) * encounters


def read(path: str) -> list[Passage]:
    """The passages of a file.

    Raises:
      InputError: there is no such file, or a passage of it lacks a field, or a field has not the right form.
    """
    file = epath.Path(path)
    if not file.is_file():
        raise InputError(
            f"there is no file of passages and queries at {path}",
            got="no file",
            expected=_FORM,
            remedy="check study_acquisition.knowledge, or leave it empty for invented passages of the project's own",
        )
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as problem:
        raise _misformed(path, f"no JSON: {problem}") from problem
    return parse(rows, path)


def parse(rows: Any, where: str) -> list[Passage]:
    """The passages of what such a file holds; `where` names it in messages.

    Raises:
      InputError: as in `read`, naming passage and field; or two passages say the same.
    """
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise _misformed(where, "no list of objects, or an empty one")
    found = [_passage(row, number, f"{where}: passage {number}") for number, row in enumerate(rows)]
    owner: dict[str, int] = {}
    for passage in found:
        for text in map(same, (passage.text, *passage.paraphrases)):
            if owner.setdefault(text, passage.number) != passage.number:
                raise InputError(
                    f"{where}: passages {owner[text]} and {passage.number} hold the same text",
                    got=repr(text)[:80],
                    expected="every text and rewording in one passage only, case and spacing aside",
                    remedy="take one of them out: else a placebo could be injected under another number",
                )
    return found


def same(text: str) -> str:
    """What two texts share that differ only in case and spacing."""
    return " ".join(text.casefold().split())


def _passage(row: dict[str, Any], number: int, where: str) -> Passage:
    text = row.get("train_context")
    if not isinstance(text, str) or not text.strip():
        raise _field(where, "train_context", text, "a text that is not empty")
    queries = []
    for kind in KINDS:
        prompts, targets = _texts(row, f"{kind}_input", where), _texts(row, f"{kind}_target", where)
        if not prompts or len(prompts) != len(targets):
            got, expected = (
                f"{len(targets)} targets for {len(prompts)} inputs",
                "one target for each input, at least one",
            )
            raise _field(where, f"{kind}_target", got, expected)
        queries += [Query(kind, prompt, " " + target) for prompt, target in zip(prompts, targets, strict=True)]
    return Passage(number, text, _texts(row, "paraphrases", where), tuple(queries))


def _texts(row: dict[str, Any], field: str, where: str) -> tuple[str, ...]:
    found = row.get(field)
    if not isinstance(found, Sequence) or isinstance(found, str):
        raise _field(where, field, found, "a list of texts")
    if not all(isinstance(text, str) and text.strip() for text in found):
        raise _field(where, field, "an entry that is empty or no text", "a list of texts")
    return tuple(text.strip() for text in found)


def _field(where: str, field: str, got: Any, expected: str) -> InputError:
    seen = "no such field" if got is None else got if isinstance(got, str) else type(got).__name__
    remedy = f"give {field} to every passage; {_FORM}"
    return InputError(f"{where} has no proper {field}", got=repr(seen)[:80], expected=expected, remedy=remedy)


def _misformed(where: str, got: str) -> InputError:
    remedy = "give a file of the form of fictional_knowledge_paraphrased.json"
    return InputError(f"{where} is no file of passages and queries", got=got, expected=_FORM, remedy=remedy)
