"""Law: a folder's ids are those of transformers' AutoTokenizer, for every architecture and combination of files."""

import itertools
import json

import pytest
import tokenizers
import transformers
from transformers.models.auto import tokenization_auto

from jax_tda.core.errors import InputError
from jax_tda.data import foreign_vocabulary, tokenizer_class, tokenizer_files
from tests.data import tiny_tokenizers
from tests.data.tiny_tokenizers import SCRIPTS

MADE = {
    "byte level": tiny_tokenizers.byte_level,
    "single digits": lambda: tiny_tokenizers.byte_level(True),
    "byte fallback": tiny_tokenizers.metaspace,
    "unigram": tiny_tokenizers.unigram,
    "word piece": tiny_tokenizers.word_piece,
}
ADDED = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False}
IM = {"content": "<|im_start|>", **ADDED, "special": True}
# Each a set of files beside tokenizer.json and config.json.
COMBINATIONS = {
    "tokenizer.json alone": {},
    "config": {"tokenizer_config": {"bos_token": "<begin>", "eos_token": "<end>"}},
    "tokens as objects": {
        "tokenizer_config": {"eos_token": {"__type": "AddedToken", "content": "<end>", **ADDED}, "bos_token": None}
    },
    "map alone": {"special_tokens_map": {"bos_token": "<begin>", "eos_token": {"content": "<end>", **ADDED}}},
    "map against config": {
        "special_tokens_map": {"eos_token": "<begin>"},
        "tokenizer_config": {"eos_token": "<end>"},
    },
    "map beside added_tokens_decoder": {
        "special_tokens_map": {"eos_token": "<begin>"},
        "tokenizer_config": {"eos_token": "<end>", "added_tokens_decoder": {"500": IM}},
    },
    "added_tokens_decoder": {"tokenizer_config": {"added_tokens_decoder": {"500": IM}, "eos_token": "<|im_start|>"}},
    "added_tokens.json": {"added_tokens": {"<|im_start|>": 500, "user": 499}, "tokenizer_config": {"eos_token": "<end>"}},
    "additional in config": {"tokenizer_config": {"additional_special_tokens": ["<|im_start|>"], "eos_token": "<end>"}},
    "additional null": {"tokenizer_config": {"additional_special_tokens": None, "extra_special_tokens": ["<|im_start|>"]}},
    "additional in map": {"special_tokens_map": {"additional_special_tokens": ["<|im_start|>"], "eos_token": "<end>"}},
    "extra by name": {"tokenizer_config": {"extra_special_tokens": {"image_token": "<|im_start|>"}, "eos_token": "<end>"}},
    "a token of its own": {"tokenizer_config": {"image_token": "<|im_start|>", "eos_token": "<end>"}},
    "bos nowhere else": {"tokenizer_config": {"bos_token": "<|im_start|>", "eos_token": "<end>"}},
    "an ordinary piece as end": {"tokenizer_config": {"eos_token": "the"}},
    "stripping": {"tokenizer_config": {"added_tokens_decoder": {"0": {**IM, "lstrip": True, "rstrip": True}}}},
    "prefix space": {"tokenizer_config": {"add_prefix_space": True, "eos_token": "<end>"}},
    "no prefix space": {"tokenizer_config": {"add_prefix_space": False, "eos_token": "<end>"}},
    "legacy": {"tokenizer_config": {"legacy": True, "eos_token": "<end>"}},
    "not legacy": {"tokenizer_config": {"legacy": False, "eos_token": "<end>"}},
    "split special tokens": {"tokenizer_config": {"split_special_tokens": True, "eos_token": "<end>"}},
    "other case": {"tokenizer_config": {"do_lower_case": False, "eos_token": "<end>"}},
    "lower case": {"tokenizer_config": {"do_lower_case": True, "strip_accents": False, "eos_token": "<end>"}},
}
CLASSES = (None, "PreTrainedTokenizerFast", "NoSuchTokenizer", "LlamaTokenizerFast", *tokenizer_class.CLASSES)


def write(place, files, maker=None, model=None):
    place.mkdir(exist_ok=True)
    for old in place.iterdir():
        old.unlink()
    for name, entries in files.items():
        (place / f"{name}.json").write_text(json.dumps(entries))
    if maker:
        MADE[maker]().save(str(place / "tokenizer.json"))
    if model:
        (place / "tokenizer.model").write_bytes(model)
    return place


def compare(place):
    """Whether transformers reads the folder, and then its ids, beginning and end are ours."""
    try:
        theirs = transformers.AutoTokenizer.from_pretrained(place)
    except Exception as problem:
        with pytest.raises(InputError):
            foreign_vocabulary.read(str(place), "", "", 10_000)
        return str(problem)
    settings = json.loads((place / "config.json").read_text())
    named = theirs.eos_token or "eos_token_id" in settings or not theirs.added_tokens_encoder
    ours = foreign_vocabulary.read(str(place), "", "" if named else min(theirs.added_tokens_encoder), 10_000)
    for text in SCRIPTS:
        try:
            theirs(text)
        except Exception:
            with pytest.raises(InputError, match="cannot spell"):
                ours.encode(text)
            continue
        assert ours.encode(text) == theirs(text, add_special_tokens=False)["input_ids"], (text, type(theirs))
    end = theirs.eos_token_id if theirs.eos_token else settings.get("eos_token_id", ours.end_id)
    beginning = theirs.bos_token_id if theirs.bos_token else settings.get("bos_token_id", end)
    assert (ours.beginning_id, ours.end_id) == (beginning, end)
    return ""


def cases():
    """Every maker, architecture, class and combination; those of the daily run hold each pair of the first with each other once."""
    makers, families = list(MADE), [None, *tokenizer_class.REGISTERED]
    for number, (maker, family, named, files) in enumerate(itertools.product(makers, families, CLASSES, COMBINATIONS)):
        daily = number % 173 == 0 or (named is None and number % 29 == 0)
        marks = () if daily else (pytest.mark.nightly,)
        yield pytest.param(maker, family, named, files, marks=marks, id=f"{maker}-{family}-{named}-{files}")
