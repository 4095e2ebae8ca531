"""Law: before a query's loss stand exactly the pieces whose every byte the prompt alone decides.

What a text becomes, normalised, is the pieces' own bytes one after another. Those that prompt and prompt + target have
in common, in whole characters from the start, are the prompt's; a piece that ends beyond them is the target's.
"""

import itertools
import json
import random
import unicodedata

import pytest
import tokenizers

from jax_tda.data import vocabulary
from jax_tda.data.records import Query
from jax_tda.data.split import pieces
from jax_tda.data.tokenizer_vocabulary import TokenizerVocabulary
from tests.data import tiny_tokenizers as tiny
from tests.data.tiny_tokenizers import NASTY, SCRIPTS


def crossing(normalizer=None):
    """Bytes, with merges that begin in one character and end inside the next."""
    made = tiny.byte_level()
    state = json.loads(made.to_str())
    vocab = state["model"]["vocab"]
    for left, right in (("Ġ", "à"), ("Ġà", "¤"), ("Ġ", "1"), ("Ġ", "í"), ("Ã", "©"), ("Ġ", "Ð"), ("Ġ", "ä")):
        vocab.setdefault(left + right, len(vocab))
        state["model"]["merges"].append([left, right])
    made = tokenizers.Tokenizer.from_str(json.dumps(state))
    # One merge may cross any border of words too.
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.normalizer = normalizer
    return made


def of(made):
    return TokenizerVocabulary(made.to_str().encode(), 0, 0)


KINDS = {
    "bytes": vocabulary.ByteVocabulary,
    "byte level": lambda: of(tiny.byte_level()),
    "crossing": lambda: of(crossing()),
    "crossing, NFC": lambda: of(crossing(tokenizers.normalizers.NFC())),
    "crossing, NFKC": lambda: of(crossing(tokenizers.normalizers.NFKC())),
    "crossing, NFKD": lambda: of(crossing(tokenizers.normalizers.NFKD())),
    "byte fallback": lambda: of(tiny.metaspace()),
    "unigram, NFKC": lambda: of(tiny.unigram()),
    "word piece": lambda: of(tiny.word_piece()),
    "our SentencePiece": lambda: vocabulary.SentencePieceVocabulary(
        vocabulary.train_sentencepiece([*SCRIPTS[:8], "the end is here"] * 5, 500)
    ),
    "SentencePiece": lambda: vocabulary.SentencePieceVocabulary(tiny.sentence_pieces()),
    "SentencePiece unigram": lambda: vocabulary.SentencePieceVocabulary(tiny.sentence_pieces("unigram")),
    "SentencePiece, as it is": lambda: vocabulary.SentencePieceVocabulary(
        tiny.sentence_pieces(rule="identity", remove_extra_whitespaces=False)
    ),
}
STRIPPING = ("SentencePiece", "SentencePiece unigram")
_BYTES = {
    character: byte
    for byte, character in enumerate(
        "".join(chr(b) if 33 <= b <= 126 or 161 <= b <= 172 or 174 <= b <= 255 else "\0" for b in range(256))
    )
    if character != "\0"
}
_BYTES |= {chr(256 + place): byte for place, byte in enumerate(b for b in range(256) if b not in _BYTES.values())}


def spelled(made, kind, text):
    """The bytes of every piece."""
    if kind == "bytes":
        return [bytes([token - 3]) for token in made.encode(text)]
    if "SentencePiece" in kind:
        tokens = made._processor.encode(text, out_type=str)
    else:
        tokens = made._tokenizer.encode(text, add_special_tokens=False).tokens
    if kind.startswith(("byte level", "crossing")):
        return [bytes(_BYTES[character] for character in token) for token in tokens]
    if kind == "word piece":
        encoded = made._tokenizer.encode(text, add_special_tokens=False)
        # An unknown word is one piece that spells all of it.
        tokens = [text[slice(*span)] if t == "[UNK]" else t for t, span in zip(tokens, encoded.offsets, strict=True)]
    return [
        bytes([int(token[3:5], 16)]) if token.startswith("<0x") else token.removeprefix("##").encode()
        for token in tokens
    ]


def expected(made, kind, prompt, target):
    alone, whole = spelled(made, kind, prompt), spelled(made, kind, prompt + target)
    if kind in STRIPPING and prompt[-1:].isspace() and not target[:1].isspace() and b"".join(alone):
        # Such a model cuts the space off a prompt that stands alone; written in the prompt, it is the prompt's.
        alone = [*alone, "▁".encode()]
    if kind in ("unigram, NFKC", *STRIPPING):
        made_of = [unicodedata.normalize("NFKC", text) for text in (prompt, prompt + target)]
        first, changed = ((text.lstrip() if kind in STRIPPING else text)[:1] for text in made_of)
        if first != changed:
            return 0  # Prompt and target begin with one character that both make, and so is the space before it.
    pairs = zip(b"".join(alone).decode(), b"".join(whole).decode(), strict=False)
    common = sum(len(a.encode()) for a, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    ends = itertools.accumulate(map(len, whole))
    return sum(end <= common for end in ends)


def splits(count, seed=0):
    draw = random.Random(seed)
    source = [*SCRIPTS[:-1], NASTY.replace("<end>", "")]
    for _ in range(count):
        parts = [draw.choice(source) for _ in range(draw.randint(1, 3))]
        text = draw.choice(["", " "]).join(part[draw.randint(0, 6) : draw.randint(7, 30)] for part in parts)
        cut = draw.randint(0, len(text))
        if text:
            yield text[:cut], text[cut:]


SHARP = [
    ("It is ", "भ"), ("x ", "½"), ("x", " ½"), ("cafe", "\u0301 x"), ("\u1112", "\u1161\u11ab"),
    ("\u1112\u1161", "\u11ab"), ("👩", "\u200d👩\u200d👧"), ("a ", " b"), ("भ", "म"), ("", "भ"), ("é", "é"), ("ﬁ", "ﬁ"),
    ("ガ", "ギ"), ("カ", "\u3099"), ("n", "\u0303\u0301x"),
]  # fmt: skip


@pytest.fixture(params=KINDS, scope="module")
def made(request):
    return request.param, KINDS[request.param]()


def check(made, pairs):
    kind, vocab = made
    for prompt, target in pairs:
        ids, first = vocab.encode_query(prompt, target)
        assert ids == vocab.encode(prompt + target)
        assert first == expected(vocab, kind, prompt, target), (prompt, target)


def test_a_piece_that_the_target_changes_is_the_targets(made):
    """On cuts inside characters' compositions, runs of bytes and spaces, and on random ones."""
    check(made, [*SHARP, *splits(60)])


@pytest.mark.nightly
def test_a_piece_that_the_target_changes_is_the_targets_wherever_a_text_is_cut(made):
    """On 5,000 random cuts."""
    check(made, splits(5_000, seed=1))


def test_the_piece_that_spells_a_space_and_the_first_bytes_of_the_target_is_the_targets():
    """'Ġà¤' and 'Ń' both count for the target भ behind "It is "; before the piece was the prompt's and lost."""
    (piece,) = pieces(Query("q", "It is ", "भ"), of(crossing()), 80, "split")
    whole = of(crossing())._tokenizer
    assert [whole.id_to_token(token) for token in piece.tokens[piece.loss_start :]] == ["Ġà¤", "Ń"]
