"""Laws of which kernels a probe stands for: never one that its module sees otherwise than as the parameter itself."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_tda import Encoder
from jax_tda.core import trees
from jax_tda.encoding import visibility
from jax_tda.encoding.sites import Site
from tests.encoding import naive
from tests.encoding.test_encoder import TOLERANCE, examples

STACKED = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}, "length": 2}


def doubled(variables):
    return jax.tree.map(lambda leaf: 2 * leaf, variables)


def only_bias_doubled(variables):
    own = variables.get("params", {})
    return {"params": {"kernel": own["kernel"], "bias": 2 * own["bias"]}} if own else variables


def mapped(module, change):
    """The module, handed `change` of its parameters."""
    return nn.map_variables(module, "params", trans_in_fn=change, init=True)


class NormalisedLayer(nn.Module):
    """A scanned layer whose kernels, one of them (in, heads, size), are normalised before their modules see them."""

    @nn.compact
    def __call__(self, x, _):
        heads = nn.WeightNorm(nn.DenseGeneral((2, 4), name="split"))(x)
        return x + nn.Dense(8, name="plain")(jnp.tanh(heads).reshape(x.shape)), None


class Transformed(nn.Module):
    """WeightNorm, inside a scan and out of it, and map_variables, beside kernels that are left alone."""

    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(31, 8, name="table")(tokens)
        x, _ = nn.scan(NormalisedLayer, **STACKED)(name="layers")(x, None)
        x = nn.WeightNorm(nn.Dense(8, name="normed"))(x)
        x = x + mapped(nn.Dense, lambda v: jax.tree.map(jnp.tanh, v))(8, name="squashed")(jnp.sin(x))
        return nn.Dense(31, name="out")(x)


def test_a_kernel_transformed_before_its_module_sees_it_takes_the_weight_path():
    """Law: under WeightNorm and map_variables, scanned or not, an encoding is that of the parameter's own gradient."""
    model = Transformed()
    params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 4), jnp.int32))["params"]
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)
    encoder = Encoder(model, params, None, "matrices", 5, exclude=(r"bias$", r"scale$"))
    assert {m.path: m.route for m in encoder.plan.matrices} == {
        "table/embedding": "probe", "layers/plain/kernel": "probe", "out/kernel": "probe",
        "layers/split/kernel": "weight", "normed/kernel": "weight", "squashed/kernel": "weight",
    }  # fmt: skip
    batch = examples(batch=2)
    views = {"layers/split/kernel": lambda g: g.reshape(2, 8, 8)}
    expected = naive.encode(encoder, model, params, batch, views=views)
    assert naive.distance(encoder.encode(batch), expected) < TOLERANCE


class Experts(nn.Module):
    """Three Dense modules in one, by `vmap`."""

    axis: int = 0

    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(31, 3, name="table")(tokens)
        many = nn.vmap(
            nn.Dense, variable_axes={"params": self.axis}, split_rngs={"params": True}, in_axes=None, axis_size=3
        )
        return nn.Dense(31, name="out")(jnp.tanh(many(3, name="experts")(x)).sum(0))


def test_experts_of_one_mapped_module_have_a_probe_each():
    """Law: below `vmap`, too, the leading axis counts matrices, each with its own gradient."""
    model = Experts()
    params = model.init(jax.random.key(0), jnp.zeros((1, 4), jnp.int32))["params"]
    encoder = Encoder(model, params, None, "matrices", 5, exclude=(r"bias$",))
    assert {m.path: (m.route, m.layers) for m in encoder.plan.matrices} == {
        "table/embedding": ("probe", 0), "experts/kernel": ("probe", 3), "out/kernel": ("probe", 0)
    }  # fmt: skip
    batch = examples(batch=2)
    assert naive.distance(encoder.encode(batch), naive.encode(encoder, model, params, batch)) < TOLERANCE


