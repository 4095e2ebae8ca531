"""The laws of encodings, each against whole gradients taken one example at a time."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax_tda import Encoder, second_moments_from
from jax_tda.core import mesh as meshes
from jax_tda.core import trees
from jax_tda.core.errors import InputError
from jax_tda.models.decoder import Decoder, DecoderConfig
from tests.encoding import naive

TOLERANCE = 1e-5  # float32, ‖a − b‖ / ‖b‖ per block (docs/precision.md)


OPTIMIZERS = {
    "adam": optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam(b2=0.98)),
    "adafactor": optax.scale_by_factored_rms(min_dim_size_to_factor=8),
    "adafactor_unfactored": optax.scale_by_factored_rms(min_dim_size_to_factor=128),
}


@functools.cache
def make(tied=True, scan=True, layers=3):
    """A small decoder with sides of every proportion, and each optimizer's second moments after a few real steps."""
    config = DecoderConfig(
        vocabulary_size=31, layers=layers, width=16, heads=4, kv_heads=2, mlp_width=24, tied=tied, scan_layers=scan
    )
    model = Decoder(config)
    params = jax.jit(model.init)(jax.random.key(3), jnp.zeros((1, 4), jnp.int32))["params"]
    batches = [examples(seed=step) for step in range(3)]
    gradients = [naive.gradient(model)(params, b["tokens"][0], b["loss_weights"][0]) for b in batches]
    states = {}
    for name, optimizer in OPTIMIZERS.items():
        state, update = optimizer.init(params), jax.jit(optimizer.update)
        for gradient in gradients:
            _, state = update(gradient, state, params)
        states[name] = second_moments_from(state, b2=0.98, epsilon=1e-3)
    return model, params, states


def examples(batch=4, length=9, seed=0):
    """Random tokens; the weights are uneven and end early."""
    generator = np.random.default_rng(seed)
    weights = generator.uniform(0.5, 1.5, (batch, length)) * (np.arange(length) < length - 2)
    return {
        "tokens": jnp.asarray(generator.integers(1, 31, (batch, length)), jnp.int32),
        "loss_weights": jnp.asarray(weights, jnp.float32),
    }


def by_hand(moments, encoder):
    """1/√V of each encoded parameter with V = r_i c_j / mean(V), one layer at a time in float64."""
    roots = {}
    for matrix in encoder.plan.matrices:
        values = moments.full(matrix.path, matrix.shape)
        stack = values if matrix.layers else values[None]
        reduced = np.stack([np.outer(v.mean(1), v.mean(0)) / v.mean() for v in stack])
        roots[matrix.path] = 1 / np.sqrt(reduced if matrix.layers else reduced[0])
    return roots


def exactly(moments, encoder):
    """1/(√V̂ + ε) of each encoded parameter, element by element."""
    return {m.path: 1 / (np.sqrt(moments.full(m.path, m.shape)) + moments.epsilon) for m in encoder.plan.matrices}


# Layout and head do not meet anywhere in the encoder, so each is taken with one of the other: compilations cost time.
@pytest.mark.parametrize(("blocks", "tied"), [("groups", True), ("matrices", False)])
@pytest.mark.parametrize("kind", [None, "adam", "adafactor", "adafactor_unfactored"])
def test_probe_equals_the_naive_gradient_corrected_and_projected(kind, blocks, tied):
    """Law: gradient at the zero probe = P₀ (∇/√V) P₁ᵀ summed per block."""
    model, params, states = make(tied)
    moments = states[kind] if kind else None
    encoder = Encoder(model, params, moments, blocks, 6, seed=1)
    roots = by_hand(moments, encoder) if kind else None
    expected = naive.encode(encoder, model, params, examples(), roots)
    assert len(expected) == (6 if blocks == "groups" else 3 * 7)
    assert naive.distance(encoder.encode(examples()), expected) < TOLERANCE


@pytest.mark.parametrize(("blocks", "tied"), [("groups", True), ("matrices", False)])
@pytest.mark.parametrize("kind", ["adam", "adafactor", "adafactor_unfactored"])
def test_exact_second_moments_divide_element_by_element(kind, blocks, tied):
    """Law: with reduction `exact` nothing is reduced: ∇ is divided by the optimizer's own √V̂ + ε, then projected."""
    model, params, states = make(tied)
    encoder = Encoder(model, params, states[kind], blocks, 6, seed=1, reduction="exact")
    expected = naive.encode(encoder, model, params, examples(), exactly(states[kind], encoder))
    assert encoder.reduced == {}
    assert naive.distance(encoder.encode(examples()), expected) < TOLERANCE


