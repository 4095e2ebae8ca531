"""metagradient as a job: a ranking of documents, made once, whatever is asked together; other queries are refused."""

import dataclasses
import json

import numpy as np
import pytest

from jax_tda.core.errors import InputError
from jax_tda.evaluation import answers
from jax_tda.retraining import metagradient
from jax_tda.training.run import PretrainConfig
from tests.jobs import tiny_road


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A corpus, queries, and the answers of a model of some steps."""
    place = tmp_path_factory.mktemp("metagradient")
    corpus = tiny_road.tokenized(place, "corpus", tiny_road.passages(6))
    queries = tiny_road.tokenized(place, "queries", tiny_road.queries(3), "queries")
    checkpoint = tiny_road.trained(place, corpus)
    answers.run(answers.AnswerConfig(queries=queries, checkpoint=checkpoint), str(place / "answers"))
    recipe = PretrainConfig(
        corpus=corpus,
        decoder=tiny_road.DECODER,
        optimizer=dataclasses.replace(tiny_road.OPTIMIZER, epsilon=1e-3),
        steps=3,
        tokens_per_batch=128,
        buckets=1,
        save_every=0,
    )
    return place, metagradient.MetagradientConfig(
        pretrain=recipe,
        queries=queries,
        answers=str(place / "answers"),
        single_documents=1,
        random_signs=1,
        weight_change=0.02,
        top_k=6,
    )


def scores(place):
    lines = [json.loads(line) for line in (place / "metagradient.jsonl").read_text().splitlines()]
    return [{entry["id"]: entry["score"] for entry in line["proponents"]} for line in lines]


@pytest.mark.nightly
def test_the_job_ranks_every_document_for_every_query_however_many_go_together(made, capsys):
    """Law: one query at a time gives the scores of three at once; memory and smoothness are said."""
    place, config = made
    metagradient.run(config, str(place / "together"))
    said = capsys.readouterr().out
    assert "GiB" in said and "3 queries by 6 documents" in said and "smooth" in said
    metagradient.run(dataclasses.replace(config, queries_at_once=1), str(place / "apart"))
    together, apart = scores(place / "together"), scores(place / "apart")
    assert [set(line) for line in together] == [{f"p{i}" for i in range(6)}] * 3
    for ours, theirs in zip(together, apart, strict=True):
        size = max(map(abs, ours.values()))
        assert size > 0
        np.testing.assert_allclose([theirs[name] for name in ours], list(ours.values()), atol=1e-4 * size)


def test_what_does_not_fit_is_refused_before_training(made, tmp_path):
    """Too little memory, with the numbers; answers of other queries."""
    place, config = made
    with pytest.raises(InputError, match=r"(?s)more memory.*metagradient.memory"):
        metagradient.run(dataclasses.replace(config, memory=1e-6), str(tmp_path / "a"))
    other = tiny_road.tokenized(place, "others", tiny_road.queries(5), "queries")
    with pytest.raises(InputError, match="are not those of the queries"):
        metagradient.run(dataclasses.replace(config, queries=other), str(tmp_path / "b"))
