"""Laws of the three jobs that go from stores of encodings to a ranking."""

import json

import numpy as np
import pytest

from jax_tda import rank
from jax_tda.artifacts import ranking
from jax_tda.artifacts.artifact import open_artifact
from jax_tda.attribution import estimate, mix, run
from jax_tda.core.errors import InputError
from tests.attribution import stores

P, N, Q = 2, 23, 5
K = P * P
FLAGGED = {4: 2, 9: 1, 22: 2}  # A NaN row, a zero row, and a NaN row that ends the last shard.


def values(count, seed):
    random = np.random.default_rng(seed)
    mixing = random.normal(size=(3, K, K)) * np.logspace(0, -1.5, K)[:, None]
    return np.einsum("nbk,bkl->nbl", random.normal(size=(count, 3, K)), mixing).astype(np.float32)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Encodings of both streams, their curvature, a correction and answers; the arrays as they went in."""
    place = tmp_path_factory.mktemp("attribution")
    train, query = values(N, 1), values(Q, 2)
    train[9] = 0
    status = [FLAGGED.get(row, 0) for row in range(N)]
    paths = {
        "train": stores.write_encodings(place / "train", train.reshape(N, 3, P, P), status=status),
        "query": stores.write_encodings(place / "query", query.reshape(Q, 3, P, P), shard_rows=2),
        "answers": stores.write_answers(
            place / "answers", [f"query_{n}" for n in range(Q)], [True, False] * 2 + [True]
        ),
    }
    for stream in ("train", "query"):
        config = estimate.EstimateCurvatureConfig(encodings=paths[stream], sample_size=0, rows_at_once=3)
        estimate.run(config, str(place / f"curvature_{stream}"))
        paths[f"curvature_{stream}"] = str(place / f"curvature_{stream}")
    config = mix.MixCurvatureConfig(
        train=paths["curvature_train"],
        query=paths["curvature_query"],
        encodings=paths["train"],
        query_weight=0.3,
        damping=0.2,
    )
    mix.run(config, str(place / "correction"))
    usable = [row for row in range(N) if row not in FLAGGED]
    return paths | {"correction": str(place / "correction")}, train, query, usable


def whole(path, name):
    array = open_artifact(path).array(name)
    return array.read(0, array.shape[0])


def test_curvature_of_a_store_is_the_mean_over_its_usable_rows(made):
    """Law: rows flagged zero or not finite are left out of the sum and of N, and are counted."""
    paths, train, query, usable = made
    for stream, rows in (("train", train[usable]), ("query", query)):
        expected = sum(row[:, :, None].astype(float) * row[:, None, :] for row in rows) / len(rows)
        np.testing.assert_allclose(whole(paths[f"curvature_{stream}"], "curvature"), expected, rtol=1e-5, atol=1e-7)
    facts = open_artifact(paths["curvature_train"]).manifest.facts
    assert (facts["sample"], facts["left_out"]) == (20, 3)


def sampled(path, place, size, seed):
    """Which rows R was estimated from: row i of the store is the i-th unit vector, so that R's diagonal tells."""
    config = estimate.EstimateCurvatureConfig(encodings=path, sample_size=size, seed=seed, rows_at_once=4)
    matrix = whole(str(estimate.run(config, str(place))), "curvature")[0]
    np.testing.assert_array_equal(matrix, np.diag(np.diag(matrix)))
    found = np.flatnonzero(np.diag(matrix))
    np.testing.assert_allclose(np.diag(matrix)[found], 1 / len(found), rtol=1e-6)
    return found.tolist()


def test_the_sample_of_curvature_is_random_seeded_and_without_flagged_rows(tmp_path):
    """Law: as many rows as asked, each once, not the first ones; the same for one seed, another for another."""
    units = np.eye(25, dtype=np.float32).reshape(25, 1, 5, 5)
    status = [2 if row in (3, 11) else 0 for row in range(25)]
    path = stores.write_encodings(tmp_path / "units", units, status=status, blocks=("one",))
    first = sampled(path, tmp_path / "first", 8, seed=0)
    assert len(first) == 8 and not {3, 11} & set(first)
    assert max(first) > 12, "the first rows are no random sample"
    assert sampled(path, tmp_path / "again", 8, seed=0) == first
    assert sampled(path, tmp_path / "other", 8, seed=1) != first
    usable = [row for row in range(25) if row not in (3, 11)]
    for name, size in (("whole", 23), ("more", 1000), ("all", 0)):
        assert sampled(path, tmp_path / name, size, seed=0) == usable


