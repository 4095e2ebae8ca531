"""Laws of blocks: every parameter has one fate, and every layer its group."""

import numpy as np
import pytest

from jax_tda.core.errors import InputError
from jax_tda.encoding import blocks
from jax_tda.encoding.sites import Site

# One layer of a decoder: kernels by path, with (in, out).
LAYER = {
    "attention/query/kernel": (6, 8),
    "attention/output/kernel": (8, 6),
    "mlp/up/kernel": (6, 10),
    "mlp/down/kernel": (10, 6),
}
NORM = {"attention_norm/scale": (6,), "mlp_norm/scale": (6,)}
OUTSIDE = {"embedding/embedding": (40, 6), "head/kernel": (6, 40), "final_norm/scale": (6,)}


def scanned(count):
    """Shapes of all parameters, and of the kernels that a probe sees, with layers stacked."""
    shapes = OUTSIDE | {f"layers/{path}": (count, *shape) for path, shape in (LAYER | NORM).items()}
    return shapes, {f"layers/{path}": Site((count, *shape), (1,), (2,), (0,)) for path, shape in LAYER.items()} | {
        f"layers/{path}": Site((count, *shape), (), (1,), (0,), direct=False) for path, shape in NORM.items()
    } | {"head/kernel": Site((6, 40))}


def numbered(count):
    """The same with a module for each layer."""
    within = {f"layers_{n}/{path}": shape for n in range(count) for path, shape in (LAYER | NORM).items()}
    return OUTSIDE | within, {path: Site(shape) for path, shape in within.items() if len(shape) == 2}


@pytest.mark.parametrize("count", range(1, 21))
def test_layers_fall_into_groups_as_array_split_cuts_them(count):
    """Law: min(8, layers) contiguous groups with sizes as np.array_split, alike for stacked and separate layers."""
    stacked, separate = (blocks.plan(*form(count), "groups") for form in (scanned, numbered))
    groups = [[int(layer) for layer in part] for part in np.array_split(np.arange(count), min(8, count))]
    assert len(stacked.blocks) == 2 * min(8, count)
    assert stacked.blocks == separate.blocks
    where = {m.path: m.blocks for m in stacked.matrices}
    apart = {m.path: m.blocks for m in separate.matrices}
    for path in LAYER:
        kind = path.split("/")[0]
        layer_blocks = where[f"layers/{path}"]
        assert layer_blocks == tuple(apart[f"layers_{layer}/{path}"][0] for layer in range(count))
        held = {block: [layer for layer in range(count) if layer_blocks[layer] == block] for block in layer_blocks}
        assert list(held.values()) == groups
        assert all(block.endswith(f"/{kind}") for block in held)
        # Names sort as layers do, though 10 comes before 9 in the alphabet.
        assert sorted(held) == list(held)


def test_one_block_per_matrix_and_layer():
    """Law: layout `matrices` shares no block, and the names of one parameter sort as its layers do."""
    plan = blocks.plan(*scanned(12), "matrices")
    assert len(plan.blocks) == 12 * len(LAYER)
    for matrix in plan.matrices:
        assert sorted(matrix.blocks) == list(matrix.blocks)
    separate = blocks.plan(*numbered(3), "matrices")
    assert separate.blocks == tuple(sorted(f"layers_{n}/{path}" for n in range(3) for path in LAYER))


@pytest.mark.parametrize("layout", blocks.LAYOUTS)
@pytest.mark.parametrize("form", [scanned, numbered])
@pytest.mark.parametrize("exclude", [blocks.DEFAULT_EXCLUDE, ("norm|embed|head|down",)])
def test_every_parameter_is_encoded_or_excluded_exactly_once(exclude, form, layout):
    """Law: nothing is forgotten, nothing counted twice, and each exclusion names a pattern that was given."""
    shapes, probed = form(3)
    plan = blocks.plan(shapes, probed, layout, exclude)
    assert sorted([m.path for m in plan.matrices] + list(plan.excluded)) == sorted(shapes)
    assert set(plan.excluded.values()) <= set(exclude)
    assert {m.path: m.shape for m in plan.matrices} == {m.path: shapes[m.path] for m in plan.matrices}
    assert {m.route for m in plan.matrices} == {"probe"}


def test_the_default_leaves_out_embeddings_head_norms_and_biases_alone():
    """Law: names in the manner of several codebases, each decided as a reader would."""
    out = (
        "wte/embedding", "wpe/embedding", "token_embedder/embedding", "lm_head/kernel", "logits_dense/kernel",
        "h_0/ln_1/scale", "h_0/ln_2/bias", "h_0/attn/c_attn/bias", "decoder_norm/scale", "h_0/mlp/c_fc/bias",
    )  # fmt: skip
    kept = ("h_0/attn/c_attn/kernel", "h_0/attn/c_proj/kernel", "h_0/mlp/c_fc/kernel", "h_0/mlp/linear_head_in/kernel")
    shapes = dict.fromkeys(out + kept, (4, 4))
    plan = blocks.plan(shapes, {}, "groups")
    assert sorted(plan.excluded) == sorted(out)
    assert plan.blocks == ("layers_0-0/attention", "layers_0-0/mlp")


