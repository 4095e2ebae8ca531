"""Damaged configs, tokenizers, tensor headers and GGUF files: what their own libraries read, or a refusal."""

import functools
import json
import re
import shutil
import struct
import warnings

import gguf
import jax
import numpy as np
import pytest
import safetensors
import safetensors.numpy
import transformers

from jax_tda.core.errors import InputError
from jax_tda.data import foreign_vocabulary, tokenizer_files
from jax_tda.models.decoder import Decoder
from jax_tda.models.importers import assemble
from jax_tda.models.importers.opened import open_source
from tests.data import tiny_tokenizers
from tests.fuzz import batches, mutations
from tests.models.importers import gguf_files, tiny

CASES = ("llama grouped tied biased", "gemma2", "gemma3", "gpt2", "gpt-neox", "qwen2 yarn window")
TOKENS = np.random.default_rng(0).integers(1, 48, (1, 10)).astype(np.int32)
TEXTS = ("the end is here", "  two  spaces\n½ 東京 <end> x", "")


@functools.lru_cache(maxsize=64)
def _forward(config):
    return jax.jit(Decoder(config).apply)


def _ours(folder):
    source = open_source(str(folder))
    assemble.check(source)
    return source


def _theirs(folder, source):
    """The reference's logits; where it refuses, once more without the entries that have no effect on logits."""
    (idle,) = [note.partition(": ")[2].split(", ") for note in source.notes if note.startswith("without effect")]
    path = folder / "config.json"
    settings = json.loads(path.read_text())
    # What says which class it is has no effect on that class's logits, and must stay.
    for without in (frozenset(), frozenset(idle) - {"model_type", "architectures"}):
        tried = {key: value for key, value in settings.items() if key not in without}
        for _ in tried:
            path.write_text(json.dumps(tried))
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    model = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
                    return tiny.logits(model.eval().float(), TOKENS)
            except Exception as problem:
                refusal = problem
            # The reference takes no 2 for 2.0 in some fields.
            strict = re.search(r"Field '(\w+)' expected float, got int", str(refusal))
            if strict is None:
                break
            tried[strict[1]] = float(tried[strict[1]])
    raise AssertionError(f"transformers refuses {json.dumps(settings)}: {refusal}")


