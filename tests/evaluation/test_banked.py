"""Laws of judging by a bank: what a report says of a bank written by hand, whoever made the scores."""

import dataclasses
import json

import numpy as np
import pytest
import tensorstore as ts

from jax_tda.artifacts import dense_scores
from jax_tda.artifacts.artifact import begin
from jax_tda.core.config import settings
from jax_tda.core.errors import InputError
from jax_tda.data.corpus import open_corpus
from jax_tda.evaluation import banked, counterfactual, run, summary
from jax_tda.evaluation.bootstrap import BootstrapConfig
from jax_tda.retraining import subsets
from jax_tda.retraining.bank_reader import Bank
from jax_tda.training.run import PretrainConfig
from tests.jobs import tiny_road

PASSAGES = [{"id": "long", "text": "three and four and five and six and seven"}, *tiny_road.passages(6)]
DOCUMENTS = ["long", *(f"p{n}" for n in range(6))]
QUERIES = tiny_road.queries(5)
random = np.random.default_rng(0)
TRUE = random.normal(size=(5, 7))


def members():
    """Kinds and what they leave out: document numbers."""
    none = np.zeros(0, np.int64)
    found = [subsets.Member("full", 0, none)]
    found += [subsets.Member(kind, 0, left) for kind in ("half",) for left in subsets.halves(6, 7, 0)]
    for k in (1, 2):
        left = np.arange(k)
        found += [subsets.Member("remove", 0, left, {"method": "mine", "query_id": f"q{q}", "k": k}) for q in (1, 3)]
        found += [
            subsets.Member("control", 0, np.array([4, 5, 6])[:k], {"k": k}),
            subsets.Member("control", 0, left, {"k": k}),
        ]
    found += [subsets.Member("loo", 0, np.array([n]), {"document": DOCUMENTS[n]}) for n in (1, 2, 4, 6)]
    found += [subsets.Member("repeat", 1 + n, none) for n in range(2)]
    return [*found, *(subsets.Member("reseeded", 1, found[n].left_out, {"member": n}) for n in range(1, 5))]


def log_probabilities():
    """The sum of the true scores of what is kept, and noise for another seed."""
    kept = subsets.unpacked(subsets.packed(members(), 7), 7)
    noise = np.random.default_rng(1).normal(size=(len(kept), 5)) * 0.3
    return (kept @ TRUE.T + noise * [[member.seed] for member in members()]).astype(np.float32)


def exact():
    """Every query is answered but q0; q1 no longer without two documents, q3 without any."""
    found = np.ones((len(members()), 5), np.int8)
    found[:, 0] = 0
    for row, member in zip(found, members(), strict=True):
        if member.kind == "remove":
            row[1], row[3] = member.told["k"] < 2, 0
    return found


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A corpus, queries and a bank of them."""
    place = tmp_path_factory.mktemp("world")
    corpus = tiny_road.tokenized(place, "corpus", PASSAGES, context=24)
    queries = tiny_road.tokenized(place, "queries", QUERIES, "queries")
    texts = {"corpus": corpus, "queries": queries}
    return place, texts, bank_at(place / "bank", texts)


def bank_at(place, texts):
    inputs = {name: open_corpus(path).reader for name, path in texts.items()}
    writer = begin(str(place), "bank", {"pretrain": settings(PretrainConfig())}, inputs)
    arrays = {"log_probabilities": log_probabilities(), "exact": exact(), "kept": subsets.packed(members(), 7)}
    for name, values in arrays.items():
        writer.array(name, values.shape, str(values.dtype), len(values)).write_shard(0, values)
    writer.write_lines("members.jsonl", (member.described() for member in members()))
    writer.write_lines("documents.jsonl", ({"id": name} for name in DOCUMENTS))
    writer.write_lines("query_ids.jsonl", ({"id": f"q{n}"} for n in range(5)))
    writer.finish({"kinds": {"full": 1, "half": 6}})
    return str(place)


def report(world, place, **options):
    _, texts, bank = world
    rows = [{"query_id": f"q{n}", "proponents": [{"id": "long", "score": 1.0}]} for n in range(5)]
    options = {"rankings": tiny_road.write_lines(place / "mine.jsonl", rows), "bank": bank} | options
    config = run.EvaluateConfig(**texts, over="all", bootstrap=BootstrapConfig(resamples=50), **options)
    return run.run(config, str(place / "out")).read_json("report.json")


def expected(metric, scores):
    rows, kept, log_p = members(), subsets.unpacked(subsets.packed(members(), 7), 7), log_probabilities()
    if metric == "lds_half":
        half = [n for n, member in enumerate(rows) if member.kind == "half"]
        return np.mean(counterfactual.lds(scores, kept[half], log_p[half].astype(float)))
    alone = [n for n, member in enumerate(rows) if member.kind == "loo"]
    return np.mean(counterfactual.loo(scores[:, [1, 2, 4, 6]], log_p[0].astype(float) - log_p[alone]))


def written(place, scores, form):
    """The same scores in somebody else's forms."""
    corpus_rows = np.concatenate([scores[:, :1] / 2, scores[:, :1] / 2, scores[:, 1:]], axis=1)
    ids, names = np.array(DOCUMENTS), np.array([f"q{n}" for n in range(5)])
    order, back = np.random.default_rng(2).permutation(7), np.arange(5)[::-1]
    path = place / "theirs"
    if form == "npy":
        np.save(f"{path}.npy", scores)
    elif form == "pieces":
        np.save(f"{path}.npy", corpus_rows.astype(np.float64))
    elif form == "npz":
        np.savez(f"{path}.npz", scores=scores[back][:, order], ids=ids[order], query_ids=names[back])
    elif form in ("zarr", "zarr3"):
        spec = {"driver": form, "kvstore": {"driver": "file", "path": str(path)}}
        store = ts.open(spec, create=True, dtype=ts.float64, shape=scores.shape).result()
        store.write(scores).result()
    found = [name for name in (f"{path}.npy", f"{path}.npz", str(path)) if (place / name).exists()]
    return found[0]


