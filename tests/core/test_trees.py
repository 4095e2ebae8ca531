"""Laws of parameter paths."""

import collections
import dataclasses

import flax
import jax
import numpy as np
import pytest

from jax_tda.core import trees
from jax_tda.core.errors import InputError

TREE = {"layers": {"mlp": {"kernel": 1, "bias": 2}, "norm": {"scale": 3}}, "embedding": {"embedding": 4}}
PATHS = {"layers/mlp/kernel": 1, "layers/mlp/bias": 2, "layers/norm/scale": 3, "embedding/embedding": 4}


def test_paths_are_keys_joined_by_slashes_and_lead_back():
    """Law: flatten by hand; unflatten is its inverse."""
    assert trees.flatten(TREE) == PATHS
    assert trees.unflatten(PATHS) == TREE
    assert trees.unflatten(dict(reversed(PATHS.items()))) == TREE


def test_a_single_outer_collection_is_looked_through():
    """Law: {"params": …} is the parameters; beside another collection it is not."""
    assert trees.flatten({"params": TREE}) == PATHS
    assert trees.flatten(flax.core.freeze({"params": TREE})) == PATHS
    assert trees.flatten({"params": {"w": 1}, "cache": {"w": 2}}) == {"params/w": 1, "cache/w": 2}


def test_every_kind_of_container_has_its_spelling():
    """Law: keys, indices, field names and attributes."""
    pair = collections.namedtuple("Pair", "mu nu")

    @jax.tree_util.register_dataclass
    @dataclasses.dataclass
    class Held:
        weight: int

    tree = {"list": [5, (6,)], "pair": pair(7, {"w": 8}), "held": Held(9)}
    expected = {"list/0": 5, "list/1/0": 6, "pair/mu": 7, "pair/nu/w": 8, "held/weight": 9}
    assert trees.flatten(tree) == expected


def test_leaves_are_not_copied_and_nothing_is_not_a_leaf():
    """Law: the very arrays; an empty part has no paths."""
    array = np.zeros(3)
    assert trees.flatten({"a": {"b": array}})["a/b"] is array
    assert trees.flatten({"a": {}, "b": None}) == {} == trees.unflatten({})


def test_an_error_of_input_says_four_things():
    """Law: what, got, expected and remedy are kept and all stand in the message."""
    with pytest.raises(ValueError) as caught:
        raise InputError("the road ends", got=3, expected="a bridge", remedy="turn back")
    error = caught.value
    assert (error.what, error.got, error.expected, error.remedy) == ("the road ends", 3, "a bridge", "turn back")
    assert str(error).splitlines()[0] == "the road ends"
    for word in ("3", "a bridge", "turn back"):
        assert word in str(error)