def test_curvature_of_nothing_usable_is_refused_and_claims_no_place(tmp_path):
    """Law: a store of flagged rows alone says so."""
    path = stores.write_encodings(tmp_path / "flagged", np.zeros((3, 3, P, P)), status=[1, 1, 2])
    with pytest.raises(InputError, match=r"no example of .* can be used for R"):
        estimate.run(estimate.EstimateCurvatureConfig(encodings=path), str(tmp_path / "curvature"))
    assert not (tmp_path / "curvature").exists()


def test_a_correction_holds_the_root_of_the_mixture_and_the_norms_under_it(made):
    """Law: (λ R_query + (1 − λ) R_train, damped)^(-1/2) per block by eigh, and ‖R^(-1/2) g‖; NaN for flagged rows."""
    paths, train, _, usable = made
    mixed = 0.3 * whole(paths["curvature_query"], "curvature").astype(float) + 0.7 * whole(
        paths["curvature_train"], "curvature"
    ).astype(float)
    roots = [stores.inverse_root(block, 0.2) for block in mixed]
    np.testing.assert_allclose(whole(paths["correction"], "inverse_root"), roots, rtol=1e-4, atol=1e-5)
    norms = whole(paths["correction"], "norms")
    expected = [np.linalg.norm([root @ part for root, part in zip(roots, row, strict=True)]) for row in train[usable]]
    np.testing.assert_allclose(norms[usable], expected, rtol=1e-4)
    assert np.all(np.isnan(norms[list(FLAGGED)]))
    facts = open_artifact(paths["correction"]).manifest.facts
    assert (facts["query_weight"], facts["component"], facts["damping"]) == (0.3, None, 0.2)


def scored(paths, place, **options):
    config = run.ScoreConfig(
        train=paths["train"], query=paths["query"], answers=paths["answers"], queries_at_once=2, **options
    )
    run.run(config, str(place))
    rows, reader = ranking.read(str(place / f"{config.method}.jsonl"))
    return rows, reader


def expect(rows, ends):
    """A ranking's lines say what `ends` (rows and scores of both ends) says."""
    assert [row["query_id"] for row in rows] == [f"query_{n}" for n in range(Q)]
    assert [row["answered_exactly"] for row in rows] == [True, False, True, False, True]
    for name, (places, scores) in zip(("proponents", "opponents"), ends, strict=True):
        for row, expected_places, expected_scores in zip(rows, places, scores, strict=True):
            filled = [int(place) for place in expected_places if place >= 0]
            assert [entry["id"] for entry in row[name]] == [f"train_{place}" for place in filled]
            got = [entry["score"] for entry in row[name]]
            np.testing.assert_allclose(got, np.asarray(expected_scores)[: len(filled)], rtol=1e-4, atol=1e-5)


def named(rows):
    return {name: rows[:, block].reshape(len(rows), P, P) for block, name in enumerate(stores.BLOCKS)}


@pytest.mark.parametrize("top_k", [4, 100])
def test_a_ranking_from_shards_is_that_of_rank_in_memory(made, tmp_path, top_k):
    """Law: with and without a correction, streamed over shards and passes of queries, score = rank."""
    paths, train, query, _ = made
    curvature = 0.3 * whole(paths["curvature_query"], "curvature") + 0.7 * whole(paths["curvature_train"], "curvature")
    flagged = train.copy()
    flagged[[4, 22]] = np.nan
    for method, correction in (("plain", None), ("corrected", dict(zip(stores.BLOCKS, curvature, strict=True)))):
        options = {"correction": paths["correction"]} if correction else {}
        rows, reader = scored(paths, tmp_path, method=method, top_k=top_k, **options)
        expect(rows, rank(named(flagged), named(query), correction, k=top_k, damping=0.2))
        assert reader.manifest.facts["left_out"] == {"zero_gradient": 1, "not_finite": 2}
        assert reader.manifest.facts.get("query_weight") == (0.3 if correction else None)


