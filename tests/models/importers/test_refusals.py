"""What is wrong with a foreign checkpoint is said in words: the file, the tensor, what was expected, what to do."""

import json

import numpy as np
import pytest
import safetensors.numpy

from jax_tda.core.errors import InputError
from jax_tda.models.importers import assemble
from jax_tda.models.importers.opened import open_source
from tests.models.importers import tiny


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    tiny.model("llama multi-head").save_pretrained(folder, max_shard_size="8KB")
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy that a test may damage: several shards and their index."""
    for path in saved.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def expect_refusal(folder, *words):
    with pytest.raises(InputError) as caught:
        assemble.check(open_source(str(folder)))
    assert [word for word in words if word not in str(caught.value)] == []


def changed(path, **entries):
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


def shard_of(folder, tensor):
    return folder / json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"][tensor]


def rewritten(folder, tensor, value):
    """The same shards with another tensor in place of one, or without it."""
    shard = shard_of(folder, tensor)
    held = safetensors.numpy.load_file(shard)
    del held[tensor]
    safetensors.numpy.save_file(held | value, shard)


NAME = "model.layers.1.mlp.up_proj.weight"


def test_a_sharded_folder_is_read_as_one(folder, saved):
    """Every tensor of the shards is there, each with its own values."""
    source = open_source(str(folder))
    original = tiny.model("llama multi-head").state_dict()
    assert len(list(folder.glob("*.safetensors"))) > 2 and assemble.check(source) == []
    for name, tensor in original.items():
        np.testing.assert_array_equal(source.read(name), tensor.numpy())


def test_a_wrong_folder_is_refused(tmp_path):
    """Nothing there, or something else."""
    expect_refusal(tmp_path / "nowhere", "nowhere/config.json", "no such file", "save_pretrained")
    (tmp_path / "config.json").write_text("{")
    expect_refusal(tmp_path, "config.json cannot be read")


def test_an_unknown_architecture_is_refused_with_those_that_are_known(folder):
    """Before any tensor is looked at."""
    changed(folder / "config.json", model_type="mamba")
    expect_refusal(folder, "config.json", "mamba", "llama, mistral", "docs/models.md")


@pytest.mark.parametrize(
    ("entries", "word"),
    [
        ({"hidden_act": "relu6"}, "an activation"),
        ({"rope_parameters": {"rope_type": "longrope", "rope_theta": 1.0}}, "longrope"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 1.0, "factor": 2.0}}, "low_freq_factor"),
        ({"quantization_config": {"bits": 4}}, "quantised weights"),
        ({"num_hidden_layers": None}, "num_hidden_layers"),
    ],
)
def test_a_configuration_that_the_decoder_cannot_follow_is_refused(entries, word, folder):
    """Silence would give another model."""
    changed(folder / "config.json", **entries)
    expect_refusal(folder, "config.json", word)


def test_a_missing_shard_is_named(folder):
    """By its path, before anything is read."""
    shard = shard_of(folder, NAME)
    shard.unlink()
    expect_refusal(folder, str(shard), "is missing", "copy the whole folder again")


def test_a_damaged_shard_is_named(folder):
    """A download that broke off."""
    shard = shard_of(folder, NAME)
    shard.write_bytes(shard.read_bytes()[:200])
    expect_refusal(folder, str(shard), "damaged")


def test_a_tensor_that_is_missing_wrong_or_superfluous_is_named(folder):
    """With the shape it should have, and our parameter that it is for."""
    rewritten(folder, NAME, {NAME: np.zeros((24, 15), np.float32)})
    expect_refusal(folder, NAME, "(24, 15)", "(24, 16), for layers/mlp/up/kernel")
    rewritten(folder, NAME, {})
    expect_refusal(folder, NAME, shard_of(folder, NAME).name, "no shard holds")
    index = folder / "model.safetensors.index.json"
    placed = json.loads(index.read_text())["weight_map"]
    index.write_text(json.dumps({"weight_map": {name: file for name, file in placed.items() if name != NAME}}))
    expect_refusal(folder, NAME, "is missing", "(24, 16)")


def test_a_tensor_without_a_place_is_named(folder):
    """A parameter that is left out makes another model."""
    changed(folder / "config.json", num_hidden_layers=1)
    expect_refusal(folder, "model.layers.1.input_layernorm.weight belongs to nothing")


def test_pickled_weights_are_refused(folder):
    """Reading them would run what they hold."""
    for path in folder.glob("model*"):
        path.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"")
    expect_refusal(folder, "pytorch_model.bin", "unpickled")


def test_values_that_are_not_finite_are_refused(folder):
    """They would make every encoding NaN."""
    rewritten(folder, NAME, {NAME: np.full((24, 16), np.nan, np.float32)})
    with pytest.raises(InputError, match=f"{NAME} cannot be used"):
        assemble.parameters(open_source(str(folder)))
