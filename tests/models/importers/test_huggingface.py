"""Laws of imported Hugging Face folders: the model that comes out is the model that went in."""

import jax
import numpy as np
import pytest

from jax_tda.models.decoder import Decoder
from jax_tda.models.importers import assemble
from jax_tda.models.importers.huggingface import HuggingFaceSource
from tests.models.importers import tiny


def imported_logits(source, tokens):
    params = assemble.parameters(source, jax.devices()[:1])
    return jax.jit(Decoder(source.config).apply)({"params": params}, tokens)


@pytest.mark.parametrize("case", tiny.CASES)
def test_an_imported_model_has_the_logits_of_its_original(case, tmp_path):
    """Logits of ours = logits of transformers' own, for every family and what it varies."""
    original = tiny.model(case)
    original.save_pretrained(tmp_path)
    tokens = np.random.default_rng(0).integers(0, 48, (2, 12)).astype(np.int32)
    expected = tiny.logits(original, tokens)
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(imported_logits(HuggingFaceSource(str(tmp_path)), tokens), expected, atol=1e-4, rtol=0)
