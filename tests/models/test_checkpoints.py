"""Laws of checkpoints: what comes back is what went in, bit for bit, of the same types, on any devices."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax_tda.artifacts.artifact import begin, open_artifact
from jax_tda.core import mesh as meshes
from jax_tda.core.errors import InputError
from jax_tda.models import checkpoint_artifact, checkpoints
from jax_tda.models.decoder_config import DecoderConfig


def state_of(optimizer, seed=0):
    """A state after one update, so that no part of it is zero."""
    random = np.random.default_rng(seed)
    params = {
        "layers": {"mlp": {"kernel": jnp.asarray(random.normal(size=(2, 8, 16)), jnp.float32)}},
        "norm": {"scale": jnp.asarray(random.normal(size=8), jnp.float32)},
    }
    _, opt_state = optimizer.update(params, optimizer.init(params), params)
    return {"params": params, "opt_state": opt_state, "step": jnp.int32(7)}


OPTIMIZERS = {
    "adamw": optax.adamw(optax.constant_schedule(1e-3), weight_decay=0.1, mask={"layers": True, "norm": False}),
    "adafactor": optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_factored_rms(min_dim_size_to_factor=4)),
}


def check_same(got, expected):
    assert jax.tree.structure(got) == jax.tree.structure(expected)  # Named tuples and their types included.
    for left, right in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(np.asarray(left), np.asarray(right))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_checkpoint_comes_back_bit_for_bit_in_the_optimizers_own_types(tmp_path, name):
    """restore(save(state)) = state, with Optax's named tuples, read like mere shapes."""
    state = state_of(OPTIMIZERS[name])
    checkpoints.save(str(tmp_path / "x"), state)
    check_same(checkpoints.restore(str(tmp_path / "x"), jax.eval_shape(lambda: state)), state)


def test_a_checkpoint_of_one_mesh_is_read_onto_another(tmp_path):
    """Saved halved over 4 × 2, read split four ways over 2 × 4: the same bits, where they were asked for."""
    saved, wanted = meshes.make_mesh(meshes.MeshConfig(model=2)), meshes.make_mesh(meshes.MeshConfig(model=4))
    state = {"kernel": jnp.arange(32.0).reshape(2, 16)}
    checkpoints.save(str(tmp_path / "x"), jax.device_put(state, meshes.sharding(saved, "stream", "mlp")))
    where = meshes.sharding(wanted, "stream", "mlp")
    got = checkpoints.restore(str(tmp_path / "x"), state, where)
    assert got["kernel"].sharding == where
    assert {shard.data.shape for shard in got["kernel"].addressable_shards} == {(2, 4)}
    check_same(got, state)


def test_parameters_are_read_without_the_optimizer(tmp_path):
    """restore_params gives the parameters of the checkpoint, knowing nothing of its optimizer."""
    state = state_of(OPTIMIZERS["adamw"])
    checkpoints.save(str(tmp_path / "x"), state)
    where = meshes.replicated(meshes.make_mesh())
    got = checkpoints.restore_params(str(tmp_path / "x"), jax.eval_shape(lambda: state["params"]), where)
    check_same(got, state["params"])
    assert got["norm"]["scale"].sharding == where


def test_a_checkpoint_can_be_read_without_knowing_its_types(tmp_path):
    """restore_untyped gives the same leaves, in the same order, as NumPy arrays in dictionaries and lists."""
    state = state_of(OPTIMIZERS["adafactor"])
    checkpoints.save(str(tmp_path / "x"), state)
    got = checkpoints.restore_untyped(str(tmp_path / "x"))
    assert {type(leaf) for leaf in jax.tree.leaves(got)} <= {np.ndarray, np.int32, int}
    rows = got["opt_state"][1]["v_row"]["layers"]["mlp"]["kernel"]
    np.testing.assert_array_equal(rows, optax.tree_utils.tree_get(state, "v_row")["layers"]["mlp"]["kernel"])
    np.testing.assert_array_equal(got["params"]["norm"]["scale"], state["params"]["norm"]["scale"])
    assert int(got["step"]) == 7


