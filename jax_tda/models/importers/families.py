"""The families of decoders that can be imported: what each one's config.json says, in our decoder's words."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from jax_tda.core.errors import InputError
from jax_tda.models.decoder_config import DecoderConfig
from jax_tda.models.importers import rope

_ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}


class Settings:
    """A config.json whose missing entries are named.

    Args:
      entries: the file's content.
      where: the file, for errors.
    """

    def __init__(self, entries: Mapping[str, Any], where: str):
        self.entries, self.where = entries, where

    def __call__(self, *names: str, default: Any = ...) -> Any:
        """The first of these entries that is there and not null; else the default."""
        for name in names:
            if self.entries.get(name) is not None:
                return self.entries[name]
        if default is not ...:
            return default
        raise InputError(
            f"{self.where} lacks the entry {names[0]}",
            got=", ".join(sorted(self.entries)) or "nothing",
            expected=" or ".join(names),
            remedy="take config.json from the model's own page, or check the path",
        )

    def refuse(self, name: str, allowed: tuple[Any, ...], what: str) -> None:
        """Refuses an entry whose value this decoder cannot follow."""
        got = self.entries.get(name)
        if got is not None and got not in allowed:
            raise self.refusal(f"{name} = {got!r}", " or ".join(map(repr, allowed)) or "no such entry", what)

    def refusal(self, got: str, expected: str, what: str) -> InputError:
        """The error for a model that asks for what the decoder does not have."""
        return InputError(
            f"{self.where} asks for {what}, which the decoder does not have",
            got=got,
            expected=expected,
            remedy="this model cannot be imported; docs/models.md lists those that can",
        )

    def activation(self, *names: str, default: str) -> str:
        """The MLP's activation, by our name."""
        given = self(*names, default=default)
        if given not in _ACTIVATIONS:
            raise self.refusal(f"{names[0]} = {given!r}", ", ".join(_ACTIVATIONS), "an activation")
        return _ACTIVATIONS[given]


def decoder_config(family: str, entries: Mapping[str, Any], where: str) -> DecoderConfig:
    """The decoder of a config.json.

    Args:
      family: one of FAMILIES.
      entries: the file's content, as transformers writes it (any version).
      where: the file, for errors.

    Raises:
      InputError: the family is unknown, an entry is missing, or asks for what the decoder does not have.
    """
    settings = Settings(entries, where)
    if family not in FAMILIES:
        raise InputError(
            f"{where}: models of this architecture cannot be imported",
            got=family or "no model_type",
            expected=", ".join(FAMILIES),
            remedy="docs/models.md lists what can be; a Flax model of any kind can be encoded from Python",
        )
    settings.refuse("quantization_config", (), "quantised weights")
    made = FAMILIES[family](settings)
    return DecoderConfig(**made)


