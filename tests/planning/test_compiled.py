"""Programs compiled for TPUs that are not there: what a device is given is its share, and the 8B decoder fits."""

import pytest

from jax_tda.jobs import config_files, settings
from jax_tda.jobs.table import JOBS, PARTS
from jax_tda.planning import flops, run
from tests.house import tree

CONFIG = tree.ROOT / "configs/road/c4_8b.gin"
# One host of four chips, two data groups.
SMALL = (
    "plan.topologies = ('v5e:2x2',)",
    "plan.queries = 16",
    "tokenize.context = 64",
    "decoder.vocabulary_size = 512",
    "decoder.layers = 2",
    "decoder.width = 128",
    "decoder.heads = 4",
    "decoder.kv_heads = 2",
    "decoder.mlp_width = 256",
    "encode.shard_rows = 64",
    "encode.projected_size = 16",
    "score.top_k = 4",
    "mesh.model = 2",
)


def planned(place, *bindings):
    config = settings.build("plan", config_files.read([str(CONFIG)], list(bindings)), JOBS, PARTS)
    (found,) = run.run(config, str(place)).read_json("plan.json")["topologies"].values()
    assert [memory["refused"] for memory in found["programs"].values()] == [""] * len(config.programs)
    return config, found


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return planned(tmp_path_factory.mktemp("planned") / "plan", *SMALL)


def test_every_program_of_the_road_compiles_for_a_tpu_that_is_not_there(small):
    """Law: five programs, none refused, each given something."""
    _, found = small
    assert tuple(found["programs"]) == run.PROGRAMS
    assert found["mesh"] == [2, 2] and found["chips"] == 4 and found["hosts"] == 1
    assert all(memory["arguments"] > 0 for memory in found["programs"].values())


def test_a_device_is_given_its_share_of_r_rows_and_queries(small):
    """Law: R and rows are divided, to the byte, R updated in place; of a host's scores each chip holds all queries."""
    config, found = small
    blocks, size, rows = config.blocks, 256, 64
    total, given, side = blocks * size * size * 4, rows * blocks * size * 4, 16 * blocks * size * 4
    curvature, score = found["programs"]["curvature"], found["programs"]["score"]
    assert curvature["arguments"] == (total + given) / 4 and curvature["aliased"] == curvature["outputs"] == total / 4
    # Norms and the best so far are small, and padded.
    assert 0 <= score["arguments"] - (side + given / 4) < 2**14


def test_a_device_is_given_its_share_of_weights_and_moments(small):
    """Law: bfloat16 weights and, where second moments are exact, 1/√V in float32 are divided over all devices.

    Whole they would take four times their share; short sides are padded, by less than half of what they take.
    """
    config, found = small
    kernels = config.decoder.layers * sum(rows * columns for rows, columns in flops.kernels(config.decoder).values())
    rank_one, exact = (found["programs"][f"encode, {name}"]["arguments"] for name in ("rank one", "exact"))
    assert kernels * 4 / 4 <= exact - rank_one < 2 * kernels * 4 / 4
    weights, step = flops.parameters(config.decoder) * 2, found["programs"]["training step"]
    assert weights / 4 < step["arguments"] < 2 * weights / 4 and step["aliased"] > 0.95 * weights / 4


@pytest.mark.nightly
def test_the_8b_decoder_is_trained_and_encoded_on_256_chips_and_encoding_takes_no_more_memory(tmp_path):
    """Law: four examples of 2,048 tokens a data group fit, rank one and exact; rank one needs no more than a step."""
    three = "plan.programs = ('training step', 'encode, rank one', 'encode, exact')"
    config, found = planned(tmp_path / "plan", "plan.topologies = ('v5e:16x16',)", three)
    assert found["mesh"] == [32, 8] and found["examples_per_batch"] == 32 * 4 and config.tokenize.context == 2048
    step, rank_one, exact = found["programs"].values()
    assert rank_one["total"] <= step["total"] < found["memory_per_device"] > exact["total"]
