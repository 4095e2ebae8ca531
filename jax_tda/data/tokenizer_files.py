"""The files of a folder that say how text becomes token ids, read with the type of every entry checked.

What each key does to an id is one table, `KEYS`; a key that stands in no table is reported by its name.
"""

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

from jax_tda.core.errors import InputError

TOKENIZER_FILE, SETTINGS_FILE, MODEL_FILE = "tokenizer.json", "tokenizer_config.json", "tokenizer.model"
ADDED_FILE, MAP_FILE, CONFIG_FILE = "added_tokens.json", "special_tokens_map.json", "config.json"
# In the order in which transformers gives new tokens their ids.
NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
# The largest tokenizer.json of a public model has 33 MiB.
_LARGEST = 256 << 20
_REMEDY = "copy the file again; `AutoTokenizer.from_pretrained(folder).save_pretrained(folder)` writes all of them"

_TOKEN, _TOKENS, _SWITCH = "a token", "a list of tokens", "true or false"
# Keys of tokenizer_config.json that are read, and what they must be.
_SIDE = "left or right"
READ = {
    **dict.fromkeys(NAMED, _TOKEN),
    "additional_special_tokens": _TOKENS,
    "extra_special_tokens": "a list of tokens, or an object of named ones",
    "added_tokens_decoder": "an object of tokens by their ids",
    "tokenizer_class": "a name",
    "add_prefix_space": _SWITCH,
    "legacy": _SWITCH,
    "do_lower_case": _SWITCH,
    "strip_accents": _SWITCH,
    "tokenize_chinese_chars": _SWITCH,
    "split_special_tokens": _SWITCH,
    "model_max_length": "a number",
    "truncation_side": _SIDE,
}
# Keys that change ids in a way that is not followed, unless they are empty or false.
REFUSED = (
    *(
        "auto_map",
        "fast_tokenizer_files",
        "fix_mistral_regex",
        "init_inputs",
        "merges",
        "model_specific_special_tokens",
    ),
    *(
        "tokenizer_object",
        "unk_id",
        "vocab",
        "gguf_file",
        "post_processor",
        "tokenizer_truncation",
        "tokenizer_padding",
    ),
)
# Keys that change no id of a text: they concern templates, decoding, padding, or a library's bookkeeping.
WITHOUT_EFFECT = frozenset(
    "add_bos_token add_eos_token add_special_tokens backend chat_control_tokens chat_template "
    "clean_up_tokenization_spaces clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output cls_token_id "
    "do_basic_tokenize eos_token_id bos_token_id pad_token_id errors files_loaded from_slow is_local local_files_only "
    "max_len max_length merges_file model_input_names name_or_path never_split pad_to_multiple_of pad_token_type_id "
    "padding_side processor_class response_schema response_template sp_model_kwargs spaces_between_special_tokens "
    "special_tokens_map_file stride tokenizer_file tokenizer_type tokenizer_version trim_offsets "
    "truncation_strategy use_default_system_prompt tokenizer use_fast verbose vocab_file wordpieces_prefix".split()
)
_TOKENIZER_KEYS = frozenset(
    "version truncation padding added_tokens normalizer pre_tokenizer post_processor decoder model".split()
)


@dataclasses.dataclass(frozen=True)
class Token:
    """A token that is looked for in a text before it is cut, as tokenizer.json writes it.

    Attributes:
      content: its text.
      flags: of `single_word`, `lstrip`, `rstrip`, `normalized`, `special` those that are given; none where the token is
        written as a text alone.
    """

    content: str
    flags: tuple[tuple[str, bool], ...] = ()


_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


