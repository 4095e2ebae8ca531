"""Folders as somebody else wrote them: a config.json of ours, and the tensors of the model made of it."""

import json

import numpy as np
import safetensors.torch
import torch
import transformers

from tests.models.importers import tiny

# What a config.json of each family says beside its positions; two layers, widths of a few numbers.
_SIZES = tiny.SIZES | {"bos_token_id": 1, "eos_token_id": 0, "pad_token_id": 0}
_GEMMA = _SIZES | {"head_dim": 8, "num_key_value_heads": 2, "query_pre_attn_scalar": 5, "sliding_window": 4}
FAMILIES = {
    "llama": _SIZES | {"num_key_value_heads": 2},
    "mistral": _SIZES | {"num_key_value_heads": 2, "sliding_window": 4},
    "qwen2": _SIZES | {"num_key_value_heads": 2},
    "qwen3": _SIZES | {"num_key_value_heads": 2, "head_dim": 8},
    "gemma2": _GEMMA,
    "gemma3_text": _GEMMA | {"layer_types": ["sliding_attention", "full_attention"]},
    "gpt_neox": _SIZES | {"hidden_size": 32},
    "olmo2": _SIZES | {"num_key_value_heads": 2},
}
_YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
ROPES = {
    "default": {"rope_type": "default"},
    "linear": {"rope_type": "linear", "factor": 3.0},
    "llama3": {
        "rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    },
    "yarn": _YARN,
    "yarn with all": _YARN | {"beta_fast": 4, "beta_slow": 0.5, "mscale": 2.0, "mscale_all_dim": 0.5},
    "yarn with attention_factor": _YARN | {"attention_factor": 1.7, "mscale": 2.0, "mscale_all_dim": 0.5},
    "yarn, factor null": _YARN | {"factor": None},
    "yarn, no original context": {"rope_type": "yarn", "factor": 4.0},
}  # fmt: skip
LAYOUTS = ("4.x", "5.x", "both")


def config(family, rope, layout, tied):
    """A config.json of a family: positions as transformers 4 or 5 writes them, or both, of which the old ones count."""
    entries = {"model_type": family} | FAMILIES[family] | {"tie_word_embeddings": tied}
    base, turning = {"rope_theta": 100.0}, ROPES[rope]
    if family == "gpt_neox":
        old = {"rotary_emb_base": 100.0, "rotary_pct": 0.5, "rope_scaling": turning}
        new = {"rope_parameters": base | turning | {"partial_rotary_factor": 0.5}}
    elif family == "gemma3_text":
        old = base | {"rope_local_base_freq": 10.0, "rope_scaling": turning}
        near = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10.0}
        new = {"rope_parameters": {"full_attention": base | turning, "sliding_attention": near}}
    else:
        old = base | {"rope_scaling": turning}
        new = {"rope_parameters": base | turning}
    if layout == "both":
        wrong = {"rope_type": "linear", "factor": 9.0, "rope_theta": 7.0}
        new = {"rope_parameters": {"full_attention": wrong} if family == "gemma3_text" else wrong}
        return json.loads(json.dumps(entries | new | old))
    return json.loads(json.dumps(entries | (old if layout == "4.x" else new)))


def write(folder, entries, seed=0):
    """Writes the folder, and returns the model that transformers makes of its config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(entries))
    read = transformers.AutoConfig.from_pretrained(folder)
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(read, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.mean() + 0.2 * torch.randn(parameter.shape))
    tied = {"lm_head.weight", "embed_out.weight"} if entries.get("tie_word_embeddings") else set()
    held = {name: tensor.clone() for name, tensor in model.state_dict().items() if name not in tied}
    safetensors.torch.save_file(held, folder / "model.safetensors")
    return model


TOKENS = np.random.default_rng(0).integers(0, 48, (2, 12)).astype(np.int32)