def _shape(s: Settings, **more: Any) -> dict[str, Any]:
    """What all families but GPT-2 say in the same words."""
    heads, width = s("num_attention_heads"), s("hidden_size")
    return {
        "vocabulary_size": s("vocab_size"),
        "layers": s("num_hidden_layers"),
        "width": width,
        "heads": heads,
        "kv_heads": s("num_key_value_heads", default=heads),
        "head_size": s("head_dim", default=width // heads),
        "mlp_width": s("intermediate_size"),
        "tied": s("tie_word_embeddings", default=False),
    } | more


def _rotary(s: Settings, shape: dict[str, Any], theta: float = 10000.0, fraction: float = 1.0) -> dict[str, Any]:
    """Wavelengths, their scaling, and the scale of scores that may come with it."""
    given = s("rope_parameters", default={})
    # Where layers differ, each kind has its own parameters; those of windowed layers are read by the family.
    given = given.get("full_attention", given)
    scaling = given or s("rope_scaling", default={})
    theta = float(given.get("rope_theta", s("rope_theta", "rotary_emb_base", default=theta)))
    fraction = float(given.get("partial_rotary_factor", s("rotary_pct", "partial_rotary_factor", default=fraction)))
    found, temperature = rope.factors(scaling, theta, int(shape["head_size"] * fraction), s.where)
    if temperature != 1 and fraction != 1:
        raise s.refusal(f"yarn on {fraction} of a head", "yarn on whole heads", "scaled scores of partly turned heads")
    scale = float(shape["head_size"] ** -0.5 * temperature) if temperature != 1 else 0.0
    return {
        "rope_theta": theta,
        "rotary_fraction": fraction,
        "rope_factors": found,
        "attention_scale": shape.get("attention_scale") or scale,
    }


def _windowed(s: Settings, shape: dict[str, Any], window: int | None, local: list[int]) -> dict[str, Any]:
    """The sliding window, and the layers that have it: those that `layer_types` names, or else the given ones."""
    kinds = s("layer_types", default=None)
    if kinds is not None:
        local = [layer for layer, kind in enumerate(kinds) if kind == "sliding_attention"]
    if not window or not local:
        return {}
    return {"window": window, "windowed_layers": tuple(local) if len(local) < shape["layers"] else ()}


def _llama(s: Settings) -> dict[str, Any]:
    shape = _shape(
        s,
        norm_epsilon=s("rms_norm_eps", default=1e-6),
        activation=s.activation("hidden_act", default="silu"),
        attention_bias="all" if s("attention_bias", default=False) else "none",
        mlp_bias=s("mlp_bias", default=False),
    )
    return shape | _rotary(s, shape)


def _mistral(s: Settings) -> dict[str, Any]:
    shape = _llama(s)
    return shape | _windowed(s, shape, s("sliding_window", default=None), list(range(shape["layers"])))


def _qwen2(s: Settings) -> dict[str, Any]:
    shape = _llama(s) | {"attention_bias": "inputs"}
    window = s("sliding_window", default=None) if s("use_sliding_window", default=False) else None
    return shape | _windowed(s, shape, window, list(range(s("max_window_layers", default=28), shape["layers"])))


def _qwen3(s: Settings) -> dict[str, Any]:
    bias = "all" if s("attention_bias", default=False) else "none"
    return _qwen2(s) | {"attention_bias": bias, "query_key_norm": "heads"}


def _olmo2(s: Settings) -> dict[str, Any]:
    return _llama(s) | {
        "norm_epsilon": s("rms_norm_eps", default=1e-5), "norm_place": "after", "query_key_norm": "whole"
    }  # fmt: skip


def _gemma2(s: Settings) -> dict[str, Any]:
    s.refuse("use_bidirectional_attention", (False,), "attention to later tokens")
    shape = _shape(
        s,
        tied=s("tie_word_embeddings", default=True),
        head_size=s("head_dim", default=256),
        norm_epsilon=s("rms_norm_eps", default=1e-6),
        norm_offset=1.0,
        norm_place="both",
        activation=s.activation("hidden_activation", "hidden_act", default="gelu_pytorch_tanh"),
        attention_bias="all" if s("attention_bias", default=False) else "none",
        attention_scale=float(s("query_pre_attn_scalar", default=256) ** -0.5),
    )
    shape["embedding_scale"] = math.sqrt(shape["width"])
    shape["attention_softcap"] = float(s("attn_logit_softcapping", default=0.0))
    shape["logit_softcap"] = float(s("final_logit_softcapping", default=0.0))
    local = list(range(0, shape["layers"], 2))
    return shape | _rotary(s, shape) | _windowed(s, shape, s("sliding_window", default=4096), local)


def _gemma3(s: Settings) -> dict[str, Any]:
    shape = _gemma2(s) | {"query_key_norm": "heads"}
    shape |= _rotary(s, shape, theta=1e6)
    every = s("sliding_window_pattern", "_sliding_window_pattern", default=6)
    local = [layer for layer in range(shape["layers"]) if (layer + 1) % every]
    for entry in ("window", "windowed_layers"):
        shape.pop(entry, None)
    windowed = _windowed(s, shape, s("sliding_window", default=4096), local)
    near = s("rope_parameters", default={}).get("sliding_attention", {})
    if near.get("rope_type", "default") != "default":
        raise s.refusal(f"{near}", "rope_type default", "scaled positions in windowed layers")
    if windowed:
        windowed["local_rope_theta"] = float(near.get("rope_theta", s("rope_local_base_freq", default=10000.0)))
    return shape | windowed


def _gpt2(s: Settings) -> dict[str, Any]:
    s.refuse("scale_attn_by_inverse_layer_idx", (False,), "scores scaled by the layer's number")
    s.refuse("add_cross_attention", (False,), "cross-attention")
    width = s("n_embd", "hidden_size")
    return {
        "vocabulary_size": s("vocab_size"),
        "layers": s("n_layer", "num_hidden_layers"),
        "width": width,
        "heads": s("n_head", "num_attention_heads"),
        "kv_heads": s("n_head", "num_attention_heads"),
        "mlp_width": s("n_inner", "intermediate_size", default=4 * width),
        "tied": s("tie_word_embeddings", default=True),
        "norm": "layer",
        "norm_epsilon": s("layer_norm_epsilon", "layer_norm_eps", default=1e-5),
        "attention_bias": "all",
        "attention_scale": 0.0 if s("scale_attn_weights", default=True) else 1.0,
        "mlp_bias": True,
        "gated": False,
        "activation": s.activation("activation_function", default="gelu_new"),
        "positions": "learned",
        "context": s("n_positions", "max_position_embeddings", "n_ctx", default=1024),
    }


def _gpt_neox(s: Settings) -> dict[str, Any]:
    shape = _shape(
        s,
        norm="layer",
        norm_epsilon=s("layer_norm_eps", default=1e-5),
        attention_bias="all" if s("attention_bias", default=True) else "none",
        mlp_bias=True,
        gated=False,
        activation=s.activation("hidden_act", default="gelu"),
        parallel=s("use_parallel_residual", default=True),
    )
    return shape | _rotary(s, shape, fraction=0.25)


FAMILIES: Mapping[str, Callable[[Settings], dict[str, Any]]] = {
    "llama": _llama,
    "mistral": _mistral,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "gemma2": _gemma2,
    "gemma3_text": _gemma3,
    "gpt2": _gpt2,
    "gpt_neox": _gpt_neox,
    "olmo2": _olmo2,
}
