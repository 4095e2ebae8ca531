"""Laws of a config.json: whatever it says of positions, in whichever words, is what transformers reads in it."""

import functools
import itertools
import json
import logging

import jax
import numpy as np
import pytest
import transformers

from jax_tda.core.errors import InputError
from jax_tda.models import rotary
from jax_tda.models.decoder import Decoder
from jax_tda.models.importers import assemble, families
from jax_tda.models.importers.family_fields import TABLES
from jax_tda.models.importers.huggingface import HuggingFaceSource
from tests.models.importers import tiny, written

logging.getLogger("transformers").setLevel(logging.ERROR)
ALL = list(itertools.product(written.FAMILIES, written.ROPES, written.LAYOUTS, (False, True)))
# Every family, every kind and every layout, each with several of the others.
SAMPLE = [
    ("llama", "llama3", "both", False),
    ("llama", "yarn, factor null", "4.x", True),
    ("mistral", "yarn, no original context", "5.x", False),
    ("qwen2", "yarn with all", "4.x", True),
    ("qwen3", "linear", "both", False),
    ("gemma2", "yarn", "4.x", True),
    ("gemma3_text", "yarn with attention_factor", "5.x", True),
    ("gemma3_text", "yarn", "both", False),
    ("gpt_neox", "yarn with all", "5.x", False),
    ("olmo2", "default", "4.x", True),
]


@functools.partial(jax.jit, static_argnums=0)
def _apply(config, params, tokens):
    return Decoder(config).apply({"params": params}, tokens)


def ours(folder):
    source = HuggingFaceSource(str(folder))
    return _apply(source.config, assemble.parameters(source, jax.devices()[:1]), written.TOKENS)


def expect_the_reference(folder, entries):
    expected = tiny.logits(written.write(folder, entries), written.TOKENS)
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(ours(folder), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("family", "rope", "layout", "tied"), SAMPLE)
def test_positions_are_those_that_transformers_reads(family, rope, layout, tied, tmp_path):
    """Logits of ours = logits of the model that transformers makes of the same config.json."""
    expect_the_reference(tmp_path, written.config(family, rope, layout, tied))


@pytest.mark.nightly
@pytest.mark.parametrize(("family", "rope", "layout", "tied"), [case for case in ALL if case not in SAMPLE])
def test_positions_of_every_family_kind_layout_and_tie_are_those_of_transformers(family, rope, layout, tied, tmp_path):
    """The same for the whole product."""
    expect_the_reference(tmp_path, written.config(family, rope, layout, tied))


@pytest.mark.parametrize("family", written.FAMILIES)
def test_wavelengths_and_magnitudes_of_every_kind_layout_and_tie_are_those_of_transformers(family):
    """Frequencies and scaling of its own module, for the whole product, of which logits are compared on a sample."""
    for rope, layout, tied in itertools.product(written.ROPES, written.LAYOUTS, (False, True)):
        entries = written.config(family, rope, layout, tied)
        made = families.decoder_config(
            family, families.settings(family, entries, "config.json"), dict.fromkeys("abcd", (48, 64))
        )
        read = transformers.AutoConfig.for_model(**entries)
        theirs = next(
            module
            for name, module in transformers.AutoModel.from_config(read).named_modules()
            if name.endswith("rotary_emb")
        )
        kinds = [("", made.rope_theta, made.rope_factors, made.rope_magnitude)]
        if family == "gemma3_text":
            near = made.local_rope_theta, made.local_rope_factors, made.local_rope_magnitude
            kinds = [("full_attention_", *kinds[0][1:]), ("sliding_attention_", *near)]
        for prefix, theta, factors, magnitude in kinds:
            frequencies = rotary.frequencies(theta, made.turned_size, factors)
            expected = getattr(theirs, f"{prefix}inv_freq").numpy()
            np.testing.assert_allclose(frequencies, expected, rtol=1e-5, err_msg=f"{rope}, {layout}, {prefix}")
            assert magnitude == pytest.approx(getattr(theirs, f"{prefix}attention_scaling"), rel=1e-6)
        assert made.tied == tied == read.tie_word_embeddings


@pytest.mark.parametrize("family", written.FAMILIES)
def test_what_is_missing_is_what_the_class_has(family, tmp_path):
    """Every entry that is not there has the default of transformers' class: caps, windows, epsilons, bases, ties."""
    needed = ("model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
              "num_attention_heads", "num_key_value_heads", "head_dim", "pad_token_id", "bos_token_id",
              "eos_token_id")  # fmt: skip
    kept = {
        name: value for name, value in ({"model_type": family} | written.FAMILIES[family]).items() if name in needed
    }
    expect_the_reference(tmp_path, kept)


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("llama", {"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_theta": 50}),
        ("llama", {"rope_scaling": {}, "rope_parameters": {"rope_type": "linear", "factor": 2, "rope_theta": 9.0}}),
        ("llama", {"rope_scaling": written.ROPES["yarn"], "original_max_position_embeddings": 8}),
        ("llama", {"rope_parameters": written.ROPES["llama3"] | {"rope_theta": 30.0}, "rope_theta": 9.0}),
        ("qwen2", {"rope_parameters": written.ROPES["yarn"] | {"truncate": False, "beta_fast": 0, "beta_slow": None}}),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 1}),
        ("qwen2", {"sliding_window": 3, "max_window_layers": 0, "layer_types": ["full_attention", "attention"]}),
        ("mistral", {"sliding_window": None}),
        ("gemma2", {"attn_logit_softcapping": None, "final_logit_softcapping": 2.0}),
        ("gemma3_text", {"layer_types": None, "sliding_window_pattern": 1, "final_logit_softcapping": 3.0}),
        ("gemma3_text", {"rope_parameters": {"full_attention": None, "sliding_attention": written.ROPES["yarn"]}}),
        ("gpt_neox", {"rope_scaling": {"type": "linear", "factor": 2.0, "partial_rotary_factor": 1.0}}),
        ("gpt2", {"model_type": "gpt2", "n_embd": 16, "hidden_size": 16, "num_hidden_layers": 2, "n_head": 4}),
    ],
)
def test_an_unusual_config_is_read_as_transformers_reads_it(family, changes, tmp_path):
    """Old names, nulls, empty objects, entries of which one wins."""
    base = written.FAMILIES.get(family, {"vocab_size": 48, "n_positions": 30, "bos_token_id": 1, "eos_token_id": 0})
    expect_the_reference(tmp_path, {"model_type": family} | base | changes)


