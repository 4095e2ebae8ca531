"""A folder of JSON files and safetensors, in one file or in shards with their index.

A tensor's shape is known from a file's header; its values are read when they are asked for, one tensor at a time.
"""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from etils import epath

from jax_tda.core.errors import InputError
from jax_tda.models.importers.source import needed

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"


class TensorFolder:
    """What Hugging Face's libraries write, whatever model it holds.

    Args:
      folder: its path.
    """

    def __init__(self, folder: str):
        self.where = folder
        self.path = epath.Path(folder)
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._files: dict[str, str] = {}

    def read_json(self, name: str) -> Any:
        """The value of a JSON file of the folder.

        Raises:
          InputError: it is missing or no JSON.
        """
        path = self.path / name
        try:
            return json.loads(path.read_text())
        except (OSError, ValueError) as problem:
            raise InputError(
                f"{path} cannot be read",
                got="no such file" if not path.exists() else problem,
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

    def open_tensors(self) -> None:
        """Finds every tensor and its shape.

        Raises:
          InputError: a file of tensors is missing or damaged, or there is none that need not be unpickled.
        """
        self._files = self._find_files()
        self.shapes = self._read_shapes()

    def tensor_files(self) -> list[str]:
        """Paths of the files that hold tensors."""
        return [str(self.path / name) for name in sorted(set(self._files.values()))]

    def read(self, name: str) -> np.ndarray:
        """One tensor, in its own type."""
        with self._opened(self._files[name]) as file:
            tensor: np.ndarray = file.get_tensor(name)
        return tensor

    def _find_files(self) -> dict[str, str]:
        """Tensor name to file name."""
        if (self.path / INDEX).exists():
            placed: dict[str, str] = self.read_object(INDEX).get("weight_map", {})
        elif (self.path / SINGLE).exists():
            with self._opened(SINGLE) as file:
                placed = dict.fromkeys(file.keys(), SINGLE)
        else:
            placed = {}
        missing = sorted({name for name in placed.values() if not (self.path / name).exists()})
        if missing or not placed:
            pickled = sorted(path.name for path in self.path.glob("*.bin"))
            raise InputError(
                f"{self.path / missing[0]} is missing" if missing else f"{self.path} holds no safetensors",
                got=f"{len(missing)} missing shards: {', '.join(missing[:4])}"
                if missing
                else f"{', '.join(pickled[:4])}, which would have to be unpickled"
                if pickled
                else "neither model.safetensors nor model.safetensors.index.json",
                expected="every file that model.safetensors.index.json names" if missing else SINGLE,
                remedy="copy the whole folder again; transformers' save_pretrained writes safetensors",
            )
        return placed

    def _read_shapes(self) -> dict[str, tuple[int, ...]]:
        shapes = {}
        for shard in sorted(set(self._files.values())):
            with self._opened(shard) as file:
                held = set(file.keys())
                for name in (name for name, place in self._files.items() if place == shard):
                    if name not in held:
                        raise InputError(
                            f"{self.path / shard} does not hold the tensor {name}",
                            got=f"{len(held)} other tensors",
                            expected=f"what {INDEX} says of this file",
                            remedy="copy the whole folder again: the shards are not of one checkpoint",
                        )
                    shapes[name] = tuple(file.get_slice(name).get_shape())
        return shapes

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[Any]:
        safetensors = needed("safetensors")
        path = self.path / name
        try:
            with safetensors.safe_open(str(path), framework="np") as file:
                yield file
        except (OSError, safetensors.SafetensorError) as problem:
            raise InputError(
                f"{path} is damaged",
                got=str(problem).splitlines()[0],
                expected="a whole safetensors file",
                remedy="copy or download this file again",
            ) from problem
