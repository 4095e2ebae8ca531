"""Laws of training on a mesh that weights are divided over: one device's parameters, every array really divided."""

import functools

import jax
import numpy as np
import pytest

from jax_tda.core import mesh as meshes
from jax_tda.core import trees
from jax_tda.models.decoder import Decoder, DecoderConfig
from jax_tda.training.loop import TrainingConfig, train
from jax_tda.training.optimizers import OptimizerConfig
from tests.training.test_loop import KilledError, copies, killed_at, one_device

OPTIMIZERS = {
    "adamw": OptimizerConfig(peak_rate=1e-2, warmup_steps=2),
    "adafactor": OptimizerConfig("adafactor", peak_rate=1e-2, warmup_steps=2, min_dim_size_to_factor=8),
}
CONFIG = TrainingConfig(steps=3, log_every=3, save_every=0)
# Shape and, on data = 2 and model = 4, the shape that a device holds; three heads' worth of nothing is divided by 4.
HELD = {
    "embedding/embedding": ((12, 16), (3, 8)),
    "head/kernel": ((16, 12), (8, 3)),
    "final_norm/scale": ((16,), (16,)),
    "layers/attention_norm/scale": ((2, 16), (2, 16)),
    "layers/attention/query/kernel": ((2, 16, 32), (2, 8, 8)),
    "layers/attention/query/bias": ((2, 32), (2, 8)),
    "layers/attention/key/kernel": ((2, 16, 8), (2, 8, 8)),
    "layers/attention/key/bias": ((2, 8), (2, 8)),
    "layers/attention/value/kernel": ((2, 16, 8), (2, 8, 8)),
    "layers/attention/value/bias": ((2, 8), (2, 8)),
    "layers/attention/output/kernel": ((2, 32, 16), (2, 8, 8)),
    "layers/attention/output/bias": ((2, 16), (2, 16)),
    "layers/mlp_norm/scale": ((2, 16), (2, 16)),
    "layers/mlp/gate/kernel": ((2, 16, 20), (2, 8, 5)),
    "layers/mlp/up/kernel": ((2, 16, 20), (2, 8, 5)),
    "layers/mlp/down/kernel": ((2, 20, 16), (2, 5, 8)),
}


def model(**fields):
    return Decoder(
        DecoderConfig(
            vocabulary_size=12, layers=2, width=16, heads=8, head_size=4, kv_heads=2, mlp_width=20, tied=False,
            attention_bias="all", **fields,
        )
    )  # fmt: skip


@functools.cache
def alone(optimizer, **fields):
    return train(model(**fields), OPTIMIZERS[optimizer], CONFIG, copies, mesh=one_device())


def divided(data, groups, optimizer, batches=copies, directory="", **fields):
    mesh = meshes.make_mesh(meshes.MeshConfig(data, groups))
    return train(
        model(**fields),
        OPTIMIZERS[optimizer],
        TrainingConfig(CONFIG.steps, log_every=3, save_every=2 if directory else 0),
        batches,
        mesh=mesh,
        weights="sharded",
        progress_directory=directory,
    )


def farthest(state, expected):
    """The largest ‖a − b‖ / ‖b‖ over parameters."""
    found = []
    for path, leaf in trees.flatten(expected.params).items():
        # Softmax cancels a key's bias: its gradient is rounding alone, which both optimizers scale up.
        if not path.endswith("key/bias"):
            got, wanted = np.asarray(trees.flatten(state.params)[path]), np.asarray(leaf)
            found.append(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))
    return max(found)


@pytest.mark.parametrize(
    ("data", "groups", "optimizer", "fields"),
    [
        pytest.param(8, 1, "adamw", {}, marks=pytest.mark.nightly),
        (4, 2, "adafactor", {"remat": True}),
        pytest.param(2, 4, "adamw", {"scan_layers": False}, marks=pytest.mark.nightly),
    ],
)
def test_divided_weights_train_like_one_device(data, groups, optimizer, fields):
    """Law: parameters after three steps differ by rounding alone: 1e-5 of each array's norm."""
    assert farthest(divided(data, groups, optimizer, **fields), alone(optimizer, **fields)) <= 1e-5


def test_every_weight_and_moment_is_divided_as_the_table_says_and_goes_on_from_another_mesh(tmp_path):
    """Law: each device holds what was written down by hand; a run killed on 2 × 4 ends on 4 × 2 the same."""
    held = []
    with pytest.raises(KilledError):
        divided(2, 4, "adafactor", killed_at(2), str(tmp_path))
    state = divided(4, 2, "adafactor", lambda step: held.append(step) or copies(step), str(tmp_path))
    assert held == [2]
    assert farthest(state, alone("adafactor")) <= 1e-5
    state = divided(2, 4, "adafactor", directory=str(tmp_path))
    shapes = {path: (leaf.shape, _part(leaf)) for path, leaf in trees.flatten(state.params).items()}
    assert shapes == HELD
    moments = {path.partition("/")[2]: _part(leaf) for path, leaf in trees.flatten(state.opt_state).items()}
    # (2, 16, 32) loses 32 in v_row and 16 in v_col; (2, 16, 8) loses 16 and 8; biases are not factored.
    assert moments["v_row/layers/attention/query/kernel"] == (2, 8)
    assert moments["v_col/layers/attention/query/kernel"] == (2, 8)
    assert moments["v_row/layers/attention/key/kernel"] == (2, 8)
    assert moments["v_col/layers/attention/key/kernel"] == (2, 8)
    assert moments["v_row/layers/mlp/down/kernel"] == (2, 8)
    assert moments["v_col/layers/mlp/down/kernel"] == (2, 5)
    assert moments["v/layers/attention/query/bias"] == (2, 8)


def _part(array):
    (shape,) = {shard.data.shape for shard in array.addressable_shards}
    return shape


def test_a_batch_has_its_rows_on_the_groups_alone():
    """Law: two groups of four devices hold halves of the batch, each of the four the same half."""
    placed = meshes.shard_batch(meshes.make_mesh(meshes.MeshConfig(2, 4)), {"tokens": np.arange(8)})["tokens"]
    assert len(placed.addressable_shards) == len(jax.devices()) == 8
    assert {tuple(np.asarray(shard.data)) for shard in placed.addressable_shards} == {(0, 1, 2, 3), (4, 5, 6, 7)}