class TokenizerFiles:
    """A folder's tokenizer files; each is read when it is asked for.

    Args:
      folder: its path.

    Raises:
      InputError: (by every property) a file is no regular file, too large, no JSON, or holds an entry of another type.
    """

    def __init__(self, folder: str):
        self.folder = Path(folder)
        self._objects: dict[str, dict[str, Any]] = {}

    def has(self, name: str) -> bool:
        """Whether the folder holds a file of that name."""
        return (self.folder / name).exists()

    def content(self, name: str) -> bytes:
        """A file's bytes."""
        path = self.folder / name
        try:
            if not path.is_file() or path.stat().st_size > _LARGEST:
                raise self.refused(
                    name, "", "no regular file, or a larger one", f"a file of at most {_LARGEST:,} bytes"
                )
            return path.read_bytes()
        except OSError as problem:
            raise self.refused(name, "", problem, "a file that can be read") from problem

    @functools.cached_property
    def model_config(self) -> dict[str, Any]:
        """The entries of config.json; none where there is no such file."""
        return self._object(CONFIG_FILE)

    @functools.cached_property
    def tokenizer(self) -> dict[str, Any]:
        """The entries of tokenizer.json."""
        return self._object(TOKENIZER_FILE)

    @functools.cached_property
    def settings(self) -> dict[str, Any]:
        """The entries of tokenizer_config.json that are read, tokens as `Token`."""
        given = self._object(SETTINGS_FILE)
        for name in REFUSED:
            if given.get(name) and not (name == "fast_tokenizer_files" and given[name] == [TOKENIZER_FILE]):
                code = name == "auto_map"
                raise self.refused(
                    SETTINGS_FILE,
                    name,
                    _brief(given[name]),
                    "a tokenizer without code of its own"
                    if code
                    else f"no {name}: what it does to ids is not followed",
                    "`AutoTokenizer.from_pretrained(folder).save_pretrained(other)` writes what it makes as a "
                    "tokenizer.json; set its tokenizer_class to PreTrainedTokenizerFast, and take the entry out",
                )
        found = {name: value for name, value in given.items() if name in READ}
        for name in given:
            if name.endswith("_token") and name not in READ and isinstance(given[name], str | dict):
                found[name] = given[name]
        return {name: self._typed(SETTINGS_FILE, name, value) for name, value in found.items()}

    @functools.cached_property
    def named_elsewhere(self) -> dict[str, Any]:
        """The entries of special_tokens_map.json, tokens as `Token`, special where they are objects."""
        given = {
            name: value
            for name, value in self._object(MAP_FILE).items()
            if name.endswith("_token") or name in ("additional_special_tokens", "extra_special_tokens")
        }
        for name, value in given.items():
            if isinstance(value, dict) and name != "extra_special_tokens":
                given[name] = {**value, "special": True}
        return {name: self._typed(MAP_FILE, name, value) for name, value in given.items()}

    @functools.cached_property
    def added(self) -> dict[str, int]:
        """The tokens of added_tokens.json and their ids."""
        given = self._object(ADDED_FILE)
        for content, number in given.items():
            if not _is_id(number):
                raise self.refused(ADDED_FILE, content, _brief(number), "an id: a whole number of at least 0")
        return given

    @functools.cached_property
    def listed(self) -> dict[int, Token]:
        """The added tokens of tokenizer.json by their ids."""
        # transformers reads no tokenizer.json without this list, be it empty.
        given = self.tokenizer.get("added_tokens", None if self.has(TOKENIZER_FILE) else [])
        if not isinstance(given, list) or not all(isinstance(one, dict) and _is_id(one.get("id")) for one in given):
            raise self.refused(TOKENIZER_FILE, "added_tokens", _brief(given), "a list of tokens with their ids")
        return {one["id"]: self._token(TOKENIZER_FILE, "added_tokens", one) for one in given}

    def unknown_keys(self) -> list[str]:
        """Keys whose meaning is not known, as FILE: KEY."""
        known = {*READ, *REFUSED, *WITHOUT_EFFECT}
        return [
            *(f"{SETTINGS_FILE}: {key}" for key in self._object(SETTINGS_FILE) if not (key in known or _names(key))),
            *(f"{MAP_FILE}: {key}" for key in self._object(MAP_FILE) if not (key in READ or _names(key))),
            *(f"{TOKENIZER_FILE}: {key}" for key in self._object(TOKENIZER_FILE) if key not in _TOKENIZER_KEYS),
        ]

    def paths(self) -> list[str]:
        """Paths of those files that decide an id."""
        names = (TOKENIZER_FILE, SETTINGS_FILE, MODEL_FILE, ADDED_FILE, MAP_FILE)
        return [str(self.folder / name) for name in names if self.has(name)]

    def refused(self, file: str, key: str, got: object, expected: str, remedy: str = _REMEDY) -> InputError:
        """What is said of an entry that cannot be followed."""
        where = f"{self.folder / file}{': ' * bool(key)}{key}"
        return InputError(f"{where} cannot be read", got=got, expected=expected, remedy=remedy)

    def _object(self, name: str) -> dict[str, Any]:
        if name not in self._objects:
            self._objects[name] = self._read(name) if self.has(name) else {}
        return self._objects[name]

    def _read(self, name: str) -> dict[str, Any]:
        content = self.content(name)
        try:
            read = json.loads(content.decode("utf-8"))
        except (ValueError, RecursionError) as problem:
            got = problem if isinstance(problem, ValueError) else "values nested too deep"
            raise self.refused(name, "", got, "JSON in UTF-8") from problem
        if not isinstance(read, dict):
            raise self.refused(name, "", type(read).__name__, "a JSON object")
        return read

    def _typed(self, file: str, name: str, value: Any) -> Any:
        """A value of the type that its key needs; null stays null."""
        expected = READ.get(name, _TOKEN)
        if value is None and name != "added_tokens_decoder":
            return None
        if expected == _TOKEN:
            return self._token(file, name, value)
        if isinstance(value, list) and name in ("additional_special_tokens", "extra_special_tokens"):
            return [self._token(file, name, one) for one in value]
        if isinstance(value, dict) and name == "extra_special_tokens":
            return {key: self._token(file, f"{name}.{key}", one) for key, one in value.items()}
        if isinstance(value, dict) and name == "added_tokens_decoder":
            if not all(key.isascii() and key.isdecimal() and len(key) < 12 for key in value):
                raise self.refused(file, name, _brief(sorted(value)), expected)
            return {int(key): self._token(file, name, one, objects=True) for key, one in value.items()}
        if expected == _SIDE and value not in ("left", "right"):
            raise self.refused(file, name, _brief(value), expected)
        kinds: dict[str, tuple[type, ...]] = {
            _SIDE: (str,),
            _SWITCH: (bool,),
            "a name": (str,),
            "a number": (int, float),
        }
        if not isinstance(value, kinds.get(expected, ())) or (expected == "a number" and isinstance(value, bool)):
            raise self.refused(file, name, _brief(value), expected)
        return value

    def _token(self, file: str, name: str, value: Any, objects: bool = False) -> Token:
        if isinstance(value, str) and not objects:
            return Token(value)
        if not isinstance(value, dict) or not isinstance(value.get("content"), str):
            raise self.refused(file, name, _brief(value), "a token: its text, or an object with content and flags")
        flags = {"special": False} | {flag: value[flag] for flag in _FLAGS if flag in value}
        left = {key for key in value if key not in (*_FLAGS, "content", "id", "__type")}
        if left or not all(isinstance(flag, bool) for flag in flags.values()):
            raise self.refused(file, name, _brief(value), f"content, and of {', '.join(_FLAGS)} true or false")
        return Token(value["content"], tuple(flags.items()))


def _names(key: str) -> bool:
    """Whether a key names a special token of a model's own."""
    return key.endswith("_token")


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31


def _brief(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else shown[:77] + "..."
