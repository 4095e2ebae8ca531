"""The vocabulary that comes with a foreign checkpoint: a Hugging Face folder's, or a GGUF file's."""

from pathlib import Path
from typing import Any

from jax_tda.core.errors import InputError
from jax_tda.data import gguf_vocabulary, tokenizer_build
from jax_tda.data.tokenizer_files import TokenizerFiles
from jax_tda.data.tokenizer_vocabulary import TokenizerVocabulary, parsed
from jax_tda.data.vocabulary import Vocabulary


def read(path: str, beginning: str, end: str, table_size: int) -> Vocabulary:
    """The vocabulary of a checkpoint: of a folder, that of `AutoTokenizer.from_pretrained(folder)`.

    Args:
      path: a Hugging Face folder or a GGUF file.
      beginning: the token that examples start with; empty for the tokenizer's own, else config.json's, else `end`.
      end: the token that passages end with; empty for the tokenizer's own, else config.json's.
      table_size: the number of rows of the model's embedding table.

    Raises:
      InputError: there is no tokenizer that can be read, or it has ids beyond the table.
    """
    made = gguf_vocabulary.read(path, beginning, end) if Path(path).is_file() else _of_folder(path, beginning, end)
    if made.size > table_size:
        raise InputError(
            f"the tokenizer of {path} does not belong to the model",
            got=f"ids up to {made.size - 1}{_beyond(made, table_size)}",
            expected=f"ids below {table_size}, the rows of the embedding table",
            remedy="take tokenizer and model from one place",
        )
    return made


def remarks(path: str) -> list[str]:
    """What is to be said of a folder's tokenizer: stages that its class replaces, and keys that are not known."""
    if Path(path).is_file():
        return []
    files = TokenizerFiles(path)
    built = tokenizer_build.build(files)
    said = [f"unknown key {key}: not read" for key in files.unknown_keys()]
    if built.replaced:
        said.append(f"{built.class_name} of transformers 5 replaces tokenizer.json's {built.replaced}, and so do we")
    return said


def _beyond(made: Vocabulary, table_size: int) -> str:
    if not isinstance(made, TokenizerVocabulary):
        return ""
    return f" ({', '.join(map(repr, made.pieces_from(table_size)[:4]))})"


def _of_folder(folder: str, beginning: str, end: str) -> Vocabulary:
    files = TokenizerFiles(folder)
    built = tokenizer_build.build(files)
    made = parsed(built.content)
    last = _special(files, built, made, "eos_token", end)
    if last is None:
        raise InputError(
            f"the tokenizer of {folder} does not say what ends a text",
            got="no eos_token in tokenizer_config.json or special_tokens_map.json, no eos_token_id in config.json",
            expected="an end token: every passage ends with it",
            remedy="name it: import_checkpoint.end_token = '…'",
        )
    first = _special(files, built, made, "bos_token", beginning)
    split = bool(built.settings.get("split_special_tokens"))
    return TokenizerVocabulary(built.content, last if first is None else first, last, split)


def _special(files: TokenizerFiles, built: tokenizer_build.Built, made: Any, name: str, given: str) -> int | None:
    """The id of a special token: the option's, the tokenizer's, or config.json's."""
    tokens = {token.content: number for number, token in made.get_added_tokens_decoder().items()}
    if given:
        if given not in tokens:
            ordinary = made.token_to_id(given) is not None
            raise InputError(
                f"the tokenizer of {files.folder} has no special token {given!r}",
                got=f"{given!r}, an ordinary piece, which texts hold too" if ordinary else repr(given),
                expected="one of " + ", ".join(sorted(tokens)[:12]),
                remedy="change import_checkpoint.beginning_token or end_token"
                + "; a piece can be declared special in added_tokens of tokenizer.json" * ordinary,
            )
        return tokens[given]
    if name in built.named:
        return int(made.token_to_id(built.named[name]))
    number = files.model_config.get(f"{name}_id")
    if isinstance(number, list) and number:
        number = number[0]
    if number is None or number == []:
        return None
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise files.refused(
            "config.json", f"{name}_id", repr(number), "a whole number of at least 0, or a list of them"
        )
    return number
