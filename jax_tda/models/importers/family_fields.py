"""Every field that transformers' config class of each family defines, with its default: the tables of the gate.

A test compares them with the installed transformers, so that a field that a new version brings turns it red.
"""

from collections.abc import Mapping
from typing import Any

from jax_tda.models.importers.foreign_fields import ABSENT, Field

Table = dict[str, Field]


def _size(default: Any = ABSENT, **more: Any) -> Field:
    return Field("size", default, **more)


def _positive(default: Any = ABSENT, **more: Any) -> Field:
    return Field("positive", default, **more)


def _switch(default: bool) -> Field:
    return Field("switch", default)


def _idle(default: Any = ABSENT, own: bool = True) -> Field:
    return Field("anything", default, null=True, idle=True, own=own)


def _only(*values: Any, default: Any = ABSENT, asks: str, own: bool = True) -> Field:
    return Field("anything", default, null=None in values, only=values, asks=asks, own=own)


def _beside(names: str) -> Table:
    return {name: _idle(own=False) for name in names.split()}


# The fields of the class that all config classes are made of.
_BASE: Table = {
    "transformers_version": _idle(None),
    "architectures": Field("texts", None, null=True),
    "output_hidden_states": _idle(False),
    "return_dict": _idle(True),
    "dtype": _idle(None),
    "chunk_size_feed_forward": _idle(0),
    "is_encoder_decoder": _only(False, default=False, asks="an encoder"),
    "id2label": _idle(None),
    "label2id": _idle(None),
    "problem_type": _idle(None),
}
# What a config.json may hold beside its class's fields: what the base takes out of it or older versions wrote, and
# what the models' masks ask for by name.
_MORE: Table = {
    "model_type": Field("text", own=False),
    "quantization_config": _only(None, asks="quantised weights", own=False),
    "per_layer_config": _only(None, asks="layers of different shapes", own=False),
    "pruned_heads": _only(None, {}, asks="layers of different numbers of heads", own=False),
    "is_causal": _only(True, asks="attention to later tokens", own=False),
    "add_cross_attention": _only(False, asks="cross-attention", own=False),
    "layer_types": Field("texts", null=True, own=False),
    "transformers_weights": Field("text", null=True, own=False),
} | _beside(
    "torch_dtype name_or_path _name_or_path _commit_hash output_attentions attn_implementation _attn_implementation "
    "_attn_implementation_autoset experts_implementation num_labels use_return_dict torchscript use_bfloat16 "
    "tf_legacy_loss finetuning_task task_specific_params tokenizer_class prefix cross_attention_hidden_size "
    "tie_encoder_decoder sep_token_id decoder_start_token_id gradient_checkpointing auto_map is_decoder "
    "cache_implementation"
)
# Settings of generation, which transformers takes out of a config.json.
GENERATION = (
    "max_length min_length do_sample use_cache early_stopping num_beams temperature top_k top_p typical_p "
    "repetition_penalty length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids "
    "num_return_sequences output_scores return_dict_in_generate forced_bos_token_id forced_eos_token_id "
    "remove_invalid_values exponential_decay_length_penalty suppress_tokens begin_suppress_tokens epsilon_cutoff "
    "eta_cutoff encoder_repetition_penalty num_assistant_tokens num_assistant_tokens_schedule "
    "assistant_confidence_threshold assistant_lookbehind target_lookbehind num_beam_groups diversity_penalty"
)
_ROTARY: Table = {
    "rope_scaling": Field("object", null=True, own=False),
    "rope_theta": _positive(own=False),
    "partial_rotary_factor": Field("share", null=True, own=False),
    "original_max_position_embeddings": _positive(own=False),
}


def _table(sizes: tuple[int, ...], ends: tuple[Any, Any, Any], **own: Any) -> Table:
    """The fields that all families but GPT-2 share, and the family's own.

    Args:
      sizes: of vocabulary, stream, MLP, layers, heads and context.
      ends: the ids of padding, beginning and end.
      own: the family's own fields.
    """
    names = "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads max_position_embeddings"
    shared = {name: _size(default) for name, default in zip(names.split(), sizes, strict=True)}
    shared |= {name: _idle(default) for name, default in zip(_ENDS, ends, strict=True)}
    shared |= {"initializer_range": _idle(0.02), "use_cache": _idle(True), "attention_dropout": _idle(0.0)}
    shared |= {"tie_word_embeddings": _switch(False), "rope_parameters": Field("object", None, null=True)}
    beside = _ROTARY | _MORE | _beside(GENERATION) | {"head_dim": _size(null=True, own=False)}
    return beside | _BASE | shared | own


_ENDS = ("pad_token_id", "bos_token_id", "eos_token_id")


def _llama_like(*arguments: Any, kv_heads: Field, epsilon: float = 1e-6, **own: Any) -> Table:
    return _table(
        *arguments,
        num_key_value_heads=kv_heads,
        hidden_act=Field("text", "silu"),
        rms_norm_eps=Field("not negative", epsilon),
        **own,
    )


