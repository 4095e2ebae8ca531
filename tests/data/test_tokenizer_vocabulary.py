"""Laws of vocabularies that come with foreign models: transformers' ids, our offsets, and ids that fit the model."""

import io
import itertools
import json

import gguf
import pytest
import sentencepiece
import transformers

from jax_tda.core.errors import InputError
from jax_tda.data import foreign_vocabulary, vocabulary
from jax_tda.data.tokenizer_vocabulary import TokenizerVocabulary
from tests.data.tiny_tokenizers import MAKERS, NASTY, SPECIAL, byte_level


@pytest.fixture(params=MAKERS, scope="module")
def folder(request, tmp_path_factory):
    """A folder as transformers saves it, with a config.json that says nothing."""
    place = tmp_path_factory.mktemp("tokenizer")
    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_object=MAKERS[request.param](), bos_token="<begin>", eos_token="<end>"
    )
    theirs.save_pretrained(place)
    (place / "config.json").write_text("{}")
    return place


def test_a_nasty_text_has_the_ids_of_transformers(folder):
    """Spaces, tabs, digits, CJK, emoji, a special token in the text; nothing added, cut or padded."""
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    ours = foreign_vocabulary.read(str(folder), "", "", 1000)
    for text in (NASTY, " the", "the", "", "1234"):
        assert ours.encode(text) == theirs(text, add_special_tokens=False)["input_ids"]
    assert (ours.beginning_id, ours.end_id) == (theirs.bos_token_id, theirs.eos_token_id)


def test_offsets_cut_the_text_into_the_pieces_own_characters(folder):
    """Spans follow each other without gap or overlap, and a piece with a width decodes to its characters."""
    ours = foreign_vocabulary.read(str(folder), "", "", 1000)
    text = " the 東京 end 👩‍👩‍👧 is 1234"
    ids, spans = ours.encode_with_offsets(text)
    assert len(ids) == len(spans)
    assert "".join(text[start:stop] for start, stop in spans) == text
    assert all(start <= stop <= following for (start, stop), (following, _) in itertools.pairwise(spans))
    assert ours.decode([ours.beginning_id, *ids, ours.end_id]).strip() == text.strip()


def test_a_stored_vocabulary_comes_back_the_same(folder):
    """load ∘ files = identity, in ids, size and digest."""
    ours = foreign_vocabulary.read(str(folder), "", "", 1000)
    again = vocabulary.load(ours.files())
    assert again.encode(NASTY) == ours.encode(NASTY) and again.digest == ours.digest
    assert (again.size, again.beginning_id, again.end_id) == (ours.size, ours.beginning_id, ours.end_id)


def test_a_model_without_a_beginning_token_begins_with_its_end_token(folder, tmp_path):
    """As Qwen's and GPT-2's texts do; config.json's ids stand in for names, the first of several."""
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    (tmp_path / "config.json").write_text(json.dumps({"eos_token_id": [1, 0]}))
    made = foreign_vocabulary.read(str(tmp_path), "", "", 1000)
    assert (made.beginning_id, made.end_id) == (1, 1)
    named = foreign_vocabulary.read(str(tmp_path), "<begin>", "<end>", 1000)
    assert named.beginning_id != named.end_id and named.decode([named.beginning_id]) == ""


def test_a_tokenizer_that_does_not_belong_is_refused(folder, tmp_path):
    """Too many ids, no file, no JSON, no end, an unknown name: each said in words."""
    size = foreign_vocabulary.read(str(folder), "", "", 1000).size
    with pytest.raises(InputError, match=rf"ids up to {size - 1}[\s\S]*below {size - 1}"):
        foreign_vocabulary.read(str(folder), "", "", size - 1)
    with pytest.raises(InputError, match=r"tokenizer\.json is missing"):
        foreign_vocabulary.read(str(tmp_path), "", "", 1000)
    with pytest.raises(InputError, match="no special token 'end'"):
        foreign_vocabulary.read(str(folder), "", "end", 1000)
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    with pytest.raises(InputError, match=r"does not say what ends a text[\s\S]*end_token"):
        foreign_vocabulary.read(str(tmp_path), "", "", 1000)
    with pytest.raises(InputError, match=r"not a tokenizer\.json"):
        TokenizerVocabulary(b"{}", 0, 0)
    with pytest.raises(InputError, match="end id does not belong"):
        TokenizerVocabulary((folder / "tokenizer.json").read_bytes(), 0, 5000)


