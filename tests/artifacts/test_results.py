"""Results files of both forms say what they were given, and a line that is not one is refused with its place."""

import copy
import json

import pytest
from etils import epath

from jax_tda.artifacts import paper_results, results
from jax_tda.artifacts.method_words import MethodWords
from jax_tda.core.errors import InputError
from jax_tda.viewer import show_results

# As the authors' page describes a record; the values are made up.
RELEASED = {
    "example_id": "trex-1",
    "query_set": "trex",
    "inputs_plaintext": "Lima is the capital of",
    "targets_plaintext": "Peru",
    "proponents": ["Lima is in Peru.", "Oslo."],
    "proponent_ids": ["s1", "s2"],
    "proponent_scores": [0.5, 0.25],
    "proponent_correct": [True, False],
    "proponent_ais_scores": [0.91, 0.02],
    "opponents": ["Cuzco."],
    "opponent_ids": ["s3"],
    "opponent_scores": [-0.5],
    "fact_id": "f1",
    "relation": "capital of",
    "8b_generations": ["Peru", "Chile"],
    "8b_confidence": 0.5,
    "c4_frequency": 12,
    "c4_frequency_bucket": 2,
    "is_8b_correct": True,
}


def lines(place, *rows):
    place.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(place)


def everything():
    """Two methods, one of them without opponents and scores; a passage without fields, a query without gold."""
    found = results.Results()
    found.queries = {
        "p": {"id": "p", "prompt": "Lima is in", "target": " Peru", "gold": ["a"], "weak": ["b"], "size": 3},
        "q": {"id": "q", "prompt": "日本は", "target": "東京", "tags": ["x", "y"]},
    }
    found.passages = {"a": {"text": "Lima \ud800 <b>", "source": "atlas"}, "b": {"text": ""}}
    shares = [[0, 4, 0.25]]
    bins = {"low": -1, "high": 1.5, "counts": [3, 0]}
    found.rankings = {
        "mine": [
            {
                "query_id": "p",
                "proponents": [{"id": "a", "score": 1.5, "correct": True, "note": "AIS 1", "shares": shares}],
                "opponents": [{"id": "b", "score": -2.0}],
                "histogram": bins,
                "shares": shares,
            },
            {"query_id": "q", "proponents": []},
        ],
        "other": [{"query_id": "q", "proponents": [{"id": "b"}, {"id": "gone"}]}],
    }
    found.words = {"mine": MethodWords("Mine", "how", 3, ("other",), "what", "nats"), "other": MethodWords()}
    found.answers = {"p": {"likeliest": " Chile", "probability": 0.25, "answered_exactly": False}}
    return found


def test_what_is_written_in_our_form_is_read_as_it_was(tmp_path):
    """Law: reading undoes writing, for every field there is."""
    given = everything()
    file = tmp_path / "results.jsonl"
    read = show_results.read((lines(file, *results.write(copy.deepcopy(given))),))
    assert read == given
    assert list(results.write(read)) == list(results.write(given))


def test_a_record_as_the_authors_describe_it_is_read(tmp_path):
    """Law: texts, ids, scores, correctness, AIS scores, opponents and further fields each come to their place."""
    read = show_results.read((lines(tmp_path / "trackstar.jsonl", RELEASED),))
    query = read.queries["trex-1"]
    assert (query["prompt"], query["target"]) == ("Lima is the capital of", " Peru")
    assert query["8b_generations"] == ["Peru", "Chile"] and query["c4_frequency_bucket"] == 2
    assert "proponents" not in query and "opponent_ids" not in query
    (row,) = read.rankings["trackstar"]
    assert row["proponents"] == [
        {"id": "s1", "score": 0.5, "correct": True, "note": "AIS 0.91"},
        {"id": "s2", "score": 0.25, "correct": False, "note": "AIS 0.02"},
    ]
    assert row["opponents"] == [{"id": "s3", "score": -0.5}] and row["answered_exactly"] is True
    assert read.passages["s3"] == {"text": "Cuzco."}


def test_the_authors_record_is_written_as_it_was_read(tmp_path):
    """Law: every field comes back, but for AIS scores, which are a judgement and no ranking."""
    read = show_results.read((lines(tmp_path / "trackstar.jsonl", RELEASED),))
    (line,) = paper_results.write(read, "trackstar")
    left_out = {"proponent_ais_scores"}
    assert line == {name: value for name, value in RELEASED.items() if name not in left_out} | {"query_set": "trex"}