@pytest.mark.parametrize("form", ["npy", "pieces", "npz", "zarr", "zarr3"])
def test_scores_of_somebody_elses_making_are_judged_in_every_form(world, tmp_path, form):
    """Law: the same figures by document, by piece, under names in any order, in NumPy's files and in zarr."""
    scores = TRUE + 0.5 * np.random.default_rng(3).normal(size=TRUE.shape)
    found = report(world, tmp_path, scores=written(tmp_path, scores, form))["methods"]["theirs"]
    for metric in ("lds_half", "loo"):
        assert found[metric]["mean"] == pytest.approx(expected(metric, scores), abs=1e-6), metric
        assert found[metric]["n"] == 5


def test_the_truth_scores_one_and_its_negative_minus_one(world, tmp_path):
    """Law: the sign: a document whose presence raises log p has a positive score."""
    (tmp_path / "scores").mkdir()
    for name, sign in (("true", 1), ("false", -1)):
        np.save(tmp_path / "scores" / f"{name}.npy", sign * TRUE)
    methods = report(world, tmp_path, scores=str(tmp_path / "scores"))["methods"]
    assert methods["true"]["lds_half"]["mean"] == pytest.approx(1) and methods["true"]["loo"]["mean"] == pytest.approx(
        1
    )
    assert methods["false"]["lds_half"]["mean"] == pytest.approx(-1)


def test_a_ranking_that_lists_every_document_is_dense_and_another_is_named(world, tmp_path, capsys):
    """Law: the sum of its pieces' scores is a document's; a shorter list has no LDS, and that is said."""
    (tmp_path / "rankings").mkdir()
    rows = []
    for query in range(5):
        scored = {"long#0": TRUE[query, 0] - 1, "long#1": 1.0} | dict(zip(DOCUMENTS[1:], TRUE[query, 1:], strict=True))
        listed = [{"id": name, "score": float(score)} for name, score in scored.items()]
        rows.append({"query_id": f"q{query}", "proponents": listed[:4], "opponents": listed[4:]})
    tiny_road.write_lines(tmp_path / "rankings" / "whole.jsonl", rows)
    tiny_road.write_lines(tmp_path / "rankings" / "part.jsonl", [row | {"opponents": []} for row in rows])
    found = report(world, tmp_path, rankings=str(tmp_path / "rankings"))
    assert found["methods"]["whole"]["lds_half"]["mean"] == pytest.approx(1)
    assert "lds_half" not in found["methods"]["part"]
    assert found["bank"]["without_dense_scores"] == ["part"]
    assert "no LDS without a score of every document: part" in capsys.readouterr().out


def test_removal_is_the_rise_of_the_loss_beside_blind_ones(world, tmp_path):
    """Law: worked out from the scores that made the bank; flips are the least k that changes an exact answer."""
    found = report(world, tmp_path)
    for k in (1, 2):
        rise = np.array([TRUE[q, :k].sum() for q in (1, 3)])
        blind = np.array([(TRUE[q, 4 : 4 + k].sum() + TRUE[q, :k].sum()) / 2 for q in (1, 3)])
        curve = found["bank"]["removal"]["mine"]["curve"][str(k)]
        assert curve["rise"]["mean"] == pytest.approx(rise.mean(), abs=1e-5)
        assert curve["blind"]["mean"] == pytest.approx(blind.mean(), abs=1e-5)
        assert curve["difference"]["mean"] == pytest.approx((rise - blind).mean(), abs=1e-5)
    assert found["methods"]["mine"]["qld"]["mean"] == pytest.approx((rise - blind).mean(), abs=1e-5)
    assert found["methods"]["mine"]["qld"]["n"] == 2
    flip = found["bank"]["removal"]["mine"]
    assert flip["flip"] == {"least_k": flip["flip"]["least_k"], "never": 0} and flip["flip"]["least_k"]["mean"] == 1.5
    assert [flip["curve"][k]["flipped"]["mean"] for k in ("1", "2")] == [0.5, 1.0]
    assert [flip["curve"][k]["flipped_blind"]["mean"] for k in ("1", "2")] == [0.0, 0.0]


