"""The vocabulary inside a GGUF file, rebuilt as what it was: a byte-level tokenizer.json, or a SentencePiece model."""

import importlib
import json
from typing import Any

from jax_tda.core.errors import InputError
from jax_tda.data.tokenizer_vocabulary import TokenizerVocabulary
from jax_tda.data.vocabulary import SentencePieceVocabulary, Vocabulary

_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_MODERN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# How a text is cut before pieces are merged, by the name that GGUF gives it: single characters of a kind first, then
# a pattern.
_CUTS: dict[str, tuple[str | None, str]] = {
    "gpt-2": (None, _GPT2),
    "olmo": (None, _GPT2),
    "smollm": (r"\p{N}", _GPT2),
    "qwen2": (None, _MODERN % r"\p{N}"),
    "llama-bpe": (None, _MODERN % r"\p{N}{1,3}"),
    "dbrx": (None, _MODERN % r"\p{N}{1,3}"),
}


def read(path: str, beginning: str, end: str) -> Vocabulary:
    """The vocabulary of a GGUF file.

    Args:
      path: the file.
      beginning: the token that examples start with; empty for the file's own.
      end: the token that passages end with; empty for the file's own.

    Raises:
      InputError: the file's kind of tokenizer is not known, or a key holds what it cannot.
    """
    try:
        from gguf import GGUFReader
    except ImportError as problem:
        raise InputError(
            "the package gguf is not installed",
            got=problem,
            expected="the package that reads GGUF files",
            remedy="pip install 'jax_tda[import]'",
        ) from problem
    prefix = "tokenizer.ggml."
    held = {
        key.removeprefix(prefix): field.contents()
        for key, field in GGUFReader(path).fields.items()
        if key.startswith(prefix)
    }
    _check(path, held)
    kind, cut = held.get("model"), held.get("pre", "gpt-2")
    if kind == "llama":
        return SentencePieceVocabulary(_sentencepiece(path, held, beginning, end))
    if kind != "gpt2" or cut not in _CUTS:
        raise InputError(
            f"the tokenizer of {path} cannot be rebuilt",
            got=f"model {kind}, pre {cut}",
            expected=f"model llama, or model gpt2 with pre one of {', '.join(_CUTS)}",
            remedy="import the model's Hugging Face folder, which brings tokenizer.json",
        )
    last = _id(path, held, "eos", end)
    if last is None:
        raise InputError(
            f"the tokenizer of {path} does not say what ends a text",
            got="no tokenizer.ggml.eos_token_id",
            expected="an end token: every passage ends with it",
            remedy="name it: import_checkpoint.end_token = '…'",
        )
    first = _id(path, held, "bos", beginning)
    return TokenizerVocabulary(_byte_level(held, *_CUTS[cut]), last if first is None else first, last)


# What each key of a file's tokenizer must hold, where it is there.
_LISTS = {"tokens": str, "merges": str, "scores": float, "token_type": int}
_NUMBERS = tuple(f"{name}_token_id" for name in ("bos", "eos", "unknown", "padding"))


def _check(path: str, held: dict[str, Any]) -> None:
    """Refuses keys of another type or length, ids that no token has, and a normalisation that is not followed."""

    def refused(key: str, got: object, expected: str) -> InputError:
        return InputError(
            f"tokenizer.ggml.{key} of {path} cannot be read",
            got=got,
            expected=expected,
            remedy="convert the model to GGUF again, or import its Hugging Face folder",
        )

    kind = held.get("model")
    needed = ("tokens", *{"llama": ("scores", "token_type"), "gpt2": ("merges",)}.get(str(kind), ()))
    for key in (*needed, *(key for key in _LISTS if key in held and key not in needed)):
        given, item = held.get(key), _LISTS[key]
        kinds = (int, float) if item is float else (item,)
        if not isinstance(given, list) or not given or not all(isinstance(one, kinds) for one in given):
            raise refused(key, "none" if given is None else str(given)[:60], f"a list of {item.__name__}")
        if key in ("scores", "token_type") and len(given) != len(held["tokens"]):
            raise refused(key, f"{len(given)} values", f"one for each of {len(held['tokens'])} tokens")
    for key in _NUMBERS:
        given = held.get(key, 0)
        if not isinstance(given, int) or not 0 <= given < len(held["tokens"]):
            raise refused(key, given, f"an id below {len(held['tokens'])}")
    if any(pair.count(" ") != 1 or pair[:1] == " " or pair[-1:] == " " for pair in held.get("merges", ())):
        raise refused("merges", "a line of another form", "two pieces with a space between them")
    for key in ("precompiled_charsmap", "remove_extra_whitespaces"):
        if held.get(key):
            raise refused(key, str(held[key])[:60], "a tokenizer that leaves text as it is")


def _id(path: str, held: dict[str, Any], name: str, given: str) -> int | None:
    if given and given not in held["tokens"]:
        raise InputError(
            f"the tokenizer of {path} has no token {given!r}",
            got=given,
            expected="one of its tokens",
            remedy="change import_checkpoint.beginning_token or end_token",
        )
    number = held["tokens"].index(given) if given else held.get(f"{name}_token_id")
    return None if number is None else int(number)


def _byte_level(held: dict[str, Any], single: str | None, pattern: str) -> bytes:
    """A tokenizer.json of merges over bytes, cut as the file says."""
    tokens, kinds = held["tokens"], held.get("token_type") or [_NORMAL] * len(held["tokens"])
    cuts = [
        {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
        for regex in (single, pattern)
        if regex
    ]
    cuts.append({"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False})
    added = [
        {
            "id": number,
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": kind == _CONTROL,
        }
        for number, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
        if kind in (_CONTROL, _USER_DEFINED)
    ]
    built = {
        "version": "1.0",
        "added_tokens": added,
        "normalizer": {"type": "NFC"} if held.get("pre") == "qwen2" else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": cuts},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": held.get("pre") == "llama-bpe",
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": held["merges"],
        },
    }
    return json.dumps(built, ensure_ascii=False).encode()


def _sentencepiece(path: str, held: dict[str, Any], beginning: str, end: str) -> bytes:
    """A SentencePiece model of the file's pieces, scores and kinds, whose numbers GGUF took over from SentencePiece."""
    protocol: Any = importlib.import_module("sentencepiece.sentencepiece_model_pb2")
    model = protocol.ModelProto()
    for piece, score, kind in zip(held["tokens"], held["scores"], held["token_type"], strict=True):
        # GGUF writes a user-defined run of spaces as spaces, and SentencePiece looks for it in text whose spaces are ▁.
        text = piece.replace(" ", "▁") if int(kind) == _USER_DEFINED else piece
        model.pieces.add(piece=text, score=float(score), type=int(kind))
    trainer, normalizer = model.trainer_spec, model.normalizer_spec
    trainer.model_type = protocol.TrainerSpec.BPE
    trainer.byte_fallback = True
    trainer.vocab_size = len(held["tokens"])
    tokens = held["tokens"]
    for name, given in (("bos", beginning), ("eos", end), ("unknown", ""), ("padding", "")):
        short = {"unknown": "unk", "padding": "pad"}.get(name, name)
        found = _id(path, held, name, given)
        number = -1 if found is None else found
        setattr(trainer, f"{short}_id", int(number))
        if number >= 0:
            setattr(trainer, f"{short}_piece", tokens[number])
    normalizer.name = "identity"
    normalizer.add_dummy_prefix = bool(held.get("add_space_prefix", True))
    normalizer.remove_extra_whitespaces = False
    normalizer.escape_whitespaces = True
    serialized: bytes = model.SerializeToString()
    return serialized
