"""The tokenizer of a sentence encoder's folder: texts to ids with the special tokens that the file adds, cut off."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jax_tda.core.errors import InputError
from jax_tda.data.tokenizer_vocabulary import TOKENIZER_FILE, package

_SETTINGS = "sentence_bert_config.json"


class SentenceTokenizer:
    """A folder's `tokenizer.json`, with its own template of special tokens.

    What is longer than `max_seq_length` of `sentence_bert_config.json`, or than the model's positions, is cut off.

    Args:
      folder: its path.
      positions: the longest text that the model has positions for, in tokens.
      table_size: rows of the model's token table.

    Raises:
      InputError: there is no tokenizer that can be read, or it has ids beyond the table.
    """

    def __init__(self, folder: str, positions: int, table_size: int):
        path = Path(folder, TOKENIZER_FILE)
        self._tokenizer = _parsed(path)
        settings = _settings(Path(folder, _SETTINGS))
        self._lower = bool(settings.get("do_lower_case"))
        self.longest = min(int(settings.get("max_seq_length") or positions), positions)
        size = self._tokenizer.get_vocab_size(with_added_tokens=True)
        if size > table_size:
            raise InputError(
                f"the tokenizer {path} does not belong to the model",
                got=f"{size} ids",
                expected=f"at most {table_size}, the rows of the token table",
                remedy="take tokenizer and model from one place",
            )
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self.longest)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, special tokens included, at most `longest`."""
        asked = [text.lower() for text in texts] if self._lower else list(texts)
        return [encoded.ids for encoded in self._tokenizer.encode_batch(asked)]


def _parsed(path: Path) -> Any:
    tokenizers = package()
    try:
        return tokenizers.Tokenizer.from_buffer(path.read_bytes())
    except Exception as problem:  # The package raises Exception itself.
        raise InputError(
            f"{path} cannot be read",
            got=problem if path.exists() else "no such file",
            expected="the tokenizer of the sentence encoder",
            remedy="`AutoTokenizer.from_pretrained(…).save_pretrained(folder)` writes one",
        ) from problem


def _settings(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return found
