"""Laws of a GGUF file's metadata: every key that llama.cpp defines is known, and says what it said of the model."""

import inspect
import re
import struct

import gguf
import numpy as np
import pytest

from jax_tda.core.errors import InputError
from jax_tda.models.importers import gguf_fields, gguf_header
from jax_tda.models.importers.opened import open_source
from tests.models.importers import gguf_files, tiny
from tests.models.importers.test_gguf import TOKENS, imported_logits

# Keys that llama.cpp had before, or has since the package was made.
OLD = {"rope.scale_linear"}
NEW = {
    "deepstack_mapping", "hidden_activation", "attention.value_scale", "attention.recurrent_layers", "hash_layer_count",
    "attention.output_group_count", "attention.output_lora_rank", "attention.compress_rope_freq_base",
    "attention.compress_ratios", "hyper_connection.count", "hyper_connection.sinkhorn_iterations",
    "hyper_connection.epsilon", "target_layers", "target_hidden_size", "norm_before_residual",
}  # fmt: skip


def keys_of(holder):
    for _, value in inspect.getmembers(holder):
        if inspect.isclass(value) and value is not type:
            yield from keys_of(value)
        elif isinstance(value, str) and value.startswith("{arch}."):
            yield from (value.removeprefix("{arch}.").replace("{dense}", dense) for dense in ("dense_2", "dense_3"))


@pytest.mark.parametrize("architecture", gguf_fields.ARCHITECTURES)
def test_a_table_holds_every_key_of_the_installed_package(architecture):
    """A key that a new gguf brings turns this red; so does one that no version has."""
    theirs = set(keys_of(gguf.Keys))
    assert len(theirs) > 90
    assert theirs - set(gguf_fields.TABLES[architecture]) == set()
    assert set(gguf_fields.TABLES[architecture]) - theirs <= OLD | NEW


def written(path, case="llama", keys=(), changes=None, **options):
    """A tiny model as GGUF, with more keys, each a name and the writer's own call."""
    model = tiny.model(f"gguf {case}", **(changes or {}))
    original = gguf.GGUFWriter.write_header_to_file

    def header(writer, *arguments, **more):
        for name, method, value in keys:
            key = name if name.startswith("general.") else f"{writer.arch}.{name}"
            writer.kv_data[0].pop(key, None)
            getattr(writer, f"add_{method}")(key, value)
        return original(writer, *arguments, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gguf.GGUFWriter, "write_header_to_file", header)
        gguf_files.write(model, path, **options)
    return model


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "rope_theta": 10000.0}
_YARN_KEYS = (
    ("rope.scaling.type", "string", "yarn"),
    ("rope.scaling.factor", "float32", 4.0),
    ("rope.scaling.original_context_length", "uint32", 16),
)
_FACTOR = ("rope.scaling.factor", "float32", 3.0)
_LINEAR = {"rope_type": "linear", "factor": 3.0, "rope_theta": 10000.0}


@pytest.mark.parametrize(
    ("case", "keys", "rope"),
    [
        ("llama", _YARN_KEYS, YARN),
        (
            "qwen2",
            (*_YARN_KEYS, ("rope.scaling.yarn_beta_fast", "float32", 4.0),
             ("rope.scaling.yarn_beta_slow", "float32", 0.5)),
            YARN | {"beta_fast": 4.0, "beta_slow": 0.5},
        ),
        (
            "gpt-neox",
            (*_YARN_KEYS, ("rope.scaling.attn_factor", "float32", 1.5)),
            YARN | {"attention_factor": 1.5 * (0.1 * np.log(4.0) + 1), "partial_rotary_factor": 0.5},
        ),
        ("qwen3", (("rope.scaling.type", "string", "linear"), _FACTOR), _LINEAR),
        ("olmo2", (_FACTOR,), _LINEAR),
        ("llama", (("rope.scale_linear", "float32", 3.0),), _LINEAR),
        ("qwen2", (("rope.scaling.type", "string", "none"), _FACTOR), {"rope_type": "default", "rope_theta": 10000.0}),
        ("gemma2", _YARN_KEYS, YARN),
        (
            "gemma3",
            (("rope.scaling.type", "string", "linear"), _FACTOR, ("rope.freq_base_swa", "float32", 50.0)),
            {"full_attention": _LINEAR | {"rope_theta": 1e6},
             "sliding_attention": {"rope_type": "default", "rope_theta": 50.0}},
        ),
    ],
)  # fmt: skip
def test_positions_are_those_of_the_model_that_was_written(case, keys, rope, tmp_path):
    """Logits of the file = logits of the transformers model whose config says the same."""
    path = tmp_path / "model.gguf"
    original = written(path, case, keys, {"rope_parameters": rope})
    expected = tiny.logits(original, TOKENS)
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(imported_logits(path), expected, atol=1e-4, rtol=0)


