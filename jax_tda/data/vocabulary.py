"""Text to token ids and back without TensorFlow: SentencePiece models and plain bytes, with seqio's own ids."""

import abc
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

import sentencepiece

from jax_tda.core.errors import InputError

_MODEL_FILE = "sentencepiece.model"
_BYTES_FILE = "bytes.json"
# The SentencePiece trainer silently drops a longer line, so training text is cut before that, in characters.
_LINE_CHARACTERS = 2_000


class Vocabulary(abc.ABC):
    """What turns text into token ids; id 0 is padding in every vocabulary."""

    kind: str
    size: int
    beginning_id: int
    end_id: int
    pad_id = 0

    def encode(self, text: str) -> list[int]:
        """The ids of the text's pieces, without beginning or end ids."""
        return self.encode_with_offsets(text)[0]

    @abc.abstractmethod
    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """The ids of the text's pieces, and for each the characters of `text` that it spells, as (start, stop).

        Where several pieces spell one character in bytes, they all start at it and only the last has a width.
        """

    def encode_query(self, prompt: str, target: str) -> tuple[list[int], int]:
        """The ids of prompt + target as ONE text, and the position of the first that is the target's.

        A piece is the target's if any byte that it spells depends on the target: also one that begins in the prompt,
        one that ends inside the target's first character, and one of a character that both make together (e + ◌́).
        """
        text = prompt + target
        ids, reaches = self.encode_with_reaches(text)
        boundary = self._boundary(prompt, text)
        counted = (start >= boundary or stop > boundary for start, stop in reaches)
        return ids, next((position for position, mine in enumerate(counted) if mine), len(ids))

    def encode_with_reaches(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """The ids of the text's pieces, and for each every character that it spells a part of, as (start, stop)."""
        ids, spans = self.encode_with_offsets(text)
        return ids, [(start, max(stop, start + 1)) for start, stop in spans]

    def _boundary(self, prompt: str, text: str) -> int:
        """Where the target begins; earlier where a character of the prompt is made into one with the target's first."""
        return len(prompt)

    @abc.abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """The text of the ids; padding, beginning and end ids have none."""

    @abc.abstractmethod
    def files(self) -> dict[str, bytes]:
        """Name and content of what must be stored so that `load` gives this vocabulary again."""

    @property
    def digest(self) -> str:
        """SHA-256 of the stored files, in hexadecimal."""
        total = hashlib.sha256()
        for name, content in sorted(self.files().items()):
            total.update(f"{name}\0{len(content)}\0".encode())
            total.update(content)
        return total.hexdigest()


class SentencePieceVocabulary(Vocabulary):
    """A SentencePiece model.

    A model without a beginning id starts every example with its end id, as GPT-2 does.

    Args:
      model: the serialized model, the content of a `.model` file.

    Raises:
      InputError: if the bytes are not a model, or the model has no end id.
    """

    kind = "sentencepiece"

    def __init__(self, model: bytes):
        self._model = model
        try:
            self._processor = sentencepiece.SentencePieceProcessor()
            self._processor.load_from_serialized_proto(model)
            self.size = self._processor.get_piece_size()
        except (RuntimeError, TypeError) as problem:
            raise InputError(
                "the vocabulary is not a SentencePiece model",
                got=f"{len(model)} bytes ({problem})",
                expected="the content of a .model file written by SentencePiece",
                remedy="give the path of the .model file, or train one with jobs.train_vocabulary",
            ) from problem
        self.end_id = self._processor.eos_id()
        if self.end_id < 0:
            raise InputError(
                "the SentencePiece model has no end-of-sequence id",
                got="eos_id = -1",
                expected="a model with an end-of-sequence id: every passage ends with it",
                remedy="train the model with --eos_id, or use another",
            )
        beginning = self._processor.bos_id()
        self.beginning_id = beginning if beginning >= 0 else self.end_id

    def encode(self, text: str) -> list[int]:
        """The ids of the text's pieces, without beginning or end ids."""
        return self._processor.encode(text)

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """The ids and their characters; the space that the model itself puts before the text has no width."""
        mapping = self._processor.encode(text, return_type="offset_mapping")
        return mapping["ids"], mapping["offsets"]

    def encode_with_reaches(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """The ids, and the characters that each spells a part of, also where normalisation made several of one."""
        mapping = self._processor.encode(text, return_type="offset_mapping")
        normal, origins = self._processor.normalize(text, with_offsets=True)
        # Several normalised characters of one original share its place, so the next one begins where the place changes.
        following = list(origins)
        for place in range(len(normal) - 1, -1, -1):
            same = origins[place] == origins[place + 1]
            following[place] = following[place + 1] if same else origins[place + 1]
        reaches, place, spelled = [], 0, 0
        for token, piece in zip(mapping["ids"], mapping["pieces"], strict=True):
            if self._processor.is_byte(token):
                reaches.append((origins[place], following[place]))
                spelled += 1
                if spelled == len(normal[place].encode("utf-8")):
                    place, spelled = place + 1, 0
            else:
                last = place + len(piece) - 1
                reaches.append((origins[place], following[last]))
                place = last + 1
        return mapping["ids"], reaches

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the ids; an unknown id reads ' ⁇ '."""
        return self._processor.decode([int(token) for token in ids])

    def files(self) -> dict[str, bytes]:
        """The model under the name that SentencePiece gives it."""
        return {_MODEL_FILE: self._model}


class ByteVocabulary(Vocabulary):
    """UTF-8 bytes, each three above its value, as in ByT5 (arXiv:2105.13626).

    No byte ever becomes the unknown id 2, so it serves as the beginning id that seqio's vocabulary lacks.

    Args:
      extra_ids: unused ids behind the bytes, for tasks that count them in.
    """

    kind = "bytes"
    end_id, beginning_id = 1, 2
    _first = 3

    def __init__(self, extra_ids: int = 0):
        self._extra_ids = extra_ids
        self.size = self._first + 256 + extra_ids

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """One id for each byte; of a character's bytes only the last has a width."""
        spans: list[tuple[int, int]] = []
        for index, character in enumerate(text):
            spans.extend([(index, index)] * (len(character.encode("utf-8")) - 1))
            spans.append((index, index + 1))
        return [byte + self._first for byte in text.encode("utf-8")], spans

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the ids that are bytes; bytes that form no character are left out, as in seqio."""
        return bytes(int(i) - self._first for i in ids if 0 <= int(i) - self._first < 256).decode("utf-8", "ignore")

    def files(self) -> dict[str, bytes]:
        """A small JSON file that says that these are bytes."""
        return {_BYTES_FILE: json.dumps({"kind": self.kind, "extra_ids": self._extra_ids}).encode()}


def load(files: Mapping[str, bytes]) -> Vocabulary:
    """The vocabulary whose `files()` these are; further files beside them are ignored.

    Raises:
      InputError: if no file belongs to a vocabulary.
    """
    if _MODEL_FILE in files:
        return SentencePieceVocabulary(files[_MODEL_FILE])
    if _BYTES_FILE in files:
        return ByteVocabulary(int(json.loads(files[_BYTES_FILE])["extra_ids"]))
    if "tokenizer.json" in files:
        from jax_tda.data import tokenizer_vocabulary

        return tokenizer_vocabulary.from_files(files)
    raise InputError(
        "no vocabulary among the files",
        got=sorted(files) or "no file",
        expected=f"{_MODEL_FILE}, {_BYTES_FILE} or tokenizer.json",
        remedy="give the directory that jobs.train_vocabulary wrote, or a .model file",
    )


def _lines(texts: Iterable[str]) -> Iterator[str]:
    """The texts in stretches short enough for the trainer, cut behind a space where there is one."""
    for text in texts:
        start = 0
        while len(text) - start > _LINE_CHARACTERS:
            space = text.rfind(" ", start, start + _LINE_CHARACTERS)
            stop = space if space > start else start + _LINE_CHARACTERS
            yield text[start:stop]
            start = stop
        yield text[start:]


def train_sentencepiece(texts: Iterable[str], size: int) -> bytes:
    """Trains a byte-pair SentencePiece model, the same bytes for the same texts in the same order.

    Text is left as it is (no Unicode normalisation, every space kept), a character too rare for a piece of its own is
    spelled in bytes, and digits stand alone: decoding gives back every text but one that holds U+2581, SentencePiece's
    own sign for a space. Ids: padding 0, end 1, unknown 2, beginning 3.

    Args:
      texts: the training text, of any length each; read once.
      size: how many pieces to make. Texts that give fewer make a smaller vocabulary.

    Returns:
      The serialized model.

    Raises:
      InputError: if the texts are empty or the size cannot even hold their characters and the 256 bytes.
    """
    written = io.BytesIO()
    failed: list[Exception] = []

    def told() -> Iterator[str]:
        # The trainer turns whatever its texts raise into words of its own.
        try:
            yield from _lines(texts)
        except Exception as problem:
            failed.append(problem)
            raise

    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=told(),
            model_writer=written,
            vocab_size=size,
            hard_vocab_limit=False,
            model_type="bpe",
            byte_fallback=True,
            split_digits=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            max_sentence_length=8 * _LINE_CHARACTERS,
            num_threads=1,
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=3,
            minloglevel=2,
        )
    except Exception as problem:
        if failed:
            raise failed[0] from None
        if not isinstance(problem, RuntimeError):
            raise
        raise InputError(
            "no SentencePiece vocabulary can be trained",
            got=f"size {size}: {problem}",
            expected="texts that are not empty, and a size above 4 special ids + 256 bytes + the texts' characters",
            remedy="raise the size (2048 suits some thousand sentences), or use the byte vocabulary",
        ) from problem
    if failed:
        raise failed[0]
    return written.getvalue()
