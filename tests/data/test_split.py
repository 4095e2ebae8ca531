"""Laws of cutting records into pieces that fit the context."""

import pytest

from jax_tda.core.errors import InputError
from jax_tda.data import vocabulary
from jax_tda.data.records import Passage, Query, Rejected
from jax_tda.data.split import doubt, pieces

BYTES = vocabulary.ByteVocabulary()
TEXT = "Ulaanbaatar is the capital of Mongolia; 日本 and 👩‍👩‍👧 are further on."


@pytest.fixture(scope="module")
def learned():
    model = vocabulary.train_sentencepiece([TEXT, "The capital of Mongolia is Ulaanbaatar."] * 10, 340)
    return vocabulary.SentencePieceVocabulary(model)


@pytest.fixture(params=["bytes", "sentencepiece"])
def vocab(request, learned):
    return BYTES if request.param == "bytes" else learned


def test_a_passage_that_fits_is_one_piece_under_its_own_id(vocab):
    """[beginning, tokens, end], with every token but the first counting."""
    ids = vocab.encode(TEXT)
    (piece,) = pieces(Passage("a", TEXT), vocab, len(ids) + 2, "refuse")
    assert piece.tokens == (vocab.beginning_id, *ids, vocab.end_id)
    assert (piece.id, piece.document, piece.loss_start, piece.text, piece.left_out) == ("a", "a", 1, TEXT, 0)


@pytest.mark.parametrize("context", [3, 4, 5, 7, 16, 31])
def test_the_pieces_of_a_split_document_make_up_the_document(vocab, context):
    """Tokens and texts joined are the document's; each piece begins with the beginning id and fits, none is empty."""
    ids = vocab.encode(TEXT * 4)
    parts = pieces(Passage("a", TEXT * 4), vocab, context, "split")
    assert [part.id for part in parts] == [f"a#{i}" for i in range(len(parts))]
    assert {part.document for part in parts} == {"a"}
    assert all(part.tokens[0] == vocab.beginning_id and 2 <= len(part.tokens) <= context for part in parts)
    joined = [token for part in parts for token in part.tokens[1:]]
    assert joined == [*ids, vocab.end_id]
    assert len(parts[-1].tokens) >= 3
    assert "".join(part.text for part in parts) == TEXT * 4


@pytest.mark.parametrize("length", range(1, 20))
def test_a_document_of_any_length_splits_without_loss(length):
    """Around every multiple of the context the tokens stay complete and the end id has a token beside it."""
    text = "abcdefghijklmnopqrstuvwxyz"[:length]
    parts = pieces(Passage("a", text), BYTES, 6, "split")
    assert [token for part in parts for token in part.tokens[1:]] == [*BYTES.encode(text), BYTES.end_id]
    assert all(3 <= len(part.tokens) <= 6 for part in parts)
    assert (len(parts) == 1) == (length + 2 <= 6)


def test_a_truncated_document_keeps_its_beginning_and_has_no_end(vocab):
    """Its first tokens fill the context, and what is lost is counted."""
    ids = vocab.encode(TEXT)
    (piece,) = pieces(Passage("a", TEXT), vocab, 9, "truncate")
    assert piece.tokens == (vocab.beginning_id, *ids[:8])
    assert piece.left_out == len(ids) - 8
    assert TEXT.startswith(piece.text)
    assert len(piece.text) < len(TEXT)


def test_a_long_document_is_refused_where_nothing_may_be_cut():
    """The error says how long it is and what the context is."""
    with pytest.raises(InputError, match=r"(?s)'a' is longer.*got: +7 tokens.*at most 6"):
        pieces(Passage("a", "abcde"), BYTES, 6, "refuse")


@pytest.mark.parametrize("on_long", ["split", "truncate", "refuse"])
def test_a_long_query_is_always_refused_even_where_bad_records_are_skipped(on_long):
    """It is an InputError but not a Rejected record."""
    assert len(pieces(Query("q", "ab", " c"), BYTES, 5, on_long)[0].tokens) == 5
    with pytest.raises(InputError, match=r"(?s)query 'q'.*5 tokens.*4") as refused:
        pieces(Query("q", "ab", " c"), BYTES, 4, on_long)
    assert not isinstance(refused.value, Rejected)


