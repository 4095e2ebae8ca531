"""One model for all tests of rescoring that a worker runs: what they ask of it differs, and training costs time."""

import pytest

from jax_tda.rescoring import run as rescore
from tests.jobs import tiny_road

PASSAGES, QUERIES = 21, 5


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A corpus, queries and a model of three steps; where they lie, and a config of them."""
    place = tmp_path_factory.mktemp("rescore")
    corpus = tiny_road.tokenized(place, "corpus", tiny_road.passages(PASSAGES))
    queries = tiny_road.tokenized(place, "queries", tiny_road.queries(QUERIES), "queries")
    checkpoint = tiny_road.trained(place, corpus)
    return place, rescore.RescoreConfig(corpus=corpus, queries=queries, checkpoint=checkpoint, buckets=1)
