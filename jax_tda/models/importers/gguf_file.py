"""A GGUF file as a source of tensors: metadata in the words of a config.json, tensors dequantised one by one."""

import dataclasses
import math
import re
from typing import Any

import numpy as np

from jax_tda.core.errors import InputError
from jax_tda.models.importers import families, gguf_fields, gguf_header, gguf_settings, names
from jax_tda.models.importers.origins import Origin
from jax_tda.models.importers.source import Source, needed

# What wavelengths are multiplied by, where the converter wrote the numbers instead of the rule.
_FACTORS = "rope_freqs.weight"


class GGUFSource(Source):
    """A GGUF file.

    Args:
      path: the file.

    Raises:
      InputError: it is truncated or no GGUF file, or its architecture is not known.
    """

    format = "gguf"
    unused = re.compile(f"^{re.escape(_FACTORS)}$")

    def __init__(self, path: str):
        self.where = path
        self._gguf = needed("gguf")
        header = gguf_header.read(path)
        self._tensors, self._size = header.tensors, header.size
        architecture, read, entries = gguf_settings.read(header, path)
        for name in self._tensors:
            self._bytes(name)
        self.shapes = {name: tensor.shape for name, tensor in self._tensors.items()}
        self.family = gguf_fields.ARCHITECTURES[architecture]
        families.demand_possible(path, entries, self.shapes)
        settings = families.settings(self.family, gguf_settings.layer_types(entries), path)
        config = families.decoder_config(self.family, settings, self.shapes)
        if _FACTORS in self._tensors:
            if architecture != "llama" or config.rope_factors:
                raise read.contradiction(f"{_FACTORS} beside a scaling", "one of them, of the architecture llama")
            config = dataclasses.replace(config, rope_factors=tuple(float(f) for f in self.read(_FACTORS)))
        if "blk.0.attn_q.bias" in self.shapes and "blk.0.attn_output.bias" not in self.shapes:
            config = dataclasses.replace(config, attention_bias="inputs")
        self.config = config
        self.context = families.context(settings)
        self.notes = read.described()

    def files(self) -> list[str]:
        """The file itself."""
        return [self.where]

    def find_origins(self, paths: dict[str, tuple[int, ...]]) -> dict[str, Origin]:
        """Where our parameters lie here."""
        return names.gguf(self.family, self.config, paths)

    def read(self, name: str) -> np.ndarray:
        """One tensor, dequantised to float32.

        Raises:
          InputError: the `gguf` package does not dequantise its type.
        """
        kind, length = self._bytes(name)
        shape = self.shapes[name]
        with open(self.where, "rb") as file:
            file.seek(self._tensors[name].offset)
            held = np.frombuffer(file.read(length), np.uint8)
        if kind.name == "F64":
            return held.view("<f8").reshape(shape)
        try:
            values: np.ndarray = self._gguf.quants.dequantize(held.reshape(*shape[:-1], -1), kind)
        except RuntimeError as problem:
            raise InputError(
                f"{self.where}: the tensor {name} cannot be dequantised",
                got=kind.name,
                expected="a type that the gguf package dequantises",
                remedy="take another quantisation of this model, or its Hugging Face folder",
            ) from problem
        return values.reshape(shape)

    def _bytes(self, name: str) -> tuple[Any, int]:
        """A tensor's type and length in bytes, which lie within the file.

        Raises:
          InputError: they do not, or the type is not known, or none of weights.
        """
        tensor = self._tensors[name]
        sizes = self._gguf.GGML_QUANT_SIZES
        known = {int(kind): kind for kind in sizes}
        kind, last = known.get(tensor.kind), (tensor.shape or (1,))[-1]
        block, each = sizes[kind] if kind is not None else (1, 1)
        length = math.prod(tensor.shape) // block * each
        problem = ""
        if kind is None or kind.name in ("I8", "I16", "I32", "I64"):
            problem = f"the type {tensor.kind if kind is None else kind.name}"
        elif last % block or 0 in tensor.shape:
            problem = f"the shape {tensor.shape}, whose rows are no blocks of {block}"
        elif tensor.offset + length > self._size:
            problem = f"{self._size:,} bytes, where this tensor ends at {tensor.offset + length:,}"
        if problem:
            raise InputError(
                f"the GGUF file {self.where} is truncated or damaged, or its tensor {name} holds no weights",
                got=problem,
                expected="a whole GGUF file of numbers that the gguf package dequantises",
                remedy="copy or download the file again",
            )
        return kind, length