def test_a_missing_unfinished_or_foreign_checkpoint_is_named(tmp_path):
    """Nothing, an empty directory, a directory of something else: an error with the path and what to do."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "notes.txt").write_text("mine")
    for name in ("absent", "empty", "foreign"):
        for read in (checkpoints.restore, checkpoints.restore_params):
            with pytest.raises(InputError, match=f"{name}[\\s\\S]*remedy"):
                read(str(tmp_path / name), {"a": jnp.zeros(2)})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda p: {**p, "norm": {"scale": jnp.zeros(9)}}, "params/norm/scale"),
        (lambda p: {**p, "norm": {"scale": jnp.zeros(8, jnp.bfloat16)}}, "params/norm/scale"),
        (lambda p: {**p, "extra": jnp.zeros(2)}, "params/extra"),
        (lambda p: {"norm": p["norm"]}, "params/layers/mlp/kernel"),
    ],
    ids=["other shape", "other type", "wanted but absent", "present but unwanted"],
)
def test_a_checkpoint_that_does_not_fit_is_refused_by_the_name_of_the_parameter(tmp_path, change, named):
    """No padding, truncation, cast, or silently missing leaf."""
    state = state_of(OPTIMIZERS["adafactor"])
    checkpoints.save(str(tmp_path / "x"), state)
    wanted = change(state["params"])
    with pytest.raises(InputError, match=f"does not fit: {named}"):
        checkpoints.restore_params(str(tmp_path / "x"), wanted)
    with pytest.raises(InputError, match=f"does not fit: {named}"):
        checkpoints.restore(str(tmp_path / "x"), {**state, "params": wanted})


def test_a_checkpoint_is_never_written_over_what_exists(tmp_path):
    """The directory of something else survives."""
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="exists"):
        checkpoints.save(str(tmp_path / "x"), {"a": jnp.zeros(2)})
    assert (tmp_path / "x" / "thesis.txt").read_text() == "mine"


def test_the_latest_complete_checkpoint_is_found_and_older_ones_go(tmp_path):
    """After steps 5 and 10 only 10 is there; a half-written 15 is not seen, and replaced later."""
    directory = str(tmp_path / "progress")
    assert checkpoints.latest_step(directory) is None
    for step in (5, 10):
        checkpoints.save_step(directory, step, {"a": jnp.full(3, step)})
    (tmp_path / "progress" / "settings.json").write_text("{}")
    assert sorted(path.name for path in (tmp_path / "progress").iterdir()) == ["settings.json", "step_000000010"]
    (tmp_path / "progress" / "step_000000015").mkdir()
    (tmp_path / "progress" / "step_000000015.orbax-checkpoint-tmp").mkdir()
    step, path = checkpoints.latest_step(directory)
    assert step == 10
    check_same(checkpoints.restore(path, {"a": jnp.zeros(3, int)}), {"a": jnp.full(3, 10)})
    checkpoints.save_step(directory, 15, {"a": jnp.full(3, 15)})
    assert checkpoints.latest_step(directory)[0] == 15
    assert sorted(path.name for path in (tmp_path / "progress").iterdir()) == ["settings.json", "step_000000015"]


def test_a_decoder_of_another_version_is_read_where_nothing_is_lost_and_refused_where_something_is(tmp_path):
    """`scan_unroll`, which changed no number, is passed over; a field that nobody knows is named."""
    for name, extra in {"older": {"scan_unroll": 2}, "newer": {"experts": 8}}.items():
        writer = begin(str(tmp_path / name), checkpoint_artifact.KIND, {}, {})
        writer.write_json("decoder.json", {"layers": 3} | extra)
        writer.finish({})
    opened = {name: open_artifact(str(tmp_path / name)) for name in ("older", "newer")}
    assert checkpoint_artifact.decoder_config(opened["older"]) == DecoderConfig(layers=3)
    with pytest.raises(InputError, match="experts"):
        checkpoint_artifact.decoder_config(opened["newer"])


def test_the_root_and_the_steps_of_a_checkpoint_manager_are_refused_with_the_path_that_is_right(tmp_path):
    """Orbax's manager writes STEP/default, or STEP/NAME; the newest of them is named, and it can be read."""
    import orbax.checkpoint as ocp

    with ocp.CheckpointManager(tmp_path / "plain") as manager:
        for step in (2, 10):
            manager.save(step, args=ocp.args.StandardSave({"w": np.full(2, step, np.float32)}))
    with ocp.CheckpointManager(tmp_path / "named") as manager:
        manager.save(7, args=ocp.args.Composite(params=ocp.args.StandardSave({"w": np.ones(2, np.float32)})))
    expected = {
        "plain": "plain/10/default",
        "plain/2": "plain/2/default",
        "named": "named/7/params",
        "named/7": "named/7/params",
    }
    for given, right in expected.items():
        with pytest.raises(InputError, match="no complete checkpoint") as caught:
            checkpoints.restore_untyped(str(tmp_path / given))
        assert caught.value.remedy == f"give {tmp_path / right}"
    np.testing.assert_array_equal(checkpoints.restore_untyped(str(tmp_path / "plain/10/default"))["w"], [10, 10])
