"""Exact scores and Kronecker factors, each against whole gradients taken one example at a time."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_tda.core import mesh as meshes
from jax_tda.core import trees
from jax_tda.core.errors import InputError
from jax_tda.encoding.directed import DirectionScorer
from jax_tda.encoding.kronecker import FactorProgram, eigenvectors
from tests.encoding import naive
from tests.encoding.test_encoder import examples, make


def whole_gradients(scorer, model, params, batch):
    """[B, L, in, out] by parameter, float64, from `jax.grad` of the plain loss."""
    rows = [trees.flatten(naive.gradient(model)(params, *row)) for row in zip(*batch.values(), strict=True)]
    return {
        m.path: np.stack([m.view(np.asarray(row[m.path], np.float64)).reshape(-1, m.rows, m.columns) for row in rows])
        for m in scorer.plan.matrices
    }


def directions_of(gradients, count=3):
    generator = np.random.default_rng(0)
    return {
        path: generator.normal(size=(count, *array.shape[1:])).astype(np.float32) for path, array in gradients.items()
    }


class Positions(nn.Module):
    """A table of positions that no probe sees, and a kernel with heads."""

    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(31, 8, name="table")(tokens)
        x = x + self.param("place", nn.initializers.normal(1.0), (16, 8))[None, : tokens.shape[1]]
        x = x + nn.DenseGeneral((2, 4), name="heads")(x).reshape(x.shape)
        return nn.Dense(31, name="last")(nn.silu(x))


def case(kind):
    if kind == "positions":
        model = Positions()
        return model, model.init(jax.random.key(0), jnp.zeros((1, 4), jnp.int32))["params"], {"exclude": ("bias",)}
    model, params, _ = make(scan=kind != "separate")
    return model, params, {"unroll_layers": kind == "unrolled"} if kind != "separate" else {}


@pytest.mark.parametrize("kind", ["unrolled", "scanned", "separate", "positions"])
def test_a_score_is_the_product_of_direction_and_gradient(kind):
    """Law: score[i, q] = ⟨U_q, ∇ loss_i⟩ to 1e-5 of ‖U‖‖∇‖, whatever is probed; rows do not depend on each other."""
    model, params, options = case(kind)
    scorer, batch = DirectionScorer(model, params, **options), examples(batch=5)
    gradients = whole_gradients(scorer, model, params, batch)
    directions = directions_of(gradients)
    expected = sum(np.einsum("bxio,qxio->bq", gradients[p], directions[p].astype(np.float64)) for p in gradients)
    found = scorer.scores(scorer.place(directions), batch)
    size = np.sqrt(sum(np.square(g).sum((1, 2, 3)) for g in gradients.values()))[:, None]
    length = np.sqrt(sum(np.square(d.astype(np.float64)).sum((1, 2, 3)) for d in directions.values()))[None]
    assert found.shape == (5, 3) and (np.abs(found - expected) / (size * length)).max() < 1e-6
    alone = scorer.scores(scorer.place(directions), {name: array[2:3] for name, array in batch.items()})
    np.testing.assert_allclose(alone[0], found[2], rtol=1e-4, atol=1e-5 * np.abs(found).max())
    # Those that are wanted of each example alone, in any order and twice.
    wanted = np.array([[0, 2], [1, 1], [2, 0], [0, 1], [2, 1]])
    some = scorer.scores(scorer.place(directions), batch, wanted)
    np.testing.assert_allclose(some, np.take_along_axis(found, wanted, 1), atol=1e-5 * np.abs(found).max())


@pytest.mark.parametrize("kind", ["unrolled", "scanned", "positions"])
def test_a_querys_gradient_is_that_of_the_plain_loss(kind):
    """Law: `gradients` gives ∇ of every encoded parameter as matrices, to 1e-5."""
    model, params, options = case(kind)
    scorer, batch = DirectionScorer(model, params, **options), examples(batch=2)
    expected = whole_gradients(scorer, model, params, batch)
    for row, found in enumerate(scorer.gradients(batch)):
        assert set(found) == set(expected)
        for path, value in found.items():
            np.testing.assert_allclose(value, expected[path][row], atol=1e-5 * np.abs(expected[path]).max())


def test_devices_change_no_score():
    """Eight devices score as one does."""
    model, params, _ = make()
    batch = examples(batch=5)
    alone = DirectionScorer(model, params)
    directions = directions_of(whole_gradients(alone, model, params, batch))
    mesh = meshes.make_mesh(meshes.MeshConfig())
    shared = DirectionScorer(model, params, mesh=mesh)
    assert mesh.size == 8
    wanted = np.array([[2, 0]] * 5)
    one, many = (
        [each.scores(each.place(directions), batch, asked) for asked in (None, wanted)] for each in (alone, shared)
    )
    for found, expected in zip(many, one, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_directions_of_another_model_are_refused():
    """By the names and shapes of what does not fit."""
    model, params, _ = make()
    scorer = DirectionScorer(model, params)
    directions = directions_of(whole_gradients(scorer, model, params, examples(batch=1)))
    path = sorted(directions)[0]
    with pytest.raises(InputError, match=path):
        scorer.place(directions | {path: directions[path][:, :, :-1]})
    with pytest.raises(InputError, match=path):
        scorer.place({name: array for name, array in directions.items() if name != path})


def keys(count, seed=7):
    return jax.vmap(lambda row: jax.random.fold_in(jax.random.key(seed), row))(jnp.arange(count))


@pytest.mark.parametrize("unroll", [True, False])
def test_factors_are_the_moments_of_inputs_and_output_gradients(unroll):
    """Law: with a loss of one position an example's gradient is x ẏᵀ, so Σ ∇∇ᵀ = Σ |ẏ|² x xᵀ; by traces, and the count.

    Tr(A_i) Tr(G_i) = ‖∇_i‖² where one position alone has an output gradient: the first, under a loss of position 1.
    """
    model, params, _ = make()
    program = FactorProgram(model, params, labels="data", unroll_layers=unroll)
    scorer = DirectionScorer(model, params)
    batch = examples(batch=1)
    batch["loss_weights"] = jnp.zeros_like(batch["loss_weights"]).at[:, 1].set(1.0)
    gradients = whole_gradients(scorer, model, params, batch)
    for path, sums in program.factors(batch, keys(1)).items():
        expected = np.square(gradients[path][0]).sum((1, 2))
        feels = expected > 1e-12  # Of one position, attention's query and key feel nothing.
        assert (sums.positions[feels] == 1).all()
        found = np.trace(sums.factor_in, axis1=1, axis2=2) * np.trace(sums.factor_out, axis1=1, axis2=2)
        np.testing.assert_allclose(found[feels], expected[feels], rtol=1e-4)
        outer = np.einsum("lio,ljo->lij", gradients[path][0], gradients[path][0])
        scaled = sums.factor_in * np.trace(sums.factor_out, axis1=1, axis2=2)[:, None, None]
        np.testing.assert_allclose(scaled[feels], outer[feels], atol=1e-5 * np.abs(outer).max())


def test_padding_is_in_no_factor():
    """Positions without a loss behind them change neither sum nor count."""
    model, params, _ = make()
    program, batch = FactorProgram(model, params, labels="data"), examples(batch=2)
    longer = {name: jnp.pad(array, ((0, 0), (0, 5))) for name, array in batch.items()}
    for path, sums in program.factors(batch, keys(2)).items():
        other = program.factors(longer, keys(2))[path]
        assert (sums.positions <= 2 * 6).all() and (other.positions == sums.positions).all()
        for side in ("factor_in", "factor_out"):
            found, expected = getattr(other, side), getattr(sums, side)
            np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("unroll", [True, False])
def test_squares_are_those_of_gradients_in_the_eigenvectors(unroll):
    """Law: Σ_i (Q_Aᵀ ∇_i Q_G)², against `jax.grad`."""
    model, params, _ = make()
    program, scorer = FactorProgram(model, params, "data", unroll_layers=unroll), DirectionScorer(model, params)
    batch = examples(batch=4)
    gradients = whole_gradients(scorer, model, params, batch)
    bases = {
        p: (eigenvectors(s.factor_in)[1], eigenvectors(s.factor_out)[1])
        for p, s in program.factors(batch, keys(4)).items()
    }
    narrow = {path: tuple(np.asarray(side, np.float32) for side in pair) for path, pair in bases.items()}
    for path, found in program.squares(narrow, batch, keys(4)).items():
        turned = np.einsum("lij,blio,lop->bljp", bases[path][0], gradients[path], bases[path][1])
        expected = np.square(turned).sum(0)
        np.testing.assert_allclose(found, expected, atol=1e-4 * expected.max())


def test_labels_drawn_from_the_model_depend_on_their_own_key_alone():
    """An example's drawn labels are the same in any batch; another key draws others."""
    model, params, _ = make()
    program, batch = FactorProgram(model, params), examples(batch=3)
    path = program.program.plan.matrices[0].path
    parts = [{name: array[i : i + 1] for name, array in batch.items()} for i in range(3)]
    whole = program.factors(batch, keys(3))[path].factor_out
    apart = sum(program.factors(part, keys(3)[i : i + 1])[path].factor_out for i, part in enumerate(parts))
    np.testing.assert_allclose(apart, whole, rtol=1e-4, atol=1e-6)
    other = program.factors(batch, keys(3, seed=8))[path].factor_out
    assert np.abs(other - whole).max() > 1e-2 * np.abs(whole).max()


def test_a_parameter_without_a_visible_input_has_no_factors():
    """It is named."""
    model, params, options = case("positions")
    with pytest.raises(InputError, match="place"):
        FactorProgram(model, params, **options)
