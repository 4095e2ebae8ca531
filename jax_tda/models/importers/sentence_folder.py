"""A folder of the sentence-transformers library as our sentence encoder: shape, pooling and parameters."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_tda.core import trees
from jax_tda.core.errors import InputError
from jax_tda.models.importers.tensor_folder import INDEX, TensorFolder
from jax_tda.models.sentence_encoder import ACTIVATIONS, POOLINGS, SentenceEncoder, SentenceEncoderConfig

# Ours, and theirs below `encoder.layer.N.`.
_LAYER = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "mlp_norm": "output.LayerNorm",
}
_TABLES = {
    "tokens": "embeddings.word_embeddings",
    "positions": "embeddings.position_embeddings",
    "token_types": "embeddings.token_type_embeddings",
    "norm": "embeddings.LayerNorm",
}
_LEAVES = {"kernel": "weight", "bias": "bias", "scale": "weight", "embedding": "weight"}
_COUNTS = {
    "vocabulary_size": "vocab_size",
    "layers": "num_hidden_layers",
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "mlp_width": "intermediate_size",
    "positions": "max_position_embeddings",
    "token_types": "type_vocab_size",
}
# A head for another task, and numbers that are no parameters.
_UNUSED = ("pooler.", "cls.", "embeddings.position_ids")
_FILES = ("config.json", INDEX, "modules.json", "sentence_bert_config.json", "tokenizer.json")


class SentenceFolder(TensorFolder):
    """A sentence encoder's folder, its shape read and its tensors checked.

    Without `modules.json` it is a plain BERT: the mean over tokens, not normed.

    Args:
      folder: its path.

    Raises:
      InputError: a file is missing or damaged; the model is of another kind, pooled in another way or goes on behind
        the pooling; a tensor is missing, has a wrong shape or belongs to nothing.
    """

    def __init__(self, folder: str):
        super().__init__(folder)
        self._parts: list[str] = []
        self.config = self._read_config()
        self.model = SentenceEncoder(self.config)
        self.open_tensors()
        self._names = self._checked()

    def files(self) -> list[str]:
        """Paths of every file that decides a vector."""
        there = [name for name in (*_FILES, *self._parts) if (self.path / name).exists()]
        return [*(str(self.path / name) for name in there), *self.tensor_files()]

    def parameters(self) -> dict[str, Any]:
        """The parameters, float32, on the default device."""
        leaves = {}
        for path, (name, shape) in self._names.items():
            value = self.read(name).astype(np.float32)
            leaves[path] = jnp.asarray(value.T if path.endswith("kernel") else value)
            assert leaves[path].shape == shape
        return trees.unflatten(leaves)

    def _read_config(self) -> SentenceEncoderConfig:
        entries = self.read_object("config.json")
        kind = entries.get("model_type")
        if kind != "bert" or entries.get("position_embedding_type", "absolute") != "absolute":
            raise self._refused("config.json", f"model_type {kind!r}", "a BERT with learned positions ('bert')")
        if entries.get("hidden_act") not in tuple(ACTIVATIONS):
            raise self._refused("config.json", f"hidden_act {entries.get('hidden_act')!r}", ", ".join(ACTIVATIONS))
        epsilon = entries.get("layer_norm_eps", 1e-12)
        if not isinstance(epsilon, (float, int)) or isinstance(epsilon, bool) or not 0 < epsilon < 1:
            raise self._refused("config.json", f"layer_norm_eps {epsilon!r}", "a number between 0 and 1")
        counts = {ours: self._count(entries, theirs) for ours, theirs in _COUNTS.items()}
        if counts["width"] % counts["heads"]:
            got = f"hidden_size {counts['width']}, num_attention_heads {counts['heads']}"
            raise self._refused("config.json", got, "a width that the heads divide")
        pooling, unit_norm = self._read_modules()
        return SentenceEncoderConfig(
            **counts, norm_epsilon=epsilon, activation=entries["hidden_act"], pooling=pooling, unit_norm=unit_norm
        )

    def _count(self, entries: dict[str, Any], name: str) -> int:
        value = entries.get(name, 2 if name == "type_vocab_size" else None)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            got = f"{name} {value!r}" if name in entries else f"no {name}"
            raise self._refused("config.json", got, "the entries of a BertConfig: whole numbers of at least 1")
        return value

    def _read_modules(self) -> tuple[str, bool]:
        """How states become a vector, and whether it is normed."""
        if not (self.path / "modules.json").exists():
            return "mean", False
        read = self.read_json("modules.json")
        if not isinstance(read, list) or not all(isinstance(module, dict) for module in read):
            raise self._refused("modules.json", type(read).__name__, "a list of objects, one for each module")
        modules = [(str(module.get("type", "")).rpartition(".")[2], str(module.get("path", ""))) for module in read]
        kinds = [kind for kind, _ in modules]
        if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
            raise self._refused("modules.json", ", ".join(kinds), "Transformer, Pooling and perhaps Normalize")
        self._parts = [f"{modules[1][1]}/config.json"]
        pooling = self.read_object(self._parts[0])
        chosen = [name for name, given in pooling.items() if name.startswith("pooling_mode_") and given is True]
        ways = [name.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token") for name in chosen]
        ways = ways or [str(pooling.get("pooling_mode"))]
        if len(ways) != 1 or ways[0] not in POOLINGS:
            raise self._refused(self._parts[0], ", ".join(ways), " or ".join(POOLINGS))
        return ways[0], "Normalize" in kinds

    def _checked(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Our parameters: their tensors' names and their shapes."""
        token = jax.ShapeDtypeStruct((1, 1), jnp.int32)
        there = jax.ShapeDtypeStruct((1, 1), jnp.bool_)
        shapes = jax.eval_shape(self.model.init, jax.random.key(0), token, there)
        prefix = "bert." if any(name.startswith("bert.") for name in self.shapes) else ""
        found = {}
        for path, leaf in trees.flatten(shapes).items():
            name, shape = prefix + _origin(path), tuple(leaf.shape)
            stored = shape[::-1] if path.endswith("kernel") else shape
            if self.shapes.get(name) != stored:
                raise InputError(
                    f"{self.where}: the tensor {name} {'has a wrong shape' if name in self.shapes else 'is missing'}",
                    got=self.shapes.get(name, f"{len(self.shapes)} other tensors"),
                    expected=f"{stored}, for {path} of a sentence encoder",
                    remedy="the configuration and the tensors are of different models; copy both from one place",
                )
            found[path] = name, shape
        wanted = {name for name, _ in found.values()}
        left = [n for n in sorted(self.shapes) if n not in wanted and not n.removeprefix(prefix).startswith(_UNUSED)]
        if left:
            raise self._refused("config.json", f"the tensor {left[0]}, which has no place", "the tensors of a BERT")
        return found

    def _refused(self, file: str, got: str, expected: str) -> InputError:
        return InputError(
            f"{self.path / file}: this sentence encoder cannot be read",
            got=got,
            expected=expected,
            remedy="give a BERT-type sentence encoder, such as all-MiniLM-L6-v2; docs/models.md says which",
        )


def _origin(path: str) -> str:
    *module, leaf = path.split("/")
    if module[0] in _TABLES:
        return f"{_TABLES[module[0]]}.{_LEAVES[leaf]}"
    number = module[0].removeprefix("layers_")
    return f"encoder.layer.{number}.{_LAYER[module[1]]}.{_LEAVES[leaf]}"
