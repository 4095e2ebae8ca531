"""The families of decoders that can be imported: what each one's config.json says, in our decoder's words."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from jax_tda.core.errors import InputError
from jax_tda.models.decoder_config import DecoderConfig
from jax_tda.models.importers import foreign_fields, rope
from jax_tda.models.importers.family_fields import ALIASES, TABLES
from jax_tda.models.importers.foreign_fields import Settings

# transformers' names of activations, by the function that they are.
ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_python_tanh": "gelu_tanh",
}
# Of the names of classes: those whose head tells of a text instead of continuing it.
_OTHER_HEAD = re.compile(r"For(?!CausalLM)[A-Z]")
_FULL, _SLIDING = ("full_attention", "attention"), "sliding_attention"


def settings(family: str, entries: Mapping[str, Any], where: str) -> Settings:
    """The gate: every entry of a config.json as transformers reads it, before anything is made of it.

    Args:
      family: one of FAMILIES.
      entries: the file's content, as transformers writes it (any version).
      where: the file, for errors.

    Raises:
      InputError: the family is unknown, an entry cannot be used, or asks for what the decoder does not have.
    """
    if family not in FAMILIES:
        raise InputError(
            f"{where}: models of this architecture cannot be imported",
            got=foreign_fields.shown(family) if family else "no model_type",
            expected=", ".join(FAMILIES),
            remedy="docs/models.md lists what can be; a Flax model of any kind can be encoded from Python",
        )
    read = foreign_fields.read(TABLES[family], _renamed(family, entries, where), where)
    other = [name for name in read["architectures"] or () if _OTHER_HEAD.search(name)]
    if other:
        raise read.refusal(f"architectures = {other[0]}", "a model that continues texts (…ForCausalLM)", "another head")
    return read


def _renamed(family: str, entries: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The entries under their fields' own names."""
    named = dict(entries)
    for alias, name in ALIASES.get(family, {}).items():
        if alias in named:
            value = named.pop(alias)
            if named.setdefault(name, value) != value:
                twice = Settings(where, {}, [], {})
                raise twice.contradiction(f"{alias} = {value!r}, {name} = {named[name]!r}", "one value of both")
    return named


def context(settings: Settings) -> int:
    """The longest example that the model was made for, in tokens."""
    found: int = settings.get("max_position_embeddings") or settings["n_positions"]
    return found


def decoder_config(family: str, settings: Settings, shapes: Mapping[str, tuple[int, ...]]) -> DecoderConfig:
    """The decoder of a config.json.

    Args:
      family: one of FAMILIES.
      settings: what `settings` read.
      shapes: of the tensors that are there: the configuration may ask for no more.

    Raises:
      InputError: entries contradict each other or the tensors, or ask for what the decoder does not have.
    """
    demand_possible(settings.where, settings.values, shapes)
    return DecoderConfig(**FAMILIES[family](settings))


