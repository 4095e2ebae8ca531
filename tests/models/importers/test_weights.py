"""Laws of weights: what is loaded is what transformers' `from_pretrained` loads, whatever files lie in the folder."""

import json
import os
import shutil
import struct

import jax
import numpy as np
import pytest
import safetensors.torch
import torch
import transformers

from jax_tda.core.errors import InputError
from jax_tda.models.decoder import Decoder
from jax_tda.models.importers import assemble
from jax_tda.models.importers.huggingface import HuggingFaceSource
from jax_tda.models.importers.opened import open_source
from jax_tda.training import import_checkpoint
from tests.models.importers import tiny

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
TOKENS = np.random.default_rng(0).integers(0, 48, (2, 10)).astype(np.int32)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of each family's model, once: (family, tied) → path."""
    kept = {}

    def folder(case, tied):
        if (case, tied) not in kept:
            kept[case, tied] = tmp_path_factory.mktemp("made")
            tiny.model(case, tie_word_embeddings=tied).save_pretrained(kept[case, tied])
        return kept[case, tied]

    return folder


def theirs(folder):
    """Logits of the reference, which must have read every parameter from the folder."""
    read, said = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    assert not said["missing_keys"] and not said["mismatched_keys"]
    return tiny.logits(read.eval(), TOKENS)


def ours(folder):
    source = HuggingFaceSource(str(folder))
    params = assemble.parameters(source, jax.devices()[:1])
    return jax.jit(Decoder(source.config).apply)({"params": params}, TOKENS)


def expect_agreement(folder):
    np.testing.assert_allclose(ours(folder), theirs(folder), atol=1e-4, rtol=0)


def expect_refusal(folder, *words):
    with pytest.raises(InputError) as caught:
        assemble.check(open_source(str(folder)))
    assert [word for word in words if word not in str(caught.value)] == []


def copied(folder, place, change=lambda held: held):
    """The folder with other tensors."""
    shutil.copytree(folder, place, dirs_exist_ok=True)
    held = safetensors.torch.load_file(folder / SINGLE)
    safetensors.torch.save_file(change(dict(held)), place / SINGLE, metadata={"format": "pt"})
    return place


