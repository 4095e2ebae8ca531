"""The beginning of a road, small enough for a test: byte vocabulary, a corpus, queries, and a model of some steps."""

import json
from pathlib import Path

from jax_tda.data import tokenize, train_vocabulary
from jax_tda.models.decoder import DecoderConfig
from jax_tda.training import run as training
from jax_tda.training.optimizers import OptimizerConfig

DECODER = DecoderConfig(layers=2, width=8, heads=2, kv_heads=1, mlp_width=8, tied=False)
OPTIMIZER = OptimizerConfig(name="adamw", peak_rate=1e-2, warmup_steps=1)


def write_lines(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def passages(count: int) -> list[dict]:
    return [{"id": f"p{i}", "text": f"{'it' * (i % 3)} {i} is {i * i}"} for i in range(count)]


def queries(count: int) -> list[dict]:
    return [{"id": f"q{i}", "prompt": f"{i} is", "target": f" {i * i}", "gold": [f"p{i}"]} for i in range(count)]


def tokenized(place: Path, name: str, rows: list[dict], kind: str = "passages", context: int = 24) -> str:
    """A corpus artifact at `place/name`, by the byte vocabulary at `place/vocabulary`."""
    train_vocabulary.run(train_vocabulary.TrainVocabularyConfig(kind="bytes"), str(place / "vocabulary"))
    source = write_lines(place / f"{name}.jsonl", rows)
    config = tokenize.TokenizeConfig(source=source, kind=kind, vocabulary=str(place / "vocabulary"), context=context)
    tokenize.run(config, str(place / name))
    return str(place / name)


def trained(place: Path, corpus: str, seed: int = 0) -> str:
    """A checkpoint artifact at `place/checkpoint_SEED`."""
    output = str(place / f"checkpoint_{seed}")
    config = training.PretrainConfig(
        corpus=corpus,
        decoder=DECODER,
        optimizer=OPTIMIZER,
        steps=3,
        tokens_per_batch=128,
        buckets=1,
        seed=seed,
        save_every=0,
    )
    training.run(config, output)
    return output
