"""Laws of tail-patch: one step on a passage, and what it does to a target's probability, by a plain loop."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax_tda.core import trees
from jax_tda.core.errors import InputError
from jax_tda.data.corpus import open_corpus
from jax_tda.evaluation import tail_patch
from jax_tda.evaluation.tail_patch import TailPatchConfig
from jax_tda.models.decoder import Decoder, DecoderConfig
from jax_tda.training import optimizers
from tests.evaluation import dumb
from tests.jobs import tiny_road

MODEL = Decoder(DecoderConfig(vocabulary_size=259, layers=1, width=8, heads=2, kv_heads=1, mlp_width=8))
# One passage for more queries than one call holds, others for one; one query of several passages.
PAIRS = {4: [0, 1, 2, 3, 4, 5], 0: [2], 2: [5, 2]}
RATE = 0.5


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Passages and queries of different lengths, so that every batch is padded."""
    place = tmp_path_factory.mktemp("texts")
    corpus = tiny_road.tokenized(place, "corpus", tiny_road.passages(5))
    queries = tiny_road.tokenized(place, "queries", tiny_road.queries(6), "queries")
    return open_corpus(corpus), open_corpus(queries)


@pytest.fixture(scope="module")
def params():
    return jax.jit(MODEL.init)(jax.random.key(1), jnp.zeros((1, 2), jnp.int32))["params"]


def like(params, seed):
    """Positive numbers of the parameters' shapes."""
    random = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(random.uniform(0.5, 2, leaf.shape), jnp.float32), params)


def expect(found, params, update, texts):
    """`found` is what taking the pairs one by one gives, `update` being applied to NumPy leaves."""
    assert set(found) == {(passage, query) for passage, asked in PAIRS.items() for query in asked}
    for passage, asked in PAIRS.items():
        gradient = dumb.mean_gradient(MODEL, params, texts[0], passage)
        patched = update(trees.flatten(params), trees.flatten(gradient))
        for query in asked:
            before = dumb.probability(MODEL, params, texts[1], query)
            after = dumb.probability(MODEL, trees.unflatten(patched), texts[1], query)
            assert abs(after - before) > 1e-3 * before, "a step that changes nothing shows nothing"
            assert found[passage, query] == pytest.approx(after - before, rel=1e-3, abs=1e-5 * before)


def test_changes_by_the_preconditioned_step_are_those_of_a_loop(texts, params):
    """Law: exp(Σ log p) after θ − rate · g · inverse_root minus before, g of the passage's mean loss, for each pair."""
    roots = like(params, 3)
    step = tail_patch.preconditioned(RATE, roots)
    found = tail_patch.changes(MODEL, params, step, PAIRS, *texts)
    flat = trees.flatten(roots)
    expect(found, params, lambda p, g: {path: p[path] - RATE * g[path] * flat[path] for path in p}, texts)


def test_changes_by_the_full_step_are_those_of_adamw_by_hand(texts, params):
    """Law: clipping, momentum, bias correction, decay of kernels, all as optax's next step, but the rate is `rate`."""
    config = optimizers.OptimizerConfig(weight_decay=0.3, clip_norm=0.5, warmup_steps=2, epsilon=1e-4)
    optimizer = optimizers.make(config, 9)
    state = optimizer.init(params)
    for seed in range(2):
        _, state = jax.jit(optimizer.update)(like(params, seed), state, params)
    scheduled = float(optimizers.rate(config, 2, 9))
    found = tail_patch.changes(MODEL, params, tail_patch.full(RATE, scheduled, optimizer, state), PAIRS, *texts)

    def clipped(gradient):
        norm = np.sqrt(sum(np.sum(np.square(g)) for g in gradient.values()))
        return {path: g * min(1.0, 0.5 / norm) for path, g in gradient.items()}

    def update(p, g):
        history = [clipped(trees.flatten(like(params, 0))), clipped(trees.flatten(like(params, 1))), clipped(g)]
        patched = {}
        for path in p:
            m, v = 0.0, 0.0
            for past in history:
                m, v = 0.9 * m + 0.1 * past[path], 0.98 * v + 0.02 * past[path] ** 2
            direction = (m / (1 - 0.9**3)) / (np.sqrt(v / (1 - 0.98**3)) + 1e-4)
            decay = 0.3 * p[path] if path.endswith("/kernel") else 0.0
            patched[path] = p[path] - RATE * (direction + decay)
        return patched

    expect(found, params, update, texts)