def _qwen(**own: Any) -> Table:
    return _llama_like(
        (151936, 4096, 22016, 32, 32, 32768), (None, None, None),
        kv_heads=_size(32, null=True),
        use_sliding_window=_switch(False),
        sliding_window=_size(4096, null=True),
        max_window_layers=Field("count", 28),
        layer_types=Field("texts", None, null=True),
        **own,
    )  # fmt: skip


def _gemma(sizes: tuple[int, ...], caps: tuple[Any, Any], bidirectional: Any, **own: Any) -> Table:
    asks = "attention to later tokens"
    return _table(
        sizes, (0, 2, 1),
        num_key_value_heads=_size(4),
        head_dim=_size(256),
        hidden_activation=Field("text", "gelu_pytorch_tanh"),
        hidden_act=Field("text", null=True, own=False),
        rms_norm_eps=Field("not negative", 1e-6),
        tie_word_embeddings=_switch(True),
        attention_bias=_switch(False),
        query_pre_attn_scalar=_positive(256),
        sliding_window=_size(4096, null=True),
        layer_types=Field("texts", None, null=True),
        attn_logit_softcapping=_positive(caps[0], null=True),
        final_logit_softcapping=_positive(caps[1], null=True),
        use_bidirectional_attention=_only(False, None, default=bidirectional, asks=asks),
        **own,
    )  # fmt: skip


_GPT2: Table = _MORE | _beside(GENERATION + " n_ctx") | _BASE | {
    "vocab_size": _size(50257),
    "n_positions": _size(1024),
    "n_embd": _size(768),
    "n_layer": _size(12),
    "n_head": _size(12),
    "n_inner": _size(None, null=True),
    "activation_function": Field("text", "gelu_new"),
    "layer_norm_epsilon": Field("not negative", 1e-5),
    "scale_attn_weights": _switch(True),
    "scale_attn_by_inverse_layer_idx": _only(False, default=False, asks="scores scaled by the layer's number"),
    "add_cross_attention": _only(False, default=False, asks="cross-attention"),
    "tie_word_embeddings": _switch(True),
    "reorder_and_upcast_attn": _idle(False),
    "initializer_range": _idle(0.02),
    "use_cache": _idle(True),
    "resid_pdrop": _idle(0.1),
    "embd_pdrop": _idle(0.1),
    "attn_pdrop": _idle(0.1),
    "summary_type": _idle("cls_index"),
    "summary_use_proj": _idle(True),
    "summary_activation": _idle(None),
    "summary_proj_to_labels": _idle(True),
    "summary_first_dropout": _idle(0.1),
    "pad_token_id": _idle(None),
    "bos_token_id": _idle(50256),
    "eos_token_id": _idle(50256),
}  # fmt: skip

TABLES: Mapping[str, Table] = {
    "llama": _llama_like(
        (32000, 4096, 11008, 32, 32, 2048), (None, 1, 2), kv_heads=_size(None, null=True),
        head_dim=_size(None, null=True), attention_bias=_switch(False), mlp_bias=_switch(False),
        pretraining_tp=_idle(1),
    ),
    "mistral": _llama_like(
        (32000, 4096, 14336, 32, 32, 4096 * 32), (None, 1, 2), kv_heads=_size(8),
        head_dim=_size(None, null=True), sliding_window=_size(4096, null=True),
    ),
    "qwen2": _qwen(),
    "qwen3": _qwen(head_dim=_size(128), attention_bias=_switch(False)),
    "gemma2": _gemma((256000, 2304, 9216, 26, 8, 8192), (50.0, 30.0), None),
    "gemma3_text": _gemma(
        (262208, 2304, 9216, 26, 8, 131072), (None, None), False,
        sliding_window_pattern=_size(own=False), _sliding_window_pattern=_size(own=False),
        rope_local_base_freq=_positive(own=False),
    ),
    "gpt2": _GPT2,
    "gpt_neox": _table(
        (50432, 6144, 24576, 44, 64, 2048), (None, 0, 2),
        hidden_act=Field("text", "gelu"), layer_norm_eps=Field("not negative", 1e-5), attention_bias=_switch(True),
        use_parallel_residual=_switch(True), hidden_dropout=_idle(0.0), classifier_dropout=_idle(0.1),
        is_decoder=_idle(False), rotary_pct=Field("share", own=False), rotary_emb_base=_positive(own=False),
    ),
    "olmo2": _llama_like(
        (50304, 4096, 11008, 32, 32, 2048), (1, None, 50279), kv_heads=_size(None, null=True), epsilon=1e-5,
        attention_bias=_switch(False),
    ),
}  # fmt: skip
# Other names for a field, as transformers' attribute_map has them.
ALIASES: Mapping[str, Mapping[str, str]] = {
    "gpt2": {
        "hidden_size": "n_embd",
        "max_position_embeddings": "n_positions",
        "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
    }
}
