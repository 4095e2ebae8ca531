"""Laws of the decoder, most of them against a forward pass in plain NumPy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_tda.core import trees
from jax_tda.core.errors import InputError
from jax_tda.models.decoder import Decoder, DecoderConfig
from jax_tda.models.layers import stack_layers, unstack_layers
from jax_tda.models.rotary import rotate

TINY = DecoderConfig(vocabulary_size=11, layers=2, width=8, heads=4, kv_heads=2, mlp_width=12)


def made(config, seed=0):
    model = Decoder(config)
    params = jax.jit(model.init)(jax.random.key(seed), jnp.zeros((1, 2), jnp.int32))["params"]
    # Norm scales start at 1, where a forgotten one would go unseen.
    noise = np.random.default_rng(seed)
    return model, jax.tree.map(lambda x: jnp.asarray(x + 0.1 * noise.normal(size=x.shape), jnp.float32), params)


def logits_of(model, params, tokens):
    return jax.jit(model.apply)({"params": params}, tokens)


def some_tokens(*shape):
    return np.random.default_rng(0).integers(0, TINY.vocabulary_size, shape).astype(np.int32)


def naive_logits(config, params, tokens):
    """Logits of one example, [T, V], with loops over heads and positions; params unrolled."""
    leaves = {name: np.asarray(leaf, np.float64) for name, leaf in trees.flatten(params).items()}
    size = config.head_size or config.width // config.heads

    def norm(x, name):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + config.norm_epsilon) * leaves[f"{name}/scale"]

    def turned(vector, position):
        pairs = vector[: size // 2] + 1j * vector[size // 2 :]
        angles = position * config.rope_theta ** (-2 * np.arange(size // 2) / size)
        pairs = pairs * np.exp(1j * angles)
        return np.concatenate([pairs.real, pairs.imag])

    x = leaves["embedding/embedding"][tokens]
    for layer in range(config.layers):
        name = f"layers_{layer}"
        y = norm(x, f"{name}/attention_norm")
        query, key, value = (y @ leaves[f"{name}/attention/{part}/kernel"] for part in ("query", "key", "value"))
        mixed = np.zeros_like(query)
        for head in range(config.heads):
            mine = slice(head * size, (head + 1) * size)
            shared = head // (config.heads // config.kv_heads)
            theirs = slice(shared * size, (shared + 1) * size)
            for t in range(len(tokens)):
                scores = np.array(
                    [turned(query[t, mine], t) @ turned(key[u, theirs], u) / np.sqrt(size) for u in range(t + 1)]
                )
                weights = np.exp(scores - scores.max())
                mixed[t, mine] = (weights / weights.sum()) @ value[: t + 1, theirs]
        x = x + mixed @ leaves[f"{name}/attention/output/kernel"]
        y = norm(x, f"{name}/mlp_norm")
        gate = y @ leaves[f"{name}/mlp/gate/kernel"]
        x = x + (gate / (1 + np.exp(-gate)) * (y @ leaves[f"{name}/mlp/up/kernel"])) @ leaves[f"{name}/mlp/down/kernel"]
    x = norm(x, "final_norm")
    return x @ (leaves["embedding/embedding"].T if config.tied else leaves["head/kernel"])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tied": False, "kv_heads": 4},
        {"kv_heads": 1, "head_size": 6, "rope_theta": 100.0, "norm_epsilon": 0.1},
        {"remat": True, "layers": 3},
    ],
    ids=["grouped", "multi-head untied", "multi-query wide heads", "remat"],
)
def test_logits_equal_a_forward_pass_in_numpy(changes):
    """Scanned logits of a batch = those of the naive loops, for every head grouping and both kinds of output head."""
    config = dataclasses.replace(TINY, **changes)
    model, params = made(config)
    tokens = some_tokens(3, 7)
    expected = np.stack([naive_logits(config, unstack_layers(params), row) for row in tokens])
    np.testing.assert_allclose(logits_of(model, params, tokens), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("changes", [{}, {"window": 2, "windowed_layers": (1,), "local_rope_theta": 3.0}])
def test_scanned_and_unrolled_layers_give_the_same_logits(changes):
    """A scanned decoder = the unrolled one with the same parameters taken apart; with and without recomputation."""
    config = dataclasses.replace(TINY, **changes)
    model, params = made(config)
    tokens = some_tokens(2, 5)
    expected = logits_of(model, params, tokens)
    for remat in (False, True):
        unrolled = Decoder(dataclasses.replace(config, scan_layers=False, remat=remat))
        logits = logits_of(unrolled, unstack_layers(params), tokens)
        np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)


def test_stacking_is_the_inverse_of_unstacking_and_gives_the_decoders_own_layout():
    """stack ∘ unstack = identity, and each side has exactly the leaves of a decoder initialised in that layout."""
    config = dataclasses.replace(TINY, layers=11)  # layers_10 sorts before layers_2 as text
    _, scanned = made(config)
    model = Decoder(dataclasses.replace(config, scan_layers=False))
    shapes_only = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 2), jnp.int32))["params"]
    unrolled = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes_only)

    def shapes(params):
        return {name: leaf.shape for name, leaf in trees.flatten(params).items()}

    assert shapes(unstack_layers(scanned)) == shapes(unrolled)
    assert shapes(stack_layers(unrolled)) == shapes(scanned)
    jax.tree.map(np.testing.assert_array_equal, stack_layers(unstack_layers(scanned)), scanned)
    with pytest.raises(InputError, match="unrolled"):
        stack_layers(scanned)
    with pytest.raises(InputError, match="scanned"):
        unstack_layers(unrolled)


def test_parameters_are_kernels_of_in_and_out_under_names_that_tell_their_block():
    """The tree of a tied and of an untied decoder, by hand."""
    tied = {name: leaf.shape for name, leaf in trees.flatten(made(TINY)[1]).items()}
    assert tied == {
        "embedding/embedding": (11, 8),
        "final_norm/scale": (8,),
        "layers/attention_norm/scale": (2, 8),
        "layers/attention/query/kernel": (2, 8, 8),
        "layers/attention/key/kernel": (2, 8, 4),
        "layers/attention/value/kernel": (2, 8, 4),
        "layers/attention/output/kernel": (2, 8, 8),
        "layers/mlp_norm/scale": (2, 8),
        "layers/mlp/gate/kernel": (2, 8, 12),
        "layers/mlp/up/kernel": (2, 8, 12),
        "layers/mlp/down/kernel": (2, 12, 8),
    }
    untied = {name: leaf.shape for name, leaf in trees.flatten(made(dataclasses.replace(TINY, tied=False))[1]).items()}
    assert untied == {**tied, "head/kernel": (8, 11)}


def test_layers_start_different_from_each_other():
    """Scanning splits the random key: no two layers share a kernel."""
    kernel = made(TINY)[1]["layers"]["mlp"]["gate"]["kernel"]
    assert np.abs(kernel[0] - kernel[1]).max() > 0.1


def test_more_tokens_than_learned_positions_are_refused():
    """A position without a row would read another one, or nothing."""
    model, params = made(dataclasses.replace(TINY, positions="learned", context=4))
    with pytest.raises(InputError, match="longer than the model's learned positions"):
        logits_of(model, params, some_tokens(1, 5))


def test_no_logit_depends_on_a_later_token():
    """The gradient of the logits at t with respect to the input at u is 0 exactly for u > t, and not for u ≤ t."""
    config = dataclasses.replace(TINY, tied=False)
    _, params = made(config)
    length = 5

    def logits_of_inputs(inputs):
        table = {**params, "embedding": {"embedding": inputs}}
        return Decoder(dataclasses.replace(config, vocabulary_size=length)).apply(
            {"params": {**table, "head": {"kernel": params["head"]["kernel"][:, :length]}}}, jnp.arange(length)
        )

    jacobian = jax.jit(jax.jacobian(logits_of_inputs))(jax.random.normal(jax.random.key(5), (length, config.width)))
    depends = np.abs(np.asarray(jacobian)).sum((1, 3)) > 0  # [T at which logits, T at which input]
    np.testing.assert_array_equal(depends, np.tril(np.ones((length, length), bool)))


def test_a_single_example_and_any_leading_axes_give_what_a_batch_gives():
    """f(tokens[i, j]) = f(tokens)[i, j]."""
    model, params = made(TINY)
    tokens = some_tokens(2, 3, 5)
    logits = logits_of(model, params, tokens)
    assert logits.shape == (2, 3, 5, 11) and logits.dtype == jnp.float32
    np.testing.assert_allclose(logits_of(model, params, tokens[1, 2]), logits[1, 2], rtol=1e-5, atol=1e-6)


def test_padding_on_the_right_changes_nothing_before_it():
    """f([tokens, padding])[:T] = f(tokens)."""
    model, params = made(TINY)
    tokens = some_tokens(2, 5)
    padded = np.pad(tokens, ((0, 0), (0, 4)))
    expected = logits_of(model, params, tokens)
    np.testing.assert_allclose(logits_of(model, params, padded)[:, :5], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("tied", [True, False])
def test_logits_are_the_unembedded_hidden_states(tied):
    """unembed(hidden(tokens)) = model(tokens)."""
    model, params = made(dataclasses.replace(TINY, tied=tied))
    tokens = some_tokens(2, 5)
    hidden = model.apply({"params": params}, tokens, method="hidden")
    assert hidden.shape == (2, 5, 8)
    logits = model.apply({"params": params}, hidden, method="unembed")
    np.testing.assert_allclose(logits, logits_of(model, params, tokens), rtol=1e-5, atol=1e-6)


def test_turned_queries_and_keys_meet_by_the_difference_of_their_positions():
    """⟨R_t q, R_u k⟩ = ⟨R_(t−u) q, k⟩, and turning keeps lengths."""
    query, key = np.random.default_rng(1).normal(size=(2, 1, 1, 8)).astype(np.float32)

    def meet(t, u):
        return float(jnp.vdot(rotate(query, jnp.array([t]), 10000.0), rotate(key, jnp.array([u]), 10000.0)))

    for t, u in [(5, 3), (90, 88), (700, 698)]:
        np.testing.assert_allclose(meet(t, u), meet(2, 0), rtol=1e-4)
    assert abs(meet(2, 0) - meet(0, 0)) > 1e-2
    np.testing.assert_allclose(jnp.linalg.norm(rotate(query, jnp.array([7]), 10.0)), np.linalg.norm(query), rtol=1e-6)


def test_bfloat16_layers_keep_float32_parameters_and_logits():
    """Only the layers' arithmetic is narrower; logits stay near the float32 ones."""
    model, params = made(TINY)
    narrow = Decoder(dataclasses.replace(TINY, dtype="bfloat16"))
    fresh = narrow.init(jax.random.key(0), jnp.zeros((1, 2), jnp.int32))["params"]
    assert {leaf.dtype for leaf in jax.tree.leaves(fresh)} == {jnp.dtype("float32")}
    tokens = some_tokens(2, 5)
    logits, expected = logits_of(narrow, params, tokens), logits_of(model, params, tokens)
    assert logits.dtype == jnp.float32
    # bfloat16 has 8 bits: 2^-8 relative per operation, some ten operations deep.
    assert 0 < jnp.linalg.norm(logits - expected) / jnp.linalg.norm(expected) < 0.05


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"vocabulary_size": 0}, "vocabulary_size"),
        ({"heads": 0}, "heads"),
        ({"kv_heads": 3}, "kv_heads"),
        ({"width": 10}, "width"),
        ({"head_size": 3}, "head_size"),
        ({"width": 12}, "head_size"),
        ({"head_size": -2}, "head_size"),
        ({"norm_epsilon": -1.0}, "norm_epsilon"),
        ({"dtype": "float16"}, "dtype"),
        ({"activation": "relu"}, "activation"),
        ({"norm_place": "nowhere"}, "norm_place"),
        ({"parallel": True, "norm_place": "both"}, "parallel"),
        ({"positions": "learned"}, "context"),
        ({"rotary_fraction": 0.7}, "rotary_fraction"),
        ({"rope_factors": (1.0, 2.0)}, "rope_factors"),
        ({"windowed_layers": (0,)}, "window"),
        ({"window": 4, "windowed_layers": (2,)}, "windowed_layers"),
    ],
)
def test_an_impossible_shape_is_refused_by_the_name_of_its_field(changes, field):
    """Nothing is compiled for a configuration that cannot work."""
    with pytest.raises(InputError, match=f"decoder.{field} "):
        dataclasses.replace(TINY, **changes)
