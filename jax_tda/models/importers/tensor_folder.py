"""A folder of JSON files and safetensors, in one file or in shards with their index.

A tensor's shape and type are known from a file's header; its values are read when they are asked for, one tensor at a
time. Which files are read, and which tensors of them, is as transformers' `from_pretrained` has it: `model.safetensors`
before an index, and of an index only which files it names.
"""

import contextlib
import json
import math
import pathlib
import struct
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
from etils import epath

from jax_tda.core.errors import InputError
from jax_tda.models.importers.source import needed

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
# The types that weights have. Types of eight bits are read bit by bit: NumPy, and so safetensors, does not know them.
_NARROW = {"F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2}
WEIGHTS = ("F64", "F32", "F16", "BF16", *_NARROW)
# Parts of names that torch.compile, DataParallel, FSDP, DeepSpeed and activation checkpointing put around a module.
_WRAPPERS = ("_orig_mod", "module", "_fsdp_wrapped_module", "_forward_module", "_checkpoint_wrapped_module")
_ROWS = 4096


class TensorFolder:
    """What Hugging Face's libraries write, whatever model it holds.

    Args:
      folder: its path.
    """

    def __init__(self, folder: str):
        self.where = folder
        self.path = epath.Path(folder)
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.types: dict[str, str] = {}
        # By the name without wrappers: the file, and the name there.
        self._places: dict[str, tuple[str, str]] = {}

    def inside(self, name: Any) -> epath.Path:
        """The path of a file below the folder, given by a name that stands in one of its files.

        Raises:
          InputError: the name leads out of the folder, or is none.
        """
        plain = isinstance(name, str) and name.isprintable() and bool(name) and "\\" not in name
        if not plain or pathlib.PurePosixPath(name).is_absolute() or ".." in pathlib.PurePosixPath(name).parts:
            raise InputError(
                f"{self.where} names a file that does not lie below the folder",
                got=repr(name)[:200],
                expected="the name of a file in this folder, or in a folder below it",
                remedy="copy the whole folder again from where it comes from, and do not trust this one",
            )
        return self.path / name

    def read_json(self, name: str) -> Any:
        """The value of a JSON file of the folder.

        Raises:
          InputError: it is missing, no regular file, no JSON, or holds a number that is not finite.
        """
        path = self.inside(name)
        try:
            if not _is_regular(path):
                problem = "no such file" if not path.exists() else "no regular file"
                raise OSError(problem)
            return json.loads(path.read_text(), parse_float=_finite, parse_constant=_finite)
        except (OSError, ValueError, RecursionError) as problem:
            raise InputError(
                f"{path} cannot be read",
                got=str(problem)[:200],
                expected="a folder with config.json, model.safetensors (or shards with their index) and tokenizer.json",
                remedy="check the path; `model.save_pretrained(folder)` writes such a folder",
            ) from problem

    def read_object(self, name: str) -> dict[str, Any]:
        """The entries of a JSON file that holds an object.

        Raises:
          InputError: it is missing, no JSON, or something else.
        """
        read = self.read_json(name)
        if not isinstance(read, dict):
            raise InputError(
                f"{self.path / name} is not an object",
                got=type(read).__name__,
                expected="a JSON object",
                remedy="check the path",
            )
        return read

    def open_tensors(self, weights: str = "") -> None:
        """Finds every tensor, its shape and its type.

        Args:
          weights: the file or index that config.json names as `transformers_weights`; empty where it names none.

        Raises:
          InputError: a file of tensors is missing or damaged, or there is none that need not be unpickled; or two
            tensors have one name.
        """
        listed: set[str] = set()
        shards = [name for name in (weights, SINGLE, INDEX) if name and self._is_file(name)][:1]
        if weights and shards != [weights]:
            shards = []
        if shards and shards[0].endswith(".json"):
            listed, shards = self._listed(shards[0])
        missing = [name for name in shards if not self._is_file(name)]
        if missing or not shards:
            self._refuse_missing(missing, weights or SINGLE)
        for shard in shards:
            self._add(shard)
        absent = sorted(listed - {name for _, name in self._places.values()})
        if absent:
            raise InputError(
                f"{self.where}: no shard holds the tensor {absent[0]}",
                got=f"{len(self.shapes)} other tensors in {', '.join(shards[:4])}",
                expected=f"what {INDEX} lists",
                remedy="copy the whole folder again: the shards are not of one checkpoint",
            )

    def tensor_files(self) -> list[str]:
        """Paths of the files that hold tensors."""
        return [str(self.path / name) for name in sorted({file for file, _ in self._places.values()})]

    def read(self, name: str) -> np.ndarray:
        """One tensor, in its own type."""
        file, stored = self._places[name]
        if self.types[name] in _NARROW:
            return self._read_narrow(file, stored, _NARROW[self.types[name]])
        with self._opened(file) as opened:
            tensor: np.ndarray = opened.get_tensor(stored)
        return tensor

    def equal(self, one: str, other: str) -> bool:
        """Whether two tensors hold the same numbers as float32, read some rows at a time."""
        if self.shapes[one] != self.shapes[other]:
            return False
        return all(np.array_equal(a, b) for a, b in zip(self._in_rows(one), self._in_rows(other), strict=True))

    def check_type(self, name: str) -> None:
        """Refuses a tensor that holds no weights.

        Raises:
          InputError: it holds whole numbers, truths or something else that is no real number.
        """
        if self.types[name] not in WEIGHTS:
            raise InputError(
                f"{self.where}: the tensor {name} holds no weights",
                got=f"numbers of type {self.types[name]}, as quantised models have them",
                expected=f"one of {', '.join(WEIGHTS)}",
                remedy="take the model as it was before, or load it dequantised in transformers and save that",
            )

    def unwrapped(self) -> list[str]:
        """The parts that wrappers of modules had put into the tensors' names, and that were taken out."""
        return sorted({part for _, name in self._places.values() for part in name.split(".") if part in _WRAPPERS})

    def _is_file(self, name: str) -> bool:
        try:
            return _is_regular(self.inside(name))
        except OSError as problem:
            raise self._unreadable(self.path / name, problem) from problem

    def _listed(self, index: str) -> tuple[set[str], list[str]]:
        """The tensors that an index lists, and the files that it names."""
        placed = self.read_object(index).get("weight_map")
        if not isinstance(placed, dict) or not placed:
            raise InputError(
                f"{self.path / index} names no files",
                got=f"weight_map: {placed!r}"[:200],
                expected="an object weight_map, from each tensor's name to its file's",
                remedy="copy the index again",
            )
        for name in placed.values():
            self.inside(name)
        return set(placed), sorted(set(placed.values()))

    def _refuse_missing(self, missing: list[str], wanted: str) -> None:
        pickled = sorted(path.name for path in self.path.glob("*") if path.suffix in (".bin", ".pt", ".pth"))
        shards = sorted(path.name for path in self.path.glob("*.safetensors"))
        if missing:
            got = f"{len(missing)} missing shards: {', '.join(missing[:4])}"
        elif shards:
            got = f"{', '.join(shards[:4])}, and neither {SINGLE} nor {INDEX}"
        elif pickled:
            got = f"{', '.join(pickled[:4])}, which would have to be unpickled"
        else:
            got = f"neither {SINGLE} nor {INDEX}"
        raise InputError(
            f"{self.path / missing[0]} is missing" if missing else f"{self.path} holds no safetensors",
            got=got,
            expected=f"every file that {INDEX} names" if missing else wanted,
            remedy="copy the whole folder again; transformers' save_pretrained writes safetensors",
        )

    def _add(self, shard: str) -> None:
        """Notes the tensors of a file."""
        with self._opened(shard) as file:
            for stored in file.keys():
                name = ".".join(part for part in stored.split(".") if part not in _WRAPPERS)
                if name in self._places:
                    raise InputError(
                        f"{self.where} holds the tensor {name} twice",
                        got=" and ".join(f"{held} in {place}" for place, held in (self._places[name], (shard, stored))),
                        expected="each tensor once",
                        remedy="copy the whole folder again into an empty one: files of two checkpoints lie here",
                    )
                part = file.get_slice(stored)
                self._places[name] = shard, stored
                self.shapes[name], self.types[name] = tuple(part.get_shape()), part.get_dtype()

    def _in_rows(self, name: str) -> Iterator[np.ndarray]:
        file, stored = self._places[name]
        if self.types[name] in _NARROW or not self.shapes[name]:
            yield self.read(name).astype(np.float32)
            return
        with self._opened(file) as opened:
            part = opened.get_slice(stored)
            rows = self.shapes[name][0]
            for start in range(0, rows, _ROWS):
                yield part[start : min(start + _ROWS, rows)].astype(np.float32)

    def _read_narrow(self, file: str, stored: str, kind: Any) -> np.ndarray:
        with (self.path / file).open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            entry = json.loads(opened.read(length))[stored]  # safetensors has compared it with the file's size.
            start, end = entry["data_offsets"]
            opened.seek(8 + length + start)
            return np.frombuffer(opened.read(end - start), kind).reshape(entry["shape"])

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[Any]:
        safetensors = needed("safetensors")
        path = self.path / name
        try:
            with safetensors.safe_open(str(path), framework="np") as file:
                yield file
        except OSError as problem:
            raise self._unreadable(path, problem) from problem
        except safetensors.SafetensorError as problem:
            raise InputError(
                f"{path} is damaged",
                got=str(problem).splitlines()[0][:200],
                expected="a whole safetensors file",
                remedy="copy or download this file again",
            ) from problem

    def _unreadable(self, path: epath.Path, problem: OSError) -> InputError:
        return InputError(
            f"{path} cannot be read",
            got=str(problem)[:200],
            expected="a file that this user may read",
            remedy="check the path and the file's permissions",
        )


def _is_regular(path: epath.Path) -> bool:
    """Whether there is a file that ends; epath takes a pipe, which would be waited for without end, for one too."""
    return pathlib.Path(path).is_file()


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is not a finite number")
    return value
