"""A bank small enough for a test: a dozen passages, a decoder of two layers, some steps."""

import dataclasses

from jax_tda.data.corpus import open_corpus
from jax_tda.retraining import bank
from jax_tda.training.run import PretrainConfig
from tests.jobs import tiny_road

PASSAGES = 12
# One passage is split, so that documents and rows are told apart.
LONG = {"id": "long", "text": "three and four and five and six and seven"}


def texts(place):
    """Paths of a corpus and of queries."""
    corpus = tiny_road.tokenized(place, "corpus", [LONG, *tiny_road.passages(PASSAGES)], context=24)
    return corpus, tiny_road.tokenized(place, "queries", tiny_road.queries(4), "queries")


def recipe(corpus, **options):
    given = {"decoder": tiny_road.DECODER, "optimizer": tiny_road.OPTIMIZER, "steps": 4, "save_every": 0}
    return PretrainConfig(corpus=corpus, tokens_per_batch=128, **(given | {"buckets": 2} | options))


def config(corpus, queries, **options):
    given = {"half": 3, "repeats": 1, "members_at_once": 1}
    return bank.BankConfig(recipe(corpus), queries, **(given | options))


def changed(made, **options):
    """The same config with another recipe."""
    return dataclasses.replace(made, pretrain=dataclasses.replace(made.pretrain, **options))


def documents(corpus):
    """Ids of the documents, in the order of the corpus."""
    return list(dict.fromkeys(open_corpus(corpus).documents))
