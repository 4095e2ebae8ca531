"""Every key that llama.cpp defines for an architecture, old names included: the tables of the gate for GGUF files.

A test compares them with the installed package `gguf`. A key of `rope.` or `attention.` that no table knows is refused.
"""

from collections.abc import Mapping
from typing import Any

from jax_tda.models.importers.foreign_fields import REQUIRED, Field

Table = dict[str, Field]
ARCHITECTURES: Mapping[str, str] = {
    "llama": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "gemma2": "gemma2",
    "gemma3": "gemma3_text",
    "gpt2": "gpt2",
    "gptneox": "gpt_neox",
    "olmo2": "olmo2",
}
# Keys of other architectures: layers, heads and scales that this decoder does not have, unless they say that.
_ELSEWHERE = (
    "embedding_length_out features_length leading_dense_block_count expert_feed_forward_length "
    "expert_shared_feed_forward_length expert_chunk_feed_forward_length expert_count expert_used_count "
    "expert_shared_count expert_group_count expert_group_used_count expert_weights_scale expert_weights_norm "
    "expert_gating_func expert_group_scale experts_per_group moe_every_n_layers moe_latent_size nextn_predict_layers "
    "n_deepstack_layers deepstack_mapping decoder_block_count router_logit_softcapping swin_norm "
    "rescale_every_n_layers time_mix_extra_dim time_decay_extra_dim token_shift_count interleave_moe_layer_step "
    "full_attention_interval activation_sparsity_scale altup.active_idx altup.num_inputs "
    "embedding_length_per_layer_input swiglu_clamp_exp swiglu_clamp_shexp hash_layer_count "
    "hyper_connection.count hyper_connection.sinkhorn_iterations hyper_connection.epsilon "
    "attention.max_alibi_bias attention.clamp_kqv attention.group_norm_epsilon attention.group_norm_groups "
    "attention.q_lora_rank attention.kv_lora_rank attention.decay_lora_rank attention.iclr_lora_rank "
    "attention.value_residual_mix_lora_rank attention.gate_lora_rank attention.relative_buckets_count "
    "attention.output_scale attention.value_scale attention.temperature_length attention.temperature_scale "
    "attention.key_length_mla attention.value_length_mla attention.key_length_swa attention.value_length_swa "
    "attention.shared_kv_layers attention.recurrent_layers attention.indexer.head_count "
    "attention.indexer.key_length attention.indexer.top_k attention.output_group_count attention.output_lora_rank "
    "attention.compress_rope_freq_base attention.compress_ratios rope.dimension_count_swa rope.dimension_sections "
    "rope.scaling.alpha rope.scaling.yarn_log_multiplier ssm.conv_kernel ssm.inner_size ssm.state_size "
    "ssm.time_step_rank ssm.group_count ssm.dt_b_c_rms kda.head_dim wkv.head_size posnet.embedding_length "
    "posnet.block_count convnext.embedding_length convnext.block_count classifier.output_labels shortconv.l_cache "
    "target_layers target_hidden_size norm_before_residual dense_2_feat_in dense_2_feat_out dense_3_feat_in "
    "dense_3_feat_out use_parallel_residual attn_logit_softcapping final_logit_softcapping "
    "attention.layer_norm_epsilon attention.layer_norm_rms_epsilon attention.sliding_window_pattern "
    "rope.freq_base_swa hidden_activation"
)
# What only multiplies: 1, or 0 for nothing.
_SCALES = "logit_scale residual_scale embedding_scale rope.scaling.yarn_attn_factor"
_IDLE = "vocab_size pooling_type decoder_start_token_id rope.scaling.finetuned"


def _off(names: str) -> Table:
    return {name: Field("off", only=(), asks="what this architecture does not have") for name in names.split()}


_ROPE: Table = {
    "rope.dimension_count": Field("size"),
    "rope.freq_base": Field("positive", 10000.0),
    "rope.scale_linear": Field("not negative"),
    "rope.scaling.type": Field("text", "linear"),
    "rope.scaling.factor": Field("not negative"),
    "rope.scaling.attn_factor": Field("positive", 1.0),
    "rope.scaling.original_context_length": Field("count"),
    "rope.scaling.yarn_ext_factor": Field("anything", only=(1.0, -1.0), asks="another mixture of yarn"),
    "rope.scaling.yarn_beta_fast": Field("positive"),
    "rope.scaling.yarn_beta_slow": Field("positive"),
}
_SHARED: Table = (
    _off(_ELSEWHERE)
    | {name: Field("scale") for name in _SCALES.split()}
    | {name: Field("anything", idle=True) for name in _IDLE.split()}
    | {
        "context_length": Field("size", REQUIRED),
        "embedding_length": Field("size", REQUIRED),
        "block_count": Field("size", REQUIRED),
        "feed_forward_length": Field("size", REQUIRED),
        "attention.head_count": Field("size", REQUIRED),
        "attention.head_count_kv": Field("size"),
        "attention.key_length": Field("size"),
        "attention.value_length": Field("size"),
        "attention.sliding_window": Field("count"),
        "attention.scale": Field("not negative"),
        "attention.causal": Field("anything", only=(True,), asks="attention to later tokens"),
        "tensor_data_layout": Field("anything", only=("Meta AI original pth",), asks="another order of tensors"),
    }
)
_RMS: Table = {"attention.layer_norm_rms_epsilon": Field("not negative", REQUIRED)}
_LAYER: Table = {"attention.layer_norm_epsilon": Field("not negative", REQUIRED)}
_PATTERN: Table = {"attention.sliding_window_pattern": Field("anything")}
_NO_ROPE: Table = _off(" ".join(_ROPE)) | {
    # Converters write these for every architecture.
    "rope.scaling.type": Field("text", idle=True),
    "rope.freq_base": Field("positive", idle=True),
    "rope.dimension_count": Field("count", idle=True),
}


def _caps(default: tuple[float, float]) -> Table:
    names = ("attn_logit_softcapping", "final_logit_softcapping")
    return {name: Field("not negative", value) for name, value in zip(names, default, strict=True)}


TABLES: Mapping[str, Table] = {
    "llama": _SHARED | _ROPE | _RMS,
    "qwen2": _SHARED | _ROPE | _RMS,
    "qwen3": _SHARED | _ROPE | _RMS,
    "gemma2": _SHARED | _ROPE | _RMS | _PATTERN | _caps((50.0, 30.0)) | {
        "attention.sliding_window": Field("size", 4096),
    },
    "gemma3": _SHARED | _ROPE | _RMS | _PATTERN | _caps((0.0, 0.0)) | {
        "attention.sliding_window": Field("count", REQUIRED),
        "rope.freq_base_swa": Field("positive", 10000.0),
    },
    "gpt2": _SHARED | _NO_ROPE | _LAYER,
    "gptneox": _SHARED | _ROPE | _LAYER | {"use_parallel_residual": Field("switch", True)},
    "olmo2": _SHARED | _ROPE | _RMS,
}  # fmt: skip


def one_value(value: Any) -> Any:
    """A value of all layers, where a list gives each layer the same one."""
    if (
        isinstance(value, list)
        and value
        and all(type(entry) is type(value[0]) and entry == value[0] for entry in value)
    ):
        return value[0]
    return value
