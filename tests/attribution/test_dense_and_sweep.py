"""Laws of the score of every pair, and of many settings in one pass: both are what the single road gives."""

import numpy as np
import pytest

from jax_tda.artifacts import ranking
from jax_tda.artifacts.artifact import open_artifact
from jax_tda.artifacts.encodings import EncodingStore
from jax_tda.attribution import dense, estimate, mix, run, sweep
from jax_tda.core.errors import InputError
from tests.attribution import stores

P, N, Q, SHARD = 2, 23, 5, 7
FLAGGED = {4: 2, 9: 1, 22: 2}
USABLE = [row for row in range(N) if row not in FLAGGED]


def values(count, seed):
    random = np.random.default_rng(seed)
    mixing = random.normal(size=(3, P * P, P * P)) * np.logspace(0, -1.5, P * P)[:, None]
    return np.einsum("nbk,bkl->nbl", random.normal(size=(count, 3, P * P)), mixing).astype(np.float32)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Encodings of both streams, their curvature and answers; the arrays as they went in."""
    place = tmp_path_factory.mktemp("scores")
    train, query = values(N, 1), values(Q, 2)
    train[9] = 0
    status = [FLAGGED.get(row, 0) for row in range(N)]
    paths = {
        "train": stores.write_encodings(place / "train", train.reshape(N, 3, P, P), status=status, shard_rows=SHARD),
        "query": stores.write_encodings(place / "query", query.reshape(Q, 3, P, P), shard_rows=2),
        "answers": stores.write_answers(place / "answers", [f"query_{n}" for n in range(Q)], [True] * Q),
    }
    for stream in ("train", "query"):
        config = estimate.EstimateCurvatureConfig(encodings=paths[stream], sample_size=0)
        paths[f"{stream}_curvature"] = str(estimate.run(config, str(place / f"curvature_{stream}")))
    return paths, train, query


def correction(paths, place, norms=True, **options):
    inputs = {"train": paths["train_curvature"], "query": paths["query_curvature"]}
    config = mix.MixCurvatureConfig(**inputs, encodings=paths["train"] if norms else "", **options)
    return str(mix.run(config, str(place)))


def scored(paths, place, **options):
    inputs = {name: paths[name] for name in ("train", "query", "answers")}
    run.run(run.ScoreConfig(**inputs, **options), str(place))
    return ranking.read(str(place / "trackstar.jsonl"))[0]


def expect_same(rows, others, tolerance):
    """Two rankings hold the same passages with the same scores, up to `tolerance`."""
    for row, other in zip(rows, others, strict=True):
        for end in ("proponents", "opponents"):
            assert [entry["id"] for entry in row[end]] == [entry["id"] for entry in other[end]]
            scores, wanted = ([entry["score"] for entry in line[end]] for line in (row, other))
            np.testing.assert_allclose(scores, wanted, rtol=tolerance, atol=tolerance)


def densely(paths, place, **options):
    config = dense.ScoreDenselyConfig(train=paths["train"], query=paths["query"], queries_at_once=2, **options)
    return dense.run(config, str(place))


@pytest.mark.parametrize("unit_norm", [True, False])
@pytest.mark.parametrize("corrected", [True, False])
def test_every_pair_has_its_score_and_what_is_not_ranked_has_none(made, tmp_path, corrected, unit_norm):
    """Law: scores[q, t] is TrackStar's, one pair at a time in float64; NaN where a passage is flagged."""
    paths, train, query = made
    options, mixed = {}, None
    if corrected:
        options["correction"] = correction(paths, tmp_path / "c", query_weight=0.3, damping=0.2)
        parts = [open_artifact(paths[f"{s}_curvature"]).array("curvature").read(0, 3) for s in ("query", "train")]
        mixed = 0.3 * parts[0].astype(float) + 0.7 * parts[1].astype(float)
    reader = densely(paths, tmp_path / "scores", unit_norm=unit_norm, **options)
    expected = np.full((Q, N), np.nan)
    expected[:, USABLE] = stores.trackstar(train[USABLE], query, mixed, 0.2, unit_norm)
    array = reader.array("scores")
    assert array.shape == (Q, N) and array.dtype == np.float32
    np.testing.assert_allclose(array.read(0, Q), expected, rtol=1e-4, atol=1e-5)
    for row in range(Q):
        np.testing.assert_array_equal(array.read(row, row + 1)[0], array.read(0, Q)[row])
    assert [line["id"] for line in reader.read_lines("query_ids.jsonl")] == [f"query_{n}" for n in range(Q)]
    assert [line["id"] for line in reader.read_lines("ids.jsonl")] == [f"train_{n}" for n in range(N)]


def test_the_ends_of_the_dense_scores_are_the_ranking(made, tmp_path):
    """Law: sorting a query's row gives the ranking's ids and scores, bit for bit."""
    paths, *_ = made
    scores = densely(paths, tmp_path / "scores").array("scores").read(0, Q)
    rows = scored(paths, tmp_path, top_k=6, queries_at_once=2)
    for end, places in zip(("proponents", "opponents"), stores.ends(scores, 6), strict=True):
        for number, row in enumerate(rows):
            assert [entry["id"] for entry in row[end]] == [f"train_{place}" for place in places[number]]
            assert [np.float32(entry["score"]) for entry in row[end]] == scores[number, places[number]].tolist()


