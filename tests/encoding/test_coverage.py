"""Laws of the encode job's account: every parameter is probed, on the weight path, or excluded by name, and counted."""

import re

import numpy as np
import pytest

from jax_tda.artifacts.artifact import open_artifact
from jax_tda.core import trees
from jax_tda.core.errors import InputError
from jax_tda.encoding import run as encode
from jax_tda.models import checkpoint_artifact
from tests.jobs import tiny_road


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    """A corpus and a checkpoint with an untied head."""
    place = tmp_path_factory.mktemp("coverage")
    corpus = tiny_road.tokenized(place, "corpus", tiny_road.passages(12))
    return {"examples": corpus, "checkpoint": tiny_road.trained(place, corpus), "projected_size": 4, "buckets": 1}


def test_dry_run_and_manifest_account_for_every_parameter(road, tmp_path):
    """Law: paths, counts and share are those of the checkpoint, added up by hand; embedding and head can be asked for.

    The weight path takes the table, which is divided element by element, and the norms, which are no kernels.
    """
    sizes = {
        path: int(np.prod(leaf.shape))
        for path, leaf in trees.flatten(checkpoint_artifact.open_checkpoint(road["checkpoint"]).params()).items()
    }
    excluded = {"final_norm/scale"}
    config = encode.EncodeConfig(**road, second_moments="exact", blocks="matrices", exclude=("^final",))
    said = encode.plan(config, str(tmp_path / "out"))
    facts = encode.run(config, str(tmp_path / "out")).manifest.facts
    routes = {path: entry["route"] for path, entry in facts["encoded"].items()}
    weighted = {path for path in sizes if path.endswith("norm/scale") or path == "embedding/embedding"} - excluded
    assert routes == {path: "weight" if path in weighted else "probe" for path in sizes if path not in excluded}
    assert "head/kernel" in routes and set(facts["excluded"]) == excluded and len(weighted) == 3
    fates = routes | dict.fromkeys(excluded, "excluded")
    for fate, counted in facts["parameter_counts"].items():
        members = [path for path, given in fates.items() if given == fate]
        elements = sum(sizes[path] for path in members)
        assert counted == {"parameters": len(members), "elements": elements}
        assert f"{fate}: {len(members)} parameters, {elements:,} elements" in said
    share = 1 - sizes["final_norm/scale"] / sum(sizes.values())
    assert facts["attributed_share"] == pytest.approx(share) and f"{share:.1%} of the parameters" in said
    for path, fate in fates.items():
        assert re.search(rf"(?m)^  {fate} +{path} ", said)
    assert open_artifact(str(tmp_path / "out")).array("encodings").shape == (12, len(facts["blocks"]), 4, 4)


def test_a_parameter_without_a_place_stops_the_job_with_its_path(road, tmp_path):
    """Law: neither the dry run nor the job goes on, and nothing is written."""
    config = encode.EncodeConfig(**road, exclude=("norm", "head"))
    for job in (encode.plan, encode.run):
        with pytest.raises(InputError, match="the parameter embedding/embedding has no place"):
            job(config, str(tmp_path / "out"))
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_parameter_that_is_not_covered_stops_the_job_with_its_path(road, tmp_path, monkeypatch):
    """Law: a tensor of the checkpoint that no module shows is refused by the job as by the encoder."""
    own = checkpoint_artifact.Checkpoint.params

    def more(checkpoint, layout=None):
        return {**own(checkpoint, layout), "adapter": {"tensor": np.zeros((2, 3, 4), np.float32)}}

    monkeypatch.setattr(checkpoint_artifact.Checkpoint, "params", more)
    config = encode.EncodeConfig(**road, second_moments="none")
    for job in (encode.plan, encode.run):
        with pytest.raises(InputError, match="the parameter adapter/tensor is not covered"):
            job(config, str(tmp_path / "out"))
    assert not (tmp_path / "out" / "manifest.json").exists()
