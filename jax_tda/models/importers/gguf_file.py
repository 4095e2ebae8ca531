"""A GGUF file as a source of tensors: metadata in the words of a config.json, tensors dequantised one by one."""

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from jax_tda.core.errors import InputError
from jax_tda.models.importers import families, names
from jax_tda.models.importers.origins import Origin
from jax_tda.models.importers.source import Source, needed

_ARCHITECTURES = {
    "llama": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "gemma2": "gemma2",
    "gemma3": "gemma3_text",
    "gpt2": "gpt2",
    "gptneox": "gpt_neox",
    "olmo2": "olmo2",
}
_ENTRIES = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "attention.layer_norm_epsilon": "layer_norm_eps",
    "attention.sliding_window": "sliding_window",
    "attention.sliding_window_pattern": "sliding_window_pattern",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
    "rope.freq_base": "rope_theta",
    "rope.freq_base_swa": "rope_local_base_freq",
    "use_parallel_residual": "use_parallel_residual",
}
# What wavelengths are multiplied by, where the converter wrote the numbers instead of the rule.
_FACTORS = "rope_freqs.weight"
# Layers of the two models whose scores are scaled by width / heads instead of the head's size (Gemma 2 and 3, 27B).
_SCALED_BY_WIDTH = {"gemma2": 46, "gemma3": 62}


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
        reader = open_reader(path)
        self._tensors = {tensor.name: tensor for tensor in reader.tensors}
        self.shapes = {name: tuple(int(n) for n in reversed(tensor.shape)) for name, tensor in self._tensors.items()}
        architecture = reader.fields["general.architecture"].contents()
        self.family = _ARCHITECTURES.get(architecture, architecture)
        entries = self._entries(reader, architecture)
        config = families.decoder_config(self.family, entries, path)
        self.context = int(entries.get("max_position_embeddings", 2048))
        if _FACTORS in self._tensors:
            config = dataclasses.replace(config, rope_factors=tuple(float(f) for f in self.read(_FACTORS)))
        if "blk.0.attn_q.bias" in self.shapes and "blk.0.attn_output.bias" not in self.shapes:
            config = dataclasses.replace(config, attention_bias="inputs")
        self.config = config

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
        tensor = self._tensors[name]
        try:
            values: np.ndarray = self._gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        except RuntimeError as problem:
            raise InputError(
                f"{self.where}: the tensor {name} cannot be dequantised",
                got=tensor.tensor_type.name,
                expected="a type that the gguf package dequantises",
                remedy="take another quantisation of this model, or its Hugging Face folder",
            ) from problem
        return values.reshape(self.shapes[name])

    def _entries(self, reader: Any, architecture: str) -> dict[str, Any]:
        """The metadata under the names of a config.json."""
        fields = {
            key.removeprefix(f"{architecture}."): field.contents()
            for key, field in reader.fields.items()
            if key.startswith(f"{architecture}.")
        }
        found = {ours: fields[theirs] for theirs, ours in _ENTRIES.items() if theirs in fields}
        found["vocab_size"] = self.shapes.get("token_embd.weight", (0,))[0]
        found["tie_word_embeddings"] = "output.weight" not in self.shapes
        found["attention_bias"] = any(f"blk.0.{name}.bias" in self.shapes for name in ("attn_output", "attn_qkv"))
        found["mlp_bias"] = "blk.0.ffn_up.bias" in self.shapes
        kind = fields.get("rope.scaling.type", "none")
        if kind != "none" and _FACTORS not in self.shapes:
            found["rope_scaling"] = {
                "rope_type": kind,
                "factor": fields.get("rope.scaling.factor", 1.0),
                "original_max_position_embeddings": fields.get("rope.scaling.original_context_length"),
            }
        if architecture == "gptneox" and "rope.dimension_count" in fields:
            size = fields["embedding_length"] // fields["attention.head_count"]
            found["rotary_pct"] = fields["rope.dimension_count"] / size
        if architecture in _SCALED_BY_WIDTH:
            by_width = fields["block_count"] == _SCALED_BY_WIDTH[architecture]
            width = fields["embedding_length"] / fields["attention.head_count"]
            found["query_pre_attn_scalar"] = width if by_width else fields.get("attention.key_length", width)
        if architecture == "gemma2":
            found = {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0} | found
        return found


def open_reader(path: str) -> Any:
    """The `gguf` package's reader of a file, whose tensors all lie within it.

    Raises:
      InputError: the file is missing, truncated, or no GGUF file.
    """
    gguf = needed("gguf")
    if not Path(path).is_file():
        raise InputError(f"there is no file {path}", got="nothing", expected="a GGUF file", remedy="check the path")
    size = Path(path).stat().st_size
    try:
        reader = gguf.GGUFReader(path)
        end = max((tensor.data_offset + tensor.n_bytes for tensor in reader.tensors), default=math.inf)
        problem = f"{size:,} bytes, where the last tensor ends at {end:,}" if end > size else None
    except (ValueError, IndexError, KeyError, OverflowError, TypeError, UnicodeDecodeError) as error:
        problem = f"{size:,} bytes; reading them: {error}"
    if problem:
        raise InputError(
            f"the GGUF file {path} is truncated or damaged",
            got=problem,
            expected="a whole GGUF file",
            remedy="copy or download the file again",
        )
    return reader
