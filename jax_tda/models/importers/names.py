"""The names that foreign checkpoints give our parameters, by family: Hugging Face's, and GGUF's."""

from collections.abc import Mapping

from jax_tda.models.decoder_config import DecoderConfig
from jax_tda.models.importers.origins import (
    LAYER,
    LEAVES,
    Origin,
    Shape,
    from_modules,
    pairs_apart,
    same,
    third,
    third_of_heads,
)


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


# The order in which a layer's parts are registered with torch, which numbers parameters in an optimizer's state.
_REGISTERED = {
    "gpt2": "ln_1 attn.c_attn attn.c_proj ln_2 mlp.c_fc mlp.c_proj",
    "gpt_neox": "input_layernorm post_attention_layernorm query_key_value attention.dense. dense_h_to_4h dense_4h_to_h",
}
_REGISTERED_BY_OTHERS = (
    "q_proj k_proj v_proj o_proj q_norm k_norm gate_proj up_proj down_proj "
    "input_layernorm post_attention_layernorm pre_feedforward_layernorm post_feedforward_layernorm"
)


def torch_order(family: str, config: DecoderConfig, paths: Mapping[str, Shape]) -> list[str]:
    """The names of a Hugging Face model's parameters in the order of `model.parameters()`.

    Arguments as in `huggingface`.
    """
    parts = _REGISTERED.get(family, _REGISTERED_BY_OTHERS).split()
    found = {origin.name for origin in huggingface(family, config, paths).values()}
    layers = {name for name in found if LAYER in name}
    last = ("norm.", "ln_f.", "lm_head.", "embed_out.")

    def inside(name: str) -> tuple[int, bool]:
        return next(number for number, part in enumerate(parts) if part in name), name.endswith("bias")

    def outside(name: str) -> tuple[int, bool]:
        # Tables stand before the layers; that of the tokens before that of the positions.
        return next((n for n, part in enumerate(last) if part in name), -1), name.endswith(("bias", "wpe.weight"))

    around = sorted(found - layers, key=outside)
    tables = [name for name in around if outside(name)[0] < 0]
    ordered = sorted(layers, key=inside)
    within = [name.replace(LAYER, str(layer)) for layer in range(config.layers) for name in ordered]
    return [*tables, *within, *around[len(tables) :]]


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
            found[f"layers/attention/{part}/{leaf}"] = third(f"{layer}.attn.c_attn.{LEAVES[leaf]}", index, False)
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
                name = f"{layer}.attention.query_key_value.{LEAVES[leaf]}"
                found[path] = third_of_heads(name, index, config.heads)
    return found


_GGUF = {
    "embedding": "token_embd",
    "position_embedding": "position_embd",
    "final_norm": "output_norm",
    "head": "output",
    "layers/attention/query": f"blk.{LAYER}.attn_q",
    "layers/attention/key": f"blk.{LAYER}.attn_k",
    "layers/attention/value": f"blk.{LAYER}.attn_v",
    "layers/attention/output": f"blk.{LAYER}.attn_output",
    "layers/attention/query_norm": f"blk.{LAYER}.attn_q_norm",
    "layers/attention/key_norm": f"blk.{LAYER}.attn_k_norm",
    "layers/mlp/gate": f"blk.{LAYER}.ffn_gate",
    "layers/mlp/up": f"blk.{LAYER}.ffn_up",
    "layers/mlp/down": f"blk.{LAYER}.ffn_down",
    "layers/attention_norm": f"blk.{LAYER}.attn_norm",
    "layers/attention_output_norm": f"blk.{LAYER}.post_attention_norm",
    "layers/mlp_norm": f"blk.{LAYER}.ffn_norm",
    "layers/mlp_output_norm": f"blk.{LAYER}.post_ffw_norm",
}


def gguf(family: str, config: DecoderConfig, paths: Mapping[str, Shape]) -> dict[str, Origin]:
    """Our parameters' origins in a GGUF file; arguments as in `huggingface`.

    The converter that writes such files puts the turned pairs of Llama's queries and keys side by side, and adds 1 to
    Gemma's norms.
    """
    found = from_modules(_GGUF, paths)
    for path, origin in found.items():
        if family.startswith("gemma") and path.endswith("/scale"):
            found[path] = same(origin.name, -1.0)
        for part, heads in (("query", config.heads), ("key", config.kv_heads)):
            if family == "llama" and path.startswith(f"layers/attention/{part}/"):
                found[path] = pairs_apart(origin.name, heads)
    if family in ("gpt2", "gpt_neox"):
        for index, part in enumerate(("query", "key", "value")):
            for leaf in ("kernel", "bias"):
                name = f"blk.{LAYER}.attn_qkv.{LEAVES[leaf]}"
                found[f"layers/attention/{part}/{leaf}"] = third(name, index, linear=True)
    return {path: origin for path, origin in found.items() if path in paths}