def demand_possible(where: str, values: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """No more layers than tensors, nothing longer than their longest axis: nothing is made by a number alone.

    Raises:
      InputError: an entry asks for more.
    """
    longest = max((size for shape in shapes.values() for size in shape), default=0)
    layers = "n_layer" if "n_layer" in values else "num_hidden_layers"
    heads = values.get("num_attention_heads", values.get("n_head"))
    limits = {layers: len(shapes)} | dict.fromkeys(
        ("vocab_size", "hidden_size", "intermediate_size", "n_embd", "n_inner", "n_positions"), longest
    )
    asked = {name: values.get(name) or 0 for name in limits} | {
        "heads × head_dim": heads * (values.get("head_dim") or 1),
        "num_key_value_heads": values.get("num_key_value_heads") or 0,
    }
    for name, size in asked.items():
        most = limits.get(name, longest)
        if size > most:
            raise InputError(
                f"{where}: {name} is more than the tensors hold",
                got=f"{name} = {size}",
                expected=f"at most {most}: there are {len(shapes)} tensors, whose longest axis is {longest}",
                remedy="the configuration and the tensors are of different models; copy both from one place",
            )


def _activation(s: Settings, name: str) -> str:
    if s[name] not in ACTIVATIONS:
        raise s.refusal(f"{name} = {foreign_fields.shown(s[name])}", ", ".join(ACTIVATIONS), "an activation")
    return ACTIVATIONS[s[name]]


def _shape(s: Settings, **more: Any) -> dict[str, Any]:
    """What all families but GPT-2 say in the same words."""
    heads, width = s["num_attention_heads"], s["hidden_size"]
    shape = {
        "vocabulary_size": s["vocab_size"],
        "layers": s["num_hidden_layers"],
        "width": width,
        "heads": heads,
        "kv_heads": s.get("num_key_value_heads") or heads,
        "head_size": s.get("head_dim") or width // heads,
        "mlp_width": s["intermediate_size"],
        "tied": s["tie_word_embeddings"],
    }
    if shape["head_size"] == 0:
        raise s.contradiction(f"{heads} heads, a width of {width}", "at least one number for each head")
    return shape | more


def _turned(turning: rope.Turning) -> dict[str, Any]:
    return {
        "rope_theta": turning.theta,
        "rotary_fraction": turning.fraction,
        "rope_factors": turning.factors,
        "rope_magnitude": turning.magnitude,
    }


def _given(s: Settings) -> tuple[str, dict[str, Any]]:
    """The dictionary of rope parameters that counts: an old config's `rope_scaling`, wherever it holds anything."""
    name = "rope_scaling" if s.get("rope_scaling") else "rope_parameters"
    given = dict(s.get(name) or {})
    if name == "rope_scaling" and s["rope_parameters"]:
        s.idle.append("rope_parameters (rope_scaling stands for it)")
    if "original_max_position_embeddings" in s.values and given:
        given["original_max_position_embeddings"] = s["original_max_position_embeddings"]
    return name, given


def _rotary(s: Settings, head_size: int) -> dict[str, Any]:
    """Positions that turn whole heads, in all layers alike."""
    name, given = _given(s)
    if s.get("partial_rotary_factor") is not None:
        given.setdefault("partial_rotary_factor", s["partial_rotary_factor"])
    found = rope.turning(s, name, given, head_size, s.get("rope_theta", 10000.0))
    if found.fraction != 1:
        # transformers turns the whole head in some of these models and fails in others; other tools turn a part.
        raise s.contradiction(f"partial_rotary_factor = {found.fraction}", "1, or no such entry, for this family")
    return _turned(found)


def _windowed(s: Settings, window: int | None, local: Callable[[int], bool]) -> dict[str, Any]:
    """The sliding window, and the layers that have it: those that `layer_types` names, or else the given ones."""
    layers, kinds = s["num_hidden_layers"], s.get("layer_types")
    if kinds is None:
        kinds = [_SLIDING if window and local(layer) else _FULL[0] for layer in range(layers)]
    if len(kinds) != layers or not {*kinds} <= {*_FULL, _SLIDING}:
        expected = f"{layers} entries, each {_FULL[0]} or {_SLIDING}"
        raise s.contradiction(f"layer_types = {foreign_fields.shown(kinds)} ({len(kinds)})", expected)
    windowed = tuple(layer for layer, kind in enumerate(kinds) if kind == _SLIDING)
    if windowed and not window:
        raise s.contradiction(f"layer_types with {_SLIDING}, no sliding_window", "the window's size")
    if not windowed:
        return {}
    return {"window": window, "windowed_layers": windowed if len(windowed) < layers else ()}


def _alike(s: Settings, window: int | None = None) -> dict[str, Any]:
    """A family whose layers are alike, whatever `layer_types` says; transformers does not read it."""
    kinds = s.get("layer_types")
    if kinds is not None and {*kinds} - ({_SLIDING} if window else {*_FULL}):
        expected = f"no layer_types: every layer has {'the' if window else 'no'} window in this family"
        raise s.contradiction(f"layer_types = {foreign_fields.shown(kinds)}", expected)
    return {"window": window} if window else {}


def _llama_shape(s: Settings, **more: Any) -> dict[str, Any]:
    shape = _shape(s, norm_epsilon=s["rms_norm_eps"], activation=_activation(s, "hidden_act"), **more)
    return shape | _rotary(s, shape["head_size"])


def _all_or_none(s: Settings) -> str:
    return "all" if s["attention_bias"] else "none"


def _llama(s: Settings) -> dict[str, Any]:
    return _llama_shape(s, attention_bias=_all_or_none(s), mlp_bias=s["mlp_bias"]) | _alike(s)


def _mistral(s: Settings) -> dict[str, Any]:
    return _llama_shape(s) | _alike(s, s["sliding_window"])


def _qwen2(s: Settings) -> dict[str, Any]:
    window = s["sliding_window"] if s["use_sliding_window"] else None
    windowed = _windowed(s, window, lambda layer: layer >= s["max_window_layers"])
    return _llama_shape(s, attention_bias="inputs") | windowed


def _qwen3(s: Settings) -> dict[str, Any]:
    return _qwen2(s) | {"attention_bias": _all_or_none(s), "query_key_norm": "heads"}


def _olmo2(s: Settings) -> dict[str, Any]:
    norms = {"norm_place": "after", "query_key_norm": "whole"}
    return _llama_shape(s, attention_bias=_all_or_none(s), **norms) | _alike(s)


def _gemma(s: Settings) -> dict[str, Any]:
    activation = _activation(s, "hidden_activation")
    if ACTIVATIONS.get(s.get("hidden_act") or s["hidden_activation"]) != activation:
        raise s.contradiction(f"hidden_act = {s['hidden_act']!r}, hidden_activation = {s['hidden_activation']!r}",
                              "one activation")  # fmt: skip
    return _shape(
        s,
        norm_epsilon=s["rms_norm_eps"],
        norm_offset=1.0,
        norm_place="both",
        activation=activation,
        attention_bias=_all_or_none(s),
        attention_scale=float(s["query_pre_attn_scalar"] ** -0.5),
        attention_softcap=float(s["attn_logit_softcapping"] or 0),
        logit_softcap=float(s["final_logit_softcapping"] or 0),
        embedding_scale=math.sqrt(s["hidden_size"]),
    )


def _gemma2(s: Settings) -> dict[str, Any]:
    shape = _gemma(s)
    return shape | _rotary(s, shape["head_size"]) | _windowed(s, s["sliding_window"], lambda layer: layer % 2 == 0)


def _gemma3(s: Settings) -> dict[str, Any]:
    shape = _gemma(s) | {"query_key_norm": "heads"}
    every = s.get("sliding_window_pattern", 6)
    if s["layer_types"] is None and s.get("_sliding_window_pattern", every) != every:
        raise s.contradiction(f"_sliding_window_pattern = {s['_sliding_window_pattern']}", f"{every}, or layer_types")
    shape |= _windowed(s, s["sliding_window"], lambda layer: (layer + 1) % every != 0)
    everywhere, near = (
        _of_kind(s, kind, shape["head_size"], theta)
        for kind, theta in ((_FULL[0], s.get("rope_theta", 1e6)), (_SLIDING, s.get("rope_local_base_freq", 1e4)))
    )
    shape |= _turned(everywhere)
    if "window" in shape:
        local = {"theta": near.theta, "factors": near.factors, "magnitude": near.magnitude}
        shape |= {f"local_rope_{name}": value for name, value in local.items()}
    return shape


def _of_kind(s: Settings, kind: str, head_size: int, theta: float) -> rope.Turning:
    """The positions of one kind of layers, of which Gemma 3 has two; an old `rope_scaling` is that of full layers."""
    nested = s["rope_parameters"] or {}
    stray = sorted(nested.keys() - {_FULL[0], _SLIDING})
    given = nested.get(kind) or {}
    if stray or not isinstance(given, dict):
        expected = f"rope_parameters of {_FULL[0]} and {_SLIDING}, each with its own"
        raise s.contradiction(f"rope_parameters.{stray[0] if stray else kind}", expected)
    if kind == _FULL[0]:
        given = given | (s.get("rope_scaling") or {})
    # transformers looks for these two outside the dictionary of a kind of layers, or does not look at all.
    if not given.get("truncate", True) or "original_max_position_embeddings" in s.values:
        raise s.contradiction(
            "truncate, or original_max_position_embeddings beside rope_parameters",
            "original_max_position_embeddings inside, truncate true: readers do not agree on the rest",
        )
    found = rope.turning(s, f"rope_parameters.{kind}", given, head_size, theta)
    if found.fraction != 1 or s.get("partial_rotary_factor") not in (None, 1):
        raise s.contradiction("a partial_rotary_factor", "1, or no such entry, for this family")
    return found


def _gpt2(s: Settings) -> dict[str, Any]:
    _alike(s)
    return {
        "vocabulary_size": s["vocab_size"],
        "layers": s["n_layer"],
        "width": s["n_embd"],
        "heads": s["n_head"],
        "kv_heads": s["n_head"],
        "mlp_width": s["n_inner"] or 4 * s["n_embd"],
        "tied": s["tie_word_embeddings"],
        "norm": "layer",
        "norm_epsilon": s["layer_norm_epsilon"],
        "attention_bias": "all",
        "attention_scale": 0.0 if s["scale_attn_weights"] else 1.0,
        "mlp_bias": True,
        "gated": False,
        "activation": _activation(s, "activation_function"),
        "positions": "learned",
        "context": s["n_positions"],
    }


def _gpt_neox(s: Settings) -> dict[str, Any]:
    shape = _shape(
        s,
        norm="layer",
        norm_epsilon=s["layer_norm_eps"],
        attention_bias=_all_or_none(s),
        mlp_bias=True,
        gated=False,
        activation=_activation(s, "hidden_act"),
        parallel=s["use_parallel_residual"],
    )
    name, given = _given(s)
    found = rope.turning(
        s, name, given, shape["head_size"], s.get("rotary_emb_base", 10000.0), s.get("rotary_pct", 0.25)
    )
    # The class has names of its own for these, and does not read those of the others.
    for entry, value, read in (
        ("rope_theta", s.get("rope_theta"), found.theta),
        ("partial_rotary_factor", s.get("partial_rotary_factor"), found.fraction),
        ("head_dim", s.get("head_dim"), shape["width"] // shape["heads"]),
    ):
        if value not in (None, read):
            raise s.contradiction(f"{entry} = {value}", f"{read}, which transformers takes from elsewhere")
    return shape | _turned(found) | _alike(s)


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