def test_files_of_both_forms_stand_side_by_side(tmp_path):
    """Law: their queries and passages are joined by id, their methods kept apart."""
    ours = everything()
    ours.queries["trex-1"] = {"id": "trex-1", "prompt": RELEASED["inputs_plaintext"], "target": " Peru"}
    files = (
        lines(tmp_path / "trackstar.jsonl", RELEASED),
        lines(tmp_path / "ours.jsonl", *results.write(ours)),
        lines(tmp_path / "bm25.jsonl", RELEASED | {"proponent_scores": [9, 8]}),
    )
    read = show_results.read(files)
    assert list(read.rankings) == ["trackstar", "mine", "other", "bm25"] and set(read.queries) == {"trex-1", "p", "q"}


def changed(line, **changes):
    return {**copy.deepcopy(line), **changes}


@pytest.mark.parametrize(
    "at, change, said",
    [
        (0, {"version": 2}, "version 2"),
        (0, {"methods": [{"label": "no name"}]}, "no text 'name'"),
        (1, {"passage": {"id": "a", "text": 5}}, "neither text nor null"),
        (1, {"passage": "a"}, "'passage' is no object"),
        (2, {"nothing": 1}, "neither a passage nor a query"),
        (3, {"query": {"id": "p", "prompt": "Lima"}}, "no text 'target'"),
        (3, {"rankings": {"unknown": {"proponents": []}}}, "which the first line does not name"),
        (3, {"rankings": {"mine": {"proponents": [{"id": "a", "score": float("nan")}]}}}, "finite"),
        (3, {"rankings": {"mine": {"proponents": [{"id": "a"}, {"id": "a"}]}}}, "twice"),
        (3, {"rankings": {"mine": {"proponents": [{"id": "a", "shares": [[0, 1]]}]}}}, "shares"),
        (3, {"rankings": {"mine": {"proponents": [], "histogram": {"low": 0, "high": 1, "counts": []}}}}, "histogram"),
        (3, {"query": {"id": "q", "prompt": "日本は", "target": "東京"}}, "again"),
    ],
)
def test_a_line_that_is_none_is_refused_with_its_place(tmp_path, at, change, said):
    """Law: file, line and what is wrong."""
    written = [copy.deepcopy(line) for line in results.write(everything())]
    written[at] = change if at in (1, 2) else written[at] | change
    with pytest.raises(InputError, match=rf"(?s)line \d+ of .*results.jsonl.*{said}.*remedy"):
        show_results.read((lines(tmp_path / "results.jsonl", *written),))


@pytest.mark.parametrize(
    "change, said",
    [
        ({"proponent_ids": ["s1"]}, "proponent_ids with 1 entries"),
        ({"proponent_scores": [0.5, None]}, "entry 1 of proponents"),
        ({"targets_plaintext": None}, "targets_plaintext"),
        ({"opponents": "none"}, "opponents with no entries"),
    ],
)
def test_a_record_of_the_paper_that_is_none_is_refused(tmp_path, change, said):
    """Law: likewise."""
    with pytest.raises(InputError, match=rf"(?s)line 1 of .*{said}.*remedy"):
        show_results.read((lines(tmp_path / "x.jsonl", changed(RELEASED, **change)),))


def test_contradictions_between_files_and_other_files_are_refused(tmp_path):
    """Law: one query has one prompt, one passage one text, one method one file; a bare ranking names the right job."""
    first = lines(tmp_path / "a.jsonl", RELEASED)
    for name, change, said in (
        ("b", {"inputs_plaintext": "Cuzco is the capital of"}, "another prompt"),
        ("c", {"proponents": ["Lima is in Chile.", "Oslo."]}, "another text of the passage 's1'"),
    ):
        with pytest.raises(InputError, match=said):
            show_results.read((first, lines(tmp_path / f"{name}.jsonl", changed(RELEASED, **change))))
    with pytest.raises(InputError, match=r"(?s)no results file.*jax-tda show"):
        show_results.read((lines(tmp_path / "d.jsonl", {"query_id": "q", "proponents": []}),))
    again = (
        lines(tmp_path / "e.jsonl", *results.write(everything())),
        lines(tmp_path / "f.jsonl", *results.write(everything())),
    )
    with pytest.raises(InputError, match="the method 'mine', which another file has too"):
        show_results.read(again)


def test_what_their_viewer_cannot_show_is_not_written(tmp_path):
    """Law: a ranking without scores or texts is refused by name."""
    with pytest.raises(InputError, match=r"(?s)2 passages of the query 'q' without score or text.*remedy"):
        list(paper_results.write(everything(), "other"))
    assert epath.Path(tmp_path).exists()
