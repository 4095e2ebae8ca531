"""Which tokenizer class transformers 5 takes for a folder, and what that class puts in the place of tokenizer.json's.

A class of its own keeps a file's pieces, merges and added tokens, and cuts text in its own way, whatever the file says.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from jax_tda.data.tokenizer_files import TOKENIZER_FILE, Token, TokenizerFiles

# The class that follows tokenizer.json in everything; names that transformers does not know become it.
GENERIC = "TokenizersBackend"
# The class that transformers registers for an architecture; mistral's is its own only beside a tekken.json.
REGISTERED = {
    "llama": None,
    "mistral": "MistralCommonBackend",
    "qwen2": "Qwen2Tokenizer",
    "qwen3": "Qwen2Tokenizer",
    "gemma2": "GemmaTokenizer",
    "gemma3": "GemmaTokenizer",
    "gemma3_text": "GemmaTokenizer",
    "gpt2": "GPT2Tokenizer",
    "gpt_neox": "GPTNeoXTokenizer",
    "olmo2": GENERIC,
    "bert": "BertTokenizer",
}
# Architectures whose folders name a wrong class, so that the registered one is taken.
_REGISTERED_WINS = ("qwen2",)
_QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?%s+|\p{N}| ?[^\s%s\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# Every class of transformers 5 that has a way of its own, without the ending Tokenizer; any other name is generic.
_OWN = frozenset(
    name + "Tokenizer"
    for name in (
        "Albert Bart Barthez Bartpho Basic Bert BertGeneration BertJapanese Bertweet BigBird BioGpt Blenderbot "
        "BlenderbotSmall ByT5 Camembert Canine Character CLIP Clvp CodeGen CodeLlama Cohere ConvBert Cpm CpmAnt "
        "CTRL Deberta DebertaV2 Dia DistilBert DPRContextEncoder DPRQuestionEncoder DPRReader Electra Esm Esmc "
        "FastSpeech2Conformer Flaubert FNet FSMT Funnel Gemma GPT2 GPTNeoX GPTNeoXJapanese GPTSw3 Herbert Lasr "
        "LayoutLM LayoutLMv2 LayoutLMv3 LayoutXLM LED Llama Longformer Luke Lxmert M2M100 Marian MarkupLM MBart "
        "MBart50 Mecab Mgpstr MLuke MobileBert MPNet Mvp MyT5 Nllb Nougat OpenAIGPT Parakeet Pegasus Perceiver "
        "Phobert PLBart Pop2Piano ProphetNet Qwen2 Qwen3_5 Rag Reformer RemBert Roberta RoCBert RoFormer "
        "SeamlessM4T Siglip Siglip2 Speech2Text SpeechT5 Splinter SqueezeBert T5 Tapas Tipsv2 Udop VideoPrism Vits "
        "Wav2Vec2CTC Wav2Vec2PhonemeCTC Whisper Wordpiece XGLM XLM XLMRoberta XLNet"
    ).split()
)
_END = "<|endoftext|>"

Settings = Mapping[str, Any]
Stage = dict[str, Any] | None


@dataclasses.dataclass(frozen=True)
class TokenizerClass:
    """What a class of transformers makes of a vocabulary.

    Attributes:
      tokens: the special tokens that it has where the folder names none.
      model: of tokenizer.json's `model`, all but vocabulary and merges.
      normalizer, pre_tokenizer, decoder: as tokenizer.json writes them, given the folder's settings.
      template: whether it replaces what the file adds around a text by [CLS] and [SEP].
      again: "plain" or "special" where it adds its special tokens a second time, in that way.
      prefix: its own `add_prefix_space`.
    """

    tokens: Mapping[str, str]
    model: Callable[[Settings], dict[str, Any]]
    normalizer: Callable[[Settings], Stage]
    pre_tokenizer: Callable[[Settings], Stage]
    decoder: Callable[[Settings], Stage]
    template: bool = False
    again: str = ""
    prefix: bool = False


def class_of(files: TokenizerFiles) -> str:
    """The name of the class that `AutoTokenizer.from_pretrained` takes for a folder."""
    settings, config = files.settings, files.model_config
    architecture = config.get("model_type")
    registered = REGISTERED.get(architecture) if isinstance(architecture, str) else None
    named = settings.get("tokenizer_class") or config.get("tokenizer_class")
    if named is not None and not isinstance(named, str):
        raise files.refused("config.json", "tokenizer_class", repr(named), "the name of a class")
    plain = named.removesuffix("Fast") if named else None
    if plain == "LlamaTokenizer" and registered != "MistralCommonBackend" and architecture not in _REGISTERED_WINS:
        if files.has(TOKENIZER_FILE) and b'"ByteLevel"' in files.content(TOKENIZER_FILE):
            return GENERIC
    if plain and registered and plain != registered:
        if registered in (GENERIC, "MistralCommonBackend"):
            return GENERIC
        return _known(registered if architecture in _REGISTERED_WINS else plain)
    if plain:
        return _known(plain)
    return GENERIC if registered in (None, "MistralCommonBackend") else registered


def _known(name: str) -> str:
    return name if name in _OWN else GENERIC


def _prefix(settings: Settings) -> bool:
    return bool(settings["add_prefix_space"])


def _scheme(settings: Settings) -> str:
    """Where SentencePiece's prefix space stands: before every stretch between added tokens, the first, or none."""
    return "never" if not _prefix(settings) else "always" if settings.get("legacy", False) else "first"