def test_a_query_is_encoded_as_one_string_and_its_target_counts(vocab):
    """Tokens are those of prompt + target; those that count spell the target."""
    query = Query("q", "The capital of Mongolia is", " Ulaanbaatar", gold=("a",))
    (piece,) = pieces(query, vocab, 80, "split")
    assert piece.tokens == (vocab.beginning_id, *vocab.encode("The capital of Mongolia is Ulaanbaatar"))
    assert vocab.decode(piece.tokens[piece.loss_start :]).strip() == "Ulaanbaatar"
    assert vocab.decode(piece.tokens[: piece.loss_start]) == "The capital of Mongolia is"


@pytest.mark.parametrize("cut", range(len("The capital of 👩‍👩‍👧日本 is x")))
def test_the_target_begins_at_the_first_piece_that_reaches_into_it(vocab, cut):
    """By trying: before the loss stands the longest run of pieces that spells whole characters of the prompt."""
    text = "The capital of 👩‍👩‍👧日本 is x"
    (piece,) = pieces(Query("q", text[:cut], text[cut:]), vocab, 200, "split")
    body = piece.tokens[1:]

    def whole_characters(count):
        # Broken characters are lost in decoding; the space before a word is too, where a text begins with it.
        joined = vocab.decode(body[:count]) + vocab.decode(body[count:])
        return joined.replace(" ", "") == text.replace(" ", "")

    runs = [n for n in range(len(body)) if whole_characters(n) and text[:cut].startswith(vocab.decode(body[:n]))]
    assert piece.loss_start == 1 + max(runs)


def test_a_piece_across_the_boundary_counts_as_target(learned):
    """'Ulaanbaatar' is one piece; a target that starts inside it counts the whole piece."""
    assert len(learned.encode("Ulaanbaatar")) == 1
    (piece,) = pieces(Query("q", "Ulaan", "baatar"), learned, 8, "split")
    assert (piece.loss_start, len(piece.tokens)) == (1, 2)


def test_what_has_no_tokens_is_rejected_with_a_reason():
    """A model that removes spaces leaves nothing of a target of spaces."""

    class Strips(vocabulary.ByteVocabulary):
        def encode_with_offsets(self, text):
            return super().encode_with_offsets(text.rstrip())

    with pytest.raises(Rejected) as rejected:
        pieces(Query("q", "a prompt", "  "), Strips(), 80, "split")
    assert rejected.value.reason == "target without tokens"
    with pytest.raises(Rejected) as rejected:
        pieces(Passage("a", "  "), Strips(), 80, "split")
    assert rejected.value.reason == "text without tokens"


def test_ids_that_a_task_made_are_used_as_they_are(learned):
    """Neither encoded again nor ended twice; splitting decodes the stretch's text."""
    ids = (300, 20, 21, learned.end_id)
    (whole,) = pieces(Passage("a", "other", tokens=ids), learned, 9, "split")
    assert whole.tokens == (learned.beginning_id, *ids)
    first, second = pieces(Passage("a", "other", tokens=tuple(BYTES.encode("abcdef"))), BYTES, 6, "split")
    assert (first.text, second.text) == ("abcde", "f")
    (query,) = pieces(Query("q", "p", "t", tokens=((5, 6), (7,))), learned, 9, "split")
    assert (query.tokens, query.loss_start) == ((learned.beginning_id, 5, 6, 7), 3)


@pytest.mark.parametrize(("context", "on_long"), [(2, "split"), (9, "cut")])
def test_impossible_settings_are_refused(context, on_long):
    """A context that holds no token, and an option that does not exist."""
    with pytest.raises(InputError, match="remedy"):
        pieces(Passage("a", "text"), BYTES, context, on_long)


def test_an_end_id_that_a_task_appends_twice_stands_once():
    """(5, 6, end, end) becomes [beginning, 5, 6, end]."""
    (piece,) = pieces(Passage("a", "x", tokens=(5, 6, BYTES.end_id, BYTES.end_id)), BYTES, 9, "split")
    assert piece.tokens == (BYTES.beginning_id, 5, 6, BYTES.end_id)


def test_a_query_whose_spaces_are_odd_is_named_with_a_reason():
    """It is used as it is; only its reason is counted."""
    assert doubt(Query("q", "It is ", " red")) == "prompt ends in a space and target begins with one"
    assert doubt(Query("q", "It is ", "red")) == "prompt ends in a space"
    assert doubt(Query("q", "It is", " ")) == "target of spaces alone"
    assert doubt(Query("q", "It is", " red")) == "" == doubt(Passage("a", " "))
    assert doubt(Query("q", "It is ", " ", tokens=((1,), (2,)))) == ""