def test_the_attributed_share_counts_elements():
    """Law: by hand for two layers: 2·(48 + 48 + 60 + 60) of those plus 2·12 + 240 + 240 + 6."""
    plan = blocks.plan(*scanned(2), "groups")
    assert plan.attributed_share == pytest.approx(432 / (432 + 24 + 486))


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_a_stack_is_what_a_module_or_the_caller_says(axis):
    """Law: never what a name says; of any axis, and a matrix of a bias is a stack of rows if the caller says so."""
    place = axis % 3
    shape = tuple(np.insert((4, 5), place, 3))
    others = tuple(a for a in range(3) if a != place)
    site = Site(shape, others[:1], others[1:], (place,))
    probe = blocks.plan({"tower/mlp/kernel": shape}, {"tower/mlp/kernel": site}, "matrices").matrices[0]
    weight = blocks.plan({"any/name": shape}, {}, "matrices", (), {"^any": axis}).matrices[0]
    assert (probe.layers, probe.rows, probe.columns, probe.route) == (3, 4, 5, "probe")
    assert (weight.layers, weight.rows, weight.columns, weight.route) == (3, 4, 5, "weight")
    values = np.arange(60).reshape(shape)
    np.testing.assert_array_equal(weight.view(values), np.moveaxis(values, axis, 0))
    np.testing.assert_array_equal(weight.site.kernel(weight.view(values)), values)
    (bias,) = blocks.plan({"any/bias": (3, 8)}, {}, "matrices", (), {"^any": 0}).matrices
    assert (bias.layers, bias.rows, bias.columns) == (3, 1, 8)


def test_layer_axes_that_contradict_the_model_or_the_shape_are_refused():
    """Law: the model is asked first, and no axis is guessed."""
    site = Site((3, 3, 3), (1,), (2,), (0,))
    with pytest.raises(InputError, match="contradicts the model"):
        blocks.plan({"a": (3, 3, 3)}, {"a": site}, "matrices", (), {"a": 1})
    with pytest.raises(InputError, match="does not fit"):
        blocks.plan({"a": (3, 3, 3)}, {}, "matrices", (), {"a": 3})
    with pytest.raises(InputError, match="cannot be told"):
        blocks.plan({"a": (3, 3, 3)}, {"a": Site((3, 3, 3), layer_axes=None)}, "matrices", ())


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("tower/mlp/kernel", (3, 4, 5)),  # a stack nobody vouches for
        ("layers/mlp/kernel", (3, 4, 5)),  # nor does its name
        ("layers_0/attention/query/kernel", (6, 2, 4)),  # (in, heads, size) is no matrix
        ("h/0/attention/query/kernel", (6, 2, 4)),  # nor below a numbered layer
        ("layers/mlp/kernel", (2, 3, 4, 5)),
    ],
)
def test_a_parameter_that_is_no_matrix_is_refused_by_name_until_it_is_excluded(path, shape):
    """Law: never silence: the message's own remedy works."""
    shapes, probed = scanned(1)
    with pytest.raises(InputError, match=f"the parameter {path} is not covered") as caught:
        blocks.plan(shapes | {path: shape}, probed, "matrices")
    pattern = caught.value.remedy.split(" such as ")[1].strip("'").replace("\\\\", "\\")
    plan = blocks.plan(shapes | {path: shape}, probed, "matrices", (*blocks.DEFAULT_EXCLUDE, pattern))
    assert plan.excluded[path] == pattern


@pytest.mark.parametrize(
    ("path", "layer"),
    [("decoder_0/layers_3/attention/query/kernel", 3), ("MlpBlock_2/Dense_1/kernel", 2), ("h/5/mlp/c_fc/kernel", 5)],
)
def test_the_number_next_to_the_kind_is_the_layers(path, layer):
    """Law: not that of an outer module, nor that of a matrix within."""
    kind = "attention" if "attention" in path else "mlp"
    assert blocks.plan({path: (4, 4)}, {}, "groups").blocks == (f"layers_{layer}-{layer}/{kind}",)


@pytest.mark.parametrize("path", ["tower/mixer_0/kernel", "attention/query/kernel", "mlp/Dense_0/kernel"])
def test_groups_refuse_a_matrix_without_a_layer_or_a_kind(path):
    """Law: what has no place among groups is named; one block per matrix takes it."""
    with pytest.raises(InputError, match=f"{path} has no place among the block groups"):
        blocks.plan({path: (4, 4)}, {}, "groups")
    assert blocks.plan({path: (4, 4)}, {}, "matrices").blocks == (path,)


def test_groups_refuse_a_stack_below_a_numbered_part():
    """Law: experts of layer 3 are not layers 0 and 1; which axis is the layer is not guessed."""
    path = "layers_3/mlp/experts/kernel"
    with pytest.raises(InputError, match="has no place among the block groups"):
        blocks.plan({path: (2, 4, 4)}, {path: Site((2, 4, 4), (1,), (2,), (0,))}, "groups")


def test_an_unknown_layout_and_a_model_without_matrices_are_refused():
    """Law: both before anything is computed."""
    with pytest.raises(InputError, match="unknown block layout"):
        blocks.plan(*scanned(1), "layers")
    with pytest.raises(InputError, match="no parameter is left to encode"):
        blocks.plan(OUTSIDE, {}, "groups")
