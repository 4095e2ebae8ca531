"""The laws of shade as a job: sums, rescore's own scores, texts, a kill, and what is refused."""

import dataclasses

import numpy as np
import pytest

from jax_tda.artifacts import ranking as rankings
from jax_tda.artifacts.artifact import open_artifact
from jax_tda.core import processes
from jax_tda.core.errors import InputError
from jax_tda.data.corpus import open_corpus
from jax_tda.encoding.directed import DirectionScorer
from jax_tda.rescoring import run as rescore
from jax_tda.rescoring import shade
from tests.jobs import tiny_road
from tests.rescoring.conftest import QUERIES

EACH = 4


@pytest.fixture(scope="module")
def shaded(trained):
    """Queries' first four passages of a foreign ranking, told apart along V; where, and by which config."""
    place, config = trained
    order = [[*range(q, 7), *range(q)] for q in range(QUERIES)]
    lines = [
        rankings.row(f"q{q}", False, [{"id": f"p{p}", "score": -float(at)} for at, p in enumerate(each)], [])
        for q, each in enumerate(order)
    ]
    asked = shade.ShadeConfig(
        corpus=config.corpus,
        queries=config.queries,
        checkpoint=config.checkpoint,
        ranking=tiny_road.write_lines(place / "some.jsonl", lines),
        passages_each=EACH,
        direction="second_moments",
        buckets=1,
    )
    shade.run(asked, str(place / "shades"))
    return place, asked


def pairs_of(place):
    return list(open_artifact(str(place), shade.KIND).read_lines("shades.jsonl"))


def test_shares_of_both_sides_add_up_to_the_score_of_rescore(trained, shaded):
    """Law: Σ read + elsewhere = Σ foretold = Σ target = score, to 1e-5 of the largest, which is what rescore finds."""
    place, config = trained
    along_v = dataclasses.replace(config, direction="second_moments", power=0.25)
    whole = rescore.run(along_v, str(place / "along_v"))
    rows = {line["id"]: row for row, line in enumerate(whole.read_lines("ids.jsonl"))}
    scores = whole.array("scores").read(0, QUERIES)
    pairs = pairs_of(place / "shades")
    assert [(pair["query_id"], pair["id"]) for pair in pairs[3:6]] == [("q0", "p3"), ("q1", "p1"), ("q1", "p2")]
    assert len(pairs) == QUERIES * EACH
    for pair in pairs:
        expected = scores[int(pair["query_id"][1:]), rows[pair["id"]]]
        sums = [pair["score"], sum(pair["read"]) + pair["elsewhere"], sum(pair["foretold"]), sum(pair["target"])]
        np.testing.assert_allclose(sums, expected, rtol=0, atol=1e-5 * np.abs(scores).max())
    assert np.abs([pair["score"] for pair in pairs]).max() > 0


def test_every_share_has_its_token_and_its_characters(shaded, tmp_path):
    """As many shares as tokens; spans spell the text, in order, a piece's own as well."""
    place, _ = shaded
    reader = open_artifact(str(place / "shades"), shade.KIND)
    passages = {line["id"]: line for line in reader.read_lines("passages.jsonl")}
    queries = {line["id"]: line for line in reader.read_lines("queries.jsonl")}
    for pair in pairs_of(place / "shades"):
        passage, query = passages[pair["id"]], queries[pair["query_id"]]
        assert len(pair["read"]) == len(pair["foretold"]) == len(passage["tokens"]) == len(passage["texts"])
        assert len(pair["target"]) == len(query["tokens"]) - query["target_start"]
    number = queries["q2"]
    assert "".join(number["texts"]) == "2 is 4" and "".join(number["texts"][number["target_start"] :]) == " 4"
    assert passages["p4"]["spans"][1:3] == [[0, 1], [1, 2]]
    assert "".join(passages["p4"]["texts"]) == "it 4 is 16"
    # Both bytes of é are that character.
    long = tiny_road.tokenized(tmp_path, "long", [{"id": "long", "text": "é is not e, and 7 is none of 49"}])
    assert shade.texts_of(open_corpus(long), 0)["texts"][1:4] == ["é", "é", " "]


def test_a_stopped_run_goes_on_and_ends_at_the_same_bytes(shaded, monkeypatch):
    """Asked to stop after its first query it keeps that query, and so it does when fewer directions fit at once."""
    place, config = shaded
    monkeypatch.setattr(processes.Stop, "asked", lambda self: True)
    with pytest.raises(processes.Stopped):
        shade.run(config, str(place / "shades_stopped"))
    monkeypatch.undo()
    calls, own = [], DirectionScorer.gradients

    def counted(self, examples):
        calls.append(len(examples["tokens"]))
        return own(self, examples)

    monkeypatch.setattr(DirectionScorer, "gradients", counted)
    shade.run(config, str(place / "shades_stopped"))
    assert len(calls) == QUERIES - 1
    for name in ("shades.jsonl", "passages.jsonl", "queries.jsonl"):
        assert (place / "shades_stopped" / name).read_bytes() == (place / "shades" / name).read_bytes()


@pytest.mark.nightly  # tests/encoding has the law of a small model.
def test_batches_and_memory_change_no_share(shaded):
    """One passage and one direction at a time, and other padding: the same to 1e-5 of the largest."""
    place, config = shaded
    other = dataclasses.replace(config, memory=2e-6, tokens_per_batch=1, buckets=2)
    shade.run(other, str(place / "shades_other"))
    one, two = pairs_of(place / "shades"), pairs_of(place / "shades_other")
    largest = max(abs(value) for pair in one for value in pair["read"] + pair["foretold"])
    for found, expected in zip(two, one, strict=True):
        for side in ("read", "foretold", "target"):
            np.testing.assert_allclose(found[side], expected[side], rtol=0, atol=1e-5 * largest)


def test_what_does_not_fit_is_refused_before_anything_is_computed(shaded, tmp_path):
    """Missing factors, by the job's own name; a ranking of nothing."""
    _, config = shaded
    with pytest.raises(InputError, match=r"shade\.factors"):
        shade.run(dataclasses.replace(config, direction="ekfac"), str(tmp_path / "a"))
    empty = [rankings.row(f"q{q}", False, [], []) for q in range(QUERIES)]
    nothing = tiny_road.write_lines(tmp_path / "nothing.jsonl", empty)
    with pytest.raises(InputError, match="has no passages"):
        shade.run(dataclasses.replace(config, ranking=nothing), str(tmp_path / "b"))
