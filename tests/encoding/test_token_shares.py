"""Shares of scores by token: sums, the plain losses that they are of, and a case whose answer is known by hand."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_tda.core.errors import InputError
from jax_tda.encoding.token_shares import TokenScorer
from jax_tda.models.decoder import Decoder, DecoderConfig
from tests.encoding import naive
from tests.encoding.test_directed import Positions, whole_gradients
from tests.encoding.test_encoder import examples


def near(found, expected, scale):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(scale).max())


def drawn(scorer, count=2):
    """Directions of no gradient in particular."""
    generator = np.random.default_rng(0)
    sizes = {m.path: (count, max(1, m.layers), m.rows, m.columns) for m in scorer.scorer.plan.matrices}
    return {path: generator.normal(size=size).astype(np.float32) for path, size in sizes.items()}


class Mixing(nn.Module):
    """A layer, the mean of all positions so far, another layer."""

    @nn.compact
    def __call__(self, tokens):
        x = nn.silu(nn.Dense(8, name="first")(nn.Embed(31, 8, name="embed")(tokens)))
        seen = jnp.cumsum(x, axis=1) / jnp.arange(1, 1 + x.shape[1])[None, :, None]
        return nn.Dense(31, name="last")(nn.silu(seen))


def test_a_position_s_share_is_the_slope_of_the_loss_at_that_position():
    """Law: read[q, t] = ∂loss/∂ε of a forward pass written out, with kernels W + ε U at position t alone."""
    model = Mixing()
    params = model.init(jax.random.key(0), jnp.zeros((1, 4), jnp.int32))["params"]
    scorer, batch = TokenScorer(model, params), examples(batch=2)
    directions = drawn(scorer)

    def loss(steps, row, query):
        def layer(x, name):
            kernel, along = params[name]["kernel"], jnp.asarray(directions[f"{name}/kernel"])[query, 0]
            return x @ kernel + steps[:, None] * (x @ along) + params[name]["bias"][None]

        tokens, weights = batch["tokens"][row], batch["loss_weights"][row]
        hidden = nn.silu(layer(params["embed"]["embedding"][tokens], "first"))
        seen = jnp.tril(jnp.ones((9, 9))) / jnp.arange(1, 10)[:, None] @ hidden
        log_p = jax.nn.log_softmax(layer(nn.silu(seen), "last"))
        return -jnp.sum(weights[1:, None] * log_p[:-1] * jax.nn.one_hot(tokens[1:], 31))

    found = scorer.shares(scorer.scorer.place(directions), batch)
    slope = jax.jit(jax.grad(loss))
    expected = np.array([[slope(jnp.zeros(9), row, query) for query in (0, 1)] for row in (0, 1)])
    assert scorer.untold == [] and not found.elsewhere.any()
    near(found.read, expected, expected)


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("unrolled", marks=pytest.mark.nightly),  # The job's test has such a decoder as well.
        pytest.param("scanned", marks=pytest.mark.nightly),
        "elsewhere",
    ],
)
def test_shares_add_up_and_those_foretold_are_of_each_token_s_own_loss(kind):
    """Law: Σ_t read + elsewhere = Σ_t foretold = score; foretold[t] = ⟨U, ∇ loss⟩ with token t's weight alone."""
    if kind == "elsewhere":
        model, options = Positions(), {"exclude": ("bias",)}
        params = model.init(jax.random.key(0), jnp.zeros((1, 4), jnp.int32))["params"]
    else:
        sizes = {
            "layers": 1 if kind == "unrolled" else 2,
            "width": 8,
            "heads": 2,
            "kv_heads": 1,
            "mlp_width": 8,
            "tied": False,
        }
        model, options = Decoder(DecoderConfig(vocabulary_size=31, **sizes)), {"unroll_layers": kind == "unrolled"}
        params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 4), jnp.int32))["params"]
    scorer, batch = TokenScorer(model, params, **options), examples(batch=2)
    directions = drawn(scorer)
    placed = scorer.scorer.place(directions)
    found, scores = scorer.shares(placed, batch), scorer.scorer.scores(placed, batch)
    near(found.read.sum(-1) + found.elsewhere, scores, scores)
    near(found.foretold.sum(-1), scores, scores)
    assert scorer.untold == (["place", "table/embedding"] if kind == "elsewhere" else [])
    assert (np.abs(found.elsewhere).min() > 0) == (kind == "elsewhere")
    # One example, as one row for each of its tokens.
    length = batch["tokens"].shape[1]
    apart = {
        "tokens": jnp.broadcast_to(batch["tokens"][0], (length, length)),
        "loss_weights": jnp.diag(batch["loss_weights"][0]),
    }
    gradients = whole_gradients(scorer.scorer, model, params, apart)
    expected = sum(np.einsum("txio,qxio->qt", gradients[p], directions[p].astype(np.float64)) for p in gradients)
    near(found.foretold[0], expected, expected)
    if kind == "unrolled":
        return
    # Alone, and padded: the same shares, none on the padding.
    longer = {name: jnp.pad(array[:1], ((0, 0), (0, 4))) for name, array in batch.items()}
    alone = scorer.shares(placed, longer)
    for side in ("read", "foretold"):
        near(getattr(alone, side)[0, :, :length], getattr(found, side)[0], scores)
        assert not getattr(alone, side)[0, :, length:].any()


class Table(nn.Module):
    """The logits behind a token are its own row of a kernel."""

    @nn.compact
    def __call__(self, tokens):
        return nn.Dense(7, use_bias=False, name="next")(jax.nn.one_hot(tokens, 7))


def test_the_word_that_taught_the_answer_bears_the_shade():
    """Law: in a table of successors "5 follows 2" is taught where 2 is read and 5 foretold, and nowhere else."""
    params = {"next": {"kernel": np.random.default_rng(0).normal(size=(7, 7)).astype(np.float32)}}
    scorer = TokenScorer(Table(), params)
    query = {"tokens": np.array([[1, 2, 5]]), "loss_weights": np.array([[0, 0, 1.0]])}
    (gradient,) = scorer.scorer.gradients(query)
    passages = {"tokens": np.array([[1, 3, 2, 5, 6, 4], [1, 3, 2, 4, 6, 4]]), "loss_weights": np.ones((2, 6))}
    found = scorer.shares(scorer.scorer.place({path: g[None] for path, g in gradient.items()}), passages)
    slope = np.asarray(jax.nn.softmax(params["next"]["kernel"][2]))
    right, wrong = (slope - np.eye(7)[follower] for follower in (5, 4))
    for row, worth in enumerate((right @ right, right @ wrong)):
        np.testing.assert_allclose(found.read[row, 0], worth * (np.arange(6) == 2), atol=1e-6)
        np.testing.assert_allclose(found.foretold[row, 0], worth * (np.arange(6) == 3), atol=1e-6)


class Turned(nn.Module):
    """Its one kernel is given [1, features, T]: rows that are no positions."""

    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(7, 4, name="embed")(tokens)
        return nn.Dense(7, name="rows")(x[:, :, None, :])[:, :, 0]


def test_a_model_whose_rows_are_no_positions_is_refused_by_name():
    """Nothing is guessed of a layer with a further axis, nor of a loss of one's own."""
    params = Turned().init(jax.random.key(0), jnp.zeros((1, 2), jnp.int32))["params"]
    with pytest.raises(InputError, match="rows/kernel"):
        TokenScorer(Turned(), params)
    with pytest.raises(InputError, match="rows/kernel"):
        TokenScorer(lambda held, example: naive.loss(Turned(), held, *example.values()), params)
