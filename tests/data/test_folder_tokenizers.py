"""Law: a folder's ids are those of transformers' AutoTokenizer, for every architecture and combination of files."""

import inspect
import json
import random
import re
import sys

import pytest
import sentencepiece
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
    "added_tokens.json": {
        "added_tokens": {"<|im_start|>": 500, "user": 499},
        "tokenizer_config": {"eos_token": "<end>"},
    },
    "additional in config": {"tokenizer_config": {"additional_special_tokens": ["<|im_start|>"], "eos_token": "<end>"}},
    "additional null": {
        "tokenizer_config": {"additional_special_tokens": None, "extra_special_tokens": ["<|im_start|>"]}
    },
    "additional in map": {"special_tokens_map": {"additional_special_tokens": ["<|im_start|>"], "eos_token": "<end>"}},
    "extra by name": {
        "tokenizer_config": {"extra_special_tokens": {"image_token": "<|im_start|>"}, "eos_token": "<end>"}
    },
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


def folder_of(place, maker, family, named, files, model=None):
    contents = {name: dict(entries) for name, entries in COMBINATIONS[files].items()}
    contents["config"] = {"model_type": family} if family else {}
    if named:
        contents.setdefault("tokenizer_config", {})["tokenizer_class"] = named
    return write(place, contents, maker, model)


def drawn(count, seed, makers):
    """Cases at random, every combination of files as often as any other."""
    draw = random.Random(seed)
    for files in [*COMBINATIONS] * count:
        yield draw.choice(makers), draw.choice([None, *tokenizer_class.REGISTERED]), draw.choice(CLASSES), files


def check(place, cases, models=None):
    """Equal ids, or a refusal of pieces of another kind than the class builds, of which transformers makes noise."""
    equal = 0
    for maker, family, named, files in cases:
        if models:
            folder_of(place, None, family, named, files, models[maker])
        else:
            folder_of(place, maker, family, named, files)
        try:
            equal += not compare(place)
        except InputError as problem:
            assert re.search("(which|of) .*builds|kind, *$|SentencePiece's kind", str(problem)), (maker, family, named)
        except AssertionError as problem:
            raise AssertionError((maker, family, named, files)) from problem
    return equal


@pytest.fixture(scope="module")
def makers():
    """Each tokenizer trained once."""
    made = {name: maker() for name, maker in MADE.items()}
    return {name: (lambda one=one: one) for name, one in made.items()}


@pytest.fixture
def trained(makers, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "MADE", makers)


def test_every_combination_of_files_has_the_ids_of_transformers(tmp_path, trained):
    """On texts in a dozen scripts; beginning and end too."""
    assert check(tmp_path / "f", drawn(3, 0, list(MADE))) > 40


@pytest.mark.nightly
def test_two_thousand_folders_have_the_ids_of_transformers(tmp_path, trained):
    """The same, of all 16,560 combinations 2,000 at random."""
    assert check(tmp_path / "f", drawn(87, 1, list(MADE))) > 1000


PIECES = {
    "bpe": tiny_tokenizers.sentence_pieces,
    "unigram": lambda: tiny_tokenizers.sentence_pieces("unigram"),
    "as it is": lambda: tiny_tokenizers.sentence_pieces(rule="identity", remove_extra_whitespaces=False),
    "no prefix": lambda: tiny_tokenizers.sentence_pieces(rule="identity", add_dummy_prefix=False),
    "user-defined": lambda: tiny_tokenizers.sentence_pieces(
        rule="identity", user_defined_symbols=["<|im_start|>", "▁▁"], control_symbols=["<|im_end|>"]
    ),
    "user-defined unigram": lambda: tiny_tokenizers.sentence_pieces("unigram", user_defined_symbols=["<|im_start|>"]),
}


@pytest.fixture(scope="module")
def models():
    return {name: make() for name, make in PIECES.items()}


def test_a_sentencepiece_model_alone_has_the_ids_of_transformers(tmp_path, models):
    """For every kind of model and combination of files beside it."""
    assert check(tmp_path / "f", drawn(4, 2, list(models)), models) > 20


@pytest.mark.nightly
def test_many_folders_with_a_sentencepiece_model_have_the_ids_of_transformers(tmp_path, models):
    """The same, 920 at random."""
    assert check(tmp_path / "f", drawn(40, 3, list(models)), models) > 350