def test_lists_that_say_the_same_of_every_layer_are_read(tmp_path):
    """Heads per layer, all equal; windows per layer, as booleans."""
    path = tmp_path / "model.gguf"
    windows = [False, True, True, True, False, True]
    kinds = ["sliding_attention" if window else "full_attention" for window in windows]
    keys = [
        ("attention.head_count_kv", "array", [1] * 6),
        ("attention.sliding_window_pattern", "array", windows),
    ]
    expected = tiny.logits(written(path, "gemma3", keys, {"layer_types": kinds}), TOKENS)
    np.testing.assert_allclose(imported_logits(path), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("case", "key", "method", "value", "words"),
    [
        ("llama", "attention.head_count_kv", "array", [2, 1], "head_count_kv"),
        ("llama", "feed_forward_length", "array", [64, 32], "feed_forward_length"),
        ("llama", "expert_count", "uint32", 8, "a mixture of experts"),
        ("llama", "attention.sliding_window", "uint32", 4, "sliding_window"),
        ("llama", "attention.clamp_kqv", "float32", 8.0, "clamp_kqv"),
        ("llama", "attention.scale", "float32", 0.5, "attention.scale"),
        ("llama", "attention.causal", "bool", False, "later tokens"),
        ("llama", "attention.some_future_key", "uint32", 1, "some_future_key"),
        ("llama", "rope.some_future_key", "uint32", 1, "some_future_key"),
        ("llama", "rope.dimension_count", "uint32", 4, "dimension_count"),
        ("llama", "rope.dimension_sections", "array", [2, 2], "dimension_sections"),
        ("llama", "rope.scaling.type", "string", "longrope", "longrope"),
        ("llama", "rope.scaling.alpha", "float32", 2.0, "alpha"),
        ("llama", "rope.scaling.attn_factor", "float32", 2.0, "attn_factor"),
        ("llama", "rope.scaling.yarn_log_multiplier", "float32", 0.1, "yarn_log_multiplier"),
        ("llama", "rope.freq_base", "float32", 0.0, "freq_base"),
        ("llama", "logit_scale", "float32", 0.5, "logit_scale"),
        ("llama", "final_logit_softcapping", "float32", 30.0, "final_logit_softcapping"),
        ("llama", "block_count", "uint32", 2**31 - 1, "num_hidden_layers is more"),
        ("llama", "attention.key_length", "uint32", 2**30, "1073741824"),
        ("llama", "embedding_length", "string", "32", "embedding_length"),
        ("qwen2", "attention.value_length", "uint32", 4, "value_length"),
        ("olmo2", "attention.sliding_window", "uint32", 4, "sliding_window"),
        ("gemma2", "rope.freq_base_swa", "float32", 5.0, "freq_base_swa"),
        ("gemma3", "rope.scaling.type", "string", "yarn", "yarn"),
        ("gemma3", "attention.sliding_window_pattern", "array", [1, 0], "sliding_window_pattern"),
        ("gpt2", "rope.scaling.factor", "float32", 4.0, "rope.scaling.factor"),
        ("llama", "general.type", "string", "adapter", "general.type"),
    ],
)
def test_a_key_that_the_decoder_cannot_follow_is_refused_by_name(case, key, method, value, words, tmp_path):
    """Silence would give another model."""
    path = tmp_path / "model.gguf"
    written(path, case, [(key, method, value)])
    with pytest.raises(InputError) as caught:
        open_source(str(path))
    assert words in str(caught.value) and caught.value.remedy


def test_a_key_that_is_required_is_named(tmp_path):
    """And those without an effect, and those that nobody knows."""
    path = tmp_path / "model.gguf"
    written(path, "llama", [("rope.scaling.finetuned", "bool", True), ("a_new_key", "uint32", 7)])
    notes = "\n".join(open_source(str(path)).notes)
    assert "not read: a_new_key = 7" in notes and "rope.scaling.finetuned" in notes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gguf.GGUFWriter, "add_layer_norm_rms_eps", lambda *arguments: None)
        written(path)
    with pytest.raises(InputError, match=r"lacks the entry attention\.layer_norm_rms_epsilon"):
        open_source(str(path))


def split(path, number, count):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint16("split.no", number)
    writer.add_uint16("split.count", count)
    writer.add_tensor("token_embd.weight", np.zeros((4, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("number", [0, 1])
def test_a_part_of_a_split_file_is_refused_as_such(number, tmp_path):
    """With its number, and the command that joins the parts."""
    split(tmp_path / "part.gguf", number, 3)
    with pytest.raises(InputError, match=rf"is part {number + 1} of 3[\s\S]*llama-gguf-split --merge"):
        open_source(str(tmp_path / "part.gguf"))


def test_a_big_endian_file_is_refused_with_the_command_that_turns_it(tmp_path):
    """Its blocks would be read as noise."""
    path = tmp_path / "model.gguf"
    written(path)
    with pytest.MonkeyPatch.context() as patch:
        made = gguf.GGUFWriter.__init__
        patch.setattr(gguf.GGUFWriter, "__init__", lambda self, *a: made(self, *a, endianess=gguf.GGUFEndian.BIG))
        split(path, 0, 1)
    with pytest.raises(InputError, match=r"big-endian[\s\S]*gguf-convert-endian"):
        open_source(str(path))


def test_no_number_of_a_file_is_trusted_beyond_its_size(tmp_path):
    """Each word of the head in turn made vast, 0 or odd: an error of four parts, or the sound model."""
    path = tmp_path / "model.gguf"
    written(path)
    whole = path.read_bytes()
    head = max(tensor.offset for tensor in gguf_header.read(str(path)).tensors.values())
    end = whole.index(b"blk.1.ffn_up.weight")
    assert end < head
    generator = np.random.default_rng(0)
    refused = 0
    for at in [8, 16, *generator.integers(4, end, 60)]:
        for word in (2**63 - 1, 2**40, 0):
            changed = bytearray(whole)
            changed[at : at + 8] = struct.pack("<Q", word)
            path.write_bytes(bytes(changed))
            try:
                open_source(str(path))
            except InputError as problem:
                refused += 1
                assert problem.what and problem.got is not None and problem.expected and problem.remedy
    assert refused > 120


def test_what_is_no_file_is_refused(tmp_path):
    """A name without a file; a file of nothing; one of something else."""
    (tmp_path / "empty.gguf").write_bytes(b"")
    (tmp_path / "pointer.gguf").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    for name, words in (("empty.gguf", "truncated or damaged"), ("pointer.gguf", "begin with")):
        with pytest.raises(InputError, match=re.escape(words)):
            open_source(str(tmp_path / name))
    with pytest.raises(InputError, match="is no file"):
        gguf_header.read(str(tmp_path))
