"""A toy study, gone by the command that a user types."""

import numpy as np
import pytest

from jax_tda.artifacts.artifact import open_artifact
from tests.studies import command

SETTINGS = """
study_density.facts = 160
study_density.prose = 20
study_density.vocabulary_size = 700
study_density.context = 128
study_density.steps = 30
study_density.projected_size = 4
study_density.text_size = 64
study_density.query_weight = 0.5
study_density.kernels = ("gaussian",)
study_density.buckets = 1
study_density.bandwidth_factors = (0.5, 1.0, 2.0)
study_density.held_out = 40
study_density.sample = 40
study_density.draws = 2
study_density.permutations = 19
study_density.pairs = 5
study_density.copies = (1, 2)
study_density.background = 40
study_density.tuning_steps = 10
study_density.tuning_rate = 1e-2
decoder.layers = 1
decoder.width = 16
decoder.heads = 2
decoder.kv_heads = 2
decoder.mlp_width = 16
optimizer.peak_rate = 2e-2
optimizer.warmup_steps = 5
tail_patch.queries = 8
tail_patch.proponents = 2
bootstrap.resamples = 50
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Its command."""
    return command.Study(tmp_path_factory.mktemp("study"), "study_density", SETTINGS)


@pytest.fixture(scope="module")
def gone(study, tmp_path_factory):
    """The finished study, and what it said."""
    out = tmp_path_factory.mktemp("gone") / "out"
    said = study.go(out)
    return open_artifact(str(out), "study"), said


def test_a_study_leaves_its_tables_its_results_its_figures_and_a_page_and_nothing_else(gone):
    """Law: one artifact; models and encodings were needed on the way alone; progress was told."""
    reader, ended = gone
    figures = {f"figures/{name}.svg" for name in ("predictors", "bandwidths", "leakage", "strong_proponents")}
    assert set(reader.manifest.files) == {"results.json", "index.html", "seed_0.jsonl", *figures}
    assert "seed 0: 15/15 stages" in ended.stderr and "log perplexity on:" in ended.stdout
    assert not (reader.path / "unfinished").exists()


@pytest.mark.nightly
def test_a_killed_study_goes_on_to_the_same_results(gone, study, tmp_path):
    """Law: killed when its model is trained, and started again, it trains none and writes the same bytes."""
    reader, _ = gone
    study.kill(tmp_path / "out", "unfinished/scratch/seed_0/checkpoint/manifest.json")
    (made,) = (tmp_path / "out").glob("unfinished/scratch/seed_0/checkpoint/manifest.json")
    before = made.stat().st_mtime_ns
    assert not (tmp_path / "out/unfinished/scratch/seed_0/tuned").exists() and before > 0
    said = study.go(tmp_path / "out")
    assert "train: 30/30" not in said.stderr and "train: 10/10" in said.stderr
    again = open_artifact(str(tmp_path / "out"), "study")
    assert {name: again.read_bytes(name) == reader.read_bytes(name) for name in reader.manifest.files} == {
        name: True for name in reader.manifest.files
    }


def test_the_results_are_those_of_the_tables(gone):
    """Law: R² is the squared correlation of two columns of the table that lies beside the results."""
    reader, _ = gone
    rows, results = list(reader.read_lines("seed_0.jsonl")), reader.read_json("results.json")
    perplexity = [-row["log_p"] / row["target_tokens"] for row in rows]
    for name, found in results["pretraining"]["predictors"].items():
        expected = np.corrcoef([row[name] for row in rows], perplexity)[0, 1] ** 2
        assert found["r_squared"]["seeds"] == pytest.approx([expected], rel=1e-6), name
    gains = {
        row["role"]: row["log_p_tuned"] - row["log_p"]
        for row in rows
        if row["pair"] is not None and row["kind"] == "verbatim" and row["copies"] == 2
    }
    assert len(rows) > 100 and set(gains) == {"leaked", "control"}


def test_a_verbatim_copy_lies_on_its_query_in_the_text_space(gone):
    """Law: the nearest distance to the tuning data is 0 for what was leaked verbatim, and for that alone."""
    reader, _ = gone
    rows, sweeps = list(reader.read_lines("seed_0.jsonl")), reader.read_json("results.json")["sweeps"]["0"]["text"]
    h = sweeps["gaussian"]["bandwidths"][sweeps["gaussian"]["best"]]
    tuning = 40 + sum(row["copies"] for row in rows if row["role"] == "leaked")
    for row in rows:
        if row["pair"] is not None:
            constant = -64 / 2 * np.log(2 * np.pi) - 64 * np.log(h)
            on_it = row["tuning/text"] - constant > np.log(0.99 / tuning)
            assert on_it == (row["role"] == "leaked" and row["kind"] == "verbatim")
