"""Tokenizers of the kinds that foreign models bring, trained in a moment on a text with everything in it."""

import io
import json

import sentencepiece
import tokenizers

NASTY = (
    "  Leading  spaces,\ttabs\n\n\nand lines. 1234567 ½ 3.14! it's I'LL don't—«naïve» 東京都 한국어 👩‍👩‍👧 🇲🇳 "
    "<end> ﬁ e\u0301 \u00a0x\r\n z "
)
SPECIAL = ["<end>", "<begin>"]


def byte_level(single_digits=False):
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    cut = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    digits = tokenizers.pre_tokenizers.Digits(individual_digits=True)
    made.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([digits, cut]) if single_digits else cut
    made.decoder = tokenizers.decoders.ByteLevel()
    # This one cuts the space off a piece's characters, and adds special tokens, unless it is told not to.
    made.post_processor = tokenizers.processors.ByteLevel(trim_offsets=True)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=330, special_tokens=SPECIAL, initial_alphabet=alphabet)
    made.train_from_iterator([NASTY, "the end is here, it is 1234 in 東京"] * 3, trainer)
    made.enable_truncation(5)
    made.enable_padding(length=7)
    return made


def metaspace():
    made = tokenizers.Tokenizer(tokenizers.models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    made.normalizer = tokenizers.normalizers.Sequence(
        [tokenizers.normalizers.Prepend("▁"), tokenizers.normalizers.Replace(" ", "▁")]
    )
    decoders = tokenizers.decoders
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=60, special_tokens=["<unk>", *SPECIAL])
    made.train_from_iterator(["the end is here", "spaces and lines"] * 3, trainer)
    # The bytes that spell what has no piece are pieces, not special tokens.
    state = json.loads(made.to_str())
    pieces = state["model"]["vocab"]
    pieces |= {f"<0x{byte:02X}>": len(pieces) + byte for byte in range(256)}
    made = tokenizers.Tokenizer.from_str(json.dumps(state))
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="<begin> $A <end>", special_tokens=[(token, made.token_to_id(token)) for token in ("<begin>", "<end>")]
    )
    return made


MAKERS = {"byte level": byte_level, "single digits": lambda: byte_level(True), "byte fallback": metaspace}

# A dozen scripts, characters of several bytes, compositions, and what normalisers change.
SCRIPTS = (
    "It is the end; naïve café, ﬁne.",
    "Это конец, ёлка и й.",
    "Ελληνικά: ΑΒΓ ς άέ",
    "यह हिन्दी है भम",
    "هذا نص عربي",
    "זה טקסט עברי",
    "นี่คือภาษาไทย",
    "这是中文，東京都。",
    "日本語のテキスト ガギ",
    "한국어 \u1112\u1161\u11ab",
    "ይህ አማርኛ ነው",
    "இது தமிழ்",
    "ეს ქართულია",
    "½ ① ｆｕｌｌ e\u0301 n\u0303 1234 3.14 👩‍👩‍👧 🇲🇳",
    "  two  spaces \n\n and\tlines ",
    "<end>the<begin> <end> is|im_start|<|im_start|>user",
)


def word_piece(lower=True):
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]"))
    made.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=lower)
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    made.decoder = tokenizers.decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *SPECIAL]
    trainer = tokenizers.trainers.WordPieceTrainer(vocab_size=700, special_tokens=special)
    made.train_from_iterator([*SCRIPTS[:13], "the End is Here", NASTY] * 2, trainer)
    ids = [(token, made.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    made.post_processor = tokenizers.processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ids)
    return made


def unigram():
    pieces = [("<unk>", 0.0), ("<begin>", 0.0), ("<end>", 0.0)]
    pieces += [(f"<0x{byte:02X}>", -20.0) for byte in range(256)]
    pieces += [
        (piece, -float(2 + rank % 7)) for rank, piece in enumerate(["▁the", "▁", "t", "h", "e", "▁1", "1", "⁄", "2"])
    ]
    pieces += [("▁यह", -4.0), ("东", -5.0), ("é", -3.0), ("▁e", -3.5), ("en", -3.0), ("d", -4.0)]
    made = tokenizers.Tokenizer(tokenizers.models.Unigram(pieces, 0, byte_fallback=True))
    made.normalizer = tokenizers.normalizers.NFKC()
    made.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    decoders = tokenizers.decoders
    made.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    made.add_special_tokens(SPECIAL)
    return made


def sentence_pieces(kind="bpe", rule="nmt_nfkc", **more):
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*SCRIPTS[:3], "the end is here, x ½ and 1/2 it is café", *SCRIPTS[7:9]] * 3),
        model_writer=written,
        vocab_size=420,
        hard_vocab_limit=False,
        model_type=kind,
        byte_fallback=True,
        normalization_rule_name=rule,
        minloglevel=2,
        **more,
    )
    return written.getvalue()