def byte_level(prefix: bool, whole: bool) -> dict[str, Any]:
    """Bytes as characters; `whole` cuts as GPT-2 does first."""
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": whole}


def split(pattern: str, behavior: str = "Isolated") -> dict[str, Any]:
    """A cut at a regular expression."""
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": False}


def sequence(kind: str, *stages: dict[str, Any]) -> dict[str, Any]:
    """Stages one after another: `normalizers`, `pretokenizers` or `decoders`."""
    return {"type": "Sequence", kind: list(stages)}


def replace(pattern: str, content: str) -> dict[str, Any]:
    """A string for another."""
    return {"type": "Replace", "pattern": {"String": pattern}, "content": content}


def merges(**more: Any) -> dict[str, Any]:
    """Byte-pair encoding without its vocabulary."""
    return {"type": "BPE", "dropout": None, "unk_token": None, "fuse_unk": False, "byte_fallback": False} | more


_SUBWORDS = {"continuing_subword_prefix": "", "end_of_word_suffix": ""}
_NFC = {"type": "NFC"}
_SPACES = (replace("▁", " "), {"type": "ByteFallback"}, {"type": "Fuse"})
_STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}


def _name(token: Token | None) -> str:
    # As Python writes a token that is not there: such a class looks up its name.
    return token.content if token else "None"


def _qwen(letters: str, again: str) -> TokenizerClass:
    return TokenizerClass(
        {"unk_token": _END, "eos_token": _END, "pad_token": _END},
        lambda s: merges(**_SUBWORDS),
        lambda s: _NFC,
        lambda s: sequence(
            "pretokenizers",
            split(_QWEN % (letters if letters == r"\p{L}" else f"[{letters}]", letters)),
            byte_level(_prefix(s), False),
        ),
        lambda s: byte_level(True, True),
        again=again,
    )


# The classes that are followed. Another one that transformers has is refused by its name.
CLASSES: dict[str, TokenizerClass] = {
    "GPT2Tokenizer": TokenizerClass(
        {"unk_token": _END, "bos_token": _END, "eos_token": _END},
        lambda s: merges(**_SUBWORDS),
        lambda s: None,
        lambda s: byte_level(_prefix(s), True),
        lambda s: byte_level(True, True),
    ),
    "GPTNeoXTokenizer": TokenizerClass(
        {"unk_token": _END, "bos_token": _END, "eos_token": _END, "pad_token": "<|padding|>"},
        lambda s: merges(**_SUBWORDS),
        lambda s: _NFC,
        lambda s: byte_level(_prefix(s), True),
        lambda s: byte_level(True, True),
    ),
    "Qwen2Tokenizer": _qwen(r"\p{L}", "plain"),
    "Qwen3_5Tokenizer": _qwen(r"\p{L}\p{M}", ""),
    "CohereTokenizer": TokenizerClass(
        {
            "unk_token": "<UNK>",
            "bos_token": "<BOS_TOKEN>",
            "eos_token": "<|END_OF_TURN_TOKEN|>",
            "pad_token": "<PAD>",
            "cls_token": "<CLS>",
            "sep_token": "<SEP>",
            "mask_token": "<MASK_TOKEN>",
        },
        lambda s: merges(**_SUBWORDS),
        lambda s: _NFC,
        lambda s: sequence(
            "pretokenizers", {"type": "Digits", "individual_digits": True}, byte_level(_prefix(s), True)
        ),
        lambda s: byte_level(_prefix(s), True),
        again="special",
    ),
    "LlamaTokenizer": TokenizerClass(
        {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"},
        lambda s: merges(fuse_unk=True, byte_fallback=True),
        lambda s: None,
        lambda s: {"type": "Metaspace", "replacement": "▁", "prepend_scheme": _scheme(s), "split": False},
        lambda s: sequence("decoders", *_SPACES, *([_STRIP] if _prefix(s) else [])),
        prefix=True,
    ),
    "GemmaTokenizer": TokenizerClass(
        {
            "unk_token": "<unk>",
            "bos_token": "<bos>",
            "eos_token": "<eos>",
            "pad_token": "<pad>",
            "mask_token": "<mask>",
        },
        lambda s: merges(fuse_unk=True, byte_fallback=True, unk_token=_name(s["unk_token"])),
        lambda s: replace(" ", "▁"),
        lambda s: {
            "type": "Split",
            "pattern": {"String": " "},
            "behavior": "MergedWithPrevious",
            "invert": False,
        },
        lambda s: sequence("decoders", *_SPACES),
    ),
    "BertTokenizer": TokenizerClass(
        {
            "unk_token": "[UNK]",
            "sep_token": "[SEP]",
            "pad_token": "[PAD]",
            "cls_token": "[CLS]",
            "mask_token": "[MASK]",
        },
        lambda s: {
            "type": "WordPiece",
            "unk_token": _name(s["unk_token"]),
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
        },
        lambda s: {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": s.get("tokenize_chinese_chars", True),
            "strip_accents": s.get("strip_accents"),
            "lowercase": s.get("do_lower_case", True),
        },
        lambda s: {"type": "BertPreTokenizer"},
        lambda s: {"type": "WordPiece", "prefix": "##", "cleanup": True},
        template=True,
    ),
}
