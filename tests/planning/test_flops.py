"""FLOPs counted by formulas against XLA's own count of the programs, and shapes against the model itself."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax_tda.attribution import similarity
from jax_tda.core import trees
from jax_tda.encoding.encoder import Encoder
from jax_tda.encoding.second_moments import second_moments_from
from jax_tda.models.decoder import Decoder, DecoderConfig
from jax_tda.planning import flops
from jax_tda.training.step import TrainState, train_step

SMALL = DecoderConfig(
    vocabulary_size=512, layers=1, width=256, heads=4, kv_heads=2, mlp_width=768, tied=False, scan_layers=False
)
CONFIGS = [
    SMALL,
    dataclasses.replace(SMALL, remat=True),
    dataclasses.replace(SMALL, gated=False, head_size=32, remat=True),
]
LENGTH, SIZE = 256, 16
# What the formulas leave out of a layer as small as these: norms, softmax, rotations, the gate.
LEFT_OUT = 0.03


def layers(config: DecoderConfig, count: int) -> DecoderConfig:
    return dataclasses.replace(config, layers=count)


def abstract(config: DecoderConfig) -> dict:
    return jax.eval_shape(lambda: Decoder(config).init(jax.random.key(0), jnp.zeros((1, 2), jnp.int32)))["params"]


def by_xla(program, *arguments) -> float:
    return jax.jit(program).lower(*arguments).cost_analysis()["flops"]


def tokens(length: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((1, length), jnp.int32)


def check_one_layer(config, counted, measured, limit=LEFT_OUT):
    """What a second layer adds, by the formula and by XLA; the first one need not hand a gradient on."""
    formula = counted(layers(config, 2)) - counted(layers(config, 1))
    xla = measured(layers(config, 2)) - measured(layers(config, 1))
    assert formula <= xla <= formula * (1 + limit), (formula, xla)


@pytest.mark.parametrize("config", [*CONFIGS, dataclasses.replace(SMALL, tied=True, layers=3)])
def test_kernels_and_tables_are_those_of_the_model(config):
    """Law: the shapes that are counted are the shapes that `init` makes, norms and biases left out."""
    made = {path: leaf.shape for path, leaf in trees.flatten(abstract(config)).items() if len(leaf.shape) > 1}
    assert flops.parameters(config) == sum(math.prod(shape) for shape in made.values())
    first = {path.split("/")[-2]: shape for path, shape in made.items() if path.startswith("layers_0/")}
    assert flops.kernels(config) == first


@pytest.mark.parametrize("config", CONFIGS)
def test_a_layers_forward_pass_costs_what_xla_counts(config):
    """Law: 2 T W + A."""

    def measured(config):
        model = Decoder(config)
        return by_xla(lambda params, given: model.apply({"params": params}, given), abstract(config), tokens(LENGTH))

    check_one_layer(config, lambda config: flops.forward(config, LENGTH), measured)


@pytest.mark.parametrize("config", CONFIGS)
def test_a_layers_training_step_costs_what_xla_counts(config):
    """Law: three times the forward pass, and with remat what is computed again."""
    optimizer = optax.sgd(1e-3)

    def measured(config):
        params = abstract(config)
        state = TrainState(jax.ShapeDtypeStruct((), jnp.int32), params, jax.eval_shape(optimizer.init, params))
        batch = {"tokens": tokens(LENGTH), "loss_weights": jax.ShapeDtypeStruct((1, LENGTH), jnp.float32)}
        return by_xla(lambda state, batch: train_step(Decoder(config), optimizer, state, batch), state, batch)

    check_one_layer(config, lambda config: flops.training_step(config, LENGTH), measured)


def test_a_layer_of_the_8b_decoder_costs_what_xla_counts():
    """Law: as above at the size that docs/scale.md reckons with, where less than 1 % is left out."""
    config = dataclasses.replace(SMALL, vocabulary_size=32000, width=4096, heads=32, kv_heads=8, mlp_width=14336)

    def measured(config):
        model = Decoder(config)
        return by_xla(lambda params, given: model.apply({"params": params}, given), abstract(config), tokens(2048))

    check_one_layer(config, lambda config: flops.forward(config, 2048), measured, 0.01)


def moments_of(config):
    """Parameters and second moments of no special form."""
    generator = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: generator.normal(size=leaf.shape).astype(np.float32), abstract(config))
    adam = optax.scale_by_adam()
    return params, second_moments_from(adam.update(params, adam.init(params))[1])


def program_of(encoder):
    """The encoder's program for one example, and what it is given."""
    weights = jax.ShapeDtypeStruct((1, LENGTH), jnp.float32)
    return encoder.program.encode_batch, encoder.leaves, encoder.sides, tokens(LENGTH), weights, tokens(LENGTH)


