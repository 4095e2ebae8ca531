"""Fifty thousand examples go through encode, curvature and score without an object for each."""

import tracemalloc
import types

import numpy as np
import pytest

from benchmarks import scale
from jax_tda.artifacts import ranking
from jax_tda.artifacts.encodings import open_encodings
from jax_tda.artifacts.lines import Names
from jax_tda.data.corpus import open_corpus

COUNT = 50_000
# A record as a dictionary takes about 500 bytes, an id in a list about 70; what does not grow, some megabytes.
BYTES_PER_EXAMPLE, BYTES_BESIDE = 48, 10 << 20


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A corpus, queries, and what else the jobs ask for."""
    found = str(tmp_path_factory.mktemp("scale"))
    scale.corpus(found, types.SimpleNamespace(examples=COUNT))
    return found


def test_examples_take_the_memory_of_numbers_not_of_objects(place, monkeypatch):
    """Law: the jobs' peak grows by less than 48 bytes an example; and what they make is right, row by row."""
    from jax_tda.encoding import run

    monkeypatch.setattr(run, "make_encoder", run.make_encoder)  # What the program puts in its place goes again.
    tracemalloc.start()
    try:
        for phase in ("encode", "curvature", "score", "look_up"):
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            scale.PHASES[phase](place, types.SimpleNamespace(examples=COUNT))
            assert tracemalloc.get_traced_memory()[1] - before < BYTES_PER_EXAMPLE * COUNT + BYTES_BESIDE, phase
    finally:
        tracemalloc.stop()
    corpus, store = open_corpus(f"{place}/corpus"), open_encodings(f"{place}/train")
    assert isinstance(corpus.ids, Names) and isinstance(store.ids, Names) and len(store.ids) == COUNT
    rows = np.array([0, 8_191, 8_192, 43_210, COUNT - 1])
    assert [store.ids[row] for row in rows] == [f"passages {row}" for row in rows]
    alone = scale.StandIn().encode(corpus.examples(rows, 6, len(rows)))["all"]
    np.testing.assert_array_equal(store.read_rows(rows)[:, 0], alone.reshape(len(rows), -1))
    best = ranking.read(f"{place}/rankings/trackstar.jsonl")[0][0]["proponents"][0]
    values = store.read(0, COUNT)[:, 0]
    asked = open_encodings(f"{place}/query").read(0, 1)[0, 0]
    cosine = values @ asked / np.linalg.norm(values, axis=1) / np.linalg.norm(asked)
    np.testing.assert_allclose(best["score"], cosine.max(), rtol=1e-5)
    np.testing.assert_allclose(cosine[int(best["id"].split()[1])], cosine.max(), rtol=1e-5)
