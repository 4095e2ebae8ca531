"""Tokenizers of the kinds that foreign models bring, trained in a moment on a text with everything in it."""

import json

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
