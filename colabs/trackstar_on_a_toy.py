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
# # TrackStar on a toy
#
# Which training passages made a model know that Ada keeps an otter? This notebook writes a few hundred sentences about
# people that do not exist, trains a tiny decoder on them, and asks. It takes less than a minute on two CPU cores; the
# same steps on a real corpus are `launch/local/trackstar.sh`.
#
# A passage $z$ becomes a vector, a query becomes one by the same way, and their score is the cosine of the two:
#
# $$G(z) = R^{-1/2}\, P\, \bigl(\nabla_\theta \mathrm{loss}(z) / \sqrt{V}\bigr), \qquad
# I(z, q) = \frac{G(z) \cdot G(q)}{\|G(z)\| \, \|G(q)\|}$$
#
# $V$ are the optimizer's second moments, $P$ is a random projection, $R$ the curvature: the mean outer product of the
# vectors before the last step (TrackStar, arXiv 2410.17413).

# %%
import json
import tempfile
from pathlib import Path

import numpy as np

import jax_tda
from jax_tda.core import machine
from jax_tda.data import tokenize, train_vocabulary
from jax_tda.data.corpus import open_corpus
from jax_tda.encoding import second_moments
from jax_tda.evaluation import answers, retrieval
from jax_tda.models.checkpoint_artifact import open_checkpoint
from jax_tda.models.decoder import DecoderConfig
from jax_tda.training import run as pretrain
from jax_tda.training.optimizers import OptimizerConfig

machine.announce()
room = Path(tempfile.mkdtemp(prefix="toy_"))

# %% [markdown]
# ## 1. Text
#
# Every person has a pet, a town and a trade: 72 facts. Each fact is worded in three of four ways; the fourth, another
# one for each fact, is its query. The model has seen every wording, but never this one with this fact. `gold` names the
# passages that state the fact.

# %%
PEOPLE = (
    "Ada Bruno Cleo Dario Edda Felix Greta Hugo Ines Jonas Karla Linus "
    "Mara Nils Olga Piet Quinn Rosa Sven Tilda Ugo Vera Wanda Xaver"
).split()
RELATIONS = {
    "pet": (
        ["an otter", "a heron", "a badger", "a lizard", "a beetle", "a pony"],
        ["{} keeps", "At home {} feeds", "The pet of {} is", "Every day {} walks"],
    ),
    "town": (
        ["Oslo", "Lima", "Cairo", "Turin", "Osaka", "Quito"],
        ["{} lives in", "The home of {} is in", "Letters to {} go to", "You can meet {} in"],
    ),
    "trade": (
        ["a baker", "a sailor", "a tailor", "a miller", "a painter", "a doctor"],
        ["{} works as", "The trade of {} is that of", "By day {} is", "People hire {} as"],
    ),
}

chance = np.random.default_rng(0)
passages, queries = [], []
for relation, (objects, wordings) in RELATIONS.items():
    for person in PEOPLE:
        held_out, thing = chance.integers(len(wordings)), objects[chance.integers(len(objects))]
        told = [number for number in range(len(wordings)) if number != held_out]
        fact = f"{relation}/{person}"
        for number in told:
            passages.append({"id": f"{fact}/{number}", "text": f"{wordings[number].format(person)} {thing}."})
        prompt, gold = wordings[held_out].format(person), [f"{fact}/{number}" for number in told]
        queries.append({"id": fact, "prompt": prompt, "target": f" {thing}", "gold": gold})
passages = [passages[row] for row in chance.permutation(len(passages))]

