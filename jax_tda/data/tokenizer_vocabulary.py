"""A tokenizer.json as a vocabulary, read by the `tokenizers` package, with the ids that transformers gives."""

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from jax_tda.core.errors import InputError
from jax_tda.data.vocabulary import Vocabulary

TOKENIZER_FILE, IDS_FILE = "tokenizer.json", "tokenizer_ids.json"


class TokenizerVocabulary(Vocabulary):
    """A tokenizer.json, and which of its ids begin and end an example.

    Nothing is added to a text but by us: the file's own template of special tokens is not used. Padding keeps id 0,
    which here may be a token like any other: what pads has weight 0 and stands where no earlier position looks.

    Args:
      content: the file's bytes.
      beginning_id: what every example starts with.
      end_id: what every passage ends with.

    Raises:
      InputError: the bytes are no tokenizer, an id is not one of its own, or `tokenizers` is not installed.
    """

    kind = "tokenizer"

    def __init__(self, content: bytes, beginning_id: int, end_id: int):
        self._content = content
        self._tokenizer = _parsed(content)
        self.size = 1 + max(self._tokenizer.get_vocab(with_added_tokens=True).values())
        self.beginning_id, self.end_id = beginning_id, end_id
        for name, token in (("beginning", beginning_id), ("end", end_id)):
            if not 0 <= token < self.size:
                raise InputError(
                    f"the {name} id does not belong to the tokenizer",
                    got=token,
                    expected=f"an id below {self.size}",
                    remedy="take tokenizer.json and config.json from one model",
                )

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """The ids of the text's pieces, and the characters that each spells."""
        encoded = self._tokenizer.encode(text, add_special_tokens=False)
        return encoded.ids, _partitioned(encoded.offsets)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the ids; special tokens have none."""
        text: str = self._tokenizer.decode([int(token) for token in ids], skip_special_tokens=True)
        return text

    def files(self) -> dict[str, bytes]:
        """The tokenizer as it was given, and its two ids."""
        ids = {"beginning_id": self.beginning_id, "end_id": self.end_id}
        return {TOKENIZER_FILE: self._content, IDS_FILE: json.dumps(ids).encode()}


def from_files(files: Mapping[str, bytes]) -> TokenizerVocabulary:
    """The vocabulary whose `files()` these are."""
    ids = json.loads(files[IDS_FILE])
    return TokenizerVocabulary(files[TOKENIZER_FILE], ids["beginning_id"], ids["end_id"])


def package() -> Any:
    """The package tokenizers.

    Raises:
      InputError: it is not installed.
    """
    try:
        import tokenizers
    except ImportError as problem:
        raise InputError(
            "the package tokenizers is not installed",
            got=problem,
            expected="the package that reads tokenizer.json",
            remedy="pip install 'jax_tda[import]'",
        ) from problem
    return tokenizers


def _parsed(content: bytes) -> Any:
    tokenizers = package()
    try:
        parsed = tokenizers.Tokenizer.from_buffer(content)
    except Exception as problem:  # The package raises Exception itself.
        raise InputError(
            "the vocabulary is not a tokenizer.json",
            got=f"{len(content)} bytes ({problem})",
            expected="the content of a tokenizer.json",
            remedy="`AutoTokenizer.from_pretrained(…).save_pretrained(folder)` writes one",
        ) from problem
    parsed.no_truncation()
    parsed.no_padding()
    # What follows the pieces adds special tokens, which we do not take, and may cut spaces off their characters.
    parsed.post_processor = tokenizers.processors.ByteLevel(trim_offsets=False)
    return parsed


def _partitioned(offsets: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans without overlap: where several pieces spell one character in bytes, only the last has a width."""
    ended = [
        (start, max(start, min(stop, following)))
        for (start, stop), (following, _) in itertools.pairwise([*offsets, (1 << 60, 0)])
    ]
    return ended