@pytest.mark.parametrize("corrected", [True, False])
def test_without_unit_norm_a_score_is_a_plain_dot_product(made, tmp_path, corrected):
    """Law: g(t) · R^(-1) g(q), with nothing divided by a norm; flagged rows stay out."""
    paths, train, query, usable = made
    curvature = 0.3 * whole(paths["curvature_query"], "curvature") + 0.7 * whole(paths["curvature_train"], "curvature")
    scores = np.full((Q, N), np.nan)
    scores[:, usable] = stores.trackstar(train[usable], query, curvature if corrected else None, 0.2, unit_norm=False)
    best, worst = stores.ends(scores, 6)
    options = {"correction": paths["correction"]} if corrected else {}
    rows, _ = scored(paths, tmp_path, unit_norm=False, top_k=6, method="grad_dot", **options)
    expect(rows, [(e, np.take_along_axis(scores, np.array(e), 1)) for e in (best, worst)])


@pytest.mark.parametrize("corrected", [True, False])
def test_equal_passages_stand_in_corpus_order_across_shards(tmp_path, corrected):
    """Law: copies of one encoding have one score, bit for bit, in a full shard as in the shorter last one."""
    random = np.random.default_rng(0)
    kinds, count = random.normal(size=(3, 3, 20, 20)).astype(np.float32), 67
    which = random.integers(0, 3, count)
    train = stores.write_encodings(tmp_path / "train", kinds[which], shard_rows=32)
    query = stores.write_encodings(tmp_path / "query", random.normal(size=(Q, 3, 20, 20)))
    answers = stores.write_answers(tmp_path / "answers", [f"query_{n}" for n in range(Q)], [True] * Q)
    options = {}
    if corrected:
        estimate.run(estimate.EstimateCurvatureConfig(encodings=train), str(tmp_path / "curvature"))
        config = mix.MixCurvatureConfig(train=str(tmp_path / "curvature"), encodings=train, query_weight=0.0)
        options["correction"] = str(mix.run(config, str(tmp_path / "correction")))
    paths = {"train": train, "query": query, "answers": answers}
    rows, _ = scored(paths, tmp_path / "ranking", top_k=count, **options)
    for row in rows:
        for end in ("proponents", "opponents"):
            places = [int(entry["id"].removeprefix("train_")) for entry in row[end]]
            assert sorted(places) == list(range(count))
            for kind in range(3):
                copies = [n for n, place in enumerate(places) if which[place] == kind]
                assert len({row[end][n]["score"] for n in copies}) == 1
                assert [places[n] for n in copies] == np.flatnonzero(which == kind).tolist()


def test_scoring_with_lambda_by_the_rule_records_lambda_and_its_component(made, tmp_path):
    """Law: λ is read at the given component of the two stored spectra, by hand, and reaches the ranking's manifest."""
    paths, *_ = made
    config = mix.MixCurvatureConfig(
        train=paths["curvature_train"], query=paths["curvature_query"], encodings=paths["train"], component=5
    )
    mix.run(config, str(tmp_path / "correction"))
    spectra = {
        stream: sorted(np.linalg.eigvalsh(whole(paths[f"curvature_{stream}"], "curvature").astype(float)).ravel())[::-1]
        for stream in ("train", "query")
    }
    expected = spectra["train"][4] / (spectra["query"][4] + spectra["train"][4])
    _, reader = scored(paths, tmp_path, method="trackstar", correction=str(tmp_path / "correction"))
    assert reader.manifest.facts["query_weight"] == pytest.approx(expected)
    assert reader.manifest.facts["component"] == 5


@pytest.mark.parametrize("fact", ["checkpoint", "projection", "second_moments", "blocks"])
def test_encodings_that_do_not_belong_together_are_not_joined(made, tmp_path, fact):
    """Law: another checkpoint, projection, V or blocks is refused before anything is written, naming both."""
    paths, _, query, _ = made
    other = {fact: ["x", "y", "z"] if fact == "blocks" else "another"}
    stranger = stores.write_encodings(tmp_path / "query", query.reshape(Q, 3, P, P), **other)
    with pytest.raises(InputError, match=f"cannot be joined: they differ in {fact}") as caught:
        scored(paths | {"query": stranger}, tmp_path / "ranking")
    assert paths["train"] in caught.value.what and stranger in caught.value.what
    with pytest.raises(InputError, match=f"cannot be joined: they differ in {fact}"):
        mix.run(
            mix.MixCurvatureConfig(train=paths["curvature_train"], encodings=stranger, query_weight=0.0),
            str(tmp_path / "correction"),
        )
    assert not (tmp_path / "ranking").exists() and not (tmp_path / "correction").exists()


