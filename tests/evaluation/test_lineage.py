"""A ranking is judged and shown with what it was made of, by digest and not by ids; anything else is refused."""

import os
import shutil

import pytest

from jax_tda.artifacts import ranking
from jax_tda.artifacts.artifact import begin, open_artifact
from jax_tda.baselines import run as baselines
from jax_tda.core.errors import InputError
from jax_tda.evaluation import belonging, run
from jax_tda.evaluation.bootstrap import BootstrapConfig
from jax_tda.viewer import run as viewer
from tests.jobs import tiny_road

TEXTS = ("corpus", "queries", "answers")


def stub(place, name, kind, settings, **inputs):
    """An artifact that is what its inputs and settings make it."""
    writer = begin(str(place / name), kind, settings, {n: open_artifact(str(path)) for n, path in inputs.items()})
    return str(writer.finish({"vocabulary": "", "context": 99, "longest": 1}).path)


def answered(place, name, seed=0):
    made = begin(
        str(place / name), "answers", {"seed": seed},
        {"queries": open_artifact(str(place / "queries")), "checkpoint": open_artifact(str(place / f"model_{seed}"))},
    )  # fmt: skip
    said = {"target_log_probability": -1.0, "likeliest": "that"}
    made.write_lines("answers.jsonl", ({"query_id": f"q{i}", "answered_exactly": i < 2} | said for i in range(4)))
    made.finish({})


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    """Texts, answers, a ranking of them by words, and beside each another of the same ids."""
    place = tmp_path_factory.mktemp("lineage")
    passages, queries = tiny_road.passages(6), tiny_road.queries(4)
    tiny_road.tokenized(place, "corpus", passages)
    tiny_road.tokenized(place, "other_corpus", [row | {"text": f"another {row['text']}"} for row in passages])
    tiny_road.tokenized(place, "queries", queries, "queries")
    tiny_road.tokenized(place, "other_queries", [row | {"gold": ["p0"]} for row in queries], "queries")
    for seed in (0, 1):
        stub(place, f"model_{seed}", "checkpoint", {"seed": seed})
    answered(place, "answers")
    answered(place, "other_answers", seed=1)
    config = baselines.RankBaselineConfig(*(str(place / name) for name in TEXTS), method="bm25")
    baselines.run(config, str(place / "rankings"))
    return place


def judge(road, out, **changes):
    given = {name: str(road / name) for name in ("rankings", *TEXTS)} | changes
    return run.run(run.EvaluateConfig(**given, bootstrap=BootstrapConfig(resamples=10)), str(out))


def show(road, report, out, **changes):
    given = {name: str(road / name) for name in ("rankings", *TEXTS)} | changes
    return viewer.run(viewer.ShowConfig(report=str(report), **given), str(out))


def test_what_a_ranking_was_made_of_is_judged_and_shown_and_nothing_is_said(road, tmp_path, capsys):
    """Law: equal digests pass."""
    assert judge(road, tmp_path).read_json("report.json")["not_compared"] == {}
    show(road, tmp_path, tmp_path / "page")
    assert "is not known" not in capsys.readouterr().out


@pytest.mark.parametrize("name", TEXTS)
def test_the_same_ids_with_other_contents_are_refused_with_both_digests(road, tmp_path, name):
    """Law: other texts, other gold, answers of another model; each by name."""
    given, other = (open_artifact(str(road / found)).manifest.digest[:12] for found in (name, f"other_{name}"))
    said = rf"(?s)was not made with the {name} .*other_{name}.*{given}.*expected: .*{other}.*remedy"
    with pytest.raises(InputError, match=said):
        judge(road, tmp_path, **{name: str(road / f"other_{name}")})
    judge(road, tmp_path)
    with pytest.raises(InputError, match=rf"(?s)is of another {name}.*{other}.*{given}.*remedy"):
        show(road, tmp_path, tmp_path / "page", **{name: str(road / f"other_{name}")})


def test_answers_of_another_checkpoint_than_tail_patch_are_refused(road):
    """Law: what lies behind a ranking's inputs is known from its own manifest, wherever the rest has gone."""
    _, readers, _ = ranking.read_all(str(road / "rankings"))
    other = open_artifact(str(road / "model_1"))
    with pytest.raises(InputError, match=r"(?s)bm25 was not made with the checkpoint.*remedy"):
        belonging.compare(readers, {}, {"checkpoint": other})
    belonging.compare(readers, {}, {"checkpoint": open_artifact(str(road / "model_0"))})


def test_a_ranking_without_a_manifest_is_judged_and_this_is_said(road, tmp_path, capsys):
    """Law: on the screen and in the report."""
    shutil.copy(road / "rankings" / "bm25.jsonl", tmp_path / "theirs.jsonl")
    report = judge(road, tmp_path / "out", rankings=str(tmp_path / "theirs.jsonl"))
    assert report.read_json("report.json")["not_compared"] == {"theirs": "it has no manifest"}
    assert "whether the ranking theirs was made of these texts is not known" in capsys.readouterr().out


def test_a_ranking_made_anew_since_the_report_is_refused(road, tmp_path):
    """Law: the page shows what was judged."""
    judge(road, tmp_path)
    config = baselines.RankBaselineConfig(*(str(road / name) for name in TEXTS), method="bm25", top_k=2)
    baselines.run(config, str(tmp_path / "again"))
    with pytest.raises(InputError, match=r"(?s)is of another ranking bm25.*remedy"):
        show(road, tmp_path, tmp_path / "page", rankings=str(tmp_path / "again"))


def test_a_ranking_whose_name_is_no_text_is_refused(tmp_path):
    """Law: in four parts, before anything is written."""
    (tmp_path / os.fsdecode(b"bad\xff.jsonl")).write_text('{"query_id": "q", "proponents": []}\n')
    with pytest.raises(InputError, match=r"(?s)no UTF-8.*bad.*remedy: +rename"):
        ranking.read_all(str(tmp_path))
