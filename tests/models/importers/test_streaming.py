"""Laws of the way from a file to the devices: one tensor at a time, divided, in whatever type it was stored."""

import tracemalloc

import jax
import numpy as np
import pytest
import torch

from jax_tda.core import trees
from jax_tda.models.importers import assemble
from tests.models.importers import tiny


def test_eight_devices_hold_the_parameters_of_one_each_a_part(tmp_path):
    """Equal values; no device holds a whole kernel of which a side is a multiple of eight."""
    source = tiny.opened(tiny.model("llama multi-head"), tmp_path)
    one = trees.flatten(assemble.parameters(source, jax.devices()[:1]))
    eight = trees.flatten(assemble.parameters(source, jax.devices()))
    for path, leaf in eight.items():
        np.testing.assert_array_equal(leaf, one[path], err_msg=path)
        assert {shard.data.size for shard in leaf.addressable_shards} == {leaf.size // 8}, path


def test_the_host_holds_few_tensors_at_a_time(tmp_path):
    """What NumPy allocates while the model is assembled stays below four of its largest tensors, of 84 in it."""
    case = {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 12, "vocab_size": 64}
    source = tiny.opened(tiny.model("llama multi-head", **case), tmp_path)
    largest = max(4 * int(np.prod(shape)) for shape in source.shapes.values())
    assemble.parameters(source, jax.devices()[:1])  # What is compiled is kept, and is not meant.
    tracemalloc.start()
    try:
        params = assemble.parameters(source, jax.devices()[:1])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * largest and sum(leaf.nbytes for leaf in jax.tree.leaves(params)) > 30 * largest


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_narrow_types_are_widened_exactly(kind, tmp_path):
    """float32 holds every value of bfloat16 and float16."""
    original = tiny.model("qwen2 tied").to(kind)
    params = assemble.parameters(tiny.opened(original, tmp_path), jax.devices()[:1])
    stored = original.state_dict()["model.layers.1.mlp.up_proj.weight"]
    assert stored.dtype == kind
    np.testing.assert_array_equal(params["layers"]["mlp"]["up"]["kernel"][1].T, stored.float().numpy())
