"""Laws of models the library never saw: whatever module holds a kernel, its encoding is that of its whole gradient."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jax_tda import Encoder, second_moments_from
from jax_tda.core import trees
from jax_tda.core.errors import InputError
from jax_tda.encoding import visibility
from tests.encoding import naive
from tests.encoding.test_encoder import TOLERANCE, examples

EXCLUDE = (r"bias$", r"scale$")


class Layer(nn.Module):
    """Linen's own attention, an Einsum, a DenseGeneral that contracts two axes, and a Dense."""

    @nn.compact
    def __call__(self, x, _):
        mask = nn.make_causal_mask(jnp.ones(x.shape[:-1]))
        x = x + nn.MultiHeadDotProductAttention(num_heads=2, name="attention")(nn.LayerNorm()(x), mask=mask)
        heads = nn.Einsum((3, 8, 4), "...d,hdk->...hk", name="mixer")(x)
        x = x + nn.DenseGeneral(8, axis=(-2, -1), name="merge")(jnp.tanh(heads))
        turned = nn.Einsum((8, 8), "btd,ed->bet", use_bias=False, name="turned")(x)
        return x + nn.Dense(8, name="mlp")(jnp.swapaxes(nn.gelu(turned), -1, -2)), None


class Zoo(nn.Module):
    """A tied table used by lookup and attend, and two scanned, rematerialised layers of every kind of module."""

    @nn.compact
    def __call__(self, tokens):
        table = nn.Embed(31, 8, name="table")
        stacked = nn.scan(nn.remat(Layer), variable_axes={"params": 0}, split_rngs={"params": True}, length=2)
        x, _ = stacked(name="layers")(table(tokens), None)
        return table.attend(x)


class ByHand(nn.Module):
    """A table that is also multiplied without `attend`, where no module shows it."""

    @nn.compact
    def __call__(self, tokens):
        table = nn.Embed(31, 8, name="table")
        x = nn.Dense(8, name="mlp")(table(tokens))
        return x @ table.embedding.T


# How each kernel of the Zoo is a matrix (in, out), written out: layer, then input axes, then output axes.
BY_HAND = {
    "layers/attention/query/kernel": lambda k: k.reshape(2, 8, 8),
    "layers/attention/key/kernel": lambda k: k.reshape(2, 8, 8),
    "layers/attention/value/kernel": lambda k: k.reshape(2, 8, 8),
    "layers/attention/out/kernel": lambda k: k.reshape(2, 8, 8),
    "layers/mixer/kernel": lambda k: k.transpose(0, 2, 1, 3).reshape(2, 8, 12),
    "layers/merge/kernel": lambda k: k.reshape(2, 12, 8),
    "layers/turned/kernel": lambda k: k.transpose(0, 2, 1),
    "layers/mlp/kernel": lambda k: k,
    "table/embedding": lambda k: k,
}


@pytest.fixture(scope="module")
def zoo():
    model = Zoo()
    params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 4), jnp.int32))["params"]
    # Biases away from zero, so that nothing hides behind them.
    params = jax.tree.map(lambda p: p + 0.1, params)
    optimizer = optax.scale_by_adam(b2=0.9)
    state = optimizer.init(params)
    for seed in range(2):
        batch = examples(seed=seed)
        gradient = naive.gradient(model)(params, batch["tokens"][0], batch["loss_weights"][0])
        _, state = jax.jit(optimizer.update)(gradient, state, params)
    return model, params, second_moments_from(state, b2=0.9, epsilon=1e-4)


@pytest.mark.parametrize("reduction", ["none", "rank_one", "exact"])
def test_every_kind_of_module_equals_the_whole_gradient(zoo, reduction):
    """Law: attention, Einsum, DenseGeneral, Dense, scan, remat and both uses of a tied table, for every form of V."""
    model, params, moments = zoo
    used = None if reduction == "none" else moments
    encoder = Encoder(
        model, params, used, "matrices", 5, exclude=EXCLUDE, reduction="exact" if reduction == "exact" else "rank_one"
    )
    assert {m.path for m in encoder.plan.matrices} == set(BY_HAND)
    tabled = "weight" if reduction == "exact" else "probe"
    assert {m.path: m.route for m in encoder.plan.matrices} == dict.fromkeys(BY_HAND, "probe") | {
        "table/embedding": tabled
    }
    batch = examples(batch=2)
    expected = {block: [] for block in encoder.plan.blocks}
    for row in range(2):
        whole = trees.flatten(naive.gradient(model)(params, batch["tokens"][row], batch["loss_weights"][row]))
        for matrix in encoder.plan.matrices:
            gradient = np.asarray(BY_HAND[matrix.path](np.asarray(whole[matrix.path], np.float64)))
            if used is not None:
                values = BY_HAND[matrix.path](moments.full(matrix.path, whole[matrix.path].shape))
                gradient = gradient * divisor(values, moments.epsilon, reduction)
            left, right = (np.asarray(side, np.float64) for side in encoder.projections(matrix.path))
            projected = left @ gradient @ np.swapaxes(right, -1, -2)
            for block, value in zip(matrix.blocks, projected if matrix.layers else projected[None], strict=True):
                expected[block].append(value)
    expected = {block: np.stack(values) for block, values in expected.items()}
    assert naive.distance(encoder.encode(batch), expected) < TOLERANCE