def refusal(folder, entries, tensors="llama"):
    if not (folder / "model.safetensors").exists():
        written.write(folder, {"model_type": tensors} | written.FAMILIES[tensors])
    (folder / "config.json").write_text(json.dumps(entries))
    with pytest.raises(InputError) as caught:
        HuggingFaceSource(str(folder))
    for part in ("got", "expected", "remedy"):
        assert str(getattr(caught.value, part))
    return str(caught.value)


YARN = written.ROPES["yarn"]


@pytest.mark.parametrize(
    ("family", "changes", "words"),
    [
        ("llama", {"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ("llama", {"rope_scaling": YARN | {"partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
        ("llama", {"rope_parameters": {"full_attention": YARN}}, "rope_parameters.full_attention"),
        ("llama", {"rope_parameters": {"factor": 4.0}}, "no rope_type"),
        ("llama", {"rope_scaling": {"type": "dynamic", "factor": 4.0}}, "dynamic"),
        ("llama", {"rope_scaling": {"type": "longrope", "short_factor": [1.0], "long_factor": [2.0]}}, "longrope"),
        ("llama", {"rope_scaling": {"rope_type": "yarn"}}, "factor"),
        ("llama", {"layer_types": ["sliding_attention", "full_attention"]}, "layer_types"),
        ("llama", {"architectures": ["LlamaForSequenceClassification"]}, "LlamaForSequenceClassification"),
        ("llama", {"is_causal": False}, "is_causal"),
        ("llama", {"per_layer_config": {"0": {"head_dim": 2}}}, "per_layer_config"),
        ("llama", {"is_encoder_decoder": True}, "an encoder"),
        ("qwen2", {"layer_types": ["sliding_attention", "full_attention"]}, "no sliding_window"),
        ("qwen2", {"layer_types": ["full_attention"] * 3}, "layer_types"),
        ("qwen2", {"layer_types": ["full_attention", "chunked_attention"]}, "chunked_attention"),
        ("mistral", {"layer_types": ["sliding_attention", "full_attention"]}, "layer_types"),
        ("mistral", {"num_key_value_heads": None}, "num_key_value_heads"),
        ("gemma2", {"use_bidirectional_attention": True}, "later tokens"),
        ("gemma2", {"hidden_act": "silu"}, "hidden_act"),
        ("gemma3_text", {"rope_parameters": YARN}, "rope_parameters"),
        ("gemma3_text", {"rope_scaling": YARN | {"truncate": False}}, "truncate"),
        ("gemma3_text", {"_sliding_window_pattern": 2, "layer_types": None}, "_sliding_window_pattern"),
        ("gpt_neox", {"rope_theta": 77.0}, "rope_theta"),
        ("gpt_neox", {"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
    ],
)
def test_what_tools_read_differently_or_the_decoder_lacks_is_refused_by_name(family, changes, words, tmp_path):
    """Before any tensor's values are read."""
    assert words in refusal(tmp_path, {"model_type": family} | written.FAMILIES[family] | changes, family)


WRONG = ("16", "", True, [1], {}, 1.5, 0, -5, None, float("nan"), float("inf"), 10**400, 10**18, 1e308, 5e-324)


@pytest.mark.parametrize("family", written.FAMILIES)
def test_an_entry_of_a_wrong_type_or_range_is_refused_or_read_as_a_value(family):
    """One entry at a time, fifteen odd values: a decoder no larger than the tensors, or an error of four parts."""
    entries = written.config(family, "yarn with all", "5.x", False)
    shapes = {f"tensor {number}": (48, 48) for number in range(20)}
    counted = {True: 0, False: 0}
    turning = entries["rope_parameters"].get("full_attention", entries["rope_parameters"])
    tried = [{name: value} for name in [*TABLES[family], "no entry"] for value in WRONG]
    tried += [{"rope_scaling": turning | {name: value}} for name in turning for value in WRONG]
    for changes in tried:
        try:
            read = families.settings(family, entries | changes, "config.json")
            made = families.decoder_config(family, read, shapes)
            assert made.layers <= 20 and made.width <= 48 and made.size_of_head * made.heads <= 48, changes
            assert families.context(read) > 0
            counted[True] += 1
        except InputError as problem:
            assert problem.what and problem.got is not None and problem.expected and problem.remedy
            counted[False] += 1
    assert min(counted.values()) > 100, counted


def test_what_is_not_read_is_named(tmp_path):
    """An unknown entry with its value; one without an effect by its name."""
    entries = {"model_type": "llama"} | written.FAMILIES["llama"]
    written.write(tmp_path, entries)
    more = {"logit_scale": 0.5, "sliding_window": 4096, "attention_dropout": 0.1, "temperature": 2}
    (tmp_path / "config.json").write_text(json.dumps(entries | more))
    notes = "\n".join(HuggingFaceSource(str(tmp_path)).notes)
    assert "not read: logit_scale = 0.5" in notes and "not read: sliding_window = 4096" in notes
    assert "without effect on logits: attention_dropout" in notes and "temperature" in notes
    assert "hidden_size" not in notes