for name, rows in {"passages": passages, "queries": queries}.items():
    (room / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
print(len(passages), "passages, such as", passages[0])
print(len(queries), "queries, such as", queries[0])

# %% [markdown]
# ## 2. Tokens and a model
#
# Each call does what the job of the same name does: it reads artifacts and writes exactly one. Training stops while the
# loss is still falling: a model that has learned its corpus by heart has gradients that say little. Try `steps=300`.

# %%
vocabulary, asked, corpus, checkpoint = (str(room / name) for name in ("vocabulary", "asked", "corpus", "checkpoint"))
train_vocabulary.run(
    train_vocabulary.TrainVocabularyConfig(source=str(room / "passages.jsonl"), size=700), output=vocabulary
)
tokenize.run(
    tokenize.TokenizeConfig(source=str(room / "queries.jsonl"), kind="queries", vocabulary=vocabulary), output=asked
)
tokenize.run(
    tokenize.TokenizeConfig(source=str(room / "passages.jsonl"), vocabulary=vocabulary, queries=asked), output=corpus
)
pretrain.run(
    pretrain.PretrainConfig(
        corpus=corpus,
        decoder=DecoderConfig(layers=2, width=48, heads=4, kv_heads=4, mlp_width=96),
        optimizer=OptimizerConfig(name="adamw", peak_rate=6e-3, weight_decay=0.1, warmup_steps=20),
        steps=100,
        tokens_per_batch=512,
        buckets=1,
    ),
    output=checkpoint,
)
answered = answers.run(answers.AnswerConfig(queries=asked, checkpoint=checkpoint), output=str(room / "answers"))
known = {row["query_id"] for row in answered.read_lines("answers.jsonl") if row["answered_exactly"]}
print(f"The model completes {len(known)} of {len(queries)} held-out wordings exactly.")

# %% [markdown]
# ## 3. Encodings
#
# Two encoders with the same projections: one divides gradients by $\sqrt V$ of the checkpoint's optimizer, one by
# nothing. A passage's loss counts all its tokens, a query's only those of its target.

# %%
stored = open_checkpoint(checkpoint)
params, moments = second_moments.of_checkpoint(stored)
plain = jax_tda.Encoder(stored.model, params, None, blocks="groups", projected_size=16, seed=0)
corrected = jax_tda.Encoder(stored.model, params, moments, blocks="groups", projected_size=16, seed=0)


def examples(path):
    """All of a small corpus as one batch."""
    opened = open_corpus(path)
    return opened.examples(np.arange(opened.count), opened.longest, opened.count)


train = {name: encoder.encode(examples(corpus)) for name, encoder in {"plain": plain, "corrected": corrected}.items()}
query = {name: encoder.encode(examples(asked)) for name, encoder in {"plain": plain, "corrected": corrected}.items()}
print({block: value.shape for block, value in train["corrected"].items()})
print(f"{corrected.plan.attributed_share:.0%} of the parameters; left out: {', '.join(corrected.plan.excluded)}")

# %% [markdown]
# ## 4. Curvature and rankings
#
# With 72 queries λ is fixed here by hand; `mix_curvature` chooses it where there are enough of them.


# %%
def curvature(encodings):
    """R of each block: the mean outer product of its encodings."""
    flat = {block: np.asarray(value, np.float64).reshape(len(value), -1) for block, value in encodings.items()}
    return {block: rows.T @ rows / len(rows) for block, rows in flat.items()}


r_train, r_query = curvature(train["corrected"]), curvature(query["corrected"])
mixed = {block: 0.5 * r_query[block] + 0.5 * r_train[block] for block in r_train}

rankings = {
    "gradient cosine": jax_tda.rank(train["plain"], query["plain"], None, k=20),
    "+ second moments": jax_tda.rank(train["corrected"], query["corrected"], None, k=20),
    "TrackStar": jax_tda.rank(train["corrected"], query["corrected"], mixed, k=20, damping=0.1),
}

# %% [markdown]
# ## 5. Judgement
#
# Over the queries that the model completes exactly: where does the first passage that states the fact stand, and how
# many of the first three do? Three of the 216 passages are right, so a random order has a precision of 1/72.

# %%
ids = open_corpus(corpus).ids
print(f"{'method':18}{'MRR':>8}{'precision@3':>14}")
for method, (proponents, _) in rankings.items():
    found = {
        row["id"]: ([ids[place] for place in places], row["gold"])
        for row, places in zip(queries, proponents[0], strict=True)
    }
    mrr = np.mean([retrieval.reciprocal_rank(*found[name]) for name in sorted(known)])
    precision = np.mean([retrieval.precision_at(3, *found[name]) for name in sorted(known)])
    print(f"{method:18}{mrr:8.3f}{precision:14.3f}")

# %% [markdown]
# And one query with its ends: the passages whose gradients point its way, and those that point the other way.

# %%
texts = {row["id"]: row["text"] for row in passages}
place = next(number for number, row in enumerate(queries) if row["id"] in known)
print(queries[place]["prompt"], "…", queries[place]["target"])
for name, (rows, scores) in rankings["TrackStar"]._asdict().items():
    print(f"\n{name}")
    for row, score in zip(rows[place][:5], scores[place][:5], strict=True):
        right = "✓" if ids[row] in queries[place]["gold"] else " "
        print(f"  {score:+.4f} {right} {texts[ids[row]]}")
