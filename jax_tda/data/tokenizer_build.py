"""A folder's tokenizer as transformers 5 builds it: its class, its added tokens in their order, its special tokens."""

import dataclasses
import json
from typing import Any

from jax_tda.core.errors import InputError
from jax_tda.data import sentencepiece_file, tokenizer_class
from jax_tda.data.tokenizer_class import CLASSES, GENERIC
from jax_tda.data.tokenizer_files import (
    MODEL_FILE,
    NAMED,
    SETTINGS_FILE,
    TOKENIZER_FILE,
    Token,
    TokenizerFiles,
)
from jax_tda.data.tokenizer_vocabulary import package, parsed

_SAVE = "`AutoTokenizer.from_pretrained(folder).save_pretrained(other)` writes a tokenizer.json"
_AS_GENERIC = f"{_SAVE}; set tokenizer_class in its tokenizer_config.json to PreTrainedTokenizerFast"


@dataclasses.dataclass(frozen=True)
class Built:
    """A tokenizer and what its folder says of it.

    Attributes:
      content: it as a tokenizer.json.
      named: the content of each special token that it has a name for, such as `eos_token`.
      class_name: the class of transformers that was followed.
      replaced: what the class does otherwise than the folder's tokenizer.json, in words; empty where nothing.
      settings: the folder's settings, with the class's own where the folder says nothing.
    """

    content: bytes
    named: dict[str, str]
    class_name: str
    replaced: str
    settings: dict[str, Any]


def build(files: TokenizerFiles) -> Built:
    """The tokenizer of a folder.

    Raises:
      InputError: the folder has no file of pieces that can be read, an entry of one cannot be followed, or its class is
        one whose ways are not known here.
    """
    name = tokenizer_class.class_of(files)
    if name != GENERIC and name not in CLASSES:
        raise InputError(
            f"the tokenizer of {files.folder} is of the class {name}, whose way to cut text is not known here",
            got=name,
            expected=", ".join([GENERIC, *CLASSES]),
            remedy=_AS_GENERIC,
        )
    settings = _settings(files, name)
    added = _added(files, settings)
    if files.has(TOKENIZER_FILE):
        made = _of_file(files, name, settings)
    elif files.has(MODEL_FILE):
        made = _of_model(files, name, settings, added)
    else:
        found = sorted(path.name for path in files.folder.glob("*") if path.suffix in (".json", ".txt", ".model"))
        raise InputError(
            f"{files.folder / TOKENIZER_FILE} is missing",
            got=", ".join(found[:12]) or "nothing",
            expected=f"{TOKENIZER_FILE}, or a SentencePiece {MODEL_FILE}",
            remedy=_SAVE,
        )
    settings.setdefault("extra_special_tokens", settings.get("additional_special_tokens"))
    before = made.to_str()
    named = _add(made, name, settings, added)
    # The bytes of the file where nothing was added to them, so that they do not depend on the package's writing.
    untouched = name == GENERIC and files.has(TOKENIZER_FILE) and made.to_str() == before
    content = files.content(TOKENIZER_FILE) if untouched else made.to_str().encode()
    replaced = "" if name == GENERIC or not files.has(TOKENIZER_FILE) else _differences(files.tokenizer, made)
    return Built(content, named, name, replaced, settings)


def _settings(files: TokenizerFiles, name: str) -> dict[str, Any]:
    """All settings, the later of: the class's, tokenizer_config.json's, special_tokens_map.json's."""
    settings = dict(files.settings)
    if "additional_special_tokens" in settings and not settings.get("extra_special_tokens"):
        settings["extra_special_tokens"] = settings.pop("additional_special_tokens")
    if "added_tokens_decoder" not in settings:
        # transformers reads the older file only where the newer entry is not there.
        settings |= {key: value for key, value in files.named_elsewhere.items() if key != "extra_special_tokens"}
        more = files.named_elsewhere.get("extra_special_tokens")
        if isinstance(more, list):
            before = settings.get("extra_special_tokens") or []
            settings["extra_special_tokens"] = [*before, *(token for token in more if token not in before)]
        elif more:
            settings["extra_special_tokens"] = more
    if isinstance(settings.get("extra_special_tokens"), dict):
        settings["model_specific"] = settings.pop("extra_special_tokens")
    padding = files.tokenizer.get("padding")
    if name in (GENERIC, "LlamaTokenizer") and isinstance(padding, dict) and isinstance(padding.get("pad_token"), str):
        # The token that a file pads with is a special token of those classes that say nothing of one.
        settings.setdefault("pad_token", Token(padding["pad_token"]))
    if name != GENERIC:
        own = CLASSES[name]
        settings = {key: Token(value) for key, value in own.tokens.items()} | settings
        if settings.get("add_prefix_space") is None:
            settings["add_prefix_space"] = own.prefix
        settings.setdefault("unk_token", None)
    return settings


def _added(files: TokenizerFiles, settings: dict[str, Any]) -> dict[int, Token]:
    """The folder's added tokens by the ids that it gives them."""
    if "added_tokens_decoder" in settings:
        return dict(settings["added_tokens_decoder"])
    special = {settings[key].content for key in NAMED if settings.get(key)}
    special |= {token.content for token in _extra(settings)}
    found = {
        number: Token(text, (("normalized", text not in special), ("special", text in special)))
        for text, number in files.added.items()
    }
    return found | (files.listed if files.has(TOKENIZER_FILE) else {})


def _extra(settings: dict[str, Any]) -> list[Token]:
    return settings.get("extra_special_tokens") or []


