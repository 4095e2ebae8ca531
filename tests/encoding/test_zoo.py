"""The law of layers nobody here wrote: an encoding is the projected gradient, whatever holds the kernel and loops."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jax_tda import Encoder
from jax_tda.core import trees
from jax_tda.core.errors import InputError
from jax_tda.encoding.second_moments import from_values
from tests import missing
from tests.encoding import zoo

CASES = [(kind, loop) for kind in zoo.KINDS for loop in zoo.LOOPS]
NNX_CASES = [(kind, loop) for kind in zoo.NNX for loop in zoo.NNX_LOOPS]
# Every kind of loop, and what was once wrong; the rest is nightly.
SAMPLE = {
    ("two axes, turned", "alone"), ("Dense", "scan 1"), ("heads out", "scan -1"), ("Einsum, output turned", "vmap 1"),
    ("attention", "scan 1 of scan -1"), ("WeightNorm of heads", "scan 1"), ("batch of DenseGeneral", "alone"),
    ("ConvTranspose, kernel turned", "scan 0"), ("in boxes", "alone"), ("an inner loop", "scan 0"),
    ("Einsum, two ellipses", "scan 0, remat"),
}  # fmt: skip
NNX_SAMPLE = {("Linear", "scan -1"), ("two axes, turned", "vmap 1"), ("GRU", "alone"), ("heads out", "scan 0")}


def marked(cases, sample):
    assert sample <= set(cases)
    return [case if case in sample else pytest.param(*case, marks=pytest.mark.nightly) for case in cases]


def examples():
    generator = np.random.default_rng(0)
    return {
        "tokens": generator.integers(1, 31, (2, zoo.LENGTH)).astype(np.int32),
        "loss_weights": generator.uniform(0.5, 1.5, (2, zoo.LENGTH)).astype(np.float32),
    }


def loss(logits, tokens, weights):
    log_p = jnp.log(jnp.exp(logits) / jnp.exp(logits).sum(-1, keepdims=True))
    return -jnp.sum(weights[1:, None] * log_p[:-1] * jax.nn.one_hot(tokens[1:], 31))


def check_against(encoder, gradients, roots, views, axes, batch):
    """Every encoded parameter of two examples against ∇ ∘ 1/√V, cut into matrices by hand and projected."""
    encoded = encoder.encode(batch)
    largest = list[tuple[float, str]]()
    for matrix in encoder.plan.matrices:
        deep = axes if matrix.path.startswith("deep/") else []
        view = next((view for pattern, view in views.items() if re.search(f"{pattern}$", matrix.path)), None)
        left, right = (np.asarray(side, np.float64) for side in encoder.projections(matrix.path))
        for row, gradient in enumerate(gradients):
            whole = np.asarray(gradient[matrix.path], np.float64)
            parts = zoo.matrices(whole, deep, view)
            scales = zoo.matrices(roots[matrix.path], deep, view)
            assert max(1, matrix.layers) == len(parts) and parts.shape[1:] == (matrix.rows, matrix.columns)
            for layer, block in enumerate(matrix.blocks):
                sides = (left[layer], right[layer]) if matrix.layers else (left, right)
                expected = sides[0] @ (parts[layer] * scales[layer]) @ sides[1].T
                if matrix.path.endswith("key/bias") or np.abs(whole).max() < 1e-6:
                    continue  # A softmax does not feel a bias of its keys: there is only rounding, of whatever size.
                got = np.asarray(encoded[block][row])
                # A last position has no token to foretell: the gradient of what it alone uses is zero, and so is ours.
                largest.append((np.abs(got - expected).max() / (np.abs(expected).max() or 1.0), block))
    assert largest and max(largest)[0] < 1e-5, max(largest)


def moments_of(leaves):
    generator = np.random.default_rng(1)
    values = {path: generator.uniform(0.5, 2.0, np.shape(leaf)) for path, leaf in leaves.items()}
    return from_values(values, 0.1, "made up"), {path: 1 / (np.sqrt(v) + 0.1) for path, v in values.items()}


@pytest.mark.parametrize(("kind", "loop"), marked(CASES, SAMPLE))
def test_a_layer_of_linen_in_a_loop_equals_its_whole_gradient(kind, loop):
    """Law: |encoding − P₀ (∇/√V) P₁ᵀ| < 1e-5 of its largest entry, for every parameter, probed or not.

    What Flax itself cannot build or run (a bias has no axis 2) is skipped by its own error.
    """
    model, batch = zoo.Stack(kind, loop), examples()
    try:
        params = jax.jit(model.init)(jax.random.key(0), batch["tokens"][:1])["params"]
        jax.eval_shape(lambda params: model.apply({"params": params}, batch["tokens"][:1]), params)
    except (ValueError, IndexError, TypeError, AssertionError) as problem:
        missing.demand(False, f"a Flax that cannot build it: {type(problem).__name__}")
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)
    leaves = trees.flatten(params)
    moments, roots = moments_of(leaves)

    @jax.jit
    @jax.grad
    def gradient(params, tokens, weights):
        return loss(model.apply({"params": params}, tokens[None])[0], tokens, weights)

    gradients = [trees.flatten(gradient(params, *row)) for row in zip(*batch.values(), strict=True)]
    encoder = Encoder(model, params, moments, "matrices", 3, exclude=(), reduction="exact", example_length=zoo.LENGTH)
    check_against(encoder, gradients, roots, zoo.KINDS[kind][1], zoo.LOOPS[loop][0], batch)


@pytest.mark.parametrize(("kind", "loop"), marked(NNX_CASES, NNX_SAMPLE))
def test_a_part_of_nnx_in_a_loop_equals_its_whole_gradient(kind, loop):
    """Law: the same, stacked biases as rows included."""
    batch = examples()
    try:
        model = zoo.OfNnx(kind, *zoo.NNX_LOOPS[loop], nnx.Rngs(0))
    except (ValueError, IndexError, TypeError) as problem:
        missing.demand(False, f"a Flax that cannot build it: {type(problem).__name__}")
    state = nnx.state(model, nnx.Param)
    params = jax.tree.map(lambda leaf: leaf + 0.1, nnx.to_pure_dict(state))
    leaves = trees.flatten(params)
    moments, roots = moments_of(leaves)
    definition, own, rest = nnx.split(model, nnx.Param, ...)

    def of(params):
        flat = [
            (keys, leaf.replace(trees.flatten(params)["/".join(map(str, keys))]))
            for keys, leaf in nnx.to_flat_state(own)
        ]
        return nnx.merge(definition, nnx.from_flat_state(flat), rest)

    def found(tokens, weights):
        grads = nnx.grad(
            lambda model: loss(model(tokens[None])[0], tokens, weights), argnums=nnx.DiffState(0, nnx.Param)
        )
        return trees.flatten(nnx.to_pure_dict(grads(of(params))))

    gradients = [found(*map(jnp.asarray, row)) for row in zip(*batch.values(), strict=True)]
    encoder = Encoder(model, params, moments, "matrices", 3, exclude=(), reduction="exact", example_length=zoo.LENGTH)
    check_against(
        encoder, gradients, roots, zoo.NNX[kind][2], [zoo.NNX_LOOPS[loop][1]] if zoo.NNX_LOOPS[loop][0] else [], batch
    )


def test_there_are_forty_kinds_and_none_is_passed_over():
    """Law: the table is as long as it was promised, and its sample is a part of it."""
    assert len(zoo.KINDS) + len(zoo.NNX) >= 50 and len(CASES) > 400
    with pytest.raises(AssertionError):
        marked(CASES, {("nothing", "alone")})


def test_what_a_model_counts_by_itself_may_not_be_contradicted():
    """Law: `layer_axes` says what nobody else does."""
    model = zoo.Stack("Dense", "scan 1")
    params = jax.jit(model.init)(jax.random.key(0), examples()["tokens"][:1])["params"]
    with pytest.raises(InputError, match="contradicts the model"):
        Encoder(model, params, None, "matrices", 3, exclude=(), layer_axes={"^deep/": 0}, example_length=zoo.LENGTH)
