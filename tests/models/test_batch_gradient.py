"""Laws of the whole gradient: autodiff of the plain mean, for every kind of decoder, however the batch is taken."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_tda.core import mesh as meshes
from jax_tda.core import trees
from jax_tda.models import batch_gradient
from jax_tda.models.batch_gradient import mean_loss, mean_loss_and_gradient
from jax_tda.models.decoder import Decoder, DecoderConfig

SMALL = DecoderConfig(vocabulary_size=37, layers=2, width=16, heads=4, kv_heads=2, mlp_width=24)
VARIANTS = {
    "rotary, grouped, tied": {},
    "untied": {"tied": False},
    "layers apart": {"scan_layers": False},
    "recomputed": {"remat": True},
    "biases everywhere": {"attention_bias": "all", "mlp_bias": True, "norm": "layer"},
    "learned positions": {"positions": "learned", "context": 16, "gated": False, "activation": "gelu"},
    "norms of heads, after": {"norm_place": "after", "query_key_norm": "whole"},
    "norms on both sides": {"norm_place": "both", "query_key_norm": "heads", "norm_offset": 1.0},
    "parallel": {"parallel": True, "rotary_fraction": 0.5, "attention_bias": "inputs", "tied": False},
    "windows": {"window": 3, "windowed_layers": (1,), "local_rope_theta": 100.0, "activation": "gelu_tanh"},
    "caps": {"logit_softcap": 5.0, "attention_softcap": 4.0, "embedding_scale": 4.0, "attention_scale": 0.3},
    "scaled embeddings": {"embedding_scale": 4.0, "rope_factors": (2.0,), "rope_magnitude": 1.1, "head_size": 6},
    "vocabulary of several pieces": {"vocabulary_size": 1501},
}
SAMPLE = ("rotary, grouped, tied", "biases everywhere", "learned positions", "parallel", "caps", "recomputed")
MARKED = [n if n in SAMPLE else pytest.param(n, marks=pytest.mark.nightly) for n in VARIANTS]


def subject(config, count=5, length=9, dtype=np.float64, seed=0):
    """A model whose every parameter is noise, and a batch with padding, weights of all sizes, and a row without any."""
    noise = np.random.default_rng(seed)
    model = Decoder(config)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 2), jnp.int32))["params"]
    params = jax.tree.map(lambda leaf: jnp.asarray(0.5 * noise.normal(size=leaf.shape) + 0.3, dtype), shapes)
    tokens = noise.integers(1, config.vocabulary_size, (count, length)).astype(np.int32)
    weights = noise.uniform(0.2, 2, (count, length)).astype(np.float32)
    weights[0] = 0
    weights[1, -3:], tokens[1, -3:] = 0, 0
    return model, params, {"tokens": tokens, "loss_weights": weights}


def plain(model, params, batch):
    return jax.jit(jax.value_and_grad(lambda p: mean_loss(model, p, batch["tokens"], batch["loss_weights"])))(params)


def found(model, params, batch, mesh=None):
    return jax.jit(lambda p, b: mean_loss_and_gradient(model, p, b, mesh))(params, batch)


def farthest(got, wanted):
    """The largest difference of a parameter's gradient, relative to its largest entry."""
    got, wanted = trees.flatten(got), trees.flatten(wanted)
    assert got.keys() == wanted.keys()
    differences = {}
    for path, leaf in wanted.items():
        if not path.endswith("key/bias"):  # Softmax cancels it: its gradient is rounding alone.
            ours, theirs = np.asarray(got[path], np.float64), np.asarray(leaf, np.float64)
            assert ours.shape == theirs.shape
            differences[path] = float(np.max(np.abs(ours - theirs)) / np.max(np.abs(theirs)))
    return max(differences.values())


@pytest.mark.parametrize("name", MARKED)
def test_in_float64_it_is_autodiff_of_the_plain_mean(name, monkeypatch):
    """Law: to 1e-10 of each parameter's largest entry, for every kind of decoder, in three groups."""
    config = dataclasses.replace(SMALL, **VARIANTS[name])
    # Two examples at a time: three groups, the last filled up.
    monkeypatch.setattr(batch_gradient, "_FLOATS_AT_ONCE", 2 * 9 * (16 + 24))
    with jax.enable_x64(True):
        model, params, batch = subject(config)
        loss, gradient = found(model, params, batch)
        wanted, reference = plain(model, params, batch)
        assert loss.dtype == jnp.float64 and {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {np.dtype("float64")}
        assert float(loss) == pytest.approx(float(wanted), rel=1e-12)
        assert farthest(gradient, reference) < 1e-10


@pytest.mark.parametrize("name", ["untied", "vocabulary of several pieces"])
def test_in_float32_it_is_autodiff_of_the_plain_mean_to_rounding(name):
    """Law: in float32 to 1e-5, against float64."""
    model, params, batch = subject(dataclasses.replace(SMALL, **VARIANTS[name]), dtype=np.float32)
    params = jax.tree.map(lambda leaf: leaf / 2, params)
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), params)
        wanted, reference = plain(model, wide, batch)
    loss, gradient = found(model, params, batch)
    assert float(loss) == pytest.approx(float(wanted), rel=1e-6)
    assert farthest(gradient, reference) < 1e-5