def sharded(folder, place, change=lambda held: held):
    """The same tensors in two files and an index, each with every other tensor."""
    copied(folder, place)
    held = change(dict(safetensors.torch.load_file(folder / SINGLE)))
    (place / SINGLE).unlink()
    placed = {}
    for number in range(2):
        name = f"model-0000{number + 1}-of-00002.safetensors"
        names = sorted(held)[number::2]
        safetensors.torch.save_file({n: held[n] for n in names}, place / name, metadata={"format": "pt"})
        placed |= dict.fromkeys(names, name)
    (place / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": placed}))
    return place


TABLES = {"gpt2": "transformer.wte.weight", "gpt_neox": "gpt_neox.embed_in.weight"}
# One case of every family.
FAMILIES = ["llama linear", "mistral window", "qwen2 tied", "qwen3", "gemma2", "gemma3", "gpt2", "gpt-neox", "olmo2"]
HEADS = ("none", "copy", "other", "only")
LAYOUTS = ("single", "sharded", "single and old shards", "single and a stale index")


def with_head(which, table):
    """A change of tensors: without a head, a copy of the table, another matrix, or the head alone."""

    def change(held):
        name = next((n for n in held if n in ("lm_head.weight", "embed_out.weight")), "lm_head.weight")
        matrix = held.pop(name, held[table])
        if which == "copy":
            held[name] = held[table].clone()
        elif which in ("other", "only"):
            held[name] = matrix.flip(0).contiguous()
        if which == "only":
            del held[table]
        return held

    return change


def laid_out(layout, folder, place, change):
    """The changed tensors as a folder of this layout; what is stale in it has other numbers."""

    def stale(held):
        return {name: tensor + 1 for name, tensor in change(held).items()}

    if layout == "single":
        return copied(folder, place, change)
    if layout == "sharded":
        return sharded(folder, place, change)
    sharded(folder, place, stale)
    if layout == "single and a stale index":
        for path in place.glob("model-*"):
            path.unlink()
    return copied(folder, place, change)


PRODUCT = [(f, tied, head, layout) for f in FAMILIES for tied in (True, False) for head in HEADS for layout in LAYOUTS]
_DAILY = (
    [("llama linear", True, head, "single") for head in HEADS]
    + [("gpt2", True, "other", "single"), ("gpt-neox", True, "only", "sharded"), ("gemma3", True, "other", "sharded")]
    + [("llama linear", False, "other", layout) for layout in LAYOUTS]
    + [("llama linear", False, head, "single") for head in ("none", "only")]
)


@pytest.mark.parametrize(
    ("case", "tied", "head", "layout"),
    [pytest.param(*row, marks=[] if row in _DAILY else pytest.mark.nightly) for row in PRODUCT],
)
def test_files_ties_and_heads_are_read_as_transformers_reads_them(case, tied, head, layout, made, tmp_path):
    """Logits agree for every family, tied or not, with every set of head tensors in every layout of files."""
    family = json.loads((made(case, tied) / "config.json").read_text())["model_type"]
    change = with_head(head, TABLES.get(family, "model.embed_tokens.weight"))
    folder = laid_out(layout, made(case, tied), tmp_path / "model", change)
    if not tied and head in ("none", "only"):
        # transformers would draw a random matrix.
        expect_refusal(folder, "is missing")
        return
    expect_agreement(folder)
    source = HuggingFaceSource(str(folder))
    assert source.config.tied == (tied and head != "other")
    assert any("two matrices" in note for note in source.notes) == (tied and head == "other")


def test_shards_are_read_whole_whatever_the_index_says_of_each(made, tmp_path):
    """An index names files; a tensor that it forgot, or puts into another, is still read, as transformers does."""
    folder = sharded(made("llama linear", False), tmp_path)
    placed = json.loads((folder / INDEX).read_text())["weight_map"]
    files = sorted(set(placed.values()))
    del placed["lm_head.weight"]
    placed["model.norm.weight"] = next(name for name in files if name != placed["model.norm.weight"])
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": placed}))
    expect_agreement(folder)


def test_the_file_that_config_json_names_comes_first(made, tmp_path):
    """`transformers_weights` names a file of tensors, or an index."""
    folder = copied(made("llama linear", False), tmp_path)
    held = safetensors.torch.load_file(folder / SINGLE)
    other = {name: tensor * 0.5 for name, tensor in held.items()}
    safetensors.torch.save_file(other, folder / "other.safetensors", metadata={"format": "pt"})
    entries = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(entries | {"transformers_weights": "other.safetensors"}))
    expect_agreement(folder)
    (folder / "config.json").write_text(json.dumps(entries | {"transformers_weights": "../other.safetensors"}))
    expect_refusal(folder, "below the folder")


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_every_type_of_weights_is_read_as_transformers_reads_it(kind, made, tmp_path):
    """Also where types are mixed: the head in float32."""
    folder = made("llama linear", False)
    expect_agreement(
        copied(folder, tmp_path, lambda held: {n: t.to(kind) if "head" not in n else t for n, t in held.items()})
    )


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_eight_bits_without_scales_are_what_they_say_and_with_scales_refused(kind, made, tmp_path):
    """The values of torch; a scale beside them would be dropped, and is refused before anything is read."""
    name = "model.layers.1.mlp.up_proj.weight"

    def change(held):
        return held | {name: held[name].to(kind)}

    folder = copied(made("llama linear", False), tmp_path / "plain", change)
    source = HuggingFaceSource(str(folder))
    params = assemble.parameters(source, jax.devices()[:1])
    expected = safetensors.torch.load_file(folder / SINGLE)[name].float().numpy()
    np.testing.assert_array_equal(params["layers"]["mlp"]["up"]["kernel"][1], expected.T)
    for suffix in ("_scale", "_scale_inv", ".scale", "_zero_point"):
        scaled = copied(
            made("llama linear", False),
            tmp_path / suffix,
            lambda held, s=suffix: change(held) | {name + s: torch.ones(1)},
        )
        expect_refusal(scaled, "quantised weights", name + suffix, "dequantize")
        with pytest.raises(InputError, match="quantised weights"):  # The dry run says so as well.
            import_checkpoint.plan(import_checkpoint.ImportCheckpointConfig(model=str(scaled)), "out")


