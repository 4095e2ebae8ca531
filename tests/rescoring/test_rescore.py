"""The laws of rescoring as jobs: against plain gradients, finite differences, a kill, and other people's mistakes."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest

from jax_tda.artifacts import dense_scores
from jax_tda.artifacts.artifact import open_artifact
from jax_tda.attribution import rank_scores
from jax_tda.core import processes, trees
from jax_tda.core.errors import InputError
from jax_tda.data import corpus as corpora
from jax_tda.encoding.second_moments import of_checkpoint
from jax_tda.evaluation import answers
from jax_tda.models import checkpoint_artifact
from jax_tda.rescoring import directions, estimate_factors, pairs
from jax_tda.rescoring import run as rescore
from tests.encoding import naive
from tests.jobs import tiny_road
from tests.rescoring.conftest import QUERIES


@pytest.fixture(scope="module")
def made(trained):
    """The model's answers and its factors."""
    place, config = trained
    checkpoint, queries = config.checkpoint, config.queries
    answers.run(answers.AnswerConfig(queries=queries, checkpoint=checkpoint), str(place / "answers"))
    factors = estimate_factors.EstimateFactorsConfig(checkpoint=checkpoint, examples=config.corpus, tokens_per_batch=96)
    estimate_factors.run(factors, str(place / "factors"))
    return place, dataclasses.replace(config, factors=str(place / "factors"))


def scores_of(config, output):
    reader = rescore.run(config, str(output))
    return reader.array("scores").read(0, QUERIES)


def gradients(config, path, loss="target"):
    """Whole gradients of every example's loss as they are, {parameter: [N, …]}, and the model."""
    checkpoint = checkpoint_artifact.open_checkpoint(config.checkpoint)
    corpus, params = corpora.open_corpus(path), checkpoint.params()
    batch = corpus.examples(np.arange(corpus.count), 24, corpus.count, loss)
    take = naive.gradient(checkpoint.model)
    rows = [trees.flatten(take(params, t, w)) for t, w in zip(batch["tokens"], batch["loss_weights"], strict=True)]
    return {name: np.stack([np.asarray(row[name], np.float64) for row in rows]) for name in rows[0]}, params


def naive_scores(config, divided=lambda name, gradient: gradient):
    documents, _ = gradients(config, config.corpus)
    queries, _ = gradients(config, config.queries)
    scored = [m for m in estimate_factors.open_artifact(config.factors).manifest.facts["parameters"]]
    return sum(
        np.tensordot(divided(name, queries[name]), documents[name], (range(1, documents[name].ndim),) * 2)
        for name in scored
    )


def test_scores_along_the_gradient_and_along_v_are_those_of_whole_gradients(made):
    """Law: ⟨g_q, g_i⟩ and ⟨g_q / (√V̂ + ε)^(4p), g_i⟩ to 1e-5 of the largest, whatever fits into memory at once."""
    place, config = made
    plain = dataclasses.replace(config, direction="gradient")
    expected = naive_scores(config)
    found = scores_of(plain, place / "plain")
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    few = dataclasses.replace(plain, memory=2e-6)
    assert "5 queries, 1 at once" in rescore.plan(few, "out")
    np.testing.assert_allclose(scores_of(few, place / "few"), found, atol=1e-5 * np.abs(expected).max())
    moments = of_checkpoint(checkpoint_artifact.open_checkpoint(config.checkpoint), None)[1]
    for power in (0.25, 0.5):

        def divided(name, gradient, power=power):
            return gradient / (np.sqrt(moments.full(name, gradient.shape[1:])) + moments.epsilon) ** (4 * power)

        adam = dataclasses.replace(config, direction="second_moments", power=power)
        expected = naive_scores(config, divided)
        found = scores_of(adam, place / f"adam_{power}")
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_a_positive_score_makes_the_target_likelier_by_as_many_nats(made):
    """Law: log p(target) after θ − ε ∇loss_i of the scored parameters, less that after θ + ε ∇loss_i, over 2ε."""
    place, config = made
    found = scores_of(dataclasses.replace(config, direction="gradient"), place / "sign")
    documents, params = gradients(config, config.corpus)
    checkpoint = checkpoint_artifact.open_checkpoint(config.checkpoint)
    queries = corpora.open_corpus(config.queries)
    batch = queries.examples(np.arange(QUERIES), 24, QUERIES, "target")
    scored = set(open_artifact(config.factors).manifest.facts["parameters"])
    leaves = trees.flatten(params)

    def log_p(sign, document, step=2e-4):
        moved = {
            name: leaf - sign * step * documents[name][document] if name in scored else leaf
            for name, leaf in leaves.items()
        }
        tree = trees.unflatten({name: jnp.asarray(leaf, jnp.float32) for name, leaf in moved.items()})
        rows = zip(batch["tokens"], batch["loss_weights"], strict=True)
        return np.array([-float(naive.loss(checkpoint.model, tree, t, w)) for t, w in rows]) / (2 * step)

    for document in (0, 7):
        change = log_p(1, document) - log_p(-1, document)
        np.testing.assert_allclose(change, found[:, document], atol=3e-3 * np.abs(found).max())


