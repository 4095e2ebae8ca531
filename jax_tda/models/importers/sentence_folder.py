"""A folder of the sentence-transformers library as our sentence encoder: shape, pooling and parameters."""

from pathlib import PurePosixPath
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
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
_SETTINGS = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
_LIBRARY = "config_sentence_transformers.json"
# Entries that change a vector in a way that is not followed, and the values with which they change nothing.
_BERT_OFF = {"is_decoder": False, "add_cross_attention": False, "quantization_config": None, "pruned_heads": None}
_SETTINGS_OFF = {
    **dict.fromkeys(("model_args", "model_kwargs", "config_args", "config_kwargs", "processing_kwargs")),
    **dict.fromkeys(("tokenizer_args", "processor_kwargs", "query_length", "document_length", "query_expansion")),
    "tokenizer_name_or_path": None,
    "transformer_task": "feature-extraction",
}
_SETTINGS_KNOWN = ("max_seq_length", "do_lower_case", "modality_config", "module_output_name", "unpad_inputs")
# Prompts are applied by the default's name alone; a similarity is chosen by `score`, which takes the cosine.
_LIBRARY_KNOWN = ("__version__", "prompts", "default_prompt_name", "similarity_fn_name", "model_type", "requirements")
_POOLING_KNOWN = ("word_embedding_dimension", "embedding_dimension", "pooling_mode", "include_prompt")