def test_biases_and_norms_of_modules_never_seen_are_matrices_of_one_row(zoo):
    """Law: what is no product's kernel is encoded when asked for: a vector, in each layer, as 1 × n, with Adam's ε."""
    model, params, moments = zoo
    # A softmax does not feel a bias of its keys, whose gradient is the rounding of zero.
    left_out = (r"kernel$", r"table", r"key/bias")
    encoder = Encoder(model, params, moments, "matrices", 5, exclude=left_out, reduction="exact")
    leaves = {path: leaf for path, leaf in trees.flatten(params).items() if path != "layers/attention/key/bias"}
    vectors = [m for m in encoder.plan.matrices if leaves[m.path].ndim == 2]
    assert {m.path for m in encoder.plan.matrices} == {path for path in leaves if path.endswith(("bias", "scale"))}
    assert {m.route for m in encoder.plan.matrices} == {"weight"}
    assert {"layers/attention/out/bias", "layers/LayerNorm_0/scale"} <= {m.path for m in vectors}
    assert all((m.layers, m.rows, m.columns) == (2, 1, leaves[m.path].shape[1]) for m in vectors)
    batch = examples(batch=2)
    roots = {m.path: 1 / (np.sqrt(moments.full(m.path, m.shape)) + moments.epsilon) for m in encoder.plan.matrices}
    expected = naive.encode(
        encoder, model, params, batch, roots, views={m.path: lambda g: g[:, None, :] for m in vectors}
    )
    assert naive.distance(encoder.encode(batch), expected) < TOLERANCE


def divisor(values, epsilon, reduction):
    """1/(√V + ε), or with V = r_i c_j / mean(V) per layer."""
    if reduction == "exact":
        return 1 / (np.sqrt(values) + epsilon)
    row, column = values.mean(-1, keepdims=True), values.mean(-2, keepdims=True)
    return 1 / np.sqrt(row * column / values.mean((-2, -1), keepdims=True))


def test_a_kernel_that_is_also_read_by_hand_takes_the_weight_path():
    """Law: a probe that would miss a use is not trusted; the weight path sees every use."""
    model = ByHand()
    params = model.init(jax.random.key(0), jnp.zeros((1, 4), jnp.int32))["params"]
    shape = jax.ShapeDtypeStruct((1, 4), jnp.int32)
    shown = visibility.visible(model, params, shape)
    assert {path: site.direct for path, site in shown.items()} == {
        "mlp/kernel": True, "mlp/bias": False, "table/embedding": False
    }  # fmt: skip
    encoder = Encoder(model, params, None, "matrices", 5, exclude=EXCLUDE)
    assert {m.path: m.route for m in encoder.plan.matrices} == {"mlp/kernel": "probe", "table/embedding": "weight"}
    batch = examples(batch=2)
    assert naive.distance(encoder.encode(batch), naive.encode(encoder, model, params, batch)) < TOLERANCE


class Small(nn.Module):
    """Linen's attention, an Einsum and a tied table."""

    @nn.compact
    def __call__(self, tokens):
        table = nn.Embed(31, 8, name="table")
        x = table(tokens)
        mask = nn.make_causal_mask(tokens)
        x = x + nn.MultiHeadDotProductAttention(num_heads=2, name="attention")(x, mask=mask)
        heads = nn.Einsum((2, 8, 4), "btd,hdk->bthk", use_bias=False, name="mixer")(x)
        return table.attend(nn.Dense(8, name="mlp")(heads.reshape(x.shape)))


class SmallTwin(nnx.Module):
    """Small again, in nnx."""

    def __init__(self, rngs):
        self.table = nnx.Embed(31, 8, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, 8, decode=False, rngs=rngs)
        self.mixer = nnx.Einsum("btd,hdk->bthk", (2, 8, 4), rngs=rngs)
        self.mlp = nnx.Linear(8, 8, rngs=rngs)

    def __call__(self, tokens):
        x = self.table(tokens)
        x = x + self.attention(x, mask=nnx.make_causal_mask(tokens))
        return self.table.attend(self.mlp(self.mixer(x).reshape(x.shape)))