def test_ekfac_and_kfac_divide_by_the_fisher_matrix_in_its_eigenvectors(made):
    """Law: u solves (F + λ) u = g, with F = Q (Λ or a ⊗ b) Qᵀ written out as a dense matrix, of one layer."""
    _, config = made
    factors = estimate_factors.read(config.factors, checkpoint_artifact.open_checkpoint(config.checkpoint))
    path = min(factors, key=lambda name: factors[name].measured[0].size)
    own = factors[path]
    gradient = np.random.default_rng(0).normal(size=(1, *own.measured.shape))
    for kind in ("kfac", "ekfac"):
        given = directions.Given({}, 0.0, 0.1, factors={path: own})
        found = directions.make(kind, {path: gradient}, given)[path][0]
        for layer in range(len(own.measured)):
            basis = np.kron(own.basis_in[layer], own.basis_out[layer])
            values = own.measured[layer] if kind == "ekfac" else np.outer(own.values_in[layer], own.values_out[layer])
            dense = basis @ np.diag(values.ravel()) @ basis.T + 0.1 * values.mean() * np.eye(values.size)
            np.testing.assert_allclose(dense @ found[layer].ravel(), gradient[0, layer].ravel(), atol=1e-3)
    # Both measure one thing: its trace is the mean squared gradient.
    for own in factors.values():
        assert own.measured.min() >= 0
        traces = own.values_in.sum(1) * own.values_out.sum(1) / own.measured.sum((1, 2))
        assert (traces > 0.05).all() and (traces < 20).all()


def test_candidates_alone_are_scored_and_become_a_ranking(made, monkeypatch):
    """Other pairs have no score; the ranking holds the candidates, best first, with the whole corpus's scores."""
    place, config = made
    whole = scores_of(config, place / "whole")
    ranking = rank_scores.RankScoresConfig(scores=str(place / "whole"), answers=str(place / "answers"), method="all")
    rank_scores.run(ranking, str(place / "rankings"))
    lines = [json.loads(line) for line in (place / "rankings" / "all.jsonl").read_text().splitlines()]
    # A bank's judges read them as they lie.
    (judged,) = dense_scores.read_all(str(place / "whole")).values()
    np.testing.assert_array_equal(judged.rows(np.arange(QUERIES)), whole)
    for row, line in enumerate(lines):
        order = np.argsort(-whole[row], kind="stable")
        assert [entry["id"] for entry in line["proponents"]] == [f"p{i}" for i in order]
    some = dataclasses.replace(config, candidates=str(place / "rankings" / "all.jsonl"), candidates_each=4)
    # A passage is contracted with all directions, or with its own alone.
    for gathered in (4, 0):
        monkeypatch.setattr(pairs, "GATHERED", gathered)
        found = scores_of(some, place / ("some" if gathered else "some_gathered"))
        assert (np.isfinite(found).sum(1) == 4).all()
        chosen = np.isfinite(found)
        np.testing.assert_allclose(found[chosen], whole[chosen], atol=1e-5 * np.abs(whole).max())
    again = dataclasses.replace(ranking, scores=str(place / "some"), method="first")
    rank_scores.run(again, str(place / "rankings"))
    firsts = [json.loads(line) for line in (place / "rankings" / "first.jsonl").read_text().splitlines()]
    assert [[e["id"] for e in f["proponents"]] for f in firsts] == [
        [e["id"] for e in x["proponents"][:4]] for x in lines
    ]


