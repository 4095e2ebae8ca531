"""Laws of models that cannot be encoded as they come: each is refused in words that help, or taken as it is meant."""

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
from tests.encoding import naive
from tests.encoding.test_encoder import TOLERANCE, examples

OPTIONS = {"blocks": "matrices", "projected_size": 3, "exclude": ()}


class Odd(nn.Module):
    """Something beside logits, or in need of more than parameters."""

    kind: str

    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(31 if self.kind != "small table" else 20, 4)(tokens)
        if self.kind == "dropout":
            x = nn.Dropout(0.5, deterministic=False)(x)
        if self.kind == "batch statistics":
            x = nn.BatchNorm(use_running_average=True)(x)
        if self.kind == "spectral norm":
            x = nn.SpectralNorm(nn.Dense(4))(x, update_stats=False)
        logits = nn.Dense(31)(x)
        return {"auxiliary": (logits, x.sum()), "hidden": x[0], "numbers": tokens}.get(self.kind, logits)


@pytest.mark.parametrize(
    ("kind", "what", "remedy"),
    [
        ("dropout", "cannot be traced", "deterministic"),
        ("batch statistics", "cannot be traced", "batch_stats"),
        ("spectral norm", "cannot be traced", "batch_stats"),
        ("auxiliary", "does not return logits alone", "auxiliary losses"),
        ("hidden", "does not return logits alone", "wrap the model"),
        ("numbers", "does not return logits alone", "wrap the model"),
    ],
)
def test_a_model_that_is_no_function_to_logits_is_refused_with_a_remedy(kind, what, remedy):
    """Law: before any compilation, in four parts; and as a pure loss it is taken."""
    model = Odd(kind)
    variables = model.init({"params": jax.random.key(0), "dropout": jax.random.key(1)}, jnp.zeros((1, 4), jnp.int32))
    with pytest.raises(InputError, match=what) as caught:
        Encoder(model, variables["params"], **OPTIONS)
    assert remedy in caught.value.remedy and "pure loss" in caught.value.remedy


class OfNnx(nnx.Module):
    """A table, a part that behaves otherwise while training, and a head."""

    def __init__(self, part, rngs):
        self.table, self.part, self.out = nnx.Embed(31, 4, rngs=rngs), part, nnx.Linear(4, 31, rngs=rngs)

    def __call__(self, tokens):
        return self.out(self.part(self.table(tokens)))


@pytest.mark.parametrize(
    "make", [lambda r: nnx.Dropout(0.5, rngs=r), lambda r: nnx.BatchNorm(4, rngs=r)], ids=["dropout", "batch norm"]
)
def test_an_nnx_model_in_training_mode_is_refused_and_taken_after_eval(make):
    """Law: the remedy's own words work."""
    rngs = nnx.Rngs(0)
    model = OfNnx(make(rngs), rngs)
    with pytest.raises(InputError, match="training mode") as caught:
        Encoder(model, nnx.state(model, nnx.Param), **OPTIONS)
    assert "eval()" in caught.value.remedy
    model.eval()
    encoded = Encoder(model, nnx.state(model, nnx.Param), **OPTIONS, self_check=99)
    encoded.encode(examples(batch=2))
    assert encoded.outcome.facts()["largest"] < 1e-4


@pytest.mark.parametrize(("kind", "known"), [("plain", 31), ("small table", 20)])
@pytest.mark.parametrize("far", [-1, 0])
def test_tokens_outside_the_table_or_the_logits_are_refused_on_the_host(kind, known, far):
    """Law: −1 would read the last row, one beyond the table gives NaN: neither reaches the model."""
    model = Odd(kind)
    encoder = Encoder(model, model.init(jax.random.key(0), jnp.zeros((1, 4), jnp.int32)), **OPTIONS)
    batch = {name: np.array(array) for name, array in examples(batch=2).items()}
    batch["tokens"] = np.minimum(batch["tokens"], known - 1)
    encoder.encode(batch)
    bad = -1 if far else known
    batch["tokens"][1, 3] = bad
    with pytest.raises(InputError, match="does not know") as caught:
        encoder.encode(batch)
    assert f"id {bad} at example 1, position 3" in caught.value.got and f"0 to {known - 1}" in caught.value.expected


@pytest.mark.parametrize("logical", [False, True])
def test_boxes_around_parameters_and_moments_change_nothing(logical):
    """Law: nn.Partitioned and LogicallyPartitioned are looked into, in parameters and in an optimizer's state."""
    wrap = nn.with_logical_partitioning if logical else nn.with_partitioning

    class Boxed(nn.Module):
        @nn.compact
        def __call__(self, tokens):
            init = wrap(nn.initializers.normal(1.0), ("in", "out"))
            return nn.Dense(31, kernel_init=init, name="it")(nn.Embed(31, 4, name="table")(tokens))

    model = Boxed()
    boxed = model.init(jax.random.key(0), jnp.zeros((1, 4), jnp.int32))["params"]
    plain = nn.meta.unbox(boxed)
    assert isinstance(boxed["it"]["kernel"], nn.meta.AxisMetadata)
    batch, optimizer = examples(batch=2), optax.scale_by_adam()
    gradient = naive.gradient(model)(boxed, batch["tokens"][0], batch["loss_weights"][0])
    state = optimizer.update(gradient, optimizer.init(boxed))[1]
    found = {}
    for params in (boxed, plain):
        moments = second_moments_from(state, b2=0.999, epsilon=1e-3)
        found[params is boxed] = Encoder(model, params, moments, **OPTIONS).encode(batch)
    expected = {block: np.asarray(value, np.float64) for block, value in found[False].items()}
    assert naive.distance(found[True], expected) < TOLERANCE


@pytest.mark.parametrize("name", ["h", "blocks", "layers"])
def test_a_pure_loss_says_which_axis_counts_layers_and_no_name_does(name):
    """Law: (d, heads, size) below `h` is refused; with layer_axes a stack is one, whatever it is called."""
    table = jax.random.normal(jax.random.key(0), (31, 4))
    stack = jax.random.normal(jax.random.key(1), (4, 4, 4))

    def loss(params, example):
        x = params["table"][example["tokens"]]
        x = jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, jnp.moveaxis(params[name]["w"], 1, 0))[0]
        log_p = jax.nn.log_softmax(x @ params["table"].T)
        return -jnp.sum(example["loss_weights"][1:] * log_p[:-1][jnp.arange(8), example["tokens"][1:]])

    params, batch = {"table": table, name: {"w": stack}}, examples(batch=1)
    with pytest.raises(InputError, match=f"{name}/w is not covered"):
        Encoder(loss, params, **OPTIONS)
    encoder = Encoder(loss, params, **OPTIONS, layer_axes={f"^{name}/w$": 1})
    got = encoder.encode(batch)
    whole = trees.flatten(jax.grad(loss)(params, {key: value[0] for key, value in batch.items()}))[f"{name}/w"]
    left, right = encoder.projections(f"{name}/w")
    for layer in range(4):
        expected = left[layer] @ whole[:, layer] @ right[layer].T
        np.testing.assert_allclose(got[f"{name}/w/{layer}"][0], expected, rtol=1e-4, atol=1e-4)
