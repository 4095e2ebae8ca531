"""The bank artifact, opened for judging: what each member was trained without, and what it says of every query.

Files: `log_probabilities` float32 [members, queries], `exact` int8 likewise, `kept` int8 [members, ⌈documents / 8⌉], a
bit for each document, `members.jsonl`, `documents.jsonl`, `query_ids.jsonl`; `models/PATH` [members, …] where asked.
"""

import functools
from typing import Any

import numpy as np

from jax_tda.artifacts.artifact import Reader, open_artifact
from jax_tda.core import trees
from jax_tda.retraining import subsets

KIND = "bank"
LOG_PROBABILITIES, EXACT, KEPT, MODELS = "log_probabilities", "exact", "kept", "models"
MEMBERS, DOCUMENTS, QUERIES = "members.jsonl", "documents.jsonl", "query_ids.jsonl"


class Bank:
    """A finished bank, opened for judging."""

    def __init__(self, reader: Reader):
        self.reader = reader
        self.members: list[dict[str, Any]] = list(reader.read_lines(MEMBERS))
        self.documents: list[str] = [row["id"] for row in reader.read_lines(DOCUMENTS)]
        self.query_ids: list[str] = [row["id"] for row in reader.read_lines(QUERIES)]

    def of(self, kind: str) -> list[int]:
        """The numbers of the members of a kind."""
        return [number for number, member in enumerate(self.members) if member["kind"] == kind]

    @property
    def firsts(self) -> list[int]:
        """The numbers of first documents that were left out, ascending."""
        return sorted({self.members[number]["k"] for number in self.of("control")})

    def _all(self, name: str) -> np.ndarray:
        array = self.reader.array(name)
        return array.read(0, array.shape[0])

    @functools.cached_property
    def log_probabilities(self) -> np.ndarray:
        """float32 [members, queries]."""
        return self._all(LOG_PROBABILITIES)

    @functools.cached_property
    def exact(self) -> np.ndarray:
        """bool [members, queries]."""
        return self._all(EXACT).astype(bool)

    @functools.cached_property
    def kept(self) -> np.ndarray:
        """bool [members, documents]."""
        return subsets.unpacked(self._all(KEPT), len(self.documents))

    def params(self, member: int) -> Any:
        """The parameters of a member, where they were kept."""
        prefix, ending = f"{MODELS}/", ".digests"
        names = [name for name in self.reader.manifest.files if name.startswith(prefix) and name.endswith(ending)]
        arrays = {name.removesuffix(ending): self.reader.array(name.removesuffix(ending)) for name in names}
        return trees.unflatten({n.removeprefix(prefix): a.read(member, member + 1)[0] for n, a in arrays.items()})


def open_bank(path: str) -> Bank:
    """Opens a finished bank.

    Raises:
      InputError: it is missing, unfinished or damaged.
    """
    return Bank(open_artifact(path, KIND))
