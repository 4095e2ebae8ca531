"""Laws of scoring while encoding: the ranking of the stored road, also after a fault in the midst of it."""

import dataclasses

import numpy as np
import pytest

from jax_tda.artifacts import ranking
from jax_tda.artifacts.artifact import open_artifact
from jax_tda.artifacts.formats import StoreConfig
from jax_tda.attribution import estimate, fused, mix, run
from jax_tda.core.errors import InputError
from jax_tda.encoding import run as encode
from tests.attribution import stores
from tests.attribution.test_dense_and_sweep import expect_same
from tests.jobs import tiny_road

PASSAGES, QUERIES, SHARD = 21, 4, 4


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    """A tiny road, both streams encoded, a correction without norms, and the ranking of the stored road."""
    place = tmp_path_factory.mktemp("fused")
    # The last two have the same text: their scores tie.
    passages = [*tiny_road.passages(PASSAGES - 2), {"id": "a", "text": "7 is 49"}, {"id": "b", "text": "7 is 49"}]
    corpus = tiny_road.tokenized(place, "corpus", passages)
    queries = tiny_road.tokenized(place, "queries", tiny_road.queries(QUERIES), kind="queries")
    checkpoint = tiny_road.trained(place, corpus)
    config = encode.EncodeConfig(
        examples=corpus, checkpoint=checkpoint, projected_size=2, shard_rows=SHARD, tokens_per_batch=64, buckets=2
    )
    paths = {"train": str(encode.run(config, str(place / "train")))}
    paths["query"] = str(encode.run(dataclasses.replace(config, examples=queries), str(place / "query")))
    paths["answers"] = stores.write_answers(place / "answers", [f"q{n}" for n in range(QUERIES)], [True] * QUERIES)
    estimate.run(estimate.EstimateCurvatureConfig(paths["train"]), str(place / "curvature"))
    without = mix.MixCurvatureConfig(train=str(place / "curvature"), query_weight=0.0)
    paths["correction"] = str(mix.run(without, str(place / "without")))
    with_norms = dataclasses.replace(without, encodings=paths["train"])
    paths["with_norms"] = str(mix.run(with_norms, str(place / "with")))
    return paths, config


def fused_ranking(road, place, **options):
    paths, config = road
    inputs = {name: paths[name] for name in ("query", "answers")}
    fused.run(fused.ScoreCorpusConfig(**inputs, encode=config, top_k=6, queries_at_once=3, **options), str(place))
    return ranking.read(str(place / "trackstar.jsonl"))


@pytest.mark.parametrize("unit_norm", [True, False])
@pytest.mark.parametrize("corrected", [True, False])
def test_scoring_while_encoding_ranks_as_the_stored_road(road, tmp_path, corrected, unit_norm):
    """Law: the same passages in the same order, ties included, scores within 1e-5; no encoding is left behind."""
    paths, _ = road
    stored = {"correction": paths["with_norms"]} if corrected else {}
    inputs = {name: paths[name] for name in ("train", "query", "answers")}
    run.run(run.ScoreConfig(**inputs, **stored, top_k=6, unit_norm=unit_norm), str(tmp_path / "stored"))
    options = {"correction": paths["correction"]} if corrected else {}
    rows, reader = fused_ranking(road, tmp_path / "fused", unit_norm=unit_norm, **options)
    expect_same(rows, ranking.read(str(tmp_path / "stored" / "trackstar.jsonl"))[0], 1e-5)
    assert sorted(path.name for path in (tmp_path / "fused").iterdir()) == [
        "trackstar.jsonl",
        "trackstar.manifest.json",
    ]
    counted = open_artifact(paths["train"]).manifest.facts
    assert reader.manifest.facts["left_out"] == counted["left_out"] and reader.manifest.facts["examples"] == PASSAGES


def test_scoring_while_encoding_rounds_as_the_store_would(road, tmp_path):
    """Law: with a coarse format the scores are those of encodings stored in it, and not those of float32."""
    paths, config = road
    coarse = dataclasses.replace(config, store=StoreConfig("int4"))
    stored = str(encode.run(coarse, str(tmp_path / "train")))
    run.run(run.ScoreConfig(stored, paths["query"], "", paths["answers"], top_k=6), str(tmp_path / "stored"))
    expected = ranking.read(str(tmp_path / "stored" / "trackstar.jsonl"))[0]
    rows, _ = fused_ranking((paths, coarse), tmp_path / "fused")
    expect_same(rows, expected, 1e-5)
    with pytest.raises(AssertionError):
        expect_same(fused_ranking(road, tmp_path / "float32")[0], expected, 1e-5)


def test_scoring_while_encoding_goes_on_at_the_shard_in_flight_and_ends_at_the_same_bytes(road, tmp_path, monkeypatch):
    """Law: broken off after three shards and run again, only the others are encoded; the ranking is the same."""
    options = {"correction": road[0]["correction"]}
    fused_ranking(road, tmp_path / "whole", **options)
    plain, started = fused.encoding.encoded_shards, []

    def stopping(*arguments):
        for number, shard in enumerate(plain(*arguments)):
            if number == 3:
                raise RuntimeError("killed")
            yield shard

    def watched(*arguments):
        for shard in plain(*arguments):
            started.append(shard[1])
            yield shard

    monkeypatch.setattr(fused.encoding, "encoded_shards", stopping)
    with pytest.raises(RuntimeError, match="killed"):
        fused_ranking(road, tmp_path / "again", **options)
    # What a kill between the kept state and the record of its shard leaves behind is not taken for the truth.
    scratch = tmp_path / "again" / "trackstar.unfinished" / "scratch"
    (scratch / "shard_0000003.npz").write_bytes(b"of a shard that is not finished")
    monkeypatch.setattr(fused.encoding, "encoded_shards", watched)
    fused_ranking(road, tmp_path / "again", **options)
    assert started == list(range(3 * SHARD, PASSAGES, SHARD))
    files = [tmp_path / name / "trackstar.jsonl" for name in ("again", "whole")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_what_is_left_out_while_scoring_is_counted_with_its_reason(road, tmp_path, monkeypatch):
    """Law: a zero and a NaN among the encodings stand in no list and by id in the manifest."""
    plain = fused.encoding.Encoder.encode
    # The first time it checks itself.
    spoilt = iter([None, 0.0, np.nan])

    def spoiling(self, examples):
        factor = next(spoilt, None)
        found = plain(self, examples)
        if factor is None:
            return found
        return {block: np.asarray(rows) * np.where(np.arange(len(rows)) == 0, factor, 1.0)[:, None, None].astype(
            np.float32) for block, rows in found.items()}  # fmt: skip

    monkeypatch.setattr(fused.encoding.Encoder, "encode", spoiling)
    rows, reader = fused_ranking(road, tmp_path / "fused")
    facts = reader.manifest.facts
    assert facts["left_out"] == {"zero_gradient": 1, "not_finite": 1}
    left_out = {ids[0] for ids in facts["left_out_ids"].values()}
    listed = {entry["id"] for row in rows for end in ("proponents", "opponents") for entry in row[end]}
    assert len(left_out) == 2 and listed and not left_out & listed


def test_queries_of_other_settings_are_refused(road, tmp_path):
    """Law: another projection of the corpus than of the queries is refused before anything is written."""
    paths, config = road
    with pytest.raises(InputError, match="cannot be joined: they differ in projection"):
        fused_ranking((paths, dataclasses.replace(config, seed=1)), tmp_path / "fused")
    assert not (tmp_path / "fused").exists()
