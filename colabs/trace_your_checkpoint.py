# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Trace a checkpoint that you already have
#
# A model from elsewhere, a corpus, and a question: which passages pull the model towards this answer? Set `MODEL` to a
# Hugging Face folder (config.json, safetensors, tokenizer.json) or a GGUF file of a family that `docs/models.md` lists,
# and `PASSAGES` and `QUERIES` to your text. As it stands, the notebook makes a tiny random Llama by transformers, so
# that it runs anywhere in less than a minute; such a model knows nothing, and only the words of its passages guide it.
#
# The same by two commands: `python -m jax_tda.jobs.import_checkpoint`, then
# `launch/local/trackstar.sh CORPUS QUERIES OUT --checkpoint DIR`.

# %%
import json
import tempfile
from pathlib import Path

import numpy as np

import jax_tda
from jax_tda.core import machine
from jax_tda.data import tokenize
from jax_tda.data.corpus import open_corpus
from jax_tda.encoding import estimate_moments
from jax_tda.evaluation import answers
from jax_tda.models.checkpoint_artifact import open_checkpoint
from jax_tda.training import import_checkpoint

MODEL = ""
PASSAGES = [
    {"id": f"{town}/{number}", "text": wording.format(town=town, river=river)}
    for town, river in {"Lir": "Ova", "Mun": "Teth", "Sul": "Rhi", "Vok": "Dree", "Zad": "Quell", "Tos": "Elb"}.items()
    for number, wording in enumerate(
        ["The river of {town} is the {river}.", "{town} lies on the {river}.", "Boats reach {town} by the {river}."]
    )
]
QUERIES = [
    {"id": "lir", "prompt": "Through Lir flows the", "target": " Ova", "gold": [f"Lir/{n}" for n in range(3)]},
    {"id": "vok", "prompt": "Through Vok flows the", "target": " Dree", "gold": [f"Vok/{n}" for n in range(3)]},
    {"id": "zad", "prompt": "Through Zad flows the", "target": " Quell", "gold": [f"Zad/{n}" for n in range(3)]},
]
machine.announce()
room = Path(tempfile.mkdtemp(prefix="trace_"))


# %%
def tiny_random_llama(folder):
    """A random model of two layers and a byte-level tokenizer, saved as every Hugging Face folder is."""
    import tokenizers
    import torch
    import transformers

    cut = tokenizers.Tokenizer(tokenizers.models.BPE())
    cut.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    cut.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=360, special_tokens=["<end>"], initial_alphabet=alphabet, show_progress=False
    )
    cut.train_from_iterator([row["text"] for row in PASSAGES], trainer)
    transformers.PreTrainedTokenizerFast(tokenizer_object=cut, eos_token="<end>").save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = transformers.LlamaConfig(
        vocab_size=360, num_key_value_heads=2, max_position_embeddings=128, tie_word_embeddings=True, **shape
    )
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return str(folder)


model = MODEL or tiny_random_llama(room / "model")

# %% [markdown]
# ## 1. Import
#
# The plan names the tensor that every parameter comes from. A tensor without a place, a missing shard, a configuration
# that the decoder cannot follow: each is refused by name.

# %%
config = import_checkpoint.ImportCheckpointConfig(model=model)
print(import_checkpoint.plan(config, "the checkpoint"))
checkpoint = str(room / "checkpoint")
import_checkpoint.run(config, output=checkpoint)

# %% [markdown]
# ## 2. Text, by the model's own tokenizer
#
# What does the model answer already, and how likely does it find each target?

# %%
for name, rows in {"passages": PASSAGES, "queries": QUERIES}.items():
    (room / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    source = str(room / f"{name}.jsonl")
    tokenize.run(
        tokenize.TokenizeConfig(source=source, kind=name, vocabulary=checkpoint), output=str(room / f"tokens_{name}")
    )
corpus, asked = str(room / "tokens_passages"), str(room / "tokens_queries")
told = answers.run(answers.AnswerConfig(queries=asked, checkpoint=checkpoint), output=str(room / "answers"))
for row in told.read_lines("answers.jsonl"):
    print(f"{row['query_id']}: log p {row['target_log_probability']:.2f}, likeliest {row['likeliest']!r}")

# %% [markdown]
# ## 3. Second moments
#
# A foreign checkpoint brings no optimizer state. $V$ is estimated as the mean of squared gradients of batches, as
# that of Adam is; on a real corpus take more and larger batches.

# %%
estimate_moments.run(
    estimate_moments.EstimateSecondMomentsConfig(
        checkpoint=checkpoint, examples=corpus, batches=8, batch_size=8, buckets=1
    ),
    output=str(room / "moments"),
)

# %% [markdown]
# ## 4. Encodings
#
# Every attention and MLP matrix of every layer is encoded; `route` says whether by the fast path, which never forms the
# gradient of a weight.

# %%
stored = open_checkpoint(checkpoint)
encoder = jax_tda.Encoder(
    stored.model, stored.params(), estimate_moments.read(str(room / "moments"), stored), projected_size=16
)
for matrix in encoder.plan.matrices:
    print(f"{matrix.route:7}{matrix.path} {matrix.shape}")


def encoded(path):
    """The encodings of all of a small corpus."""
    opened = open_corpus(path)
    return encoder.encode(opened.examples(np.arange(opened.count), opened.longest, opened.count))


train, query = encoded(corpus), encoded(asked)

# %% [markdown]
# ## 5. Proponents
#
# The passages whose gradients point the query's way. With so few passages there is no curvature to speak of; the road
# estimates and mixes it.

# %%
ids, texts = open_corpus(corpus).ids, {row["id"]: row["text"] for row in PASSAGES}
proponents, opponents = jax_tda.rank(train, query, None, k=4)
for place, row in enumerate(QUERIES):
    print(f"\n{row['prompt']} …{row['target']}")
    for which, score in zip(proponents[0][place], proponents[1][place], strict=True):
        name = ids[which]
        right = "✓" if name.partition("#")[0] in row["gold"] else " "
        print(f"  {score:+.3f} {right} {texts[name.partition('#')[0]]}")