def test_the_ceiling_of_other_seeds_stands_beside_the_table(world, tmp_path, capsys):
    """Law: the LDS that the same members under another seed reach, and what repeats of the full run allow."""
    found = report(world, tmp_path)["bank"]["ceiling"]
    log_p, rows = log_probabilities().astype(float), members()
    again = [n for n, member in enumerate(rows) if member.kind == "reseeded"]
    expected_ceiling = np.mean(counterfactual.spearman(log_p[again].T, log_p[1:5].T))
    assert found["half_reseeded"]["mean"] == pytest.approx(expected_ceiling) and found["half_reseeded"]["members"] == 4
    assert 0 < found["half_repeats"]["mean"] < 1
    assert "ceiling of LDS half" in capsys.readouterr().out


BAD = {
    "one query too few": (TRUE[:4], "shape [4, 7]"),
    "another corpus": (TRUE[:, :6], "shape [5, 6]"),
    "one dimension": (TRUE[0], "shape [7]"),
    "texts": (TRUE.astype(str), "numbers [queries, documents]"),
    "complex": (TRUE.astype(complex), "numbers [queries, documents]"),
    "infinite": (np.where(TRUE == TRUE[2, 3], np.inf, TRUE), "are infinite"),
    "objects": (np.array([[{}] * 7] * 5, object), "holds no scores that can be judged"),
}


@pytest.mark.parametrize("case", BAD)
def test_scores_that_are_none_are_refused(world, tmp_path, case):
    """Law: four parts, before anything is judged; nothing is unpickled."""
    scores, says = BAD[case]
    np.save(tmp_path / "theirs.npy", scores, allow_pickle=True)
    with pytest.raises(InputError) as caught:
        report(world, tmp_path, scores=str(tmp_path / "theirs.npy"))
    assert says in str(caught.value) and caught.value.remedy


def test_scores_of_other_names_and_none_at_all_are_refused(world, tmp_path):
    """Law: names that are not this corpus's, an empty folder, a bank that is not there."""
    np.savez(tmp_path / "theirs.npz", scores=TRUE, ids=np.array(["a", *DOCUMENTS[1:]]))
    with pytest.raises(InputError, match="do not belong to these documents"):
        report(world, tmp_path, scores=str(tmp_path / "theirs.npz"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no scores"):
        report(world, tmp_path, scores=str(tmp_path / "empty"))
    with pytest.raises(InputError, match=r"evaluate\.scores"):
        report(world, tmp_path, scores=str(tmp_path / "theirs.npz"), bank="")


def test_a_passage_without_a_score_counts_zero_and_a_query_without_any_is_left_out(world, tmp_path, capsys):
    """Law: NaN is a passage that is not ranked; it is counted on the screen."""
    scores = TRUE.copy()
    scores[1, 2], scores[4] = np.nan, np.nan
    np.save(tmp_path / "theirs.npy", scores)
    found = report(world, tmp_path, scores=str(tmp_path / "theirs.npy"))["methods"]["theirs"]["lds_half"]
    zero = np.where(np.isnan(scores), 0, scores)[:4]
    half = [n for n, member in enumerate(members()) if member.kind == "half"]
    kept = subsets.unpacked(subsets.packed(members(), 7), 7)[half]
    assert found["n"] == 4
    assert found["mean"] == pytest.approx(np.mean(counterfactual.lds(zero, kept, log_probabilities()[half][:, :4])))
    assert "1 pairs of a query and a document have no score and count 0" in capsys.readouterr().out


def test_a_bank_of_another_corpus_or_recipe_is_refused(world, tmp_path):
    """Law: its inputs' digests are compared, and its recipe with the checkpoint's settings, by name."""
    _, texts, bank = world
    reader = Bank(dense_scores.open_artifact(bank, "bank")).reader
    inputs = {name: open_corpus(path).reader for name, path in texts.items()}
    banked.check_belongs(reader, inputs)
    with pytest.raises(InputError, match="of another corpus"):
        banked.check_belongs(reader, inputs | {"corpus": inputs["queries"]})
    changed = json.loads(json.dumps(settings(PretrainConfig(steps=7))))
    changed["optimizer"]["b2"] = 0.5
    made = dataclasses.replace(inputs["corpus"].manifest, settings=changed, inputs={})
    checkpoint = type("Checkpoint", (), {"manifest": made})()
    with pytest.raises(InputError, match="another recipe") as caught:
        banked.check_belongs(reader, inputs | {"checkpoint": checkpoint})
    assert (
        caught.value.got == "optimizer.b2: 0.98; steps: 3000" and caught.value.expected == "optimizer.b2: 0.5; steps: 7"
    )


def test_columns_of_retraining_stand_only_where_there_are_some(world, tmp_path):
    """Law: a report without a bank has the table that it had."""
    found = report(world, tmp_path)
    assert "QLD (nats)" in summary.table(found) and "LDS half" not in summary.table(found)
    (tmp_path / "plain").mkdir()
    plain = report(world, tmp_path / "plain", bank="")
    assert "QLD" not in summary.table(plain) and "bank" not in plain
    assert json.loads(json.dumps(plain)) == plain