def test_adafactor_by_its_factors_equals_the_naive_gradient_over_the_rebuilt_v():
    """Law: where optax factored over (in, out), nothing is reduced: the rank-one form is V itself."""
    model, params, states = make()
    encoder = Encoder(model, params, states["adafactor"], "groups", 6, seed=1)
    expected = naive.encode(encoder, model, params, examples(), exactly(states["adafactor"], encoder))
    assert encoder.reduced == {}
    assert naive.distance(encoder.encode(examples()), expected) < TOLERANCE


def test_what_had_to_be_reduced_is_named():
    """Law: a V that is not rank one is reduced by name, with what that loses."""
    model, params, states = make()
    encoder = Encoder(model, params, states["adam"], "groups", 6)
    assert set(encoder.reduced) == {matrix.path for matrix in encoder.plan.matrices}
    assert all(0.01 < lost < 1 for lost in encoder.reduced.values())


def test_probes_and_the_weight_path_agree():
    """Law: module probes and the weight path of a pure loss give one encoding, from the same projections."""
    model, params, states = make()

    def loss(params, example):
        return naive.loss(model, params, example["tokens"], example["loss_weights"])

    for reduction in ("rank_one", "exact"):
        probed, weighted = (
            Encoder(judge, params, states["adam"], "groups", 6, seed=1, reduction=reduction, **said)
            for judge, said in ((model, {}), (loss, {"layer_axes": {"^layers/": 0}}))
        )
        assert {m.route for m in probed.plan.matrices} == {"probe"}
        assert {m.route for m in weighted.plan.matrices} == {"weight"}
        expected = {k: np.asarray(v, np.float64) for k, v in weighted.encode(examples()).items()}
        assert naive.distance(probed.encode(examples()), expected) < TOLERANCE


def test_unrolled_layers_equal_the_naive_gradient():
    """Law: layers that are modules of their own are found by their numbers."""
    model, params, states = make(scan=False, layers=2)
    encoder = Encoder(model, params, states["adam"], "groups", 6)
    roots = by_hand(states["adam"], encoder)
    assert encoder.plan.blocks == (
        "layers_0-0/attention", "layers_0-0/mlp", "layers_1-1/attention", "layers_1-1/mlp",
    )  # fmt: skip
    assert (
        naive.distance(encoder.encode(examples()), naive.encode(encoder, model, params, examples(), roots)) < TOLERANCE
    )


@pytest.mark.parametrize("tied", [True, False])
def test_embedding_and_head_can_be_encoded(tied):
    """Law: excluding norms alone covers the table, by one probe for both of its uses where it is tied, and a head."""
    model, params, _ = make(tied)
    encoder = Encoder(model, params, None, "matrices", 6, exclude=(r"norm",))
    routes = {m.path: m.route for m in encoder.plan.matrices if not m.layers}
    assert routes == {"embedding/embedding": "probe"} | ({} if tied else {"head/kernel": "probe"})
    assert naive.distance(encoder.encode(examples()), naive.encode(encoder, model, params, examples())) < TOLERANCE


def test_an_encoding_does_not_depend_on_batch_padding_or_devices():
    """Law: alone and padded, a few at a time, layer by layer, or over eight devices, an example has one encoding."""
    model, params, states = make()

    def encode(batch, **options):
        return Encoder(model, params, states["adam"], "groups", 6, **options).encode(batch)

    batch = examples(batch=19)
    expected = {k: np.asarray(v, np.float64) for k, v in encode(batch).items()}
    for row in (0, 18):
        alone = {k: jnp.pad(v[row : row + 1], ((0, 0), (0, 7))) for k, v in batch.items()}
        assert naive.distance(encode(alone), {k: v[row : row + 1] for k, v in expected.items()}) < TOLERANCE
    assert len(jax.devices()) == 8
    spread = {"mesh": meshes.make_mesh()}
    scanned = {"unroll_layers": False}
    for options in (scanned | {"examples_at_once": 1}, scanned | {"examples_at_once": 0}, spread, spread | scanned):
        assert naive.distance(encode(batch, **options), expected) < TOLERANCE