@pytest.mark.parametrize(("seed", "count"), batches.COUNTS)
def test_a_damaged_config_is_refused_or_means_what_transformers_reads(tmp_path, seed, count):
    """Law: logits of ours = logits of transformers for every config that is not refused."""
    transformers.logging.set_verbosity_error()
    shares = batches.Shares()
    for place, case in enumerate(CASES):
        folder = tmp_path / str(place)
        tiny.model(case).save_pretrained(folder)
        whole = json.loads((folder / "config.json").read_text())
        for number, random in batches.randoms(seed + 10 * place, -(-count // len(CASES))):
            (folder / "config.json").write_bytes(mutations.json_text(whole, random))
            source, refusal = batches.verdict(lambda folder=folder: _ours(folder), (case, number))
            shares.count(refusal)
            if refusal is not None:
                continue
            text = (folder / "config.json").read_text()
            expected = _theirs(folder, source)
            params = assemble.parameters(source, jax.devices()[:1])
            found = _forward(source.config)({"params": params}, TOKENS)
            scale = max(1.0, float(np.abs(expected).max()))
            np.testing.assert_allclose(found, expected, atol=1e-4 * scale, rtol=0, err_msg=f"{case} {number} {text}")
    shares.check()


def _tokenizer(folder, number):
    """The reference; where it refuses, once more without the entries that change no id, padding's side for one."""
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    for without in (frozenset(), tokenizer_files.WITHOUT_EFFECT):
        path.write_text(json.dumps({key: value for key, value in settings.items() if key not in without}))
        try:
            return transformers.AutoTokenizer.from_pretrained(folder)
        except Exception as problem:
            refusal = problem
    raise AssertionError(f"try {number}: transformers refuses: {refusal}")


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize(("seed", "count"), batches.COUNTS)
def test_a_damaged_tokenizer_is_refused_or_gives_the_ids_of_transformers(tmp_path, file, seed, count):
    """Law: ids of ours = ids of AutoTokenizer for every folder that is not refused."""
    transformers.logging.set_verbosity_error()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tiny_tokenizers.byte_level(), bos_token="<begin>", eos_token="<end>"
    )
    tokenizer.save_pretrained(tmp_path)
    tiny.model("llama multi-head", vocab_size=400).config.save_pretrained(tmp_path)
    whole = json.loads((tmp_path / file).read_text())
    shares = batches.Shares()
    for number, random in batches.randoms(seed, count):
        (tmp_path / file).write_bytes(mutations.json_text(whole, random))
        read, refusal = batches.verdict(lambda: foreign_vocabulary.read(str(tmp_path), "", "", 400), number)
        shares.count(refusal)
        if refusal is not None:
            continue
        reference = _tokenizer(tmp_path, number)
        for text in TEXTS:
            expected = reference.encode(text, add_special_tokens=False)
            assert list(read.encode(text)) == expected, (number, text)
    shares.check()


@pytest.mark.parametrize(("seed", "count"), batches.COUNTS)
def test_a_damaged_header_of_tensors_is_refused_or_read_as_safetensors_reads_it(tmp_path, seed, count):
    """Law: every tensor equals what safetensors itself reads."""
    tiny.model("llama multi-head").save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    shares = batches.Shares()
    for number, random in batches.randoms(seed, count):
        text = mutations.json_text(header, random, most=1)
        length = len(text) if random.integers(8) else int(random.integers(2**62))
        path.write_bytes(struct.pack("<Q", length) + text + body)

        def read():
            source = _ours(tmp_path)
            origins = source.find_origins(assemble.shapes_of(source))
            return source, assemble.parameters(source, jax.devices()[:1]), origins

        found, refusal = batches.verdict(read, number)
        shares.count(refusal)
        if refusal is None:
            source, _, _ = found
            with safetensors.safe_open(path, "numpy") as reference:
                for name in reference.keys():
                    if name in source.shapes:
                        np.testing.assert_array_equal(
                            source.read(name), reference.get_tensor(name), err_msg=str(number)
                        )
    shares.check()


@pytest.mark.parametrize(("seed", "count"), batches.COUNTS)
def test_a_damaged_gguf_is_refused_or_read_as_the_gguf_package_reads_it(tmp_path, seed, count):
    """Law: every tensor equals what the package dequantises; nothing is read beyond the file."""
    whole, path = tmp_path / "whole.gguf", tmp_path / "damaged.gguf"
    gguf_files.write(tiny.model("gguf llama"), str(whole))
    data = whole.read_bytes()
    start = gguf.GGUFReader(str(whole)).data_offset
    shares = batches.Shares()
    for number, random in batches.randoms(seed, count):
        shutil.copyfile(whole, path)
        head = mutations.damaged(data[:start], random, most=1)
        path.write_bytes((head + b"\0" * (-len(head) % 32) if random.integers(2) else head) + data[start:])

        def read():
            source = _ours(path)
            assemble.parameters(source, jax.devices()[:1])
            return source

        source, refusal = batches.verdict(read, number)
        shares.count(refusal)
        if refusal is None:
            try:
                reference = gguf.GGUFReader(str(path))
            except Exception as error:
                raise AssertionError(f"try {number}: the package refuses: {error}") from error
            for tensor in reference.tensors:
                if tensor.name in source.shapes:
                    expected = gguf.dequantize(tensor.data, tensor.tensor_type).reshape(source.shapes[tensor.name])
                    np.testing.assert_array_equal(source.read(tensor.name), expected, err_msg=str(number))
    shares.check()


def test_a_refusal_has_four_parts():
    """The contract that `verdict` checks can fail."""
    with pytest.raises(AssertionError):
        batches.verdict(lambda: (_ for _ in ()).throw(InputError("x", got=" ", expected="y", remedy="z")), 0)