class SentenceFolder(TensorFolder):
    """A sentence encoder's folder, its shape read and its tensors checked.

    Without `modules.json` it is a plain BERT: the mean over tokens, not normed, and no file of the library is read.

    Args:
      folder: its path.

    Attributes:
      prompt: what the library puts before every text by default; empty where nothing.
      pools_prompt: whether the prompt's tokens count in the pooling.
      longest: `max_seq_length`; 0 where it is not given.
      lower: whether text is put in lower case before it is cut.
      remarks: what is not followed, in words.

    Raises:
      InputError: a file is missing or damaged; the model is of another kind, pooled in another way or goes on behind
        the pooling; a tensor is missing, has a wrong shape or belongs to nothing.
    """

    def __init__(self, folder: str):
        super().__init__(folder)
        self._root = self.path
        self._parts: list[str] = []
        self.prompt, self.pools_prompt, self.longest, self.lower = "", True, 0, False
        self.remarks: list[str] = []
        pooling, unit_norm = "mean", False
        if (self._root / "modules.json").exists():
            places = self._read_modules()
            pooling, unit_norm = self._read_pooling(places[1]), len(places) > 2
            self._read_library()
            self._within(places[0])
            self._read_settings()
        self.config = self._read_config(pooling, unit_norm)
        self.model = SentenceEncoder(self.config)
        self.open_tensors()
        self._names = self._checked()

    @property
    def tokenizer_folder(self) -> str:
        """The path of the folder that holds the tokenizer."""
        return str(self.path)

    def files(self) -> list[str]:
        """Paths of every file that decides a vector."""
        there = [self._root / name for name in ("modules.json", _LIBRARY, *self._parts)]
        there += [self.path / name for name in ("config.json", INDEX, *_SETTINGS, *_TOKENIZER_FILES)]
        found = [str(path) for path in there if path.exists()]
        return [*dict.fromkeys(found), *(path for path in self.tensor_files() if path not in found)]

    def before(self, prefix: str) -> str:
        """What is put before every text: the prefix that is asked for, else the folder's own prompt.

        Raises:
          InputError: the pooling leaves the prompt's tokens out, which is not followed.
        """
        prompt = prefix or self.prompt
        if prompt and not self.pools_prompt:
            raise self._refused(
                self._parts[0], f"include_prompt false, with the prompt {prompt!r}", "a pooling over the prompt too"
            )
        return prompt

    def parameters(self) -> dict[str, Any]:
        """The parameters, float32, on the default device."""
        leaves = {}
        for path, (name, shape) in self._names.items():
            value = self.read(name).astype(np.float32)
            leaves[path] = jnp.asarray(value.T if path.endswith("kernel") else value)
            assert leaves[path].shape == shape
        return trees.unflatten(leaves)

    def _within(self, place: str) -> None:
        self.path = self._root / place if place else self._root

    def _off(self, file: str, entries: dict[str, Any], off: dict[str, Any], known: tuple[str, ...]) -> None:
        """Refuses what changes a vector, and remarks on what is not known."""
        for name, value in entries.items():
            if name in off and value and value != off[name]:
                raise self._refused(file, f"{name} {str(value)[:60]}", f"{name} {off[name]}, or none")
            if known and name not in known and name not in off:
                self.remarks.append(f"unknown key {file}: {name}: not read")

    def _read_config(self, pooling: str, unit_norm: bool) -> SentenceEncoderConfig:
        entries = self.read_object("config.json")
        self._off("config.json", entries, _BERT_OFF, ())
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
        return SentenceEncoderConfig(
            **counts, norm_epsilon=epsilon, activation=entries["hidden_act"], pooling=pooling, unit_norm=unit_norm
        )

    def _count(self, entries: dict[str, Any], name: str) -> int:
        value = entries.get(name, 2 if name == "type_vocab_size" else None)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            got = f"{name} {value!r}" if name in entries else f"no {name}"
            raise self._refused("config.json", got, "the entries of a BertConfig: whole numbers of at least 1")
        return value

    def _read_modules(self) -> list[str]:
        """The places of Transformer, Pooling and perhaps Normalize, below the folder."""
        read = self.read_json("modules.json")
        if not isinstance(read, list) or not all(isinstance(module, dict) for module in read):
            raise self._refused("modules.json", type(read).__name__, "a list of objects, one for each module")
        kinds, places = [], []
        for module in read:
            library, _, kind = str(module.get("type", "")).rpartition(".")
            place = module.get("path", "")
            if library and library.split(".")[0] != "sentence_transformers" and library != "models":
                raise self._refused(
                    "modules.json", str(module["type"]), "modules of sentence_transformers: no other code"
                )
            if not isinstance(place, str) or place.startswith("/") or ".." in PurePosixPath(place).parts:
                raise self._refused("modules.json", f"path {place!r}", "a plain path below the folder")
            if module.get("kwargs"):
                raise self._refused("modules.json", f"kwargs {module['kwargs']}", "modules without arguments of a call")
            kinds.append(kind)
            places.append(place)
        if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
            raise self._refused("modules.json", ", ".join(kinds), "Transformer, Pooling and perhaps Normalize")
        names = [str(module["name"]) for module in read if "name" in module]
        if len(set(names)) < len(names):
            raise self._refused("modules.json", f"names {', '.join(names)}", "a name of its own for each module")
        if len(kinds) > 2 and (self._root / places[2] / "config.json").exists() and places[2]:
            self._parts.append(f"{places[2]}/config.json")
            sides = {"module_input_name": "sentence_embedding", "module_output_name": "sentence_embedding"}
            self._off(self._parts[-1], self.read_object(self._parts[-1]), sides, tuple(sides))
        return places

    def _read_pooling(self, place: str) -> str:
        """The way in which states become a vector."""
        file = f"{place}/config.json"
        self._parts.insert(0, file)
        entries = self.read_object(file)
        flags = {name: given for name, given in entries.items() if name.startswith("pooling_mode_")}
        for name, given in (*flags.items(), ("include_prompt", entries.get("include_prompt", True))):
            if not isinstance(given, bool):
                raise self._refused(file, f"{name} {given!r}", "true or false")
        self._off(file, entries, {}, (*_POOLING_KNOWN, *flags))
        self.pools_prompt = entries.get("include_prompt", True)
        # The newer key wins over the flags, and where no flag is set it is the mean.
        chosen = [name.removeprefix("pooling_mode_") for name, given in flags.items() if given] or ["mean_tokens"]
        named = entries.get("pooling_mode")
        ways = [way.removesuffix("_tokens").removesuffix("_token") for way in chosen] if named is None else named
        ways = ways if isinstance(ways, list) else [ways]
        if len(ways) != 1 or ways[0] not in POOLINGS:
            raise self._refused(file, ", ".join(map(str, ways)), " or ".join(POOLINGS))
        return str(ways[0])

    def _read_library(self) -> None:
        """The default prompt, and what kind of model the library takes this for."""
        entries = self.read_object(_LIBRARY) if (self._root / _LIBRARY).exists() else {}
        self._off(_LIBRARY, entries, {"truncate_dim": None}, _LIBRARY_KNOWN)
        kind, prompts = entries.get("model_type") or "SentenceTransformer", entries.get("prompts") or {}
        if kind != "SentenceTransformer":
            raise self._refused(_LIBRARY, f"model_type {kind!r}", "a SentenceTransformer")
        texts = (str, type(None))
        if not isinstance(prompts, dict) or not all(isinstance(one, texts) for one in prompts.values()):
            raise self._refused(_LIBRARY, f"prompts {str(prompts)[:60]}", "an object of texts by their names")
        name = entries.get("default_prompt_name")
        held = {"query": "", "document": ""} | prompts
        if name is not None and (not isinstance(name, str) or name not in held):
            raise self._refused(_LIBRARY, f"default_prompt_name {name!r}", f"one of {', '.join(held)}")
        self.prompt = held[name] or "" if name is not None else ""
        others = sorted(key for key, text in prompts.items() if text and key != name)
        if others:
            self.remarks.append(f"prompts {', '.join(others)} of {_LIBRARY} are not used: embed.prefix takes one")
        similarity = entries.get("similarity_fn_name") or "cosine"
        if similarity != "cosine":
            self.remarks.append(f"similarity_fn_name {similarity} of {_LIBRARY}: scores here are cosines")

    def _read_settings(self) -> None:
        """The longest text and lower case, of the first of the library's files that says anything."""
        name = next((one for one in _SETTINGS if (self.path / one).exists() and self.read_object(one)), None)
        if name is None:
            return
        entries = self.read_object(name)
        self._off(name, entries, _SETTINGS_OFF, _SETTINGS_KNOWN)
        longest, lower = entries.get("max_seq_length"), entries.get("do_lower_case", False)
        if longest is not None and (not isinstance(longest, int) or isinstance(longest, bool) or longest < 1):
            raise self._refused(name, f"max_seq_length {longest!r}", "a whole number of at least 1")
        if not isinstance(lower, bool):
            raise self._refused(name, f"do_lower_case {lower!r}", "true or false")
        self.longest, self.lower = longest or 0, lower

    def _checked(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Our parameters: their tensors' names and their shapes."""
        if self.config.layers > len(self.shapes):
            got = f"num_hidden_layers {self.config.layers}, {len(self.shapes)} tensors"
            raise self._refused("config.json", got, "tensors for every layer")
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