@pytest.mark.parametrize("kind", [torch.int8, torch.uint8, torch.int32, torch.int64, torch.bool])
def test_whole_numbers_and_truths_are_no_weights(kind, made, tmp_path):
    """A quantised model without its configuration is refused; a mask of such a type is left out."""
    name = "model.layers.0.self_attn.q_proj.weight"
    folder = copied(made("llama linear", False), tmp_path / "a", lambda held: held | {name: held[name].to(kind)})
    expect_refusal(folder, name, "holds no weights", "before")
    mask = {"transformer.h.0.attn.bias": torch.ones(1, 1, 4, 4, dtype=kind)}
    assert assemble.check(open_source(str(copied(made("gpt2", True), tmp_path / "b", lambda held: held | mask))))


@pytest.mark.parametrize("case", ["llama linear", "gpt2", "gpt-neox"])
@pytest.mark.parametrize("wrapper", ["_orig_mod.", "module.", "module._orig_mod.", "inside", "twice", "bare"])
def test_names_under_wrappers_are_those_of_the_model(wrapper, case, made, tmp_path):
    """Weights are the same as without torch.compile, DataParallel, a base prefix too many, or without one."""
    folder = made(case, False)
    base = {"gpt2": "transformer", "gpt-neox": "gpt_neox"}.get(case, "model")

    def renamed(name):
        if wrapper == "inside":
            return name.replace(".0.", ".0._orig_mod._fsdp_wrapped_module.")
        if wrapper == "twice":
            return f"{base}.{name}"
        return name.removeprefix(f"{base}.") if wrapper == "bare" else wrapper + name

    other = copied(folder, tmp_path, lambda held: {renamed(name): tensor for name, tensor in held.items()})
    source = HuggingFaceSource(str(other))
    assert any("wrapper" in note for note in source.notes) == (wrapper not in ("twice", "bare"))
    for ours_, expected in zip(
        jax.tree.leaves(assemble.parameters(source, jax.devices()[:1])),
        jax.tree.leaves(assemble.parameters(HuggingFaceSource(str(folder)), jax.devices()[:1])),
        strict=True,
    ):
        np.testing.assert_array_equal(ours_, expected)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("adapter_config.json", ("adapter of PEFT", "merge_and_unload")),
        ("model_index.json", ("pipeline of diffusers",)),
        ("_CHECKPOINT_METADATA", ("orbax checkpoint",)),
        ("params.json", ("form of its makers",)),
    ],
)
def test_folders_of_other_kinds_are_named(file, words, tmp_path):
    """Not: there is no config.json."""
    (tmp_path / file).write_text("{}")
    expect_refusal(tmp_path, file, *words)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("score.weight", ("head for another task", "save_pretrained")),
        ("module.classifier.weight", ("head for another task",)),
        ("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", ("adapter of PEFT", "merge_and_unload")),
        ("model.layers.0.mlp.experts.0.w1.weight", ("mixture of experts",)),
        ("model.layers.0.self_attn.q_proj.weight.absmax", ("quantised weights",)),
    ],
)
def test_tensors_of_other_kinds_are_named(name, words, made, tmp_path):
    """Not: the configuration and the tensors are of different models."""
    folder = copied(made("llama linear", False), tmp_path, lambda held: held | {name: torch.ones(2, 2)})
    expect_refusal(folder, *words)


@pytest.mark.parametrize(
    "index",
    ["[]", "3", "{}", '{"weight_map": []}', '{"weight_map": {}}', '{"weight_map": null}', "[" * 100_000, "", "\xff"],
)
def test_an_index_without_an_object_is_refused(index, made, tmp_path):
    """In words, whatever stands there."""
    folder = sharded(made("llama linear", False), tmp_path)
    (folder / INDEX).write_bytes(index.encode("latin-1"))
    expect_refusal(folder, INDEX)