def stopped(store_shards, after):
    """A store's shards, and a fault instead of the one after `after`."""

    def shards(self, *arguments, **keywords):
        for number, shard in enumerate(store_shards(self, *arguments, **keywords)):
            if number == after:
                raise RuntimeError("killed")
            yield shard

    return shards


def test_dense_scores_go_on_at_the_shard_in_flight(made, tmp_path, monkeypatch):
    """Law: a run that broke off and was repeated reads no finished shard again and ends at the same numbers."""
    paths, *_ = made
    whole = densely(paths, tmp_path / "whole").array("scores").read(0, Q)
    plain = EncodingStore.shards
    monkeypatch.setattr(EncodingStore, "shards", stopped(plain, 2))
    with pytest.raises(RuntimeError, match="killed"):
        densely(paths, tmp_path / "again")
    read = []

    def watched(self, *arguments, **keywords):
        for shard in plain(self, *arguments, **keywords):
            read.append(shard[0])
            yield shard

    monkeypatch.setattr(EncodingStore, "shards", watched)
    again = densely(paths, tmp_path / "again").array("scores").read(0, Q)
    assert read == [2 * SHARD, 3 * SHARD]
    np.testing.assert_array_equal(again, whole)


def test_a_correction_without_norms_ranks_as_one_with_them(made, tmp_path):
    """Law: norms computed while scoring are those that were stored; no encodings are needed to mix."""
    paths, *_ = made
    with_norms = correction(paths, tmp_path / "with", query_weight=0.3)
    without = correction(paths, tmp_path / "without", norms=False, query_weight=0.3)
    assert not any(name.startswith("norms") for name in open_artifact(without).manifest.files)
    expected = scored(paths, tmp_path / "a", correction=with_norms)
    expect_same(scored(paths, tmp_path / "b", correction=without), expected, 1e-6)


def swept(paths, place, **options):
    names = ("train", "query", "answers", "train_curvature", "query_curvature")
    config = sweep.ScoreSweepConfig(**{name: paths[name] for name in names} | options)
    return sweep.run(config, str(place))


def test_every_ranking_of_a_sweep_is_that_of_its_setting_alone_and_each_shard_is_read_once(made, tmp_path, monkeypatch):
    """Law: for every λ, damping, norm and k the ids of mix_curvature and score, scores within 1e-5; one pass."""
    paths, *_ = made
    read, plain = [], EncodingStore.shards

    def watched(self, *arguments, **keywords):
        for shard in plain(self, *arguments, **keywords):
            read.append(shard[0])
            yield shard

    monkeypatch.setattr(EncodingStore, "shards", watched)
    weights, dampings = (0.0, 0.4, -1.0), (0.1, 2.0)
    reader = swept(
        paths, tmp_path / "sweep", query_weights=weights, dampings=dampings, unit_norms=(True, False), top_ks=(3, 9),
        component=5, queries_at_once=3,
    )  # fmt: skip
    assert read == [0, SHARD, 2 * SHARD, 3 * SHARD]
    rankings, readers, foreign = ranking.read_all(str(tmp_path / "sweep"))
    assert len(rankings) == 24 and set(rankings) == set(readers) and not foreign
    for weight in weights:
        for damping in dampings:
            place = tmp_path / f"{weight} {damping}"
            alone = correction(paths, place / "c", query_weight=weight, damping=damping, component=5)
            for unit in (True, False):
                expected = scored(paths, place / f"{unit}", correction=alone, unit_norm=unit, top_k=9)
                shown = "rule" if weight < 0 else weight
                stem = f"trackstar@lambda={shown},damping={damping},norm={'unit' if unit else 'none'}"
                expect_same(rankings[f"{stem},k=9"], expected, 1e-5)
                cut = [row | {end: row[end][:3] for end in ("proponents", "opponents")} for row in expected]
                expect_same(rankings[f"{stem},k=3"], cut, 1e-5)
                facts = reader.manifest.facts["rankings"][f"{stem},k=3"]
                assert facts["query_weight"] == open_artifact(alone).manifest.facts["query_weight"]
                assert (facts["damping"], facts["unit_norm"], facts["top_k"]) == (damping, unit, 3)


def test_a_sweep_names_only_what_varies(made, tmp_path):
    """Law: one setting of everything is the method itself; two dampings are told apart by them alone."""
    paths, *_ = made
    assert list(swept(paths, tmp_path / "a", query_weights=(0.5,)).manifest.facts["rankings"]) == ["trackstar"]
    found = swept(paths, tmp_path / "b", query_weights=(0.5,), dampings=(0.1, 1.0), method="m").manifest.facts
    assert list(found["rankings"]) == ["m@damping=0.1", "m@damping=1.0"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query_weights": ()}, "query_weights is not possible"),
        ({"dampings": (0.1, 0.1)}, "dampings is not possible"),
        ({"query_weights": (0.5,), "query_curvature": ""}, "query_weights is not possible"),
        ({"query_weights": (-1.0, -2.0)}, "query_weights is not possible"),
        ({"top_ks": (0,)}, "top_ks is not possible"),
    ],
)
def test_a_sweep_over_nothing_or_over_the_same_twice_is_refused(made, tmp_path, change, message):
    """Law: every list has values, each once and each possible; nothing is written otherwise."""
    with pytest.raises(InputError, match=message):
        swept(made[0], tmp_path / "sweep", **{"query_weights": (0.5,)} | change)
    assert not (tmp_path / "sweep").exists()
