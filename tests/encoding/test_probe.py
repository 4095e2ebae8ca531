"""Laws of the zero probe: invisible to the model, and the gradient at it is that of a perturbed weight."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_tda.core import trees
from jax_tda.encoding import probe, sites, visibility

IN, OUT, P = 5, 4, 3


def arrays(*shapes, seed=0):
    random = np.random.default_rng(seed)
    return [jnp.asarray(random.normal(size=shape), jnp.float32) for shape in shapes]


def through_the_weight(kernel, e, left, right, x, pull):
    return jnp.sum(pull * (x @ (kernel + left.T @ e @ right)))


@pytest.mark.parametrize("leading", [(7,), (2, 3), ()])
def test_the_gradient_at_a_probe_is_that_of_the_perturbed_weight(leading):
    """Law: ∂/∂E at 0 of the attached probe = P₀ (∂/∂W) P₁ᵀ = ∂/∂E of x (W + Lᵀ E R); all else stays."""
    kernel, left, right, x, pull = arrays((IN, OUT), (P, IN), (P, OUT), (*leading, IN), (*leading, OUT))
    zero = jnp.zeros((P, P))

    def attached(kernel, e, x):
        return jnp.sum(pull * probe.attach(x @ kernel, x, e, left, right))

    def perturbed(kernel, e, x):
        return jnp.sum(pull * (x @ probe.perturb(kernel, e, left, right)))

    got = jax.grad(attached, (0, 1, 2))(kernel, zero, x)
    naive = jax.grad(lambda k, e, x: through_the_weight(k, e, left, right, x, pull), (0, 1, 2))(kernel, zero, x)
    for mine, theirs in zip(got, naive, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got[1], left @ naive[0] @ right.T, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(jax.grad(perturbed, 1)(kernel, zero, x), naive[1], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(probe.attach(x @ kernel, x, zero, left, right), x @ kernel)


@pytest.mark.parametrize(("rows", "columns"), [(5, 4), (4, 5), (4, 4)])
def test_the_gradient_at_an_exact_probe_is_corrected_element_by_element(rows, columns):
    """Law: P₀ (∂/∂W / √V) P₁ᵀ for a V that is not rank one, whichever side is longer; the weight path agrees."""
    kernel, left, right, x, pull = arrays((rows, columns), (P, rows), (P, columns), (2, 3, rows), (2, 3, columns))
    root = jnp.exp(arrays((rows, columns), seed=1)[0])
    zero = jnp.zeros((P, P))
    whole = jax.grad(lambda k: jnp.sum(pull * (x @ k)))(kernel)
    expected = left @ (whole * root) @ right.T

    def attached(e, x):
        return jnp.sum(pull * probe.attach_exact(x @ kernel, x, e, left, right, root))

    def perturbed(e):
        return jnp.sum(pull * (x @ probe.perturb(kernel, e, left, right, root)))

    got, through = jax.grad(attached, (0, 1))(zero, x)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(jax.grad(perturbed)(zero), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(through, pull @ kernel.T, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(probe.attach_exact(x @ kernel, x, zero, left, right, root), x @ kernel)


def test_stacked_weights_are_perturbed_layer_by_layer():
    """Law: a leading axis is a loop."""
    kernel, e, left, right, root = arrays((2, IN, OUT), (2, P, P), (2, P, IN), (2, P, OUT), (2, IN, OUT))
    changes = np.stack([np.asarray(a).T @ e1 @ b for e1, a, b in zip(e, left, right, strict=True)])
    np.testing.assert_allclose(probe.perturb(kernel, e, left, right), kernel + changes, rtol=1e-5, atol=1e-6)
    exact = probe.perturb(kernel, e, left, right, root)
    np.testing.assert_allclose(exact, kernel + changes * root, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("exact", [False, True])
def test_a_probe_of_half_precision_activations_is_gathered_in_float32(exact):
    """Law: bfloat16 inputs and outputs, float32 encodings: the sum over tokens is not rounded to 8 bits."""
    x, pull, left, right = arrays((400, IN), (400, OUT), (P, IN), (P, OUT))
    x, pull = x.astype(jnp.bfloat16), pull.astype(jnp.bfloat16)
    output = jnp.zeros((400, OUT), jnp.bfloat16)
    root = jnp.exp(arrays((IN, OUT), seed=1)[0]) if exact else jnp.ones((IN, OUT))

    def loss(e):
        attach = (
            probe.attach_exact(output, x, e, left, right, root) if exact else probe.attach(output, x, e, left, right)
        )
        return jnp.sum((pull * attach).astype(jnp.float32))

    got = jax.grad(loss)(jnp.zeros((P, P)))
    wide = [np.asarray(a, np.float64) for a in (left, x, pull, right, root)]
    expected = wide[0] @ ((wide[1].T @ wide[2]) * wide[4]) @ wide[3].T
    assert got.dtype == jnp.float32
    assert np.linalg.norm(got - expected) / np.linalg.norm(expected) < 1e-5


class Body(nn.Module):
    """A scanned layer with two Dense modules."""

    @nn.compact
    def __call__(self, x, _):
        return x + nn.Dense(6, name="down")(nn.tanh(nn.Dense(8, name="up", use_bias=False)(x))), None


class Tower(nn.Module):
    """An embedding, remat under scan, one Dense used twice, one DenseGeneral, and a head."""

    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(11, 6)(tokens)
        stacked = nn.scan(nn.remat(Body), variable_axes={"params": 0}, split_rngs={"params": True}, length=2)
        x, _ = stacked(name="layers")(x, None)
        twice = nn.Dense(6, name="twice", use_bias=False)
        x = twice(nn.tanh(twice(x)))
        return nn.Dense(11, name="head")(nn.DenseGeneral((2, 3), axis=-1, name="general")(x).reshape(x.shape))


@pytest.fixture(scope="module")
def tower():
    model = Tower()
    tokens = jnp.array([[1, 2, 3, 4]])
    return model, jax.jit(model.init)(jax.random.key(0), tokens)["params"], tokens


def test_every_kernel_is_seen_once_with_the_shape_it_has_inside_its_module(tower):
    """Law: below scan and remat too, whichever kind of module holds it."""
    model, params, _ = tower
    seen = visibility.visible(model, params, jax.ShapeDtypeStruct((1, 2), jnp.int32))
    assert {path: site for path, site in seen.items() if site.direct} == {
        "layers/up/kernel": sites.Site((2, 6, 8), (1,), (2,), (0,)),
        "layers/down/kernel": sites.Site((2, 8, 6), (1,), (2,), (0,)),
        "twice/kernel": sites.Site((6, 6)), "head/kernel": sites.Site((6, 11)),
        "general/kernel": sites.Site((6, 2, 3), (0,), (1, 2)), "Embed_0/embedding": sites.Site((11, 6), table=True),
    }  # fmt: skip
    assert {path: (site.shape, site.layers) for path, site in seen.items() if not site.direct} == {
        "layers/down/bias": ((2, 6), 2), "head/bias": ((11,), 0), "general/bias": ((2, 3), 0)
    }  # fmt: skip


def test_probes_leave_the_logits_alone_and_sum_over_every_use_of_a_kernel(tower):
    """Law: logits bit for bit as without; a kernel used twice has one probe, equal to its projected whole gradient."""
    model, params, tokens = tower
    leaves = trees.flatten(params)
    kernels = {"layers/up/kernel": 2, "layers/down/kernel": 2, "twice/kernel": 0, "head/kernel": 0}
    factors, zeros = {}, {}
    for seed, (path, layers) in enumerate(kernels.items()):
        rows, columns = leaves[path].shape[-2:]
        lead = (layers,) if layers else ()
        factors[path] = arrays((*lead, P, rows), (*lead, P, columns), seed=seed)
        zeros[path] = jnp.zeros((*lead, P, P))

    def logits(probes):
        held = dict(leaves)
        for path, e in probes.items():
            parent = path.rpartition("/")[0]
            values = dict(zip((probe.PROBE, probe.LEFT, probe.RIGHT), (e, *factors[path]), strict=True))
            held |= {f"{parent}/{name}": value for name, value in values.items()}
        return sites.apply(model, trees.unflatten(held), tokens)

    plain = jax.jit(lambda p: model.apply({"params": p}, tokens))(params)
    (pull,) = arrays(plain.shape)
    np.testing.assert_array_equal(jax.jit(logits)(zeros), plain)
    got = jax.jit(jax.grad(lambda probes: jnp.sum(pull * jnp.tanh(logits(probes)))))(zeros)
    whole = jax.jit(jax.grad(lambda p: jnp.sum(pull * jnp.tanh(model.apply({"params": p}, tokens)))))(params)
    for path, gradient in trees.flatten(whole).items():
        if path in kernels:
            left, right = factors[path]
            expected = left @ gradient @ jnp.swapaxes(right, -1, -2)
            np.testing.assert_allclose(got[path], expected, rtol=1e-4, atol=1e-5)