@pytest.mark.parametrize("reduction", ["rank_one", "exact"])
@pytest.mark.parametrize("config", CONFIGS)
def test_encoding_a_layer_costs_what_xla_counts(config, reduction):
    """Law: forward, the activations' gradient, the probes' products, and with remat what is computed again."""

    def measured(config):
        params, moments = moments_of(config)
        encoder = Encoder(Decoder(config), params, moments, projected_size=SIZE, reduction=reduction)
        return by_xla(*program_of(encoder))

    check_one_layer(config, lambda config: flops.encode(config, LENGTH, SIZE, reduction), measured)


def test_the_heads_share_of_an_encoding_is_twice_its_forward_pass():
    """Law: nothing grows with the vocabulary but the loss, whose forward pass forms its own gradient."""

    def measured(vocabulary):
        config = dataclasses.replace(SMALL, vocabulary_size=vocabulary)
        params, moments = moments_of(config)
        return by_xla(*program_of(Encoder(Decoder(config), params, moments, projected_size=SIZE)))

    counted = 2 * 2 * (LENGTH - 1) * SMALL.width * 256
    # A softmax over so narrow a stream is a larger share than in a layer.
    assert counted <= measured(512) - measured(256) <= counted * 1.06


def test_curvature_norms_and_scores_cost_what_xla_counts():
    """Law: 2 B K² for a row's outer products and for its norm under R, 2 B K for a query's score of it."""
    rows, queries, blocks, size = 64, 24, 2, 256
    counted = flops.per_example(SMALL, SMALL, LENGTH, 16, blocks)
    row, root = jax.ShapeDtypeStruct((rows, blocks, size), jnp.float32), jnp.zeros((blocks, size, size))

    def outer(given):
        return jnp.einsum("nbk,nbl->bkl", given, given)

    assert counted["curvature"] * rows <= by_xla(outer, row) <= counted["curvature"] * rows * 1.01
    under = by_xla(lambda given, root: similarity.norms(similarity.whiten(given, root)), row, root)
    assert counted["norm under R"] * rows <= under <= counted["norm under R"] * rows * 1.01
    side, norms = jax.ShapeDtypeStruct((queries, blocks * size), jnp.float32), jnp.ones(rows)
    scored, pairs = by_xla(similarity.scores, side, row, norms), rows * queries
    assert counted["score, one query"] * pairs <= scored <= counted["score, one query"] * pairs * 1.01


@pytest.mark.parametrize(("layout", "count"), [("groups", 1), ("groups", 9), ("matrices", 2)])
def test_blocks_are_as_many_as_the_encoder_lays_out(layout, count):
    """Law: B of a plan is B of an encoding."""
    config = DecoderConfig(vocabulary_size=8, layers=count, width=8, heads=2, kv_heads=1, mlp_width=8)
    params = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), abstract(config))
    encoder = Encoder(Decoder(config), params, blocks=layout, projected_size=2)
    assert flops.blocks(config, layout) == len(encoder.plan.blocks)
