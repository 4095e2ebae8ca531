"""Laws of jobs on a mesh: what they write does not depend on it, and one mesh's artifact is another's."""

import dataclasses

import numpy as np
import pytest

from jax_tda.artifacts.encodings import open_encodings
from jax_tda.core.mesh import MeshConfig, make_mesh
from jax_tda.data.corpus import open_corpus
from jax_tda.encoding import estimate_moments
from jax_tda.encoding import run as encode
from jax_tda.encoding.estimate_moments import EstimateSecondMomentsConfig
from jax_tda.evaluation import answers, tail_patch
from jax_tda.evaluation import run as evaluation
from jax_tda.models.checkpoint_artifact import open_checkpoint
from jax_tda.training import run as training
from tests.jobs import tiny_road

WIDE, DEEP = MeshConfig(4, 2), MeshConfig(2, 4)
WHOLE = MeshConfig(weights="replicated")


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    """A corpus, queries, and a checkpoint that was trained and saved on the mesh 4 × 2."""
    place = tmp_path_factory.mktemp("road")
    tiny_road.tokenized(place, "corpus", tiny_road.passages(9))
    tiny_road.tokenized(place, "queries", tiny_road.queries(5), "queries")
    config = training.PretrainConfig(
        corpus=str(place / "corpus"),
        decoder=dataclasses.replace(tiny_road.DECODER, heads=4, kv_heads=2, tied=True),
        optimizer=tiny_road.OPTIMIZER,
        steps=3,
        tokens_per_batch=128,
        buckets=1,
        save_every=0,
        mesh=WIDE,
    )
    training.run(config, str(place / "checkpoint"))
    return place


def test_encodings_of_a_checkpoint_are_the_same_on_another_mesh(road, tmp_path):
    """Law: 1e-5 per block, exact second moments; the mesh is no setting, so that a run goes on with another one."""

    def config(mesh):
        return encode.EncodeConfig(
            str(road / "corpus"),
            str(road / "checkpoint"),
            second_moments="exact",
            projected_size=4,
            buckets=1,
            unroll_layers=False,
            mesh=mesh,
        )

    whole, divided = (encode.run(config(mesh), str(tmp_path / name)) for name, mesh in (("1", WHOLE), ("2", DEEP)))
    assert whole.manifest.settings == divided.manifest.settings
    expected, got = (open_encodings(str(reader.path)).read_rows(np.arange(9)) for reader in (whole, divided))
    for block in range(expected.shape[1]):
        assert np.linalg.norm(got[:, block] - expected[:, block]) < 1e-5 * np.linalg.norm(expected[:, block])
    again = encode.run(config(WIDE), str(divided.path))
    assert again.manifest.digest == divided.manifest.digest


def test_the_dry_run_names_what_is_held_whole(road, tmp_path):
    """Law: 259 rows cannot be divided by 4, nor can two heads of keys; what can be is not named."""
    config = encode.EncodeConfig(str(road / "corpus"), str(road / "checkpoint"), projected_size=4, mesh=DEEP)
    said = [line for line in encode.plan(config, str(tmp_path)).splitlines() if "held whole" in line]
    assert [line.split(": ", 1)[1] for line in said if "layers_1" not in line] == [
        "embedding/embedding (259, 8): vocabulary (259)",
        "layers_0/attention/key/kernel (8, 4): kv_heads (2)",
        "layers_0/attention/value/kernel (8, 4): kv_heads (2)",
    ]


def test_answers_are_the_same_on_another_mesh(road, tmp_path):
    """Law: the likeliest tokens are equal, log p is within 1e-5 of itself."""
    found = []
    for number, mesh in enumerate((WHOLE, DEEP)):
        config = answers.AnswerConfig(str(road / "queries"), str(road / "checkpoint"), mesh=mesh)
        found.append(list(answers.run(config, str(tmp_path / str(number))).read_lines("answers.jsonl")))
    for one, other in zip(*found, strict=True):
        assert one.pop("target_log_probability") == pytest.approx(other.pop("target_log_probability"), rel=1e-5)
        assert one == other


def test_tail_patch_is_the_same_on_another_mesh(road):
    """Law: a change of P(target | prompt) differs by no more than 1e-5 of the probability it is a change of."""
    checkpoint = open_checkpoint(str(road / "checkpoint"))
    texts = open_corpus(str(road / "corpus")), open_corpus(str(road / "queries"))
    found = []
    for config in (WHOLE, WIDE):
        mesh = make_mesh(config)
        judged = evaluation.EvaluateConfig(tail_patch=tail_patch.TailPatchConfig(rate=0.01), mesh=config)
        params, step, _ = evaluation._step(checkpoint, judged, mesh)
        divided = checkpoint.layout(mesh, config.weights) is not None
        assert divided == (config is WIDE)
        model = checkpoint.model.laid_out(mesh) if divided else checkpoint.model
        found.append(tail_patch.changes(model, params, step, {0: [0, 1], 3: [4]}, *texts))
    assert found[0].keys() == found[1].keys()
    for pair, change in found[0].items():
        assert change != 0 and found[1][pair] == pytest.approx(change, rel=1e-3)


def test_estimated_second_moments_are_the_same_on_another_mesh(road, tmp_path):
    """Law: each parameter's mean of squared gradients within 1e-5 of its norm."""
    found = []
    for number, mesh in enumerate((WHOLE, DEEP)):
        config = EstimateSecondMomentsConfig(
            str(road / "checkpoint"), examples=str(road / "corpus"), batches=2, batch_size=4, buckets=1, mesh=mesh
        )
        estimate_moments.run(config, str(tmp_path / str(number)))
        found.append(estimate_moments.read(str(tmp_path / str(number)), open_checkpoint(str(road / "checkpoint"))))
    for path, leaf in found[0].leaves.items():
        expected, got = np.asarray(leaf.values, np.float64), np.asarray(found[1].leaves[path].values, np.float64)
        assert np.linalg.norm(got - expected) < 1e-5 * np.linalg.norm(expected), path
