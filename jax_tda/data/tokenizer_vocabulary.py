"""A tokenizer.json as a vocabulary, read by the `tokenizers` package, with the ids that transformers gives."""

import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jax_tda.core.errors import InputError
from jax_tda.data.vocabulary import Vocabulary

TOKENIZER_FILE, IDS_FILE = "tokenizer.json", "tokenizer_ids.json"
# The package's span of a longer run of unknown characters is left whole: such a run is noise, and pairs are many.
_LONGEST_RUN = 2_000
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")

Spans = list[tuple[int, int]]


class TokenizerVocabulary(Vocabulary):
    """A tokenizer.json, and which of its ids begin and end an example.

    Nothing is added to a text but by us: the file's own template of special tokens is not used. Padding keeps id 0,
    which here may be a token like any other: what pads has weight 0 and stands where no earlier position looks.

    Args:
      content: the file's bytes.
      beginning_id: what every example starts with.
      end_id: what every passage ends with.
      split_special_tokens: whether a special token that is written in a text is cut like any other text.

    Raises:
      InputError: the bytes are no tokenizer, an id is not one of its own, or `tokenizers` is not installed.
    """

    kind = "tokenizer"

    def __init__(self, content: bytes, beginning_id: int, end_id: int, split_special_tokens: bool = False):
        self._content = content
        self._split = split_special_tokens
        self._tokenizer = parsed(content)
        self._tokenizer.encode_special_tokens = split_special_tokens
        # What follows the pieces adds special tokens, which we do not take, and may cut spaces off their characters.
        self._tokenizer.post_processor = package().processors.ByteLevel(trim_offsets=False)
        self.size = 1 + max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
        self.beginning_id, self.end_id = beginning_id, end_id
        for name, token in (("beginning", beginning_id), ("end", end_id)):
            if not 0 <= token < self.size:
                raise InputError(
                    f"the {name} id does not belong to the tokenizer",
                    got=token,
                    expected=f"an id below {self.size}",
                    remedy="take tokenizer.json and config.json from one model",
                )

    def encode_with_offsets(self, text: str) -> tuple[list[int], Spans]:
        """The ids of the text's pieces, and the characters that each spells."""
        encoded = self._encoded(text)
        return encoded.ids, _partitioned(encoded.offsets)

    def encode_with_reaches(self, text: str) -> tuple[list[int], Spans]:
        """The ids, and every character that each spells a part of, as the package knows them."""
        encoded = self._encoded(text)
        return encoded.ids, _by_character(text, encoded.tokens, encoded.offsets, self._normalized)

    def _encoded(self, text: str) -> Any:
        try:
            return self._tokenizer.encode(text, add_special_tokens=False)
        except Exception as problem:  # The package raises Exception itself.
            raise InputError(
                "the tokenizer cannot spell a text",
                got=f"{text[:60]!r} ({problem})",
                expected="a text of which it knows every piece, or a tokenizer with an unknown token",
                remedy="leave the text out, or import the model with its whole tokenizer",
            ) from problem

    def _boundary(self, prompt: str, text: str) -> int:
        if self._tokenizer.normalizer is None:
            return len(prompt)
        # A normaliser may make one character of the prompt's last and the target's first. The package then calls it
        # the prompt's; it is the target's, like every piece that the target changes.
        whole = self._normalized(text)
        boundaries = range(len(prompt), 0, -1)
        return next((b for b in boundaries if whole.startswith(self._normalized(text[:b]))), 0)

    def _normalized(self, text: str) -> str:
        normalizer = self._tokenizer.normalizer
        return text if normalizer is None else str(normalizer.normalize_str(text))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the ids; special tokens have none."""
        text: str = self._tokenizer.decode([int(token) for token in ids], skip_special_tokens=True)
        return text

    def pieces_from(self, start: int) -> list[str]:
        """The pieces whose ids are `start` or above, in their order."""
        held = self._tokenizer.get_vocab(with_added_tokens=True)
        return sorted((piece for piece, number in held.items() if number >= start), key=held.__getitem__)

    def files(self) -> dict[str, bytes]:
        """The tokenizer as it was given, its two ids, and whether special tokens in a text are split."""
        ids: dict[str, int | bool] = {"beginning_id": self.beginning_id, "end_id": self.end_id}
        if self._split:
            ids["split_special_tokens"] = True
        return {TOKENIZER_FILE: self._content, IDS_FILE: json.dumps(ids).encode()}


def from_files(files: Mapping[str, bytes]) -> TokenizerVocabulary:
    """The vocabulary whose `files()` these are."""
    ids = json.loads(files[IDS_FILE])
    split = ids.get("split_special_tokens", False)
    return TokenizerVocabulary(files[TOKENIZER_FILE], ids["beginning_id"], ids["end_id"], split)


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


def parsed(content: bytes, name: str = "the vocabulary") -> Any:
    """The tokenizer of the package tokenizers in a tokenizer.json, without its truncation and padding.

    Raises:
      InputError: the bytes are no tokenizer.json.
    """
    tokenizers = package()
    try:
        made = tokenizers.Tokenizer.from_buffer(content)
    except BaseException as problem:  # The package raises Exception itself, and PanicException beside it.
        if isinstance(problem, KeyboardInterrupt | SystemExit):
            raise
        raise InputError(
            f"{name} is not a tokenizer.json",
            got=f"{len(content)} bytes ({problem})",
            expected="the content of a tokenizer.json",
            remedy="`AutoTokenizer.from_pretrained(…).save_pretrained(folder)` writes one",
        ) from problem
    made.no_truncation()
    made.no_padding()
    return made


def _partitioned(offsets: Spans) -> Spans:
    """Spans without overlap: where several pieces spell one character in bytes, only the last has a width."""
    ended = [
        (start, max(start, min(stop, following)))
        for (start, stop), (following, _) in itertools.pairwise([*offsets, (1 << 60, 0)])
    ]
    return ended


def _by_character(text: str, tokens: list[str], offsets: Spans, normalize: Callable[[str], str]) -> Spans:
    """Byte pieces that the package gives the span of a whole run of unknown characters, each at its own."""
    reaches = list(offsets)
    for (start, stop), run in itertools.groupby(range(len(tokens)), key=offsets.__getitem__):
        places = list(run)
        # The package ends a composed character's span behind its first part.
        stop = offsets[places[-1] + 1][0] if places[-1] + 1 < len(offsets) else len(text)
        spelled = [found for place in places if (found := _BYTE.fullmatch(tokens[place]))]
        if not 2 <= stop - start <= _LONGEST_RUN or len(spelled) < len(places):
            continue
        values = bytes(int(found[1], 16) for found in spelled)
        # Where the characters up to one become what the run begins with, that one ends a stretch of its own.
        made = [(at, normalize(text[start:at]).encode()) for at in range(start, stop + 1)]
        ends = [(at, len(value)) for at, value in made if values.startswith(value)]
        if ends[0] == (start, 0) and ends[-1] == (stop, len(values)):
            pairs = itertools.pairwise(ends)
            owned = [(a, b) for (a, before), (b, after) in pairs for _ in range(after - before)]
            reaches[places[0] : places[-1] + 1] = owned
    return reaches