@pytest.mark.parametrize("kind", ["bpe", "unigram", "as it is", "no prefix"])
def test_a_sentencepiece_model_of_a_folder_cuts_as_sentencepiece_does(tmp_path, models, kind):
    """An independent reference: the library itself, on texts without special tokens.

    Parts of Hangul syllables are left out: the package tokenizers does not put them together as SentencePiece does.
    """
    made = sentencepiece.SentencePieceProcessor(model_proto=models[kind])
    place = folder_of(tmp_path / "f", None, "llama", None, "tokenizer.json alone", models[kind])
    ours = foreign_vocabulary.read(str(place), "", "", 10_000)
    for text in (*SCRIPTS[:9], *SCRIPTS[10:13]):
        assert ours.encode(text) == made.encode(text)
    assert (ours.beginning_id, ours.end_id) == (made.bos_id(), made.eos_id())


def test_options_and_settings_hold_for_a_sentencepiece_model_too(tmp_path, models):
    """`end_token` names a control piece, tokenizer_config.json another; what is no token is refused."""
    place = folder_of(tmp_path / "f", None, "llama", None, "tokenizer.json alone", models["user-defined"])
    processor = sentencepiece.SentencePieceProcessor(model_proto=models["user-defined"])
    end = processor.piece_to_id("<|im_end|>")
    assert foreign_vocabulary.read(str(place), "", "<|im_end|>", 1000).end_id == end
    with pytest.raises(InputError, match="no special token 'nonsense'"):
        foreign_vocabulary.read(str(place), "", "nonsense", 1000)
    (place / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|im_end|>"}))
    assert foreign_vocabulary.read(str(place), "", "", 1000).end_id == end


def test_config_json_stands_in_only_where_the_tokenizer_says_nothing(tmp_path):
    """Ids 1 and 2 of config.json against names in special_tokens_map.json."""
    map_alone = {"special_tokens_map": {"bos_token": "the", "eos_token": "is"}}
    ids = {"bos_token_id": 1, "eos_token_id": [2, 5]}
    place = write(tmp_path / "f", {"config": ids} | map_alone, "byte level")
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(place)
    ours = foreign_vocabulary.read(str(place), "", "", 1000)
    assert (ours.beginning_id, ours.end_id) == (theirs.bos_token_id, theirs.eos_token_id) != (1, 2)
    write(place, {"config": ids}, "byte level")
    alone = foreign_vocabulary.read(str(place), "", "", 1000)
    assert (alone.beginning_id, alone.end_id) == (1, 2)


def test_what_a_class_replaces_and_what_is_unknown_is_said(tmp_path):
    """The dry run's lines: the class's own cut, and keys that stand in no table."""
    settings = {"tokenizer_class": "GPT2Tokenizer", "zebra": 1, "eos_token": "<end>"}
    place = write(tmp_path / "f", {"config": {"model_type": "llama"}, "tokenizer_config": settings}, "single digits")
    said = foreign_vocabulary.remarks(str(place))
    assert said[0] == "unknown key tokenizer_config.json: zebra: not read"
    assert re.search("GPT2Tokenizer.* replaces .*pre_tokenizer", said[1])
    write(place, {"config": {"model_type": "llama"}, "tokenizer_config": {"eos_token": "<end>"}}, "single digits")
    assert foreign_vocabulary.remarks(str(place)) == []


DAMAGES = {
    "no JSON": ("tokenizer_config.json", "{", "tokenizer_config.json cannot be read"),
    "no UTF-8": ("tokenizer_config.json", b"\xff\xfe{}", "UTF-8"),
    "a list": ("special_tokens_map.json", "[]", "a JSON object"),
    "too deep": ("added_tokens.json", '{"a":' * 100_000 + "1" + "}" * 100_000, "nested too deep"),
    "null tokens": ("tokenizer.json", {"added_tokens": None}, "added_tokens"),
    "null ids": ("tokenizer_config.json", {"added_tokens_decoder": None}, "added_tokens_decoder"),
    "ids that are none": ("tokenizer_config.json", {"added_tokens_decoder": {"x": {"content": "a"}}}, "by their ids"),
    "a token that is none": ("tokenizer_config.json", {"eos_token": 3}, "eos_token"),
    "tokens that are none": ("tokenizer_config.json", {"additional_special_tokens": "ab"}, "a list of tokens"),
    "a number for a switch": ("tokenizer_config.json", {"add_prefix_space": "yes"}, "true or false"),
    "a side that is none": ("tokenizer_config.json", {"truncation_side": ""}, "left or right"),
    "a flag that is none": ("tokenizer_config.json", {"eos_token": {"content": "a", "lstrip": 1}}, "true or false"),
    "code": ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["a.B", None]}}, "without code of its own"),
    "another file": ("tokenizer_config.json", {"fast_tokenizer_files": ["tokenizer.4.0.json"]}, "fast_tokenizer_files"),
    "a class we do not know": ("tokenizer_config.json", {"tokenizer_class": "T5TokenizerFast"}, "T5Tokenizer"),
    "an id that is none": ("config.json", {"eos_token_id": "2"}, "eos_token_id"),
    "an id beyond": ("config.json", {"eos_token_id": 10**12}, "below"),
    "a name that is none": ("config.json", {"tokenizer_class": 3}, "the name of a class"),
    "ids of added tokens": ("added_tokens.json", {"a": -1}, "at least 0"),
    "a model that is none": ("tokenizer.json", {"model": 3}, "not a tokenizer.json"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_by_its_name(tmp_path, damage):
    """Four parts, no traceback."""
    place = write(tmp_path / "f", {"config": {}, "tokenizer_config": {}}, "byte level")
    file, content, words = DAMAGES[damage]
    if isinstance(content, dict) and file == "tokenizer.json":
        content = json.loads((place / file).read_text()) | content
    content = json.dumps(content) if isinstance(content, dict) else content
    (place / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=words) as refused:
        foreign_vocabulary.read(str(place), "", "", 1000)
    assert refused.value.remedy and refused.value.got


@pytest.mark.parametrize("name", ["directory", "missing", "tiktoken", "noise", "char", "piece"])
def test_a_folder_without_a_tokenizer_that_can_be_read_says_what_it_holds(tmp_path, name):
    """A tiktoken file under the name of a SentencePiece model is called what it is, and so is an ordinary piece."""
    place = write(tmp_path / "f", {"config": {}})
    if name == "directory":
        (place / "tokenizer.json").mkdir()
        words = "no regular file"
    elif name == "missing":
        words = "tokenizer.json is missing"
    elif name == "piece":
        write(place, {"config": {}}, "byte level")
        with pytest.raises(InputError, match="an ordinary piece, which texts hold too"):
            foreign_vocabulary.read(str(place), "", "the", 1000)
        return
    else:
        contents = {"tiktoken": b"IQ== 0\nIg== 1\n", "noise": b"\xff" * 40}
        content = contents.get(name) or tiny_tokenizers.sentence_pieces("char")
        (place / "tokenizer.model").write_bytes(content)
        words = {"tiktoken": "a tiktoken file", "noise": "bytes of another kind", "char": "kind 4"}[name]
    with pytest.raises(InputError, match=words):
        foreign_vocabulary.read(str(place), "", "", 1000)


def test_the_table_of_classes_is_that_of_transformers():
    """A class, a default or a parameter of a new release stands in no table, and turns this red."""
    generic = {"TokenizersBackend", "PythonBackend", "PreTrainedTokenizerFast", "MistralCommonBackend"}
    registered = {name.removesuffix("Fast") for name in tokenization_auto.TOKENIZER_MAPPING_NAMES.values() if name}
    assert registered - generic <= tokenizer_class._OWN
    for family, name in tokenizer_class.REGISTERED.items():
        assert tokenization_auto.TOKENIZER_MAPPING_NAMES.get(family) in (name, "TokenizersBackend" if name else None)
    wrong = tokenization_auto.MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS
    assert {family for family in tokenizer_class.REGISTERED if family in wrong} == set(tokenizer_class._REGISTERED_WINS)
    plain = {"self", "vocab", "merges", "kwargs", "errors", "vocab_file", "merges_file"}
    for name, ours in tokenizer_class.CLASSES.items():
        theirs = inspect.signature(getattr(transformers, name).__init__).parameters
        defaults = {key: one.default for key, one in theirs.items() if key.endswith("_token") and one.default}
        assert ours.tokens == defaults, name
        known = {*plain, *tokenizer_files.READ, *tokenizer_files.WITHOUT_EFFECT}
        assert set(theirs) <= known, name


def test_every_setting_that_transformers_takes_stands_in_a_table():
    """Read from its source: a new release's new setting turns this red."""
    source = inspect.getsource(transformers.PreTrainedTokenizerBase.__init__)
    source += inspect.getsource(transformers.PreTrainedTokenizerFast.__init__)
    source += inspect.getsource(transformers.PreTrainedTokenizerBase._from_pretrained)
    taken = set(re.findall(r"kwargs\.(?:pop|get)\(\s*\"(\w+)\"", source))
    known = {*tokenizer_files.READ, *tokenizer_files.REFUSED, *tokenizer_files.WITHOUT_EFFECT}
    assert {key for key in taken - known if not key.startswith("_")} == set()
    assert len(taken) > 20