def test_a_stopped_run_goes_on_and_ends_at_the_same_bytes(made, monkeypatch):
    """Asked to stop after its first part it keeps that part, and computes the others alone."""
    place, config = made
    config = dataclasses.replace(config, shard_rows=8)
    expected = scores_of(config, place / "undisturbed")
    calls = []
    own = rescore.DirectionScorer.scores

    def counted(self, *given):
        calls.append(1)
        return own(self, *given)

    monkeypatch.setattr(rescore.DirectionScorer, "scores", counted)
    monkeypatch.setattr(processes.Stop, "asked", lambda self: len(calls) == 1)
    with pytest.raises(processes.Stopped):
        scores_of(config, place / "stopped")
    before = len(calls)
    monkeypatch.undo()
    monkeypatch.setattr(rescore.DirectionScorer, "scores", counted)
    # More or less memory than before changes nothing of a run that goes on.
    found = scores_of(dataclasses.replace(config, memory=2e-6), place / "stopped")
    assert before == 1 and len(calls) == 3
    assert open_artifact(str(place / "stopped")).manifest.facts["not_finite"] == 0
    assert found.tobytes() == expected.tobytes()


def test_what_does_not_fit_is_refused_before_anything_is_computed(made, tmp_path):
    """Missing factors, factors of other parameters, a ranking of another corpus, no damping."""
    _, config = made
    with pytest.raises(InputError, match="needs factors"):
        rescore.run(dataclasses.replace(config, factors=""), str(tmp_path / "a"))
    with pytest.raises(InputError, match="are of other parameters"):
        rescore.run(dataclasses.replace(config, exclude=("mlp", "norm", "embed", "head")), str(tmp_path / "b"))
    other = tiny_road.write_lines(
        tmp_path / "other.jsonl",
        [
            {"query_id": f"q{i}", "answered_exactly": False, "proponents": [{"id": "x", "score": 1.0}], "opponents": []}
            for i in range(QUERIES)
        ],
    )
    with pytest.raises(InputError, match=r"(?s)not of these queries and this corpus.*'x'"):
        rescore.run(dataclasses.replace(config, candidates=other), str(tmp_path / "c"))
    flat = np.zeros((1, 2, 2))
    singular = directions.Factors(np.eye(2)[None], np.zeros((1, 2)), np.eye(2)[None], np.zeros((1, 2)), flat)
    with pytest.raises(InputError, match="cannot be inverted"):
        directions.make("ekfac", {"w": np.ones((1, 1, 2, 2))}, directions.Given({}, 0.0, 0.0, factors={"w": singular}))


def test_factors_do_not_depend_on_batches(made):
    """The same sums in other batches, labels drawn from the model included."""
    place, config = made
    other = estimate_factors.EstimateFactorsConfig(
        checkpoint=config.checkpoint, examples=config.corpus, tokens_per_batch=24 * 5
    )
    estimate_factors.run(other, str(place / "other_factors"))
    checkpoint = checkpoint_artifact.open_checkpoint(config.checkpoint)
    one, two = (estimate_factors.read(path, checkpoint) for path in (config.factors, str(place / "other_factors")))
    for path in one:
        for side in ("in", "out"):
            pairs = [(getattr(f, f"basis_{side}"), getattr(f, f"values_{side}")) for f in (one[path], two[path])]
            dense = [np.einsum("lij,lj,lkj->lik", basis, values, basis) for basis, values in pairs]
            np.testing.assert_allclose(dense[1], dense[0], atol=1e-4 * np.abs(dense[0]).max())