@pytest.mark.parametrize("reduction", ["rank_one", "exact"])
def test_nnx_equals_linen_equals_a_pure_loss_on_the_same_weights(reduction):
    """Law: three ways to hand over one model, one encoding, of the same projections and second moments.

    A pure loss shows no module, so that its attention kernels (in, heads, size) are excluded by name.
    """
    linen = Small()
    params = linen.init(jax.random.key(0), jnp.zeros((1, 4), jnp.int32))["params"]
    batch = examples(batch=2)
    optimizer = optax.scale_by_adam(b2=0.9)
    gradient = naive.gradient(linen)(params, batch["tokens"][0], batch["loss_weights"][0])
    state = jax.jit(optimizer.update)(gradient, optimizer.init(params))[1]
    moments = second_moments_from(state, b2=0.9, epsilon=1e-4)
    options = {"blocks": "matrices", "projected_size": 5, "reduction": reduction}

    def encoder(model, params, *more):
        return Encoder(model, params, moments, exclude=(*EXCLUDE, *more), **options)

    def loss(params, example):
        return naive.loss(linen, params, example["tokens"], example["loss_weights"])

    expected = {k: np.asarray(v, np.float64) for k, v in encoder(linen, params).encode(batch).items()}
    assert len(expected) == 7
    twin = SmallTwin(nnx.Rngs(0))
    nnx.update(twin, nnx.State(jax.tree.map(nnx.Param, params)))
    own = encoder(twin, nnx.state(twin, nnx.Param))
    assert {m.route for m in own.plan.matrices} == {"weight"}
    assert naive.distance(own.encode(batch), expected) < TOLERANCE
    pure = encoder(loss, params, "attention", "mixer").encode(batch)
    assert sorted(pure) == ["mlp/kernel", "table/embedding"]
    assert naive.distance(pure, {block: expected[block] for block in pure}) < TOLERANCE


def test_a_pure_loss_gets_its_parameters_back_in_the_containers_it_was_given():
    """Law: lists, and an outer `params`, reach the loss as they came; only the weights in them are perturbed."""
    model = ByHand()
    params = model.init(jax.random.key(0), jnp.zeros((1, 4), jnp.int32))
    batch = examples(batch=2)
    options = {"blocks": "matrices", "projected_size": 5, "exclude": EXCLUDE}

    def outer(params, example):
        return naive.loss(model, params["params"], example["tokens"], example["loss_weights"])

    def listed(params, example):
        table, mlp = params
        tree = {"table": {"embedding": table}, "mlp": mlp}
        return naive.loss(model, tree, example["tokens"], example["loss_weights"])

    named = Encoder(outer, params, **options).encode(batch)
    inner = params["params"]
    in_list = Encoder(listed, [inner["table"]["embedding"], inner["mlp"]], **options)
    assert in_list.plan.blocks == ("0", "1/kernel")
    gradient = naive.gradient(model)(inner, batch["tokens"][0], batch["loss_weights"][0])
    left, right = in_list.projections("0")
    whole = np.asarray(left) @ np.asarray(gradient["table"]["embedding"]) @ np.asarray(right).T
    np.testing.assert_allclose(in_list.encode(batch)["0"][0], whole, rtol=1e-4, atol=1e-5)
    expected = naive.encode(Encoder(model, inner, **options), model, inner, batch)
    assert naive.distance(named, expected) < TOLERANCE


class Doubled(nn.Dense):
    """A Dense that does something else with its kernel."""

    def __call__(self, x):
        return 2 * super().__call__(x)


class Unusual(nn.Module):
    """A subclass of a known module, and positions of one length alone."""

    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(31, 8)(tokens) + self.param("positions", nn.initializers.normal(), (9, 8))[None]
        return nn.Dense(31, name="out")(Doubled(8, name="double")(x))


class ByHandThenDense(nn.Module):
    """Reads a kernel by hand, and only a module sees what became of it."""

    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(31, 8)(tokens)
        mix = nn.Dense(8, name="mix", use_bias=False)
        x = x + mix(x)
        x = x + jnp.tanh(x @ mix.variables["params"]["kernel"].T)
        return nn.Dense(31, name="out", use_bias=False)(x)


def test_a_kernel_read_by_hand_below_another_module_takes_the_weight_path():
    """Law: a use is found also where nothing but the input of a later module shows it."""
    model = ByHandThenDense()
    params = model.init(jax.random.key(0), jnp.zeros((1, 4), jnp.int32))["params"]
    encoder = Encoder(model, params, None, "matrices", 5, exclude=(r"Embed",))
    assert {m.path: m.route for m in encoder.plan.matrices} == {"mix/kernel": "weight", "out/kernel": "probe"}
    batch = examples(batch=2)
    assert naive.distance(encoder.encode(batch), naive.encode(encoder, model, params, batch)) < TOLERANCE


def test_a_subclass_is_not_taken_for_its_base_and_a_model_of_one_length_says_so():
    """Law: what a subclass makes of its kernel is seen by the weight path; a trace that fails names its remedy."""
    model = Unusual()
    params = model.init(jax.random.key(0), jnp.zeros((1, 9), jnp.int32))["params"]
    options = {"blocks": "matrices", "projected_size": 5, "exclude": (r"bias$", r"Embed", r"positions")}
    with pytest.raises(InputError, match="example_length"):
        Encoder(model, params, **options)
    encoder = Encoder(model, params, example_length=9, **options)
    assert {m.path: m.route for m in encoder.plan.matrices} == {"double/kernel": "weight", "out/kernel": "probe"}
    batch = examples(batch=2)
    assert naive.distance(encoder.encode(batch), naive.encode(encoder, model, params, batch)) < TOLERANCE
