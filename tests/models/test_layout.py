"""Laws of the table from parameters to meanings."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_tda.core import mesh as meshes
from jax_tda.core import placement, trees
from jax_tda.models import layout
from jax_tda.models.decoder import Decoder, DecoderConfig

PLAIN = DecoderConfig(vocabulary_size=8, layers=2, width=8, heads=2, kv_heads=2, mlp_width=8, tied=False)
OTHER = DecoderConfig(
    vocabulary_size=8, layers=2, width=8, heads=2, kv_heads=2, mlp_width=8, tied=False, scan_layers=False, norm="layer",
    norm_place="both", query_key_norm="heads", attention_bias="all", mlp_bias=True, positions="learned", context=4,
)  # fmt: skip


@pytest.mark.parametrize("config", [PLAIN, OTHER], ids=["plain", "other"])
def test_every_parameter_of_a_decoder_has_one_line_in_the_table(config):
    """Law: exactly one pattern fits, and it names as many axes as there are beside the layer's."""
    shapes = jax.eval_shape(lambda: Decoder(config).init(jax.random.key(0), jnp.zeros((1, 2), jnp.int32)))
    for path, leaf in trees.flatten(shapes).items():
        found = [axes for pattern, axes in layout.AXES.items() if re.search(pattern, path)]
        assert len(found) == 1, path
        assert len(found[0]) == leaf.ndim - path.startswith("layers/"), path


def test_heads_are_never_cut():
    """Law: two heads of four are divided by two devices, and held whole by four, though eight divides by both."""
    for groups, expected in ((2, (8, 4)), (4, (8, 8))):
        mesh = meshes.make_mesh(meshes.MeshConfig(8 // groups, groups))
        place = layout.Layout(mesh, PLAIN).sharding((8, 8), (None, "heads"))
        assert place.shard_shape((8, 8)) == expected


def test_the_largest_axis_that_divides_is_the_one():
    """Law: of (3, 8, 16, 12) on four groups the third, of equals the last, of (3, 5) none."""
    mesh = meshes.make_mesh(meshes.MeshConfig(4, 2))
    for shape, axis in (((3, 8, 16, 12), 2), ((4, 4), 1), ((3, 5), None), ((), None)):
        found = placement.largest_axis(mesh, shape)
        assert [place for place, meaning in enumerate(found) if meaning] == ([] if axis is None else [axis])


def test_an_array_is_fetched_whole_from_wherever_its_parts_lie():
    """Law: place, then fetch, is the identity."""
    mesh = meshes.make_mesh(meshes.MeshConfig(4, 2))
    array = np.arange(48.0).reshape(8, 6)
    placed = placement.place(array, meshes.sharding(mesh, "embed", "mlp"))
    assert placed.addressable_shards[0].data.shape == (2, 3)
    np.testing.assert_array_equal(placement.fetch(placed), array)