def gguf_of(path, model, pre, tokens, kinds, **more):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model(model)
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    for name, value in more.items():
        getattr(writer, f"add_{name}")(value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return str(path)


@pytest.mark.parametrize("pre", ["gpt-2", "smollm"])
def test_a_byte_level_tokenizer_in_a_gguf_file_has_the_ids_it_was_made_with(pre, tmp_path):
    """Tokens, merges and the name of the cut are all that such a file keeps."""
    original = byte_level(pre == "smollm")
    original.no_truncation()
    original.no_padding()
    merges = json.loads(original.to_str())["model"]["merges"]
    tokens = [original.id_to_token(number) for number in range(original.get_vocab_size())]
    kinds = [3 if token in SPECIAL else 1 for token in tokens]
    path = gguf_of(
        tmp_path / "model.gguf",
        "gpt2",
        pre,
        tokens,
        kinds,
        token_merges=[" ".join(pair) for pair in merges],
        bos_token_id=tokens.index("<begin>"),
        eos_token_id=tokens.index("<end>"),
    )
    made = foreign_vocabulary.read(path, "", "", 1000)
    assert made.encode(NASTY) == original.encode(NASTY, add_special_tokens=False).ids
    assert (made.beginning_id, made.end_id) == (tokens.index("<begin>"), tokens.index("<end>"))


def with_runs_of_spaces():
    """A SentencePiece model as Gemma's: runs of spaces, and a tag, that are pieces before any merge."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([NASTY, "the end is here"] * 3),
        model_writer=written,
        vocab_size=365,
        hard_vocab_limit=False,
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        user_defined_symbols=["▁▁", "▁▁▁", "<b>"],
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=3,
        minloglevel=2,
    )
    return written.getvalue()


@pytest.mark.parametrize("runs", [False, True], ids=["plain", "user-defined runs of spaces"])
def test_a_sentencepiece_model_in_a_gguf_file_has_the_ids_it_was_made_with(runs, tmp_path):
    """Pieces, scores and kinds are all that such a file keeps; its converter writes user-defined pieces with spaces."""
    original = sentencepiece.SentencePieceProcessor()
    original.load_from_serialized_proto(
        with_runs_of_spaces() if runs else vocabulary.train_sentencepiece([NASTY, "the end is here"] * 3, 360)
    )
    numbers = range(original.get_piece_size())
    pieces = [original.id_to_piece(number) for number in numbers]
    user_defined = {"▁▁", "▁▁▁", "<b>"} if runs else set()

    def kind(number):
        found = {original.is_unknown: 2, original.is_control: 3, original.is_unused: 5, original.is_byte: 6}
        usual = next((code for asks, code in found.items() if asks(number)), 1)
        return 4 if pieces[number] in user_defined else usual

    path = gguf_of(
        tmp_path / "model.gguf",
        "llama",
        "default",
        [piece.replace("▁", " ") if piece in user_defined else piece for piece in pieces],
        [kind(number) for number in numbers],
        token_scores=[original.get_score(number) for number in numbers],
        bos_token_id=3,
        eos_token_id=1,
        unk_token_id=2,
        pad_token_id=0,
        add_space_prefix=True,
    )
    made = foreign_vocabulary.read(path, "", "", 1000)
    text = NASTY + "  two   three <b>bold"
    assert made.encode(text) == original.encode(text) and len(set(made.encode(text))) > 40
    assert not runs or {pieces.index(piece) for piece in user_defined} <= set(made.encode(text))
    assert (made.beginning_id, made.end_id, made.size) == (3, 1, original.get_piece_size())


def test_a_gguf_file_with_an_unknown_cut_is_refused(tmp_path):
    """A wrong cut gives other ids, silently."""
    path = gguf_of(tmp_path / "model.gguf", "gpt2", "tekken", ["a"], [1], token_merges=["a a"])
    with pytest.raises(InputError, match=r"pre tekken[\s\S]*smollm"):
        foreign_vocabulary.read(path, "", "", 1000)


@pytest.mark.parametrize(
    ("model", "changes", "words"),
    [
        ("llama", {"beginning": "<none>"}, "has no token '<none>'"),
        ("gpt2", {"beginning": "<none>"}, "has no token '<none>'"),
        ("llama", {"token_scores": None}, r"tokenizer\.ggml\.scores"),
        ("llama", {"kinds": [1]}, "one for each of 2 tokens"),
        ("gpt2", {"token_merges": None}, r"tokenizer\.ggml\.merges"),
        ("gpt2", {"token_merges": ["ab"]}, "two pieces with a space"),
        ("gpt2", {"eos_token_id": 7}, "an id below 2"),
        ("llama", {"remove_extra_whitespaces": True}, "leaves text as it is"),
    ],
)
def test_a_gguf_tokenizer_that_cannot_be_meant_is_refused_by_its_key(model, changes, words, tmp_path):
    """Four parts, no traceback."""
    usual = {"llama": {"token_scores": [0.0, 0.0]}, "gpt2": {"token_merges": ["a b"]}}[model] | {"eos_token_id": 1}
    given = {**usual, **changes}
    beginning, kinds = given.pop("beginning", ""), given.pop("kinds", [1, 3])
    more = {name: value for name, value in given.items() if value is not None}
    path = gguf_of(tmp_path / "model.gguf", model, "gpt-2", ["a", "b"], kinds, **more)
    with pytest.raises(InputError, match=words):
        foreign_vocabulary.read(path, beginning, "", 1000)
