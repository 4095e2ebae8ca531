"""The tokenizer of a sentence encoder's folder: texts to ids with the special tokens that the file adds, cut off.

All is as the library sentence-transformers does it: the tokenizer as transformers builds it, lower case
where `sentence_bert_config.json` asks for it, and as longest text the first of these that is given: `max_seq_length`
there, `model_max_length` of `tokenizer_config.json`, the model's positions.
"""

import json
from collections.abc import Sequence
from typing import Any

from jax_tda.core.errors import InputError
from jax_tda.data import tokenizer_build
from jax_tda.data.tokenizer_files import SETTINGS_FILE, TOKENIZER_FILE, TokenizerFiles
from jax_tda.data.tokenizer_vocabulary import package, parsed


class SentenceTokenizer:
    """A folder's tokenizer, with its own template of special tokens.

    Args:
      folder: the path of the folder that holds it.
      positions: the longest text that the model has positions for, in tokens.
      table_size: rows of the model's token table.
      longest: `max_seq_length`; 0 where it is not given.
      lower: whether text is put in lower case first.

    Raises:
      InputError: there is no tokenizer that can be read, or it has ids beyond the table.
    """

    def __init__(self, folder: str, positions: int, table_size: int, longest: int = 0, lower: bool = False):
        files = TokenizerFiles(folder)
        if not files.has(TOKENIZER_FILE):
            raise files.refused(TOKENIZER_FILE, "", "no such file", "the tokenizer of the sentence encoder")
        built = tokenizer_build.build(files)
        self._tokenizer = parsed(built.content, str(files.folder / TOKENIZER_FILE))
        self._tokenizer.encode_special_tokens = bool(built.settings.get("split_special_tokens"))
        if lower and not _has_lower_case(json.loads(built.content).get("normalizer")):
            self._tokenizer.normalizer = _lowered(self._tokenizer.normalizer)
        given = built.settings.get("model_max_length")
        self.longest = int(min(longest or given or positions, positions))
        held = self._tokenizer.get_vocab(with_added_tokens=True)
        size = 1 + max(held.values(), default=-1)
        if size > table_size:
            raise InputError(
                f"the tokenizer {files.folder / TOKENIZER_FILE} does not belong to the model",
                got=f"ids up to {size - 1} ({', '.join(sorted(t for t, i in held.items() if i >= table_size)[:4])})",
                expected=f"at most {table_size}, the rows of the token table",
                remedy="take tokenizer and model from one place",
            )
        added = self._tokenizer.num_special_tokens_to_add(False)
        if self.longest <= added:
            raise files.refused(
                SETTINGS_FILE, "model_max_length", self.longest, f"more than the {added} special tokens around a text"
            )
        truncation = files.tokenizer.get("truncation")
        side = built.settings.get("truncation_side") or (truncation or {}).get("direction") or "right"
        if not isinstance(side, str) or side.lower() not in ("left", "right"):
            raise files.refused(SETTINGS_FILE, "truncation_side", repr(side), "left or right")
        self._tokenizer.enable_truncation(self.longest, direction=side.lower())

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, special tokens included, at most `longest`."""
        return [encoded.ids for encoded in self._tokenizer.encode_batch(list(texts))]


def _has_lower_case(normalizer: Any) -> bool:
    """Whether a tokenizer.json's normalizer is one of lower case, or a sequence with one."""
    stages = normalizer.get("normalizers", [normalizer]) if isinstance(normalizer, dict) else []
    return any(isinstance(stage, dict) and stage.get("type") == "Lowercase" for stage in stages)


def _lowered(normalizer: Any) -> Any:
    stages = package().normalizers
    first = stages.Lowercase()
    if normalizer is None:
        return stages.Sequence([first])
    return stages.Sequence([first, normalizer])
