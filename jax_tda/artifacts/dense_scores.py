"""Scores of every document for every query, ours or somebody else's: an artifact, `.npy`, `.npz` or a zarr array."""

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorstore as ts

from jax_tda.artifacts import key_value
from jax_tda.artifacts.artifact import Reader, open_artifact
from jax_tda.core import files
from jax_tda.core.errors import InputError

KIND = "scores"
_DRIVERS = {"zarr.json": "zarr3", ".zarray": "zarr"}
_FORMS = "an artifact of score_densely, NAME.npy, NAME.npz, or a folder that holds a zarr array"
_AT_ONCE = 2**22


@dataclasses.dataclass(frozen=True)
class DenseScores:
    """Scores [queries, documents or examples], read some rows at a time.

    Args:
      path: where they lie.
      array: what gives rows when it is sliced.
      query_ids: what the rows are called; None where nobody says, and they are taken in the order of the queries.
      ids: what the columns are called, likewise.
      reader: the artifact, if it is one.
    """

    path: str
    array: Any
    query_ids: Sequence[str] | None = None
    ids: Sequence[str] | None = None
    reader: Reader | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """[queries, documents or examples]."""
        return tuple(self.array.shape)

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """float64 [n, columns].

        Raises:
          InputError: a score is infinite.
        """
        if self.reader is not None:
            found = self.array.read_rows(numbers)
        else:
            part = self.array[numbers]
            found = part.read().result() if isinstance(part, ts.TensorStore) else part
        values = np.asarray(found, np.float64)
        if np.isinf(values).any():
            raise InputError(
                f"scores at {self.path} are infinite",
                got=f"{int(np.isinf(values).sum())} of {values.size} looked at",
                expected="finite numbers, NaN where a document is not scored",
                remedy="mend the scores",
            )
        return values

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the numbers, as float64, and of their names."""
        hasher = hashlib.sha256(repr((self.shape, self.query_ids, self.ids)).encode())
        step = max(1, _AT_ONCE // max(1, self.shape[1]))
        for start in range(0, self.shape[0], step):
            hasher.update(self.rows(np.arange(start, min(start + step, self.shape[0]))).tobytes())
        return hasher.hexdigest()


def read_all(path: str) -> dict[str, DenseScores]:
    """Scores by method: of one place, named after it, or of every place in a folder.

    Raises:
      InputError: there are none, or they are not two-dimensional numbers.
    """
    place = files.at(path.rstrip("/"))
    single = _open(place)
    if single is not None:
        return {place.name.removesuffix(".npy").removesuffix(".npz"): single}
    found: dict[str, DenseScores] = {}
    for name in sorted(files.names(place)) if files.exists(place) else []:
        opened = _open(place / name)
        if opened is not None:
            method = name.rstrip("/").removesuffix(".npy").removesuffix(".npz")
            if method in found:
                raise _refused(place / name, f"a second place of scores called {method!r}", "one place for each method")
            found[method] = opened
    if not found:
        raise _refused(place, "no scores", _FORMS)
    return found


def _open(place: Any) -> DenseScores | None:
    if place.name.endswith((".npy", ".npz")):
        return _checked(_numpy(place))
    if files.exists(place / "manifest.json"):
        reader = open_artifact(str(place), KIND)
        names = [[row["id"] for row in reader.read_lines(name)] for name in ("query_ids.jsonl", "ids.jsonl")]
        return _checked(DenseScores(str(place), reader.array("scores"), names[0], names[1], reader))
    for file, driver in _DRIVERS.items():
        if files.exists(place / file):
            try:
                spec = {"driver": driver, "kvstore": key_value.spec(str(place))}
                return _checked(DenseScores(str(place), ts.open(spec, open=True, read=True).result()))
            except ValueError as error:
                raise _refused(place, str(error).splitlines()[0], "an array that TensorStore reads") from error
    return None


def _numpy(place: Any) -> DenseScores:
    """Nothing is unpickled: an array of objects is refused."""
    try:
        with files.local(str(place)) as local:
            loaded = np.load(local, allow_pickle=False, mmap_mode="r" if str(local) == str(place) else None)
            if not isinstance(loaded, np.lib.npyio.NpzFile):
                return DenseScores(str(place), loaded)
            with loaded:
                held = {name: loaded[name] for name in loaded.files}
    except (ValueError, EOFError, OSError, KeyError) as error:
        raise _refused(place, str(error).splitlines()[0] if str(error) else "no array", "numbers") from error
    names = {name: held.pop(name) for name in ("query_ids", "ids") if name in held}
    if list(held) != ["scores"] and len(held) != 1:
        raise _refused(
            place, f"arrays {', '.join(sorted(held)) or 'none'}", "one, `scores`, and perhaps query_ids, ids"
        )
    for name, values in names.items():
        if values.ndim != 1 or values.dtype.kind != "U" or len(set(values.tolist())) < len(values):
            raise _refused(place, f"{name} of {values.dtype}, shape {values.shape}", f"{name} as texts, none twice")
    said = {name: values.tolist() for name, values in names.items()}
    return DenseScores(str(place), next(iter(held.values())), said.get("query_ids"), said.get("ids"))


def _checked(scores: DenseScores) -> DenseScores:
    dtype = scores.array.dtype
    dtype = np.dtype(dtype.numpy_dtype if isinstance(dtype, ts.dtype) else dtype)
    # bfloat16 and its like are numbers of a kind that NumPy does not know.
    number = dtype.kind in "iuf" or (dtype.kind == "V" and dtype.names is None and dtype.name.startswith(("bf", "fl")))
    if len(scores.shape) != 2 or not number:
        raise _refused(scores.path, f"{dtype.name}, shape {list(scores.shape)}", "numbers [queries, documents]")
    for names, size in zip((scores.query_ids, scores.ids), scores.shape, strict=True):
        if names is not None and len(names) != size:
            raise _refused(scores.path, f"{len(names)} names for {size} rows or columns", "a name for each")
    return scores


def _refused(place: Any, got: str, expected: str) -> InputError:
    return InputError(
        f"{place} holds no scores that can be judged",
        got=got,
        expected=expected,
        remedy=f"give {_FORMS}, or a folder of such",
    )
