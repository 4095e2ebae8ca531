"""A Hugging Face folder as a source of tensors: config.json, and safetensors in one file or in shards.

A tensor's shape is known from a file's header; its values are read when they are asked for, one tensor at a time.
"""

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from etils import epath

from jax_tda.core.errors import InputError
from jax_tda.models.decoder_config import DecoderConfig
from jax_tda.models.importers import families, names
from jax_tda.models.importers.origins import Origin
from jax_tda.models.importers.source import Source, needed

_INDEX, _SINGLE = "model.safetensors.index.json", "model.safetensors"
# What old versions of transformers stored beside the parameters: masks, and wavelengths that follow from the config.
_BUFFERS = re.compile(r"(\.attn\.(masked_)?bias|\.attention\.(masked_)?bias|rotary_emb\.inv_freq|position_ids)$")


class HuggingFaceSource(Source):
    """A folder that `save_pretrained` wrote, or a download of one.

    Args:
      folder: its path.

    Raises:
      InputError: config.json or a file of tensors is missing or damaged, or the architecture is not known.
    """

    format = "huggingface"

    def __init__(self, folder: str):
        self.where = folder
        self._folder = epath.Path(folder)
        entries = self.read_json("config.json")
        self.family = str(entries.get("model_type", ""))
        self.config: DecoderConfig = families.decoder_config(self.family, entries, f"{folder}/config.json")
        self.context = _context(entries)
        self._files = self._find_files()
        self.shapes = self._read_shapes()
        self.unused = _BUFFERS

    def read_json(self, name: str) -> dict[str, Any]:
        """A JSON file of the folder.

        Raises:
          InputError: it is missing or no JSON object.
        """
        path = self._folder / name
        try:
            read = json.loads(path.read_text())
        except (OSError, ValueError) as problem:
            raise InputError(
                f"{path} cannot be read",
                got="no such file" if not path.exists() else problem,
                expected="a folder with config.json, model.safetensors (or shards with their index) and tokenizer.json",
                remedy="check the path; `model.save_pretrained(folder)` writes such a folder",
            ) from problem
        if not isinstance(read, dict):
            raise InputError(
                f"{path} is not an object", got=type(read).__name__, expected="a JSON object", remedy="check the path"
            )
        return read

    def files(self) -> list[str]:
        """Paths of every file that the import reads."""
        kept = ("config.json", _INDEX, "tokenizer.json", "tokenizer_config.json", "tokenizer.model")
        there = [name for name in kept if (self._folder / name).exists()]
        return [str(self._folder / name) for name in [*there, *sorted(set(self._files.values()))]]

    def find_origins(self, paths: dict[str, tuple[int, ...]]) -> dict[str, Origin]:
        """Where our parameters lie here."""
        found = names.huggingface(self.family, self.config, paths)
        return {path: self._as_stored(origin) for path, origin in found.items()}

    def read(self, name: str) -> np.ndarray:
        """One tensor, in its own type."""
        with self._opened(self._files[name]) as file:
            tensor: np.ndarray = file.get_tensor(name)
        return tensor

    def _as_stored(self, origin: Origin) -> Origin:
        """Under the name used here: those of a bare model lack their first part, and GPT-NeoX's head has two names."""
        prefix, _, rest = origin.name.partition(".")
        name = origin.name
        if prefix in ("transformer", "model", "gpt_neox") and not any(n.startswith(f"{prefix}.") for n in self.shapes):
            name = rest
        elif name == "embed_out.weight" and name not in self.shapes:
            name = "lm_head.weight"
        return Origin(name, origin.shape, origin.view, origin.shift)

    def _find_files(self) -> dict[str, str]:
        """Tensor name to file name."""
        if (self._folder / _INDEX).exists():
            placed: dict[str, str] = self.read_json(_INDEX).get("weight_map", {})
        elif (self._folder / _SINGLE).exists():
            with self._opened(_SINGLE) as file:
                placed = dict.fromkeys(file.keys(), _SINGLE)
        else:
            placed = {}
        missing = sorted({name for name in placed.values() if not (self._folder / name).exists()})
        if missing or not placed:
            pickled = sorted(path.name for path in self._folder.glob("*.bin"))
            raise InputError(
                f"{self._folder / missing[0]} is missing" if missing else f"{self._folder} holds no safetensors",
                got=f"{len(missing)} missing shards: {', '.join(missing[:4])}"
                if missing
                else f"{', '.join(pickled[:4])}, which would have to be unpickled"
                if pickled
                else "neither model.safetensors nor model.safetensors.index.json",
                expected="every file that model.safetensors.index.json names" if missing else _SINGLE,
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
                            f"{self._folder / shard} does not hold the tensor {name}",
                            got=f"{len(held)} other tensors",
                            expected=f"what {_INDEX} says of this file",
                            remedy="copy the whole folder again: the shards are not of one checkpoint",
                        )
                    shapes[name] = tuple(file.get_slice(name).get_shape())
        return shapes

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[Any]:
        safetensors = needed("safetensors")
        path = self._folder / name
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


def _context(entries: dict[str, Any]) -> int:
    names = ("max_position_embeddings", "n_positions", "n_ctx")
    return next((int(entries[name]) for name in names if entries.get(name)), 2048)
