"""Where each of our parameters lies in a foreign checkpoint: the tensor's name, its shape, and our view of it."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from jax_tda.models.decoder_config import DecoderConfig

Shape = tuple[int, ...]
LAYER = "{layer}"


@dataclasses.dataclass(frozen=True)
class Origin:
    """One foreign tensor.

    Args:
      name: its name; `{layer}` stands for the layer's number.
      shape: the shape it must have, given that of our parameter (without the layer axis).
      view: our parameter out of it: a transposition, a part, another order; nothing that would change a value's square
        otherwise than it changes the value, so that second moments are viewed alike.
      shift: added to every value after the view.
    """

    name: str
    shape: Callable[[Shape], Shape]
    view: Callable[[np.ndarray], np.ndarray]
    shift: float = 0.0


def same(name: str, shift: float = 0.0) -> Origin:
    """A tensor that is stored as we store it."""
    return Origin(name, lambda shape: shape, lambda array: array, shift)


def transposed(name: str) -> Origin:
    """A linear map stored as (out, in)."""
    return Origin(name, lambda shape: shape[::-1], lambda array: array.T)


def third(name: str, index: int, linear: bool) -> Origin:
    """One of three equal parts, one behind the other, of an output axis: the last, or the first of a linear map."""
    axis = 0 if linear else -1

    def shape(ours: Shape) -> Shape:
        whole = (*ours[:-1], 3 * ours[-1])
        return whole[::-1] if linear else whole

    def view(array: np.ndarray) -> np.ndarray:
        return np.split(array, 3, axis=axis)[index].T if linear else np.split(array, 3, axis=axis)[index]

    return Origin(name, shape, view)


def third_of_heads(name: str, index: int, heads: int) -> Origin:
    """One of query, key and value where each head's three follow each other."""

    def view(array: np.ndarray) -> np.ndarray:
        part = array.reshape(heads, 3, -1, *array.shape[1:])[:, index]
        return part.reshape(-1, *array.shape[1:]).T

    return Origin(name, lambda ours: (*ours[:-1], 3 * ours[-1])[::-1], view)


def pairs_apart(name: str, heads: int, linear: bool) -> Origin:
    """A query or key whose turned pairs lie side by side, as (x0, x1), (x2, x3), …; ours lie half a head apart."""

    def view(array: np.ndarray) -> np.ndarray:
        paired = array.reshape(heads, -1, 2, *array.shape[1:])
        return paired.swapaxes(1, 2).reshape(array.shape).T

    return Origin(name, lambda ours: ours[::-1] if linear else ours, view)


_LEAVES = {"kernel": "weight", "embedding": "weight", "scale": "weight", "bias": "bias"}


def from_modules(modules: Mapping[str, str], paths: Mapping[str, Shape]) -> dict[str, Origin]:
    """The origins of parameters whose foreign module is a torch Linear, Embedding or norm, from our modules' names."""
    found = {}
    for path in paths:
        module, leaf = path.rsplit("/", 1)
        if module in modules:
            name = f"{modules[module]}.{_LEAVES[leaf]}"
            found[path] = transposed(name) if leaf == "kernel" else same(name)
    return found


def huggingface(family: str, config: DecoderConfig, paths: Mapping[str, Shape]) -> dict[str, Origin]:
    """Our parameters' origins in a Hugging Face checkpoint of a family.

    Args:
      family: one of `families.FAMILIES`.
      config: the decoder.
      paths: our parameters and their shapes.
    """
    if family == "gpt2":
        return _gpt2(paths)
    if family == "gpt_neox":
        return _gpt_neox(config, paths)
    return from_modules(_llama_modules(config), paths)


def _llama_modules(config: DecoderConfig) -> dict[str, str]:
    layer = f"model.layers.{LAYER}"
    both = config.norm_place == "both"
    return {
        "embedding": "model.embed_tokens",
        "final_norm": "model.norm",
        "head": "lm_head",
        "layers/attention/query": f"{layer}.self_attn.q_proj",
        "layers/attention/key": f"{layer}.self_attn.k_proj",
        "layers/attention/value": f"{layer}.self_attn.v_proj",
        "layers/attention/output": f"{layer}.self_attn.o_proj",
        "layers/attention/query_norm": f"{layer}.self_attn.q_norm",
        "layers/attention/key_norm": f"{layer}.self_attn.k_norm",
        "layers/mlp/gate": f"{layer}.mlp.gate_proj",
        "layers/mlp/up": f"{layer}.mlp.up_proj",
        "layers/mlp/down": f"{layer}.mlp.down_proj",
        "layers/attention_norm": f"{layer}.input_layernorm",
        "layers/attention_output_norm": f"{layer}.post_attention_layernorm",
        "layers/mlp_norm": f"{layer}.pre_feedforward_layernorm" if both else f"{layer}.post_attention_layernorm",
        "layers/mlp_output_norm": f"{layer}.post_feedforward_layernorm",
    }


def _gpt2(paths: Mapping[str, Shape]) -> dict[str, Origin]:
    layer = f"transformer.h.{LAYER}"
    modules = {
        "embedding": "transformer.wte",
        "position_embedding": "transformer.wpe",
        "final_norm": "transformer.ln_f",
        "head": "lm_head",
        "layers/attention_norm": f"{layer}.ln_1",
        "layers/mlp_norm": f"{layer}.ln_2",
        "layers/attention/output": f"{layer}.attn.c_proj",
        "layers/mlp/up": f"{layer}.mlp.c_fc",
        "layers/mlp/down": f"{layer}.mlp.c_proj",
    }
    # Its maps are stored (in, out), but for the head.
    found = {
        path: same(origin.name) if path.startswith("layers/") else origin
        for path, origin in from_modules(modules, paths).items()
    }
    for index, part in enumerate(("query", "key", "value")):
        for leaf in ("kernel", "bias"):
            found[f"layers/attention/{part}/{leaf}"] = third(f"{layer}.attn.c_attn.{_LEAVES[leaf]}", index, False)
    return found


def _gpt_neox(config: DecoderConfig, paths: Mapping[str, Shape]) -> dict[str, Origin]:
    layer = f"gpt_neox.layers.{LAYER}"
    modules = {
        "embedding": "gpt_neox.embed_in",
        "final_norm": "gpt_neox.final_layer_norm",
        "head": "embed_out",
        "layers/attention_norm": f"{layer}.input_layernorm",
        "layers/mlp_norm": f"{layer}.post_attention_layernorm",
        "layers/attention/output": f"{layer}.attention.dense",
        "layers/mlp/up": f"{layer}.mlp.dense_h_to_4h",
        "layers/mlp/down": f"{layer}.mlp.dense_4h_to_h",
    }
    found = from_modules(modules, paths)
    for index, part in enumerate(("query", "key", "value")):
        for leaf in ("kernel", "bias"):
            if (path := f"layers/attention/{part}/{leaf}") in paths:
                name = f"{layer}.attention.query_key_value.{_LEAVES[leaf]}"
                found[path] = third_of_heads(name, index, config.heads)
    return found
