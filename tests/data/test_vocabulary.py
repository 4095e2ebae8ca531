"""Laws of the vocabularies."""

import json
import re

import pytest

from jax_tda.core.errors import InputError
from jax_tda.data import tokenize, train_vocabulary, vocabulary
from jax_tda.jobs import config_files, settings, table

CORPUS = ["The capital of Mongolia is Ulaanbaatar.", "Calls start with +976 or 1234.", "a\tb\nc  d", "  日本語 é"] * 20
NASTY = [
    "",
    " ",
    "   ",
    " leading",
    "trailing  ",
    "tab\tand\nline\r\nends",
    "emoji 👩‍👩‍👧 x 🇲🇳",
    "日本語と漢字",
    "e\u0301 ﬁ ﷽ Ǆ",
    "\u2028x\ufeff\u200b\u00a0",
    "nul \x00 bell \x07",
    "<s> </s> <unk> <pad> <0x41>",
    "1234567.5 +976.",
]


@pytest.fixture(scope="module", params=["bytes", "small", "large"])
def vocab(request):
    if request.param == "bytes":
        return vocabulary.ByteVocabulary()
    return vocabulary.SentencePieceVocabulary(
        vocabulary.train_sentencepiece(CORPUS, {"small": 330, "large": 5000}[request.param])
    )


@pytest.mark.parametrize("text", NASTY)
def test_decoding_the_ids_of_a_text_gives_the_text(vocab, text):
    """decode(encode(x)) = x, whatever characters the vocabulary has seen."""
    ids = vocab.encode(text)
    assert vocab.decode(ids) == text
    assert vocab.decode([vocab.beginning_id, *ids, vocab.end_id, vocab.pad_id]) == text
    assert all(0 <= token < vocab.size for token in ids)
    assert not {vocab.pad_id, vocab.beginning_id, vocab.end_id} & set(ids)


@pytest.mark.parametrize("text", NASTY)
def test_offsets_tile_the_text(vocab, text):
    """The spans of the pieces follow each other without gap or overlap, and the ids are those of encode."""
    ids, spans = vocab.encode_with_offsets(text)
    assert ids == vocab.encode(text)
    assert len(spans) == len(ids)
    assert "".join(text[start:stop] for start, stop in spans) == text
    assert [start for start, _ in spans] == sorted(start for start, _ in spans)


def test_byte_ids_are_the_bytes_plus_three():
    """An id is its UTF-8 byte plus three, and every byte has one."""
    vocab = vocabulary.ByteVocabulary()
    assert vocab.encode("aé") == [97 + 3, 0xC3 + 3, 0xA9 + 3]
    assert vocab.size == 259
    assert vocabulary.ByteVocabulary(extra_ids=5).size == 264


def test_a_vocabulary_is_read_again_from_its_files(vocab):
    """load(files) has the same ids, kind and digest."""
    again = vocabulary.load({**vocab.files(), "README": b"unrelated"})
    assert (again.kind, again.size, again.digest) == (vocab.kind, vocab.size, vocab.digest)
    assert again.encode(" Mongolia 👩") == vocab.encode(" Mongolia 👩")


def test_training_twice_gives_the_same_bytes_and_other_texts_give_others():
    """The model depends on the texts and the size alone."""
    assert vocabulary.train_sentencepiece(CORPUS, 400) == vocabulary.train_sentencepiece(iter(CORPUS), 400)
    assert vocabulary.train_sentencepiece(CORPUS, 400) != vocabulary.train_sentencepiece(CORPUS[:2] * 9, 400)


def test_the_special_ids_are_seqios():
    """Padding 0, end 1, unknown 2 and beginning 3."""
    vocab = vocabulary.SentencePieceVocabulary(vocabulary.train_sentencepiece(CORPUS, 400))
    assert (vocab.pad_id, vocab.end_id, vocab.beginning_id, vocab.size) == (0, 1, 3, 400)


def test_a_document_of_any_length_is_learned_from():
    """A text far beyond SentencePiece's own limit gives pieces as short texts of the same content do."""
    long = vocabulary.SentencePieceVocabulary(vocabulary.train_sentencepiece(["Ulaanbaatar is big. " * 3000], 300))
    unbroken = vocabulary.SentencePieceVocabulary(vocabulary.train_sentencepiece(["Ulaanbaatar" * 3000], 300))
    assert len(long.encode("Ulaanbaatar")) == 1
    assert len(unbroken.encode("Ulaanbaatar")) < 4


@pytest.mark.parametrize(("texts", "size"), [(CORPUS, 100), ([], 400), ([""], 400)])
def test_an_impossible_vocabulary_is_refused(texts, size):
    """Too small a size and empty texts are the user's to mend."""
    with pytest.raises(InputError, match="remedy"):
        vocabulary.train_sentencepiece(texts, size)


@pytest.mark.parametrize(
    "files", [{}, {"other": b""}, {"sentencepiece.model": b"garbage"}, {"sentencepiece.model": b""}]
)
def test_files_that_hold_no_vocabulary_are_refused(files):
    """Nothing is guessed from files that are not a vocabulary's."""
    with pytest.raises(InputError, match="vocabulary"):
        vocabulary.load(files)


@pytest.mark.parametrize("bad", [1, 2, 40])
def test_what_the_texts_raise_comes_out_of_the_trainer_as_it_was_raised(tmp_path, bad):
    """Law: a bad record of the first line or a later one keeps its own four parts, and the remedy is a config line."""
    rows = [json.dumps({"id": str(n), "text": text}) for n, text in enumerate(CORPUS[:50])]
    rows[bad - 1] = '{"id": "x", "text": 3}'
    (tmp_path / "corpus.jsonl").write_text("\n".join(rows))
    config = train_vocabulary.TrainVocabularyConfig(source=str(tmp_path / "corpus.jsonl"), size=330)
    with pytest.raises(InputError, match=rf"corpus\.jsonl, line {bad}: ill-typed field 'text'") as caught:
        train_vocabulary.run(config, str(tmp_path / "vocabulary"))
    assert "`train_vocabulary.on_bad_record = 'skip'`" in caught.value.remedy
    bindings = config_files.read([], re.findall("`([^`]+)`", caught.value.remedy))
    assert settings.build("train_vocabulary", bindings, table.JOBS, table.PARTS).on_bad_record == "skip"


def test_records_that_are_left_out_are_said_on_screen(tmp_path, capsys):
    """Law: the number, and the number of each reason."""
    rows = [*(json.dumps({"id": str(n), "text": text}) for n, text in enumerate(CORPUS[:50])), "{", '{"id": "0"}', "["]
    (tmp_path / "corpus.jsonl").write_text("\n".join(rows))
    source = str(tmp_path / "corpus.jsonl")
    config = train_vocabulary.TrainVocabularyConfig(source=source, size=330, on_bad_record="skip")
    train_vocabulary.run(config, str(tmp_path / "vocabulary"))
    reasons = "3 records left out: 2 broken JSON, 1 missing field 'text'"
    assert f"train_vocabulary: {reasons}" in capsys.readouterr().out
    made = {"source": source, "vocabulary": str(tmp_path / "vocabulary"), "on_bad_record": "skip"}
    tokenize.run(tokenize.TokenizeConfig(**made), str(tmp_path / "corpus"))
    assert f"tokenize: {reasons}" in capsys.readouterr().out