def test_norms_of_other_encodings_are_refused(made, tmp_path):
    """Law: a correction speaks of the very encodings whose norms it holds."""
    paths, train, _, _ = made
    twin = stores.write_encodings(tmp_path / "train", 2 * train.reshape(N, 3, P, P))
    with pytest.raises(InputError, match=r"norms of .* are not those of"):
        scored(paths | {"train": twin}, tmp_path / "ranking", correction=paths["correction"])


def test_answers_to_other_queries_are_refused(made, tmp_path):
    """Law: every query needs its answer."""
    paths, *_ = made
    answers = stores.write_answers(tmp_path / "answers", ["query_0", "query_2"], [True, True])
    with pytest.raises(InputError, match="are not those of the queries") as caught:
        scored(paths | {"answers": answers}, tmp_path / "ranking")
    assert "3 queries, such as 'query_1'" in caught.value.got


@pytest.mark.parametrize(("given", "parts"), [({"query_weight": 0.5}, 1), ({"component": 2}, 4)])
def test_a_mixture_says_how_far_it_is(made, tmp_path, capsys, given, parts):
    """Law: one eigendecomposition for each block; by the rule one more of R_train and two of R_query."""
    paths, *_ = made
    inputs = {"train": paths["curvature_train"], "query": paths["curvature_query"]}
    found = mix.run(mix.MixCurvatureConfig(**inputs, **given), str(tmp_path / "correction"))
    total = parts * len(found.manifest.facts["blocks"])
    assert f"mix_curvature: {total}/{total} eigendecompositions" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query_weight": 1.5}, "query_weight is not possible"),
        ({"query_weight": 0.5, "query": ""}, "query_weight is not possible"),
        ({"query_weight": -1.0, "query": ""}, "query_weight is not possible"),
        ({"query_weight": 0.3, "damping": 0.0}, None),
        ({"query_weight": 0.9, "damping": -1.0}, "damping is not possible"),
        ({"query_weight": 1.0, "damping": 0.0}, "damping is too small"),
        ({"component": 13}, "needs more queries"),
        ({"component": -1}, "component is not possible"),
    ],
)
def test_settings_of_a_mixture_that_cannot_be_are_refused(made, tmp_path, change, message):
    """Law: λ outside its range or beyond the rank, and damping 0 where the part of R that counts has a small sample.

    K = 4: the 20 usable passages are enough for damping 0, the 5 queries alone are not.
    """
    paths, *_ = made
    inputs = {"train": paths["curvature_train"], "query": paths["curvature_query"], "encodings": paths["train"]}
    place = str(tmp_path / "correction")
    if message is None:
        assert mix.run(mix.MixCurvatureConfig(**(inputs | change)), place).manifest.facts["sample"] == 20
    else:
        with pytest.raises(InputError, match=message):
            mix.run(mix.MixCurvatureConfig(**(inputs | change)), place)


def test_a_ranking_asks_for_at_least_one_place(made, tmp_path):
    """Law: top_k 0 would write empty lines."""
    with pytest.raises(InputError, match="top_k is not possible"):
        scored(made[0], tmp_path / "ranking", top_k=0)


def test_the_same_job_twice_is_one_ranking_and_other_settings_are_refused(made, tmp_path):
    """Law: a finished ranking is taken as it is; the place holds nothing else."""
    paths, *_ = made
    scored(paths, tmp_path, method="plain")
    written = (tmp_path / "plain.jsonl").read_bytes()
    scored(paths, tmp_path, method="plain")
    assert (tmp_path / "plain.jsonl").read_bytes() == written
    assert all(json.loads(line)["query_id"] for line in written.splitlines())
    with pytest.raises(InputError, match="holds something else"):
        scored(paths, tmp_path, method="plain", top_k=3)