class Wrapped(nn.Module):
    """A kernel that reaches its module in some way, all sides alike so that no shape gives it away."""

    kind: str

    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(31, 3, name="table")(tokens)
        return self.through(x)

    def through(self, x):
        if self.kind == "plain":
            return nn.Dense(3, name="it")(x)
        if self.kind in ("jit", "remat"):
            return {"jit": nn.jit, "remat": nn.remat}[self.kind](nn.Dense)(3, name="it")(x)
        if self.kind == "mapped to itself":
            return mapped(nn.Dense, lambda v: v)(3, name="it")(x)
        if self.kind == "doubled":
            return mapped(nn.Dense, doubled)(3, name="it")(x)
        if self.kind == "only the bias doubled":
            # The probe would be handed on unseen, or not at all: whatever is not handed on as it is, is not trusted.
            return mapped(nn.Dense, only_bias_doubled)(3, name="it")(x)
        if self.kind == "transposed":
            return mapped(nn.Dense, lambda v: jax.tree.map(jnp.transpose, v))(3, name="it")(x)
        if self.kind == "stopped":
            return mapped(nn.Dense, jax.lax.stop_gradient)(3, name="it")(x)
        if self.kind == "own product":
            return nn.Dense(3, name="it", dot_general=lambda *a, **k: 2 * jax.lax.dot_general(*a, **k))(x)
        if self.kind == "own gradient":

            def backward(pull, gradient):
                of_params, *of_inputs = pull(gradient)
                return doubled(of_params), *of_inputs

            own = nn.custom_vjp(
                lambda module, x: module(x), lambda module, x: nn.vjp(lambda m, y: m(y), module, x), backward
            )
            return own(nn.Dense(3, name="it"), x)
        if self.kind == "two matrices":
            it = nn.Einsum((3, 3), use_bias=False, name="it")
            return it(x, "...a,ab->...b") + it(x, "...a,ba->...b")
        if self.kind == "scanned over another axis":
            stacked = nn.scan(Step, variable_axes={"params": 1}, split_rngs={"params": True}, length=3)
            return stacked(name="deep")(x, None)[0]
        many = nn.vmap(
            nn.Dense,
            variable_axes={"params": int(self.kind.rpartition(" ")[2])},
            split_rngs={"params": True}, in_axes=None, axis_size=3,
        )  # fmt: skip
        return many(3, use_bias=False, name="it")(x).sum(0)


class Step(nn.Module):
    """A scanned Dense."""

    @nn.compact
    def __call__(self, x, _):
        return nn.Dense(3, use_bias=False, name="it")(x), None


@pytest.mark.parametrize(
    ("kind", "direct"),
    [
        ("plain", True), ("jit", True), ("remat", True), ("mapped to itself", True), ("mapped over 0", True),
        ("mapped over 1", True), ("scanned over another axis", True), ("doubled", False), ("transposed", False),
        ("only the bias doubled", False), ("stopped", False), ("own product", False), ("own gradient", False),
        ("two matrices", False),
    ],
)  # fmt: skip
def test_a_probe_stands_only_beside_a_parameter_that_is_seen_as_it_is(kind, direct):
    """Law: calls and leading axes are looked through; anything computed, however small, is not the parameter."""
    model = Wrapped(kind)
    tokens = jax.ShapeDtypeStruct((1, 4), jnp.int32)
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 4), jnp.int32)))["params"]
    shown = visibility.visible(model, params, tokens)
    path = next(path for path in trees.flatten(params) if path.endswith("it/kernel"))
    assert path in shown or kind == "own product"
    assert (path in shown and shown[path].direct) == direct
    assert shown["table/embedding"] == Site((31, 3), table=True)


def test_a_model_that_is_one_table_is_probed_at_the_top():
    """Law: a kernel without a module above it has its probe beside it all the same."""
    model = nn.Embed(31, 31)
    params = model.init(jax.random.key(0), jnp.zeros((1, 4), jnp.int32))["params"]
    encoder = Encoder(model, params, None, "matrices", 5, exclude=(r"bias$",))
    assert [m.route for m in encoder.plan.matrices] == ["probe"]
    batch = examples(batch=2)
    expected = naive.encode(encoder, model, params, batch)
    assert all(np.linalg.norm(value) > 0 for value in expected.values())
    assert naive.distance(encoder.encode(batch), expected) < TOLERANCE
