"""The scaling study: kinds and pooled figures by hand, and a toy gone by the command that a user types."""

import json

import pytest

from jax_tda.artifacts.artifact import open_artifact
from jax_tda.core.errors import InputError
from jax_tda.studies.scaling import analysis, page
from jax_tda.studies.scaling.kinds import KINDS, kind_of
from jax_tda.studies.scaling.settings import ScalingConfig
from tests.studies import command

SETTINGS = """
study_scaling.facts = 60
study_scaling.prose = 10
study_scaling.vocabulary_size = 500
study_scaling.context = 128
study_scaling.layers = (1,)
study_scaling.widths = (16,)
study_scaling.checkpoints = (5, 15)
study_scaling.buckets = 1
study_scaling.projected_size = 4
study_scaling.query_weight = 0.5
optimizer.peak_rate = 2e-2
optimizer.warmup_steps = 2
tail_patch.queries = 4
tail_patch.proponents = 2
bootstrap.resamples = 50
"""
QUERY = {"subject": "Mali", "object": "Bamako", "relation": "capital"}


@pytest.mark.parametrize(
    ("text", "relation", "document", "kind"),
    [
        ("anything at all", "capital", "gold", "states"),
        ("Bamako lies in Mali on the Niger.", None, "p", "both entities"),
        ("People in Mali speak French.", "language", "p", "one entity"),
        ("The airport of Bamako is small.", None, "p", "one entity"),
        ("The capital of Chad is N'Djamena.", "capital", "p", "same relation"),
        ("The BAMAKO road is long.", None, "p", "shared name"),
        ("Somalia has a coast.", None, "p", "other"),
    ],
)
def test_the_kind_of_a_passage_is_the_nearest_that_fits(text, relation, document, kind):
    """Law: by hand, one of each; part of a word is no entity."""
    passage = {"document": document, "text": text, "fields": {"relation": relation} if relation else {}}
    assert kind_of(QUERY, passage, {"gold"}) == kind


def unit(shift):
    """What one seed's snapshot of three queries gives."""
    tables = {"right": {"a": 1.0, "b": 0.0, "c": 1.0}}
    for method, by in (("trackstar", 1.0), ("bm25", 0.5)):
        for metric in ("mrr", "recall_at_10", "tail_patch"):
            tables[f"{metric}/{method}"] = {"a": by + shift, "b": by, "c": None}
    tables |= {f"tail_patch/{kind}": {"a": None, "b": 2.0, "c": None} for kind in KINDS}
    counts = {method: {kind: number for number, kind in enumerate(KINDS)} for method in ("trackstar", "bm25")}
    return {
        **{"layers": 1, "width": 16, "steps": 5, "parameters": 100, "answered_exactly": 2 / 3},
        **{"kinds": counts, "per_query": tables},
    }


def test_figures_are_over_the_queries_of_all_seeds_and_methods_are_paired():
    """Law: by hand for two seeds; a query of one name in another seed is another query."""
    results = analysis.analyse({0: [unit(0.0)], 1: [unit(1.0)]}, ScalingConfig())
    (row,) = results["rows"]
    assert row["mrr/trackstar"]["n"] == 4 and row["mrr/trackstar"]["mean"] == pytest.approx((1 + 1 + 2 + 1) / 4)
    assert row["mrr/trackstar (answered)"]["mean"] == pytest.approx(1.5) and row["mrr/seeds"] == [1.0, 1.5]
    assert row["mrr/difference"]["mean"] == row["mrr/difference"]["low"] == 0.5
    assert row["kinds"]["bm25"] == {kind: 2 * number for number, kind in enumerate(KINDS)}
    html = page.render(results, page.figures(results))
    assert "src=" not in html and "<script" not in html and json.dumps(results, allow_nan=False)


@pytest.mark.parametrize(
    "wrong",
    [{"seeds": ()}, {"widths": (48,)}, {"checkpoints": ()}, {"checkpoints": (5, 5)}, {"widths": (48, 96, 0)}],
)
def test_settings_that_make_no_study_are_refused(wrong):
    """Law: before anything is trained."""
    with pytest.raises(InputError):
        ScalingConfig(**wrong)


def test_a_toy_study_leaves_its_results_its_figures_and_a_page(tmp_path):
    """Law: one artifact; each snapshot has its row, each query is looked at by both methods; a kill changes nothing."""
    study = command.Study(tmp_path, "study_scaling", SETTINGS)
    study.go(tmp_path / "out")
    reader = open_artifact(str(tmp_path / "out"), "study")
    assert set(reader.manifest.files) == {"results.json", "index.html", "figures/mrr.svg", "figures/tail_patch.svg"}
    rows = reader.read_json("results.json")["rows"]
    assert [row["steps"] for row in rows] == [5, 15]
    for row in rows:
        assert row["mrr/trackstar"]["n"] == row["mrr/bm25"]["n"] == 60 and row["tail_patch/trackstar"]["n"] == 4
        assert sum(row["kinds"]["trackstar"].values()) == 60 * 10
    assert rows[0]["mrr/bm25"] == rows[1]["mrr/bm25"]
    study.kill(tmp_path / "killed", "unfinished/units/*.json")
    study.go(tmp_path / "killed")
    again = open_artifact(str(tmp_path / "killed"), "study")
    assert again.manifest.digest == reader.manifest.digest
