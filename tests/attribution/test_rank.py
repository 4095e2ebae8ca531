"""Laws of rank: gradient cosine where everything is the identity, TrackStar pair by pair where it is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_tda import Encoder, rank
from jax_tda.core import trees
from jax_tda.core.errors import InputError
from jax_tda.models.decoder import Decoder, DecoderConfig
from tests.attribution import stores
from tests.encoding import naive

P = 3
NAMES = ("a", "b")


def named(rows):
    """[N, blocks, p²] as `.encode` returns it."""
    return {name: rows[:, index].reshape(len(rows), P, P) for index, name in enumerate(NAMES)}


def random_rows(count, seed):
    return np.random.default_rng(seed).normal(size=(count, len(NAMES), P * P)).astype(np.float32)


def mixed_curvature(seed=9):
    """A dense R for each block with eigenvalues over four decades."""
    random = np.random.default_rng(seed)
    turns = [np.linalg.qr(random.normal(size=(P * P, P * P)))[0] for _ in NAMES]
    return {name: t @ np.diag(np.logspace(0, -4, P * P)) @ t.T for name, t in zip(NAMES, turns, strict=True)}


def expect(ends, scores, k, tolerance=2e-5):
    best, worst = stores.ends(scores, k)
    for got, rows in ((ends.proponents, best), (ends.opponents, worst)):
        assert got[0].tolist() == rows
        np.testing.assert_allclose(got[1], np.take_along_axis(scores, np.array(rows), 1), atol=tolerance)


def test_with_identities_everywhere_a_score_is_the_cosine_of_plain_gradients():
    """Law: one block per matrix, P = [I; 0] with p ≥ both sides, V and R the identity: flattened gradients' cosine."""
    model = Decoder(DecoderConfig(vocabulary_size=19, layers=2, width=8, heads=2, kv_heads=1, mlp_width=10, tied=False))
    params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 4), jnp.int32))["params"]
    encoder = Encoder(model, params, None, "matrices", 10, projection_kind="identity")
    random = np.random.default_rng(1)
    batch = {"tokens": random.integers(1, 19, (10, 6)), "loss_weights": random.uniform(0.5, 1, (10, 6))}
    flat = []
    for tokens, weights in zip(batch["tokens"], batch["loss_weights"].astype(np.float32), strict=True):
        gradient = trees.flatten(naive.gradient(model)(params, jnp.asarray(tokens), jnp.asarray(weights)))
        kept = [g for path, g in gradient.items() if "attention/" in path or "mlp/" in path]
        flat.append(np.concatenate([np.asarray(g, np.float64).ravel() for g in kept]))
    units = np.stack(flat) / np.linalg.norm(flat, axis=1, keepdims=True)
    scores = units[7:] @ units[:7].T
    encoded = {block: np.asarray(value) for block, value in encoder.encode(batch).items()}
    train, query = ({block: value[part] for block, value in encoded.items()} for part in (np.s_[:7], np.s_[7:]))
    expect(rank(train, query, None, k=7), scores, 7)
    identity = {block: np.eye(100) for block in encoder.plan.blocks}
    for damping in (0.0, 3.0):  # A multiple of the identity cancels in a cosine.
        expect(rank(train, query, identity, k=7, damping=damping), scores, 7)


@pytest.mark.parametrize("damping", [0.0, 0.1])
@pytest.mark.parametrize("corrected", [True, False])
def test_a_score_is_trackstars_computed_one_pair_at_a_time(corrected, damping):
    """Law: R^(-1/2) on both sides, unit norm over all blocks, dot product; proponents and opponents."""
    train, query, curvature = random_rows(30, 1), random_rows(4, 2), mixed_curvature()
    # Blocks of very different sizes: the norm is over all of them together, not block by block.
    train[:, 0] *= 10.0 ** np.random.default_rng(3).uniform(-1, 1, (30, 1))
    stacked = np.stack([curvature[name] for name in NAMES]) if corrected else None
    scores = stores.trackstar(train, query, stacked, damping)
    expect(rank(named(train), named(query), curvature if corrected else None, k=6, damping=damping), scores, 6)


def test_the_order_of_blocks_in_a_dictionary_means_nothing():
    """Law: blocks are joined by name."""
    train, query, curvature = named(random_rows(9, 1)), named(random_rows(2, 2)), mixed_curvature()
    expected = rank(train, query, curvature, k=9)
    turned = [{name: part[name] for name in reversed(NAMES)} for part in (train, query, curvature)]
    for got, wanted in zip(rank(*turned, k=9), expected, strict=True):
        np.testing.assert_array_equal(got[0], wanted[0])
        np.testing.assert_array_equal(got[1], wanted[1])


