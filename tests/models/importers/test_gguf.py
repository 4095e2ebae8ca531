"""Laws of imported GGUF files: what the converter wrote comes back as the model it was made from."""

import gguf
import jax
import numpy as np
import pytest
import transformers

from jax_tda.core.errors import InputError
from jax_tda.models.decoder import Decoder
from jax_tda.models.importers import assemble
from jax_tda.models.importers.opened import open_source
from tests.models.importers import gguf_files, tiny

TOKENS = np.random.default_rng(0).integers(0, 48, (2, 12)).astype(np.int32)


def imported_logits(path, tokens=TOKENS):
    source = open_source(str(path))
    params = assemble.parameters(source, jax.devices()[:1])
    return jax.jit(Decoder(source.config).apply)({"params": params}, tokens)


@pytest.mark.parametrize("case", tiny.GGUF_CASES)
def test_a_model_written_as_gguf_has_the_logits_of_its_original(case, tmp_path):
    """Names from gguf's own table, orders from llama.cpp's converter, logits from transformers."""
    original = tiny.model(f"gguf {case}")
    gguf_files.write(original, tmp_path / "model.gguf")
    expected = tiny.logits(original, TOKENS)
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(imported_logits(tmp_path / "model.gguf"), expected, atol=1e-4, rtol=0)


def test_a_quantised_file_has_the_logits_of_transformers_own_reader(tmp_path):
    """Both dequantise the same file."""
    original = tiny.model("gguf llama")
    gguf_files.write(original, tmp_path / "model.gguf", gguf.GGMLQuantizationType.Q8_0)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="model.gguf").eval()
    expected = tiny.logits(theirs, TOKENS)
    assert np.abs(expected - tiny.logits(original, TOKENS)).max() > 1e-3
    np.testing.assert_allclose(imported_logits(tmp_path / "model.gguf"), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q5_0", "Q5_1", "Q4_0", "Q4_1"])
def test_a_quantised_tensor_is_near_what_was_quantised(kind, tmp_path):
    """‖read − written‖ / ‖written‖ is that of the type's bits, and not 0."""
    original = tiny.model("gguf llama")
    gguf_files.write(original, tmp_path / "model.gguf", gguf.GGMLQuantizationType[kind])
    read = open_source(str(tmp_path / "model.gguf")).read("blk.1.ffn_up.weight")
    written = original.state_dict()["model.layers.1.mlp.up_proj.weight"].numpy()
    bits = {"F16": 10, "BF16": 8}.get(kind) or int(kind[1])
    # A step of a block of normal numbers is some 5 σ / 2^bits wide, the error a uniform part of it.
    assert 0 < np.linalg.norm(read - written) / np.linalg.norm(written) < 2.0 * 2**-bits


@pytest.mark.parametrize("share", [0.0005, 0.02, 0.5, 0.999])
def test_a_truncated_file_is_refused_wherever_it_ends(share, tmp_path):
    """In the header, among the metadata, among the tensors or in the last one: an error that names the file."""
    whole, cut = tmp_path / "whole.gguf", tmp_path / "cut.gguf"
    gguf_files.write(tiny.model("gguf llama"), whole)
    content = whole.read_bytes()
    cut.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match=r"cut\.gguf is truncated or damaged"):
        open_source(str(cut))


def test_a_file_of_another_architecture_is_refused_by_its_name(tmp_path):
    """The families are listed."""
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "mamba")
    writer.add_tensor("token_embd.weight", np.zeros((4, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(InputError, match=r"mamba[\s\S]*llama"):
        open_source(str(tmp_path / "model.gguf"))
