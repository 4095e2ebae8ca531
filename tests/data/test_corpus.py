"""Laws of reading a corpus: rows by number and by id, and batches whose weights are exactly what should be learnt."""

import json

import numpy as np
import pytest

from jax_tda.core.errors import InputError
from jax_tda.data import tokenize, train_vocabulary, vocabulary
from jax_tda.data.corpus import open_corpus

BYTES = vocabulary.ByteVocabulary()
PASSAGES = [{"id": "a", "text": "abc"}, {"id": "b", "text": "a much longer one"}, {"id": "c", "text": "é"}]
QUERIES = [
    {"id": "q", "prompt": "one and", "target": " two"},
    {"id": "r", "prompt": "", "target": "all of it"},
    {"id": "s", "prompt": "long prompt, ", "target": "x"},
]


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    place = tmp_path_factory.mktemp("corpora")
    train_vocabulary.run(train_vocabulary.TrainVocabularyConfig(kind="bytes"), str(place / "vocabulary"))
    for kind, rows in (("passages", PASSAGES), ("queries", QUERIES)):
        (place / f"{kind}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        config = tokenize.TokenizeConfig(
            source=str(place / f"{kind}.jsonl"), kind=kind, vocabulary=str(place / "vocabulary"), context=10
        )
        tokenize.run(config, str(place / kind))
    return place


@pytest.fixture(params=["passages", "queries"])
def corpus(request, stored):
    return open_corpus(str(stored / request.param))


def test_a_row_is_found_by_its_id(corpus):
    """row_of inverts ids; an unknown id has no row."""
    assert [corpus.row_of(name) for name in corpus.ids] == list(range(corpus.count))
    assert corpus.row_of("unknown") is None


def test_a_batch_spells_the_texts_of_its_rows(corpus):
    """In the order asked for, repeated rows included; beyond the rows there is only padding."""
    rows = np.array([2, 0, 2])
    batch = corpus.examples(rows, corpus.longest + 3, 5)
    assert batch["tokens"].shape == batch["loss_weights"].shape == (5, corpus.longest + 3)
    assert (batch["tokens"].dtype, batch["loss_weights"].dtype) == (np.int32, np.float32)
    assert (batch["tokens"][:3, 0] == BYTES.beginning_id).all()
    assert [BYTES.decode(tokens) for tokens in batch["tokens"][:3]] == [corpus.records[row]["text"] for row in rows]
    assert not batch["tokens"][3:].any() and not batch["loss_weights"][3:].any()


def test_weights_are_those_of_a_loop_over_tokens(corpus):
    """One for each token after the beginning (of a query: of its target alone), zero for beginning and padding."""
    batch = corpus.examples(np.arange(corpus.count), corpus.longest, corpus.count)
    for row, record in enumerate(corpus.records):
        ended = "prompt" not in record and record["id"] != "b#0"  # By the end id: the last piece of a passage.
        length = 1 + len(record["text"].encode()) + ended
        start = 1 + len(record["prompt"].encode()) if "prompt" in record else 1
        for position in range(corpus.longest):
            inside = start <= position < length
            assert batch["loss_weights"][row, position] == float(inside), (row, position)
            assert (batch["tokens"][row, position] != 0) == (position < length)


def test_the_loss_over_all_tokens_counts_the_prompt_too(stored):
    """All tokens after the beginning; for passages both are the same."""
    queries, passages = (open_corpus(str(stored / kind)) for kind in ("queries", "passages"))
    rows = np.arange(3)
    batch = queries.examples(rows, queries.longest, 4, loss="all")
    lengths = [len(record["text"].encode()) for record in queries.records]
    np.testing.assert_array_equal(batch["loss_weights"].sum(1), [*lengths, 0])
    assert not batch["loss_weights"][:, 0].any()
    for name, value in passages.examples(rows, passages.longest, 3, loss="all").items():
        np.testing.assert_array_equal(value, passages.examples(rows, passages.longest, 3)[name])


def test_an_empty_batch_is_all_padding(corpus):
    """Zero rows are no special case for the caller."""
    batch = corpus.examples(np.array([], np.int64), 4, 2)
    assert batch["tokens"].shape == (2, 4) and not batch["tokens"].any() and not batch["loss_weights"].any()


def test_a_shorter_batch_length_that_holds_its_rows_cuts_padding_alone(corpus):
    """The same tokens and weights at any length that is long enough."""
    row = np.array([int(np.argmin(corpus.spans[:, 0]))])
    length = int(corpus.spans[row[0], 0])
    short, long = corpus.examples(row, length, 1), corpus.examples(row, corpus.longest, 1)
    for name in short:
        np.testing.assert_array_equal(short[name], long[name][:, :length])
        assert not long[name][:, length:].any()


def test_no_batch_cuts_a_row(corpus):
    """A length that does not hold every row asked for is the caller's fault, and is said."""
    with pytest.raises(ValueError, match="does not fit"):
        corpus.examples(np.arange(corpus.count), corpus.longest - 1, corpus.count)


def test_what_is_no_corpus_is_refused(stored):
    """A vocabulary is an artifact of another kind."""
    with pytest.raises(InputError, match="of kind vocabulary"):
        open_corpus(str(stored / "vocabulary"))
