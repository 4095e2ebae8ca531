"""Random models of every family, made by transformers from config objects: nothing is downloaded."""

from typing import Any

import numpy as np
import torch
import transformers

from jax_tda.models.importers.huggingface import HuggingFaceSource

SIZES = {
    "vocab_size": 48,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
WINDOWED = {"sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]}
GEMMA = SIZES | WINDOWED | {"head_dim": 8, "query_pre_attn_scalar": 5}
LLAMA3 = {
    "rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16, "rope_theta": 100.0,
}  # fmt: skip
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "rope_theta": 100.0}

# Name: the class of the config, and what it is made with.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama multi-head": ("LlamaConfig", SIZES | {"num_key_value_heads": 4}),
    "llama grouped tied biased": (
        "LlamaConfig",
        SIZES | {"num_key_value_heads": 2, "tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True},
    ),
    "llama multi-query llama3": ("LlamaConfig", SIZES | {"num_key_value_heads": 1, "rope_parameters": LLAMA3}),
    "llama linear": (
        "LlamaConfig", SIZES | {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 100.0}}
    ),
    "mistral window": ("MistralConfig", SIZES | {"num_key_value_heads": 2, "sliding_window": 4, "head_dim": 8}),
    "qwen2 tied": ("Qwen2Config", SIZES | {"num_key_value_heads": 2, "tie_word_embeddings": True}),
    "qwen2 yarn window": (
        "Qwen2Config",
        SIZES | WINDOWED | {"use_sliding_window": True, "rope_parameters": YARN, "num_key_value_heads": 4},
    ),
    "qwen3": ("Qwen3Config", SIZES | {"num_key_value_heads": 1, "head_dim": 8, "attention_bias": True}),
    "gemma2": ("Gemma2Config", GEMMA | {"num_key_value_heads": 2, "final_logit_softcapping": 2.0}),
    "gemma2 multi-query": ("Gemma2Config", GEMMA | {"num_key_value_heads": 1, "attn_logit_softcapping": 1.0}),
    "gemma3": (
        "Gemma3TextConfig",
        GEMMA | {
            "num_key_value_heads": 1,
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 10.0},
            },
        },
    ),
    "gpt2": ("GPT2Config", {"vocab_size": 48, "n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 20}),
    "gpt2 untied": (
        "GPT2Config",
        {"vocab_size": 48, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_inner": 20, "n_positions": 20}
        | {"tie_word_embeddings": False, "scale_attn_weights": False},
    ),
    "gpt-neox": (
        "GPTNeoXConfig", SIZES | {"hidden_size": 32, "rope_parameters": {"rope_theta": 100.0, "rope_type": "default",
                                                                       "partial_rotary_factor": 0.25}}
    ),
    "gpt-neox sequential": ("GPTNeoXConfig", SIZES | {"use_parallel_residual": False, "attention_bias": False,
                                                      "rope_parameters": {"rope_theta": 100.0, "rope_type": "default",
                                                                          "partial_rotary_factor": 0.5}}),
    "olmo2": ("Olmo2Config", SIZES | {"num_key_value_heads": 2}),
    "olmo2 multi-head tied": ("Olmo2Config", SIZES | {"num_key_value_heads": 4, "tie_word_embeddings": True}),
}  # fmt: skip

# What a GGUF file can say of them: Gemma's scale is the head's size, its pattern five windowed layers and one without.
_WIDE = SIZES | {"hidden_size": 32, "intermediate_size": 64}
_GGUF_GEMMA = _WIDE | {"num_key_value_heads": 1, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 4}
GGUF_CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", _WIDE | {"num_key_value_heads": 2}),
    "llama tied biased": (
        "LlamaConfig", _WIDE | {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True}
    ),
    "qwen2": ("Qwen2Config", _WIDE | {"num_key_value_heads": 2, "tie_word_embeddings": True}),
    "qwen3": ("Qwen3Config", _WIDE | {"num_key_value_heads": 1, "head_dim": 8}),
    "gemma2": ("Gemma2Config", _GGUF_GEMMA),
    "gemma3": ("Gemma3TextConfig", _GGUF_GEMMA | {"num_hidden_layers": 6}),
    "gpt2": ("GPT2Config", {"vocab_size": 48, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 20}),
    "gpt-neox": ("GPTNeoXConfig", _WIDE | {"rotary_pct": 0.5}),
    "olmo2": ("Olmo2Config", _WIDE | {"num_key_value_heads": 2}),
}  # fmt: skip


def model(case: str, seed: int = 0, **changes: Any) -> Any:
    """A model whose every parameter, biases and norms too, differs from where it would start."""
    kind, settings = (CASES | {f"gguf {name}": made for name, made in GGUF_CASES.items()})[case]
    # Each family has ids of its own for where a text begins and ends; some lie beyond this vocabulary.
    ends = {"bos_token_id": 1, "eos_token_id": 0, "pad_token_id": 0}
    config = getattr(transformers, kind)(**settings | ends | changes, attn_implementation="eager")
    torch.manual_seed(seed)
    made = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(parameter.mean() + 0.2 * torch.randn(parameter.shape))
    return made


def opened(made: Any, folder: Any) -> HuggingFaceSource:
    """The model, saved to a folder and opened again."""
    made.save_pretrained(folder)
    return HuggingFaceSource(str(folder))


def logits(made: Any, tokens: np.ndarray) -> np.ndarray:
    """What transformers says of the tokens."""
    with torch.no_grad():
        return made(torch.from_numpy(tokens.astype(np.int64))).logits.numpy()
