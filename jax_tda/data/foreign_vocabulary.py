"""The vocabulary that comes with a foreign checkpoint: a Hugging Face folder's, or a GGUF file's."""

import json
from pathlib import Path
from typing import Any

from jax_tda.core.errors import InputError
from jax_tda.data import gguf_vocabulary
from jax_tda.data.tokenizer_vocabulary import TOKENIZER_FILE, TokenizerVocabulary
from jax_tda.data.vocabulary import SentencePieceVocabulary, Vocabulary


def read(path: str, beginning: str, end: str, table_size: int) -> Vocabulary:
    """The vocabulary of a checkpoint.

    Args:
      path: a Hugging Face folder or a GGUF file.
      beginning: the token that examples start with; empty for the checkpoint's own, or its end token where it has none.
      end: the token that passages end with; empty for the checkpoint's own.
      table_size: the number of rows of the model's embedding table.

    Raises:
      InputError: there is no tokenizer that can be read, or it has ids beyond the table.
    """
    made = gguf_vocabulary.read(path, beginning, end) if Path(path).is_file() else _of_folder(path, beginning, end)
    if made.size > table_size:
        raise InputError(
            f"the tokenizer of {path} does not belong to the model",
            got=f"ids up to {made.size - 1}",
            expected=f"ids below {table_size}, the rows of the embedding table",
            remedy="take tokenizer and model from one place",
        )
    return made


def _of_folder(folder: str, beginning: str, end: str) -> Vocabulary:
    tokenizer, model = Path(folder, TOKENIZER_FILE), Path(folder, "tokenizer.model")
    if not tokenizer.exists():
        if model.exists():
            return SentencePieceVocabulary(model.read_bytes())
        raise InputError(
            f"{tokenizer} is missing",
            got=", ".join(sorted(p.name for p in Path(folder).glob("*") if p.suffix in (".json", ".txt"))) or "nothing",
            expected="tokenizer.json, or a SentencePiece tokenizer.model",
            remedy="`AutoTokenizer.from_pretrained(…).save_pretrained(folder)` writes one",
        )
    content = tokenizer.read_bytes()
    settings = {**_read(Path(folder, "config.json")), **_named(_read(Path(folder, "tokenizer_config.json")))}
    ids = _ids(content)
    last = _special(folder, "eos_token", end, settings, ids)
    if last is None:
        raise InputError(
            f"the tokenizer of {folder} does not say what ends a text",
            got="no eos_token in tokenizer_config.json, no eos_token_id in config.json",
            expected="an end token: every passage ends with it",
            remedy="name it: import_checkpoint.end_token = '…'",
        )
    first = _special(folder, "bos_token", beginning, settings, ids)
    return TokenizerVocabulary(content, last if first is None else first, last)


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return found


def _named(settings: dict[str, Any]) -> dict[str, str]:
    """The special tokens of a tokenizer_config.json, which writes them as text or as an object."""
    found = {name: settings.get(name) for name in ("bos_token", "eos_token")}
    return {
        name: token["content"] if isinstance(token, dict) else token
        for name, token in found.items()
        if token is not None
    }


def _ids(content: bytes) -> dict[str, int]:
    """The ids of special tokens, which tokenizer.json lists apart."""
    try:
        listed = json.loads(content).get("added_tokens", [])
    except ValueError:
        return {}  # The vocabulary itself will say what is wrong.
    return {token["content"]: token["id"] for token in listed}


def _special(folder: str, name: str, given: str, settings: dict[str, Any], ids: dict[str, int]) -> int | None:
    token = given or settings.get(name)
    if token is not None and token in ids:
        return ids[token]
    if given:
        raise InputError(
            f"the tokenizer of {folder} has no special token {given!r}",
            got=given,
            expected="one of " + ", ".join(sorted(ids)[:12]),
            remedy="change import_checkpoint.beginning_token or end_token",
        )
    number = settings.get(f"{name}_id")
    if isinstance(number, list):
        number = number[0] if number else None
    return None if number is None else int(number)