def test_a_passage_is_stepped_on_once_however_many_queries_ask_for_it(texts, params):
    """Law: as many updates as unique passages."""
    taken = []

    def step(params, gradient):
        jax.debug.callback(lambda: taken.append(1))
        return jax.tree.map(lambda p, g: p - RATE * g, params, gradient)

    found = tail_patch.changes(MODEL, params, step, PAIRS, *texts)
    jax.effects_barrier()
    assert (len(taken), len(found)) == (3, 9)


def test_a_change_does_not_depend_on_what_else_is_asked(texts, params):
    """Law: one pair alone gives what it gives among others."""
    step = tail_patch.preconditioned(RATE, like(params, 3))
    together = tail_patch.changes(MODEL, params, step, PAIRS, *texts)
    for pair in ((4, 5), (2, 2)):
        alone = tail_patch.changes(MODEL, params, step, {pair[0]: [pair[1]]}, *texts)
        assert alone[pair] == pytest.approx(together[pair], rel=1e-3)
    assert tail_patch.changes(MODEL, params, step, {}, *texts) == {}


def test_a_step_without_momentum_is_not_shrunk_by_it():
    """Law: b1 = 0 means the whole gradient over √V̂ + ε, as optax takes it, and not 1 − b1 of it; V̂ stays as it was."""
    params, gradient = {"w": jnp.array([1.0, 2.0])}, {"w": jnp.array([0.5, -3.0])}
    # Where V̂ is g² already, updating it with g again changes nothing, and Adam without momentum is the same step.
    optimizer = optax.adam(RATE, b1=0.0, b2=0.9, eps=1e-3)
    _, state = optimizer.update(gradient, optimizer.init(params), params)
    updates, _ = optimizer.update(gradient, state, params)
    roots = {"w": 1 / (jnp.abs(gradient["w"]) + 1e-3)}
    got = tail_patch.preconditioned(RATE, roots)(params, gradient)
    np.testing.assert_allclose(got["w"], params["w"] + updates["w"], rtol=1e-5)


@pytest.mark.parametrize("rate", [0.0, -0.0, -0.5, float("nan"), float("inf")])
def test_a_rate_that_steps_nowhere_is_refused(rate):
    """Law: 0 would make every figure 0; −1 alone stands for a tenth of the peak."""
    with pytest.raises(InputError, match=r"tail_patch\.rate is not possible") as caught:
        TailPatchConfig(rate=rate)
    assert f"{rate} (float)" == caught.value.got
    assert TailPatchConfig().rate == -1 and TailPatchConfig(rate=1e-4).rate == 1e-4


def test_an_unknown_kind_of_step_is_refused():
    """Law: the two kinds are named."""
    with pytest.raises(InputError, match="'preconditioned' or 'full_step'"):
        TailPatchConfig(kind="momentum")


def test_the_sample_of_queries_is_seeded_and_keeps_their_order():
    """Law: as many as asked, the same for one seed, another for another; all where there are no more."""
    names = [f"q{n}" for n in range(40)]
    chosen = tail_patch.sample(names, 10, 0)
    assert len(set(chosen)) == 10 and chosen == sorted(chosen, key=names.index)
    assert chosen == tail_patch.sample(names, 10, 0) != tail_patch.sample(names, 10, 1)
    assert chosen != names[:10]
    assert tail_patch.sample(names, 40, 0) == tail_patch.sample(names, 99, 0) == names


def test_a_query_averages_over_the_proponents_it_has():
    """Law: by hand: percentage points, mean of one or of two, none where nothing was returned."""
    found = {(7, 0): 0.02, (8, 0): -0.01, (7, 1): 0.5}
    got = tail_patch.per_query({"a": [7, 8], "b": [7], "c": []}, {"a": 0, "b": 1, "c": 2}, found)
    assert got["a"] == pytest.approx(0.5) and got["b"] == pytest.approx(50.0) and got["c"] is None
