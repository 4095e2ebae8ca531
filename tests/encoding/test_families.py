"""Encodings of decoders that are not the default one: whatever a family adds, the probe sees the same gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_tda import Encoder
from jax_tda.models.decoder import Decoder, DecoderConfig
from tests.encoding import naive

SMALL = {"vocabulary_size": 31, "layers": 3, "width": 16, "heads": 4, "kv_heads": 2, "mlp_width": 24}
CONFIGS = {
    # Gemma's and Qwen's additions at once: windows in some layers with wavelengths of their own, norms, caps, biases.
    "windows, caps and norms": DecoderConfig(
        **SMALL,
        head_size=6,
        norm_place="both",
        norm_offset=1.0,
        query_key_norm="heads",
        attention_bias="inputs",
        activation="gelu_tanh",
        window=3,
        windowed_layers=(0, 2),
        local_rope_theta=10.0,
        rope_factors=(2.0,),
        embedding_scale=4.0,
        attention_scale=0.3,
        attention_softcap=2.0,
        logit_softcap=3.0,
    ),
    # GPT-2's and GPT-NeoX's.
    "learned positions, parallel and plain": DecoderConfig(
        **SMALL,
        tied=False,
        norm="layer",
        attention_bias="all",
        mlp_bias=True,
        gated=False,
        activation="gelu",
        parallel=True,
        positions="learned",
        context=12,
    ),
    # OLMo 2's, layers apart, part of each head turned.
    "norms behind, layers apart": DecoderConfig(
        **SMALL, norm_place="after", query_key_norm="whole", rotary_fraction=0.5, scan_layers=False
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_probes_of_every_kind_of_decoder_equal_the_naive_gradient(name):
    """Law: gradient at the zero probe = P₀ ∇ P₁ᵀ summed per block, with every matrix of attention and MLP on it."""
    model = Decoder(CONFIGS[name])
    fresh = jax.jit(model.init)(jax.random.key(3), jnp.zeros((1, 4), jnp.int32))["params"]
    noise = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf + 0.1 * noise.normal(size=leaf.shape), jnp.float32), fresh)
    examples = {
        "tokens": jnp.asarray(noise.integers(1, 31, (3, 9)), jnp.int32),
        "loss_weights": jnp.asarray(noise.uniform(0.5, 1.5, (3, 9)), jnp.float32),
    }
    encoder = Encoder(model, params, None, "matrices", 6, seed=1)
    assert {matrix.route for matrix in encoder.plan.matrices} == {"probe"}
    assert len(encoder.plan.blocks) == 3 * (6 + model.config.gated)
    expected = naive.encode(encoder, model, params, examples)
    # float32, ‖a − b‖ / ‖b‖ per block, as docs/precision.md says.
    assert naive.distance(encoder.encode(examples), expected) < 1e-5
