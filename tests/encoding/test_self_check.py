"""Laws of the self-check: it finds what is wrong in a layer of any kind, names it, and says what it compared."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_tda import Encoder
from jax_tda.core import trees
from jax_tda.core.errors import InputError
from jax_tda.encoding import self_check, sites
from tests.encoding.test_encoder import examples
from tests.encoding.test_zoo import moments_of


class Model(nn.Module):
    """Two axes in, two layers in a scan, and a head, in some precision."""

    dtype: str | None = None

    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(31, 4, name="table", dtype=self.dtype)(tokens)
        x = nn.DenseGeneral(4, axis=(-2, -1), name="merge", dtype=self.dtype)(x.reshape(*x.shape[:-1], 2, 2))
        body = nn.scan(Step, variable_axes={"params": 1}, split_rngs={"params": True}, length=3)
        x, _ = body(self.dtype, name="deep")(x, None)
        return nn.Dense(31, name="out", dtype=self.dtype)(x)


class Step(nn.Module):
    """One layer."""

    dtype: str | None

    @nn.compact
    def __call__(self, x, _):
        return x + nn.Dense(4, name="it", dtype=self.dtype)(jnp.sin(x)), None


@functools.cache
def held(dtype=None):
    model = Model(dtype)
    return model, jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 4), jnp.int32))["params"]


def encoder(dtype=None, **options):
    model, params = held(dtype)
    return Encoder(model, params, moments_of(trees.flatten(params))[0], "matrices", 3, exclude=(), **options)


@pytest.mark.parametrize("reduction", ["rank_one", "exact"])
def test_what_is_right_is_found_right_and_written_down(reduction):
    """Law: every parameter, probed or not, to the last digits of float32; the encodings are those without the check."""
    checking = encoder(self_check=99, reduction=reduction)
    batch = examples(batch=3)
    got, expected = checking.encode(batch), encoder(reduction=reduction).encode(batch)
    for block, value in expected.items():
        np.testing.assert_array_equal(got[block], value)
    facts = checking.outcome.facts()
    assert set(facts["parameters"]) == {m.path for m in checking.plan.matrices}
    assert 0 < facts["largest"] < 1e-5 and facts["tolerance"] == 1e-3 and facts["precision"] == "float64"
    assert f"{len(facts['parameters'])} parameters agree" in str(checking.outcome)


def test_one_of_every_kind_is_drawn_whatever_the_count():
    """Law: kinds first, then as many as asked; another seed draws others."""
    matrices = encoder().plan.matrices
    kinds = {self_check._kind(matrix) for matrix in matrices}
    for seed in range(5):
        few = self_check.drawn(matrices, 1, seed)
        assert {self_check._kind(matrix) for matrix in few} == kinds and len(few) == len(kinds)
        assert len(self_check.drawn(matrices, 99, seed)) == len(matrices)


def test_a_layer_that_is_misread_stops_the_run_with_its_name(monkeypatch):
    """Law: a probe beside permuted inputs, as an unknown layer might have them, is no projected gradient."""
    own = sites._use

    def misread(module, *rest):
        found = own(module, *rest)
        if module.name == "merge":
            return sites.Call(found.site, found.x[..., ::-1], found.to_rows, found.from_rows)
        return found

    monkeypatch.setattr(sites, "_use", misread)
    with pytest.raises(InputError, match="the encoding of merge/kernel is not its projected gradient") as caught:
        encoder(self_check=1).encode(examples(batch=2))
    assert "exclude merge/kernel" in caught.value.remedy
    unchecked = encoder(self_check=0)
    unchecked.encode(examples(batch=2))
    assert unchecked.outcome is None


def test_a_model_in_half_precision_is_judged_by_what_it_can():
    """Law: bfloat16 activations round, which is allowed; a wrong axis would still be ten times as far."""
    checking = encoder("bfloat16", self_check=99)
    checking.encode(examples(batch=2))
    assert checking.outcome.tolerance == 0.1
    assert 1e-4 < checking.outcome.facts()["largest"] < 0.1


def test_an_example_without_a_loss_leaves_the_check_to_the_next():
    """Law: nothing is compared with nothing."""
    checking = encoder(self_check=1)
    batch = examples(batch=2)
    checking.encode(batch | {"loss_weights": jnp.zeros_like(batch["loss_weights"])})
    assert checking.outcome is None
    checking.encode(batch)
    assert checking.outcome.errors
