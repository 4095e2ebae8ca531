"""From a run to results files, and from these to a page that says the same as the run's own."""

import dataclasses

import numpy as np
import pytest

from jax_tda.artifacts.artifact import begin, open_artifact
from jax_tda.baselines import run as baselines
from jax_tda.core.errors import InputError
from jax_tda.data.corpus import open_corpus
from jax_tda.evaluation import run as evaluation
from jax_tda.evaluation.bootstrap import BootstrapConfig
from jax_tda.rescoring import shade
from jax_tda.viewer import export_results, show_results
from jax_tda.viewer import run as viewer
from tests.jobs import tiny_road
from tests.viewer.pages import Reader

TEXTS = ("corpus", "queries", "answers")


def files(artifact):
    names = [name for name in artifact.manifest.files if name.endswith((".html", ".js"))]
    return Reader({name: artifact.read_bytes(name) for name in names})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Texts, answers and two rankings by words; the page of them."""
    place = tmp_path_factory.mktemp("run")
    tiny_road.tokenized(place, "corpus", tiny_road.passages(6))
    tiny_road.tokenized(place, "queries", tiny_road.queries(4), "queries")
    writer = begin(str(place / "model"), "checkpoint", {}, {})
    writer.finish({"vocabulary": "", "context": 99, "longest": 1})
    inputs = {"queries": open_artifact(str(place / "queries")), "checkpoint": open_artifact(str(place / "model"))}
    made = begin(str(place / "answers"), "answers", {}, inputs)
    said = {"target_log_probability": -1.0, "likeliest": " that"}
    made.write_lines("answers.jsonl", ({"query_id": f"q{i}", "answered_exactly": i < 2} | said for i in range(4)))
    made.finish({})
    for method in ("bm25", "random"):
        config = baselines.RankBaselineConfig(*(str(place / name) for name in TEXTS), method=method)
        baselines.run(config, str(place / "rankings"))
    given = {name: str(place / name) for name in ("rankings", *TEXTS)}
    evaluation.run(evaluation.EvaluateConfig(**given, bootstrap=BootstrapConfig(resamples=10)), str(place))
    return given, files(viewer.run(viewer.ShowConfig(report=str(place), **given), str(place / "page")))


def exported(run, place, form):
    config = export_results.ExportResultsConfig(**run[0], form=form)
    made = export_results.run(config, str(place / form))
    return tuple(str(made.path / name) for name in sorted(made.manifest.files))


def test_a_page_of_exported_results_says_what_the_runs_own_page_says(run, tmp_path):
    """Law: our own form loses nothing but the report."""
    written = exported(run, tmp_path, "jax_tda")
    page = files(show_results.run(show_results.ShowResultsConfig(written), str(tmp_path / "page")))
    own = run[1]
    assert page.index["overview"] is None and own.index["overview"] is not None
    assert page.index | {"overview": 0} == own.index | {"overview": 0}
    assert {name: part for name, part in page.parts.items() if name != "index"} == {
        name: part for name, part in own.parts.items() if name != "index"
    }
    assert own.index["queries"]["answer"] == [" that"] * 4 and own.index["queries"]["probability"] == [0.3679] * 4


def test_a_page_of_the_papers_form_has_the_same_passages_and_marks(run, tmp_path):
    """Law: ids, texts, scores and correctness of every proponent come through."""
    written = exported(run, tmp_path, "paper")
    assert [name.rsplit("/", 1)[1] for name in written] == ["bm25.jsonl", "random.jsonl"]
    page = files(show_results.run(show_results.ShowResultsConfig(written), str(tmp_path / "page")))
    names = [[name for name, _ in one.passages()] for one in (page, run[1])]
    for method in range(2):
        for query in range(4):
            one, other = page.line(method, query), run[1].line(method, query)
            assert [names[0][p] for p in one["p"]] == [names[1][p] for p in other["p"]] and one["s"] == other["s"]
            assert [mark == "1" for mark in one["m"]] == [mark == "1" for mark in other["m"]]
    assert dict(page.passages()).items() <= dict(run[1].passages()).items()


def test_scores_of_the_whole_corpus_become_histograms(run, tmp_path):
    """Law: equal bins from the least score to the greatest, as by hand, NaN left out; another method keeps its rows."""
    scores = np.arange(24, dtype=np.float32).reshape(4, 6) ** 2
    scores[1, 2] = np.nan
    (tmp_path / "scores").mkdir()
    np.save(tmp_path / "scores/bm25.npy", scores)
    given = run[0] | {"report": run[0]["corpus"].removesuffix("/corpus"), "scores": str(tmp_path / "scores")}
    page = files(viewer.run(viewer.ShowConfig(**given), str(tmp_path / "page")))
    for query, own in enumerate(scores):
        known = own[~np.isnan(own)]
        found = page.line(0, query)["histogram"]
        assert (found["low"], found["high"]) == (known.min(), known.max())
        width = (known.max() - known.min()) / len(found["counts"])
        by_hand = [0] * len(found["counts"])
        for value in known:
            by_hand[min(int((value - known.min()) / width), len(by_hand) - 1)] += 1
        assert found["counts"] == by_hand
    assert "histogram" not in page.line(1, 0)
    np.save(tmp_path / "scores/bm25.npy", scores[:3])
    with pytest.raises(InputError, match=r"(?s)of other queries.*3 rows.*remedy"):
        viewer.run(viewer.ShowConfig(**given), str(tmp_path / "again"))


def test_shares_by_token_become_shares_by_word(run, tmp_path):
    """Law: a passage's words add up to its shares, a target's to the sum over passages; of another ranking refused."""
    place = run[0]["corpus"].removesuffix("/corpus")
    texts = {name: open_corpus(run[0][name]) for name in ("corpus", "queries")}
    inputs = {name: of.reader for name, of in texts.items()}
    given = run[0] | {"report": place, "shades": str(tmp_path / "shades")}
    lines = {name: shade.texts_of(of, 2) for name, of in texts.items()}
    generator = np.random.default_rng(0)
    read, foretold = generator.normal(size=(2, len(lines["corpus"]["tokens"]))).tolist()
    pairs = [{"query_id": "q2", "id": "p2", "read": read, "foretold": foretold, "target": [1.5, -0.5]}] * 2
    for method in ("bm25", "other"):
        asked = {"ranking": open_artifact(run[0]["rankings"], name="bm25")} if method == "bm25" else {}
        writer = begin(
            str(tmp_path / ("shades" if asked else "strange")), "shades", {"foreign_ranking": {}}, inputs | asked
        )
        for name, rows in (("passages", [lines["corpus"]]), ("queries", [lines["queries"]]), ("shades", pairs)):
            writer.write_lines(f"{name}.jsonl", rows)
        writer.finish({})
    for side, own in (("foretold", foretold), ("read", read)):
        page = files(viewer.run(viewer.ShowConfig(**given, shaded_by=side), str(tmp_path / side)))
        line = page.line(0, 2)
        (shares,) = (one for one in line["p_shares"] if one)
        text = texts["corpus"].records[2]["text"]
        assert (
            [text[start:stop] for start, stop, _ in shares if stop > start] == text.split() == ["itit", "2", "is", "4"]
        )
        np.testing.assert_allclose(sum(share for *_, share in shares), sum(own), atol=1e-5)
        # One byte for each character, the beginning before them.
        at = text.index("is") + 1
        np.testing.assert_allclose(
            dict((s, v) for s, e, v in shares if e > s)[at - 1], own[at] + own[at + 1], atol=1e-5
        )
        # " 4" begins with a space, which is of no word.
        assert line["shares"] == [[4, 4, 3.0], [5, 6, -1.0]]
        assert "p_shares" not in page.line(1, 2)
    with pytest.raises(InputError, match=r"(?s)of no ranking that is shown.*remedy"):
        viewer.run(viewer.ShowConfig(**given | {"shades": str(tmp_path / "strange")}), str(tmp_path / "refused"))


def test_a_missing_file_and_no_file_are_refused(tmp_path):
    """Law: before anything is written, by name."""
    config = show_results.ShowResultsConfig((str(tmp_path / "gone.jsonl"),))
    with pytest.raises(InputError, match=r"(?s)no results file .*gone.jsonl.*remedy"):
        show_results.run(config, str(tmp_path / "page"))
    with pytest.raises(InputError, match=r"show_results\.files"):
        show_results.run(dataclasses.replace(config, files=()), str(tmp_path / "page"))
    assert not (tmp_path / "page").exists()