@pytest.mark.parametrize("count", [17, 64, 203])
@pytest.mark.parametrize("corrected", [True, False])
def test_equal_passages_stand_in_corpus_order(corrected, count):
    """Law: copies of one encoding have one score wherever they stand, and ties are broken by row at both ends."""
    kinds = random_rows(5, 4)
    which = np.random.default_rng(5).integers(0, 5, count)
    curvature = mixed_curvature() if corrected else None
    ends = rank(named(kinds[which]), named(random_rows(3, 6)), curvature, k=count)
    for rows, scores in ends:
        for row, score in zip(rows, scores, strict=True):
            assert sorted(row.tolist()) == list(range(count))
            runs = [kind for n, kind in enumerate(which[row]) if n == 0 or kind != which[row][n - 1]]
            assert len(runs) == len(set(which))
            for kind in runs:
                places = row[which[row] == kind]
                assert places.tolist() == sorted(places.tolist())
                assert len(set(score[which[row] == kind].tolist())) == 1


@pytest.mark.parametrize("corrected", [True, False])
@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_a_passage_that_is_zero_or_not_finite_is_not_ranked(bad, corrected):
    """Law: it stands at neither end, its neighbours keep their rows, and empty places are −1 and NaN."""
    train, query, curvature = random_rows(6, 1), random_rows(2, 2), mixed_curvature()
    good = [0, 1, 3, 5]
    stacked = np.stack([curvature[name] for name in NAMES]) if corrected else None
    scores = np.full((2, 6), np.nan)
    scores[:, good] = stores.trackstar(train[good], query, stacked)
    train[2], train[4] = bad, bad
    ends = rank(named(train), named(query), curvature if corrected else None, k=6)
    best, worst = stores.ends(scores, 6)
    for got, rows in ((ends.proponents, best), (ends.opponents, worst)):
        assert got[0][:, :4].tolist() == rows
        assert np.all(got[0][:, 4:] == -1) and np.all(np.isnan(got[1][:, 4:]))
        assert np.all(np.isfinite(got[1][:, :4]))


def test_one_bad_number_spoils_a_passage_and_no_other():
    """Law: a row with a single NaN is not ranked by what remains of it."""
    train = random_rows(5, 1)
    train[3, 1, 4] = np.nan
    rows, _ = rank(named(train), named(random_rows(2, 2)), mixed_curvature(), k=5).proponents
    assert [sorted(row) for row in rows.tolist()] == [[-1, 0, 1, 2, 4]] * 2


def test_a_query_without_direction_ranks_nothing():
    """Law: a zero query has no proponents, the others keep theirs."""
    train, query = random_rows(5, 1), random_rows(3, 2)
    expected = rank(named(train), named(query), None, k=2)
    query[1] = 0
    rows, scores = rank(named(train), named(query), None, k=2).proponents
    assert rows[1].tolist() == [-1, -1] and np.isnan(scores[1]).all()
    np.testing.assert_array_equal(rows[[0, 2]], expected.proponents[0][[0, 2]])


def test_k_beyond_the_corpus_returns_the_corpus():
    """Law: [Q, min(k, N)], and the opponents are then the proponents backwards."""
    ends = rank(named(random_rows(4, 1)), named(random_rows(2, 2)), None, k=100)
    for rows, scores in ends:
        assert rows.shape == scores.shape == (2, 4)
    np.testing.assert_array_equal(ends.proponents[0], ends.opponents[0][:, ::-1])


def other_blocks(value):
    return {"a": value["a"], "c": value["b"]}


@pytest.mark.parametrize(
    ("which", "change"),
    [
        (1, other_blocks),
        (2, other_blocks),
        (1, lambda value: {"a": value["a"]}),
        (2, lambda value: {"a": value["a"]}),
        (1, lambda value: {name: part[:, :2, :2] for name, part in value.items()}),
        (2, lambda value: {name: part[:4, :4] for name, part in value.items()}),
    ],
)
def test_encodings_and_curvature_that_do_not_fit_are_refused(which, change):
    """Law: other blocks or other sizes, of queries or of curvature, with what, got, expected, remedy."""
    parts = [named(random_rows(4, 1)), named(random_rows(2, 2)), mixed_curvature()]
    parts[which] = change(parts[which])
    with pytest.raises(InputError, match="do not fit each other"):
        rank(*parts)


def test_no_places_and_a_singular_curvature_are_refused():
    """Law: k < 1 asks for nothing; a curvature of rank 1 has no inverse root without damping."""
    train, query = named(random_rows(4, 1)), named(random_rows(2, 2))
    with pytest.raises(InputError, match="cannot return so few"):
        rank(train, query, None, k=0)
    singular = mixed_curvature() | {"b": np.ones((9, 9))}
    with pytest.raises(InputError, match="block b is singular"):
        rank(train, query, singular, damping=0.0)
    rank(train, query, singular, damping=0.1)