def test_identity_projection_and_no_correction_give_the_gradient_itself():
    """Law: with P = [I; 0] and one block per matrix, an encoding is the zero-padded gradient."""
    model, params, _ = make()
    encoder = Encoder(model, params, None, "matrices", 24, projection_kind="identity")
    encoded = encoder.encode(examples(batch=1))
    batch = examples(batch=1)
    gradient = naive.gradient(model)(params, batch["tokens"][0], batch["loss_weights"][0])
    for layer in range(3):
        whole = trees.flatten(gradient)["layers/mlp/down/kernel"][layer]
        assert whole.shape == (24, 16)
        got = np.asarray(encoded[f"layers/mlp/down/kernel/{layer}"][0])
        np.testing.assert_allclose(got[:24, :16], whole, rtol=1e-4, atol=1e-6)
        assert np.all(got[:, 16:] == 0)


class Foreign(nn.Module):
    """A model that the library has never seen, with a bias, a convolution-shaped parameter and no layer names."""

    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(31, 8)(tokens)
        x = nn.relu(nn.Dense(12, name="wide")(x))
        x = x * self.param("tensor", nn.initializers.ones, (1, 1, 12, 1))[..., 0]
        return nn.Dense(31, name="lm_head")(x)


def test_a_parameter_that_is_neither_covered_nor_excluded_stops_the_encoder_with_its_path():
    """Law: nothing is skipped silently."""
    model = Foreign()
    params = model.init(jax.random.key(0), jnp.zeros((1, 4), jnp.int32))
    with pytest.raises(InputError, match="tensor is not covered"):
        Encoder(model, params, None, "matrices", 4)
    encoder = Encoder(model, params, None, "matrices", 4, exclude=("tensor", "bias", "Embed"))
    assert encoder.plan.blocks == ("lm_head/kernel", "wide/kernel")
    assert set(encoder.plan.excluded) == {"tensor", "wide/bias", "lm_head/bias", "Embed_0/embedding"}
    assert (
        naive.distance(encoder.encode(examples()), naive.encode(encoder, model, params["params"], examples()))
        < TOLERANCE
    )


@pytest.mark.parametrize("asked", [1, 5, 20])
def test_the_head_looks_at_weighted_positions_alone(asked):
    """Law: an example with few weighted tokens among many has the encoding of the whole gradient."""
    model, params, _ = make()
    batch = examples(batch=3, length=24)
    positions = np.random.default_rng(1).permuted(np.arange(24)[None].repeat(3, 0), axis=1)
    batch["loss_weights"] = jnp.asarray(np.where(positions < asked, 1.5, 0), jnp.float32)
    encoder = Encoder(model, params, None, "groups", 6)
    assert naive.distance(encoder.encode(batch), naive.encode(encoder, model, params, batch)) < TOLERANCE


class Cooler(Decoder):
    """A Decoder whose logits are a third of those of its head."""

    def __call__(self, tokens):
        return super().__call__(tokens) / 3


def test_a_subclass_of_the_decoder_is_encoded_as_what_it_is():
    """Law: neither unrolling nor the fused loss is taken where a subclass may compute otherwise."""
    plain, params, _ = make()
    model = Cooler(plain.config)
    encoder = Encoder(model, params, None, "groups", 6)
    assert naive.distance(encoder.encode(examples()), naive.encode(encoder, model, params, examples())) < TOLERANCE
    with pytest.raises(InputError, match="cannot be unrolled"):
        Encoder(model, params, None, "groups", 6, unroll_layers=True)


def test_parameters_of_another_model_are_refused_before_compilation():
    """Law: what Flax finds missing is told in four parts."""
    model, params, _ = make()
    broken = {name: leaf for name, leaf in params.items() if name != "final_norm"}
    with pytest.raises(InputError, match="cannot be traced"):
        Encoder(model, broken, None, "groups", 6)


@pytest.mark.parametrize("change", ["shape", "floats", "nothing"])
def test_examples_of_the_wrong_form_are_refused_before_compilation(change):
    """Law: tokens and weights have one shape, and tokens are whole numbers."""
    model, params, _ = make()
    batch = examples()
    broken = {
        "shape": batch | {"tokens": batch["tokens"][:, :3]},
        "floats": batch | {"tokens": batch["loss_weights"]},
        "nothing": {name: array[:0] for name, array in batch.items()},
    }[change]
    with pytest.raises(InputError, match="wrong form"):
        Encoder(model, params, None, "groups", 6).encode(broken)


def test_an_unknown_reduction_is_refused():
    """Law: no other division takes its place."""
    model, params, states = make()
    with pytest.raises(InputError, match="unknown reduction"):
        Encoder(model, params, states["adam"], "groups", 6, reduction="rank_two")