@pytest.mark.parametrize("name", ["../out.safetensors", "/etc/out", "a/../../out", "a\\b", "", "a\0b", 3, None, ["x"]])
def test_shards_lie_below_the_folder(name, made, tmp_path):
    """A name that leads out is refused, and the file that it leads to is not looked at."""
    folder = sharded(made("llama linear", False), tmp_path)
    (folder / INDEX).write_text(json.dumps({"weight_map": {"model.norm.weight": name}}))
    expect_refusal(
        folder, "does not lie below the folder" if isinstance(name, str) else "below the folder", repr(name)[:20]
    )


def test_two_shards_with_one_tensor_are_refused(made, tmp_path):
    """Files of two checkpoints in one folder."""
    folder = sharded(made("llama linear", False), tmp_path)
    shutil.copy(folder / "model-00001-of-00002.safetensors", folder / "model-00002-of-00002.safetensors")
    expect_refusal(folder, "twice", "00001", "00002")


@pytest.mark.parametrize("number", ["Infinity", "-Infinity", "NaN", "1e999"])
def test_numbers_of_config_json_are_finite(number, made, tmp_path):
    """Refused when it is read, not when the manifest is written behind the conversion."""
    folder = copied(made("llama linear", False), tmp_path)
    text = (folder / "config.json").read_text().rstrip().removesuffix("}")
    (folder / "config.json").write_text(f'{text}, "rope_theta": {number}}}')
    expect_refusal(folder, "config.json", "not a finite number")


@pytest.mark.parametrize(
    "sizes",
    [
        {"num_hidden_layers": 10**9},
        {"hidden_size": 2**40, "head_dim": 4},
        {"vocab_size": 10**15},
        {"intermediate_size": 10**12},
        {"num_attention_heads": 2**30, "num_key_value_heads": 2**30, "head_dim": 2},
    ],
)
def test_sizes_of_config_json_are_compared_with_the_tensors_first(sizes, made, tmp_path):
    """Nothing is made or counted by a number that the file cannot hold."""
    folder = copied(made("llama linear", False), tmp_path)
    entries = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(entries | sizes))
    expect_refusal(folder, "config.json")


@pytest.mark.parametrize("ends", [(0, 10**15), (-8, 24), (0, 0), (24, 0), (0, 2**64)])
def test_declared_sizes_are_those_of_the_file(ends, tmp_path, made):
    """A header whose offsets lie outside the file, or do not fit the shape, is damaged."""
    folder = copied(made("llama linear", False), tmp_path)
    head = json.dumps({"model.norm.weight": {"dtype": "F32", "shape": [6], "data_offsets": ends}}).encode()
    (folder / SINGLE).write_bytes(struct.pack("<Q", len(head)) + head + bytes(24))
    expect_refusal(folder, SINGLE, "damaged")


@pytest.mark.parametrize("name", [SINGLE, "config.json"])
def test_only_regular_files_are_opened(name, made, tmp_path):
    """A pipe would be waited for without end."""
    folder = copied(made("llama linear", False), tmp_path)
    (folder / name).unlink()
    os.mkfifo(folder / name)
    expect_refusal(folder, "no safetensors" if name == SINGLE else "no regular file")


def test_shards_of_one_name_have_a_digest_each(made, tmp_path):
    """Files in folders below the model's are told apart by their path from there."""
    folder = sharded(made("llama linear", False), tmp_path)
    placed = json.loads((folder / INDEX).read_text())
    for number, name in enumerate(sorted(set(placed["weight_map"].values()))):
        (folder / f"part{number}").mkdir()
        (folder / name).rename(folder / f"part{number}" / "model.safetensors")
        moved = {n: f"part{number}/model.safetensors" for n, place in placed["weight_map"].items() if place == name}
        placed["weight_map"] |= moved
    (folder / INDEX).write_text(json.dumps(placed))
    expect_agreement(folder)
    names = {import_checkpoint._name(str(folder), path) for path in HuggingFaceSource(str(folder)).files()}
    assert names >= {"config.json", INDEX, "part0/model.safetensors", "part1/model.safetensors"}
