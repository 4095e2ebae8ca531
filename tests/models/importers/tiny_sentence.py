"""Random sentence encoders, made by transformers and laid out as the library sentence-transformers does."""

import json

import tokenizers
import torch
import transformers

from tests.data.tiny_tokenizers import NASTY

LONG = "an otter swims, a heron stands; " * 40
TEXTS = [
    NASTY,
    "a",
    "The capital of Mongolia is Ulaanbaatar.",
    "[CLS] [MASK] [SEP] ",
    LONG,
    "123 + 4 = ?",
    "東京 \u0301",
    "ok",
]
BERT = {
    "vocab_size": 130, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24,
    "max_position_embeddings": 40, "attn_implementation": "eager",
}  # fmt: skip


def word_pieces():
    """A tokenizer of BERT's kind, trained on the texts."""
    made = tokenizers.BertWordPieceTokenizer()
    made.train_from_iterator([*TEXTS, "the end is here"] * 2, vocab_size=130, show_progress=False)
    return made


def folder_of(place, pooling="mean", normalize=True, longest=24, **changes):
    """A random BERT as the library sentence-transformers lays it out, every parameter moved from where it starts."""
    torch.manual_seed(0)
    model = transformers.BertModel(transformers.BertConfig(**BERT | changes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.mean() + 0.2 * torch.randn(parameter.shape))
    model.save_pretrained(place)
    transformers.BertTokenizerFast(tokenizer_object=word_pieces()._tokenizer).save_pretrained(place)
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalize else [])]
    modules = [
        {"type": f"sentence_transformers.models.{kind}", "path": kind if place_ else ""}
        for place_, kind in enumerate(kinds)
    ]
    (place / "modules.json").write_text(json.dumps(modules))
    (place / "Pooling").mkdir()
    flags = {f"pooling_mode_{name}": name.startswith(pooling) for name in ("cls_token", "mean_tokens", "max_tokens")}
    (place / "Pooling/config.json").write_text(json.dumps(flags))
    (place / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": longest}))
    return place
