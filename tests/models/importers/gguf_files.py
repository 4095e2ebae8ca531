"""GGUF files of the tiny models, written with the names and orders of llama.cpp's own converter."""

import gguf
import numpy as np

_ARCHITECTURES = {
    "llama": gguf.MODEL_ARCH.LLAMA,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "qwen3": gguf.MODEL_ARCH.QWEN3,
    "gemma2": gguf.MODEL_ARCH.GEMMA2,
    "gemma3_text": gguf.MODEL_ARCH.GEMMA3,
    "gpt2": gguf.MODEL_ARCH.GPT2,
    "gpt_neox": gguf.MODEL_ARCH.GPTNEOX,
    "olmo2": gguf.MODEL_ARCH.OLMO2,
}


def side_by_side(weights, heads):
    """The converter's permutation of Llama's queries and keys."""
    return weights.reshape(heads, 2, -1, *weights.shape[1:]).swapaxes(1, 2).reshape(weights.shape)


def _converted(kind, name, weights, heads, kv_heads):
    if kind == "llama" and ("q_proj" in name or "k_proj" in name):
        return side_by_side(weights, heads if "q_proj" in name else kv_heads)
    if kind.startswith("gemma") and "norm" in name:
        return weights + 1
    if kind == "gpt2" and "c_" in name:
        return weights.T
    if "query_key_value" in name:
        parts = weights.reshape(heads, 3, -1, *weights.shape[1:])
        return np.concatenate([parts[:, index].reshape(-1, *weights.shape[1:]) for index in range(3)])
    return weights


def write(model, path, quantised=gguf.GGMLQuantizationType.F32):
    """Writes a model; its matrices as the given type where their rows are whole blocks of 32."""
    config, kind = model.config, model.config.model_type
    architecture = _ARCHITECTURES[kind]
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[architecture])
    heads = config.num_attention_heads
    kv_heads = getattr(config, "num_key_value_heads", heads)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(getattr(config, "intermediate_size", 4 * config.hidden_size))
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_vocab_size(config.vocab_size)
    if kind in ("gpt2", "gpt_neox"):
        writer.add_layer_norm_eps(getattr(config, "layer_norm_epsilon", getattr(config, "layer_norm_eps", None)))
    else:
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if kind != "gpt2":
        parameters = config.rope_parameters.get("full_attention", config.rope_parameters)
        size = getattr(config, "head_dim", config.hidden_size // heads)
        writer.add_rope_dimension_count(int(size * parameters.get("partial_rotary_factor", 1)))
        writer.add_rope_freq_base(parameters["rope_theta"])
    if kind == "gpt_neox":
        writer.add_parallel_residual(config.use_parallel_residual)
    if kind in ("qwen3", "gemma2", "gemma3_text"):
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
    if kind.startswith("gemma"):
        writer.add_sliding_window(config.sliding_window)
    if kind == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    names = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        if config.tie_word_embeddings and name == "lm_head.weight":
            continue
        weights = np.ascontiguousarray(_converted(kind, name, tensor.numpy(), heads, kv_heads), np.float32)
        whole_blocks = weights.ndim == 2 and weights.shape[-1] % 32 == 0
        held = quantised if whole_blocks else gguf.GGMLQuantizationType.F32
        writer.add_tensor(names.get_name(name, (".weight", ".bias")), gguf.quantize(weights, held), raw_dtype=held)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
