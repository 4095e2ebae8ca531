"""What a GGUF file's metadata say, in the words of a config.json of its family."""

from typing import Any

from jax_tda.core.errors import InputError
from jax_tda.models.importers import foreign_fields, gguf_fields
from jax_tda.models.importers.family_fields import TABLES
from jax_tda.models.importers.foreign_fields import Settings
from jax_tda.models.importers.gguf_header import Header
from jax_tda.models.importers.rope import yarn_magnitude

# The same thing under the names that families have for it.
_NAMES = {
    "context_length": ("max_position_embeddings", "n_positions"),
    "embedding_length": ("hidden_size", "n_embd"),
    "block_count": ("num_hidden_layers", "n_layer"),
    "feed_forward_length": ("intermediate_size", "n_inner"),
    "attention.head_count": ("num_attention_heads", "n_head"),
    "attention.head_count_kv": ("num_key_value_heads",),
    "attention.layer_norm_rms_epsilon": ("rms_norm_eps",),
    "attention.layer_norm_epsilon": ("layer_norm_eps", "layer_norm_epsilon"),
    "use_parallel_residual": ("use_parallel_residual",),
}
# Layers of the two models whose scores are scaled by width / heads instead of the head's size (Gemma 2 and 3, 27B).
_SCALED_BY_WIDTH = {"gemma2": 46, "gemma3": 62}
_PERIOD = {"gemma2": 2, "gemma3": 6}


def read(header: Header, where: str) -> tuple[str, Settings, dict[str, Any]]:
    """The architecture, its metadata as they were read, and the entries of a config.json that say the same.

    Raises:
      InputError: the architecture is not known, a key cannot be used, or asks for what the decoder does not have.
    """
    architecture = _architecture(header, where)
    prefix = f"{architecture}."
    held = {key.removeprefix(prefix): value for key, value in header.fields.items() if key.startswith(prefix)}
    table = gguf_fields.TABLES[architecture]
    for key, value in held.items():
        if key != "attention.sliding_window_pattern":
            held[key] = gguf_fields.one_value(value)
        if key not in table and key.startswith(("rope.", "attention.")):
            raise InputError(
                f"{where}: the key {prefix}{key} is not known",
                got=foreign_fields.shown(value),
                expected="a key that llama.cpp defines",
                remedy="a newer version of jax_tda may know it; a Hugging Face folder of the model can be imported",
            )
    experts = held.get("expert_count") or any("_exps." in name or "ffn_gate_inp" in name for name in header.tensors)
    settings = foreign_fields.read({} if experts else table, held, where)
    if experts:
        got = f"expert_count = {foreign_fields.shown(held.get('expert_count'))}"
        raise settings.refusal(got, "one MLP in each layer", "a mixture of experts")
    general = {
        key: value
        for key, value in header.fields.items()
        if not key.startswith((prefix, "general.", "tokenizer.", "split.", "quantize."))
    }
    settings.unknown.update(general)
    return architecture, settings, _entries(architecture, settings, header)


def _architecture(header: Header, where: str) -> str:
    fields = header.fields
    count = fields.get("split.count", 1)
    if count not in (0, 1):
        number = fields.get("split.no", 0)
        part = number + 1 if type(number) is int else "?"
        raise InputError(
            f"{where} is part {part} of {foreign_fields.shown(count)} of a split GGUF file",
            got=f"{len(header.tensors)} of {foreign_fields.shown(fields.get('split.tensors.count', 'more'))} tensors",
            expected="the whole file",
            remedy="`llama-gguf-split --merge FIRST_PART WHOLE` of llama.cpp joins the parts",
        )
    if (kind := fields.get("general.type", "model")) != "model":
        raise InputError(
            f"{where} is no model of its own",
            got=f"general.type = {foreign_fields.shown(kind)}",
            expected="general.type = 'model'",
            remedy="import the model that it belongs to",
        )
    architecture = fields.get("general.architecture")
    if not isinstance(architecture, str) or architecture not in gguf_fields.ARCHITECTURES:
        raise InputError(
            f"{where}: models of this architecture cannot be imported",
            got="no general.architecture" if architecture is None else foreign_fields.shown(architecture),
            expected=", ".join(gguf_fields.ARCHITECTURES),
            remedy="docs/models.md lists what can be; a Flax model of any kind can be encoded from Python",
        )
    return architecture