def _of_file(files: TokenizerFiles, name: str, settings: dict[str, Any]) -> Any:
    if name == GENERIC:
        return parsed(files.content(TOKENIZER_FILE))
    own, held = CLASSES[name], files.tokenizer
    model, needed = held.get("model"), own.model(settings)
    parts = ("vocab", "merges") if needed["type"] == "BPE" else ("vocab",)
    kinds: dict[str, type] = {"vocab": dict, "merges": list}
    if not isinstance(model, dict) or not all(isinstance(model.get(part), kinds[part]) for part in parts):
        got = model.get("type") if isinstance(model, dict) else type(model).__name__
        raise files.refused(
            TOKENIZER_FILE,
            "model",
            got,
            f"{' and '.join(parts)} of a {needed['type']}, which {name} builds",
            _AS_GENERIC,
        )
    return _made(own, settings, {part: model[part] for part in parts}, held.get("post_processor"))


def _of_model(files: TokenizerFiles, name: str, settings: dict[str, Any], added: dict[int, Token]) -> Any:
    """From a SentencePiece model; what it says of its special tokens is put into the settings and added tokens."""
    read = sentencepiece_file.read(files)
    if name not in (GENERIC, "LlamaTokenizer", "GemmaTokenizer"):
        raise files.refused(MODEL_FILE, "", f"a {name}", "a tokenizer of SentencePiece's kind", _SAVE)
    settings["additional_special_tokens"] = read.added(name == GENERIC)
    if name != GENERIC:
        if read.kind != "BPE":
            raise files.refused(MODEL_FILE, "", read.kind, f"a BPE model, which {name} builds", _SAVE)
        return _made(CLASSES[name], settings, read.by_order(), None)
    for key, content in read.special().items():
        settings.setdefault(key, Token(content))
    if read.prefix:
        # Looked for in the text itself, so that each stretch between them has a prefix space of its own.
        for number, token in added.items():
            added[number] = Token(token.content, (*dict(token.flags, normalized=False).items(),))
    legacy = settings.get("legacy", True)
    return parsed(json.dumps(read.tokenizer(bool(legacy), {i: t.content for i, t in added.items()})).encode())


def _made(own: tokenizer_class.TokenizerClass, settings: dict[str, Any], pieces: dict[str, Any], around: Any) -> Any:
    state = {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": own.normalizer(settings),
        "pre_tokenizer": own.pre_tokenizer(settings),
        "post_processor": around,
        "decoder": own.decoder(settings),
        "model": own.model(settings) | pieces,
    }
    return parsed(json.dumps(state, ensure_ascii=False).encode())


def _add(made: Any, name: str, settings: dict[str, Any], added: dict[int, Token]) -> dict[str, str]:
    """Adds what is not yet there, in transformers' order, and returns the named special tokens."""
    by_content = {token.content: token for token in added.values()}
    named: dict[str, Token] = {}
    for key in NAMED:
        if token := settings.get(key):
            named[key] = by_content.get(token.content, token)
    named |= {key: value for key, value in settings.items() if key.endswith("_token") and key not in NAMED and value}
    named |= settings.get("model_specific") or {}
    queue = [token for _, token in sorted(added.items())]
    there = {token.content for token in made.get_added_tokens_decoder().values()} | {t.content for t in queue}
    names = {token.content for token in named.values()}
    for token in (*named.values(), *_extra(settings)):
        if token.content not in there:
            there.add(token.content)
            queue.append(token)
    # A token that is given as a text alone is special.
    made.add_tokens([_theirs(token, special=not token.flags or token.content in names) for token in queue])
    again = CLASSES[name].again if name != GENERIC else ""
    if again:
        texts = dict.fromkeys(token.content for token in (*named.values(), *_extra(settings)))
        if again == "plain":
            made.add_tokens([_theirs(Token(text), special=True) for text in texts])
        else:
            made.add_special_tokens(
                [_theirs(token, special=not token.flags) for token in (*named.values(), *_extra(settings))]
            )
    if name != GENERIC and CLASSES[name].template:
        _surround(made, *(named[key].content if key in named else "None" for key in ("cls_token", "sep_token")))
    return {key: token.content for key, token in named.items()}


def _surround(made: Any, first: str, last: str) -> None:
    ids = [(text, made.token_to_id(text)) for text in (first, last)]
    if any(number is None for _, number in ids):
        raise InputError(
            "a BertTokenizer has no token to begin or end a text with",
            got=f"cls_token {first}, sep_token {last}",
            expected="both in the vocabulary",
            remedy=f"name them in {SETTINGS_FILE}",
        )
    made.post_processor = package().processors.TemplateProcessing(single=f"{first}:0 $A:0 {last}:0", special_tokens=ids)


def _theirs(token: Token, special: bool) -> Any:
    flags = dict(token.flags)
    return package().AddedToken(token.content, **(flags | {"special": flags.get("special", False) or special}))


def _differences(held: dict[str, Any], made: Any) -> str:
    """Which stages of tokenizer.json a class replaced by others."""
    built = json.loads(made.to_str())
    parts = [part for part in ("normalizer", "pre_tokenizer") if _plain(held.get(part)) != _plain(built.get(part))]
    flags = ("byte_fallback", "ignore_merges", "fuse_unk", "unk_token")
    models = [{flag: (one.get("model") or {}).get(flag) or None for flag in flags} for one in (held, built)]
    return ", ".join([*parts, *(["model"] if models[0] != models[1] else [])])


def _plain(stage: Any) -> Any:
    """A stage without what changes no id."""
    if isinstance(stage, dict):
        return {
            key: _plain(value)
            for key, value in stage.items()
            if key not in ("trim_offsets", "str_rep", "prepend_scheme")
        }
    return [_plain(one) for one in stage] if isinstance(stage, list) else stage
