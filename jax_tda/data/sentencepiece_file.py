"""A folder's SentencePiece tokenizer.model, and the tokenizer.json that cuts text as it does."""

import base64
import dataclasses
import importlib
import re
from typing import Any

from jax_tda.data.tokenizer_class import merges as bpe
from jax_tda.data.tokenizer_class import replace, sequence
from jax_tda.data.tokenizer_files import MODEL_FILE, Token, TokenizerFiles

_KINDS = {1: "Unigram", 2: "BPE"}
_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4
_LONGEST_PIECE = 1024
_REMEDY = (
    "take the model's own tokenizer.model; of a tiktoken file, `AutoTokenizer.from_pretrained(folder)"
    ".save_pretrained(other)` writes a tokenizer.json (with the package tiktoken installed)"
)


@dataclasses.dataclass(frozen=True)
class SentencePieceFile:
    """A SentencePiece model.

    Attributes:
      model: the parsed protocol buffer.
      kind: "BPE" or "Unigram".
    """

    model: Any
    kind: str

    @property
    def prefix(self) -> bool:
        """Whether a space is put before every text."""
        return bool(self.model.normalizer_spec.add_dummy_prefix)

    def special(self) -> dict[str, str]:
        """The tokens that the model itself names."""
        trainer = self.model.trainer_spec
        numbers = {"bos_token": trainer.bos_id, "eos_token": trainer.eos_id, "unk_token": trainer.unk_id}
        pieces = {"bos_token": trainer.bos_piece, "eos_token": trainer.eos_piece, "unk_token": trainer.unk_piece}
        usual = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
        return {key: pieces[key] or usual[key] for key, number in numbers.items() if number >= 0}

    def added(self, control_alone: bool) -> list[Token]:
        """Control pieces, and user-defined ones unless they are left out, as tokens that are looked for in a text."""
        kinds = (_CONTROL,) if control_alone else (_CONTROL, _USER_DEFINED)
        return [
            Token(piece.piece, (("normalized", False), ("special", piece.type == _CONTROL)))
            for piece in self.model.pieces
            if piece.type in kinds
        ]

    def by_order(self) -> dict[str, Any]:
        """Vocabulary and merges, a merge ranked by the id of the piece that it makes."""
        vocabulary = {piece.piece: number for number, piece in enumerate(self.model.pieces)}
        pairs = [
            (number, at, len(piece) - at, piece[:at], piece[at:])
            for piece, number in vocabulary.items()
            for at in range(1, len(piece))
            if piece[:at] in vocabulary and piece[at:] in vocabulary
        ]
        return {"vocab": vocabulary, "merges": [[left, right] for *_, left, right in sorted(pairs)]}

    def tokenizer(self, legacy: bool, renamed: dict[int, str]) -> dict[str, Any]:
        """The tokenizer.json that cuts text as SentencePiece does.

        Args:
          legacy: whether every stretch between added tokens has a prefix space, or the first alone.
          renamed: other texts of pieces, by id; one that is another piece's is left as it is.
        """
        trainer = self.model.trainer_spec
        texts = [piece.piece for piece in self.model.pieces]
        if self.kind == "BPE":
            kept = {text for number, text in enumerate(texts) if number not in renamed}
            texts = [text if renamed.get(n, text) in kept else renamed.get(n, text) for n, text in enumerate(texts)]
        whole = [text for text, piece in zip(texts, self.model.pieces, strict=True) if piece.type == _USER_DEFINED]
        return {
            "version": "1.0",
            "added_tokens": [],
            "normalizer": sequence("normalizers", *self._normalizers(legacy)),
            "pre_tokenizer": self._pre_tokenizer(legacy, whole),
            "post_processor": None,
            "decoder": sequence("decoders", *self._decoders()),
            "model": self._unigram(texts)
            if self.kind == "Unigram"
            else bpe(
                unk_token=trainer.unk_piece,
                fuse_unk=True,
                byte_fallback=trainer.byte_fallback,
                ignore_merges=bool(whole),
                vocab={text: number for number, text in enumerate(texts)},
                merges=self._by_score(texts),
            ),
        }

    def _unigram(self, texts: list[str]) -> dict[str, Any]:
        trainer = self.model.trainer_spec
        scores = [[text, piece.score] for text, piece in zip(texts, self.model.pieces, strict=True)]
        return {
            "type": "Unigram",
            "unk_id": trainer.unk_id,
            "vocab": scores,
            "byte_fallback": trainer.byte_fallback,
        }

    def _by_score(self, texts: list[str]) -> list[list[str]]:
        normal = {
            text: (-piece.score, number)
            for number, (text, piece) in enumerate(zip(texts, self.model.pieces, strict=True))
            if piece.type == _NORMAL
        }
        pairs = [
            (*rank, text[:at], text[at:])
            for text, rank in normal.items()
            for at in range(1, len(text))
            if text[:at] in normal and text[at:] in normal
        ]
        return [[left, right] for _, _, left, right in sorted(pairs)]

    def _normalizers(self, legacy: bool) -> list[dict[str, Any]]:
        spec = self.model.normalizer_spec
        stages: list[dict[str, Any]] = []
        if spec.precompiled_charsmap:
            table = base64.b64encode(spec.precompiled_charsmap).decode()
            stages.append({"type": "Precompiled", "precompiled_charsmap": table})
        if spec.remove_extra_whitespaces:
            stages += [_regex(r"\A +| +\z", ""), _regex(" {2,}", " ")]
        if spec.escape_whitespaces:
            stages.append(replace(" ", "▁"))
        if spec.add_dummy_prefix and legacy:
            # Metaspace leaves out the prefix of a text that begins with a space, SentencePiece does not.
            stages.append(_regex(r"\A▁", "▁▁"))
        return stages

    def _pre_tokenizer(self, legacy: bool, whole: list[str]) -> dict[str, Any] | None:
        stages: list[dict[str, Any]] = []
        if self.prefix:
            scheme = "always" if legacy else "first"
            stages.append({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": False})
        if whole:
            pattern = "|".join(re.escape(piece) for piece in sorted(whole, key=len, reverse=True))
            stages.append({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False})
        return sequence("pretokenizers", *stages) if stages else None

    def _decoders(self) -> list[dict[str, Any]]:
        fallback = [{"type": "ByteFallback"}] if self.model.trainer_spec.byte_fallback else []
        fused = [{"type": "Fuse"}] if self.prefix or fallback else []
        strip = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if self.prefix else []
        return [replace("▁", " "), *fallback, *fused, *strip]


def read(files: TokenizerFiles) -> SentencePieceFile:
    """The tokenizer.model of a folder.

    Raises:
      InputError: it is no SentencePiece model (a tiktoken file is named as one), or of the kinds `word` and `char`.
    """
    content = files.content(MODEL_FILE)
    protocol: Any = importlib.import_module("sentencepiece.sentencepiece_model_pb2")
    model = protocol.ModelProto()
    expected = "a SentencePiece model of the kind BPE or unigram"
    try:
        model.ParseFromString(content)
    except Exception as problem:  # protobuf's own error has no public name in every version.
        tiktoken = re.match(rb"[A-Za-z0-9+/]+=* \d+\s", content) is not None
        got = "a tiktoken file (lines of a piece in base64 and its rank)" if tiktoken else "bytes of another kind"
        raise files.refused(MODEL_FILE, "", got, expected, _REMEDY) from problem
    kind = _KINDS.get(model.trainer_spec.model_type)
    if kind is None or not model.pieces:
        got = f"kind {model.trainer_spec.model_type}, {len(model.pieces)} pieces"
        raise files.refused(MODEL_FILE, "", got, expected, _REMEDY)
    longest = max(len(piece.piece) for piece in model.pieces)
    if longest > _LONGEST_PIECE:
        got = f"a piece of {longest:,} characters"
        raise files.refused(MODEL_FILE, "", got, f"pieces of at most {_LONGEST_PIECE}", _REMEDY)
    if kind == "Unigram" and not 0 <= model.trainer_spec.unk_id < len(model.pieces):
        raise files.refused(MODEL_FILE, "unk_id", model.trainer_spec.unk_id, "a piece's number", _REMEDY)
    return SentencePieceFile(model, kind)


def _regex(pattern: str, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"Regex": pattern}, "content": content}