def _entries(architecture: str, s: Settings, header: Header) -> dict[str, Any]:
    family, tensors = gguf_fields.ARCHITECTURES[architecture], header.tensors
    table = TABLES[family]
    entries = {
        next(name for name in names if name in table): s[key] for key, names in _NAMES.items() if s.get(key) is not None
        and any(name in table for name in names)
    }  # fmt: skip
    width, heads = s["embedding_length"], s["attention.head_count"]
    head = s.get("attention.key_length") or width // heads
    # A row for each token; the entry vocab_size may be that of the tokenizer.
    entries["vocab_size"] = max(
        (tensors[name].shape for name in ["token_embd.weight"] if name in tensors), default=(1,)
    )[0]
    entries["tie_word_embeddings"] = "output.weight" not in tensors
    if "attention_bias" in table:
        entries["attention_bias"] = any(f"blk.0.{name}.bias" in tensors for name in ("attn_output", "attn_qkv"))
    if "mlp_bias" in table:
        entries["mlp_bias"] = "blk.0.ffn_up.bias" in tensors
    if "num_key_value_heads" in table:
        entries.setdefault("num_key_value_heads", heads)
    if "head_dim" in table:
        entries["head_dim"] = head
    for key, expected in (
        ("attention.value_length", head),
        ("attention.key_length", _head_size(architecture, s, head)),
    ):
        if s.get(key, expected) != expected:
            raise s.refusal(f"{key} = {s[key]}", str(expected), "keys and values of other sizes")
    if "rope_parameters" in table:
        entries["rope_parameters"] = _turning(architecture, s, head)
    scale = _scale(architecture, s, head, width // heads)
    if architecture in _SCALED_BY_WIDTH:
        entries["query_pre_attn_scalar"] = scale
        for cap in ("attn_logit_softcapping", "final_logit_softcapping"):
            entries[cap] = s[cap] or None
    return entries | _windows(architecture, s)


def _head_size(architecture: str, s: Settings, head: int) -> int:
    """GPT-2 and GPT-NeoX have heads that fill the stream."""
    filling = architecture in ("gpt2", "gptneox")
    return s["embedding_length"] // s["attention.head_count"] if filling else head


def _scale(architecture: str, s: Settings, head: int, share: int) -> int:
    """What scores are divided by the root of."""
    divisor = share if s["block_count"] == _SCALED_BY_WIDTH.get(architecture) else head
    said = s.get("attention.scale") or 0
    if said and abs(said * divisor**0.5 - 1) > 1e-5:
        raise s.contradiction(f"attention.scale = {said}", f"{divisor}^(−1/2), as llama.cpp scales this architecture")
    return divisor


def _windows(architecture: str, s: Settings) -> dict[str, Any]:
    window = s.get("attention.sliding_window", 0)
    if architecture not in _PERIOD:
        # llama.cpp reads no window here, and models that have one (Mistral) are converted to such files.
        if 0 < window < s["context_length"]:
            raise s.contradiction(
                f"attention.sliding_window = {window}", "no such key: llama.cpp gives this architecture no window"
            )
        return {}
    layers, pattern = s["block_count"], s.get("attention.sliding_window_pattern", _PERIOD[architecture])
    period = type(pattern) is int and 0 <= pattern < 2**31
    listed = isinstance(pattern, list) and len(pattern) == layers and {type(entry) for entry in pattern} <= {bool, int}
    if not period and not listed:
        expected = f"a number, or one switch for each of {layers} layers"
        raise s.contradiction(f"attention.sliding_window_pattern = {foreign_fields.shown(pattern)}", expected)
    return {"sliding_window": window or None, "layer_types": pattern}


def layer_types(entries: dict[str, Any]) -> dict[str, Any]:
    """The same entries with the kind of every layer spelled out, once the number of layers is known to be possible."""
    if "layer_types" not in entries:
        return entries
    pattern, layers = entries["layer_types"], range(entries["num_hidden_layers"])
    if entries["sliding_window"] is None:
        pattern = 1
    if isinstance(pattern, int):
        pattern = [pattern == 0 or layer % pattern < pattern - 1 for layer in layers]
    return entries | {"layer_types": ["sliding_attention" if here else "full_attention" for here in pattern]}


def _turning(architecture: str, s: Settings, head: int) -> dict[str, Any]:
    """rope_parameters, as transformers would write them for the same positions."""
    factor = s.get("rope.scaling.factor", s.get("rope.scale_linear", 0)) or 1
    kind = s["rope.scaling.type"]
    if kind == "none" or (kind == "linear" and factor == 1):
        kind = "default"
    found: dict[str, Any] = {"rope_type": kind, "rope_theta": s["rope.freq_base"]}
    if kind in ("linear", "yarn"):
        found["factor"] = factor
    said = s["rope.scaling.attn_factor"]
    if kind == "yarn":
        found["original_max_position_embeddings"] = s.get("rope.scaling.original_context_length") or s["context_length"]
        found |= {
            name: s[f"rope.scaling.yarn_{name}"]
            for name in ("beta_fast", "beta_slow")
            if f"rope.scaling.yarn_{name}" in s.values
        }
        if said != 1:
            found["attention_factor"] = said * yarn_magnitude(factor)
    elif said != 1:
        raise s.refusal(f"rope.scaling.attn_factor = {said}", "1 without yarn", "scaled queries and keys")
    elif s.get("rope.scaling.yarn_ext_factor", -1.0) != -1.0:
        raise s.refusal("rope.scaling.yarn_ext_factor without yarn", "no such key", "another mixture of yarn")
    turned = s.get("rope.dimension_count", head)
    if architecture == "gptneox":
        found["partial_rotary_factor"] = turned / head
    elif turned != head:
        raise s.refusal(f"rope.dimension_count = {turned}", str(head), "heads of which a part is turned")
    if architecture != "gemma3":
        return found
    if kind == "yarn":
        raise s.refusal("rope.scaling.type = yarn", "none or linear", "yarn in this architecture")
    near = {"rope_type": "default", "rope_theta": s["rope.freq_base_swa"]}
    return {"full_attention": found, "sliding_attention": near}