@pytest.mark.parametrize("at_once", [1, 2, 3, 5])
def test_it_does_not_depend_on_how_many_are_taken_at_once_or_how_far_they_are_padded(at_once, monkeypatch):
    """Groups of any size, and padding behind, change rounding alone."""
    model, params, batch = subject(SMALL, dtype=np.float32)
    wanted, reference = found(model, params, batch)
    longer = {name: np.pad(array, ((0, 0), (0, 4))) for name, array in batch.items()}
    monkeypatch.setattr(batch_gradient, "_FLOATS_AT_ONCE", at_once * 13 * (16 + 24))
    loss, gradient = found(model, params, longer)
    assert float(loss) == pytest.approx(float(wanted), rel=1e-6)
    assert farthest(gradient, reference) < 1e-5


def test_devices_take_their_own_shares_and_agree_on_the_sum():
    """Four devices find what one does."""
    model, params, batch = subject(SMALL, count=8, dtype=np.float32)
    mesh = meshes.make_mesh(meshes.MeshConfig(4, 1), devices=jax.devices()[:4])
    wanted, reference = found(model, params, batch)
    loss, gradient = found(model, meshes.replicate(mesh, params), meshes.shard_batch(mesh, batch), mesh)
    assert float(loss) == pytest.approx(float(wanted), rel=1e-6)
    assert farthest(gradient, reference) < 1e-5


def test_weights_of_examples_multiply_their_losses_and_not_the_divisor():
    """Law: the loss is linear in the weights of examples."""
    model, params, batch = subject(SMALL, dtype=np.float32)
    each = np.array([1, 0.5, 0, 2, 1], np.float32)
    wanted = jax.value_and_grad(lambda p: mean_loss(model, p, batch["tokens"], batch["loss_weights"], each))(params)
    loss, gradient = found(model, params, {**batch, "example_weights": each})
    assert float(loss) == pytest.approx(float(wanted[0]), rel=1e-6)
    assert farthest(gradient, wanted[1]) < 1e-5
    alone = {name: array[3:4] for name, array in batch.items()}
    parts = jnp.sum(batch["loss_weights"][3:4, 1:]) / jnp.sum(batch["loss_weights"][:, 1:])
    twice = {**batch, "example_weights": np.array([0, 0, 0, 2, 0], np.float32)}
    assert float(found(model, params, twice)[0]) == pytest.approx(
        2 * float(parts) * float(found(model, params, alone)[0]), rel=1e-5
    )


def test_a_model_of_ones_own_and_bfloat16_are_taken():
    """What is no decoder is differentiated as it is; narrow parameters get wide gradients."""

    class Own(Decoder):
        pass

    model, params, batch = subject(SMALL, dtype=np.float32)
    assert farthest(found(Own(SMALL), params, batch)[1], found(model, params, batch)[1]) < 1e-5
    narrow = Decoder(dataclasses.replace(SMALL, dtype="bfloat16", parameter_dtype="bfloat16"))
    held = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    loss, gradient = found(narrow, held, batch)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {np.dtype("float32")}
    assert float(loss) == pytest.approx(float(found(model, params, batch)[0]), rel=0.05)


def test_an_id_beyond_the_vocabulary_gives_no_number():
    """NaN, as the plain loss gives."""
    model, params, batch = subject(SMALL, dtype=np.float32)
    batch["tokens"][2, 3] = SMALL.vocabulary_size
    assert not np.isfinite(float(found(model, params, batch)[0]))


def test_the_numbers_of_a_float64_decoder_are_float64_throughout():
    """Logits and loss keep what float32 would round away."""
    with jax.enable_x64(True):
        model, params, batch = subject(SMALL)
        program = jax.make_jaxpr(lambda p: model.apply({"params": p}, batch["tokens"]))(params)
    assert "f32" not in str(program)
