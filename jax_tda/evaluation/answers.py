"""answer: which queries the model answers exactly, and how likely it finds each target."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np

from jax_tda.artifacts.artifact import Reader, begin, open_artifact
from jax_tda.artifacts.together import by_first
from jax_tda.core import mesh as meshes
from jax_tda.core.config import input_path, machine, settings
from jax_tda.core.declared import declared
from jax_tda.core.mesh import MeshConfig
from jax_tda.core.progress import Progress
from jax_tda.core.quantities import Path, TokensAtOnce
from jax_tda.data import corpus as corpora
from jax_tda.data.batches import bucket_lengths, sweep
from jax_tda.models import checkpoint_artifact, likelihood
from jax_tda.models.own_model import OwnModelConfig, code_of

KIND = "answers"


@dataclasses.dataclass(frozen=True)
@declared("answer")
class AnswerConfig:
    """Which queries, which model.

    Args:
      queries: the tokenized queries.
      checkpoint: the model.
      before: the model that `checkpoint` was trained on from; every target's gain over it is then told.
      tokens_per_batch: padded tokens at once.
      own_model: the user's own code that makes the model, where it is no decoder.
      mesh: how devices share the work.
    """

    queries: Path = input_path(required=True)
    checkpoint: Path = input_path(required=True)
    before: Path = input_path()
    tokens_per_batch: TokensAtOnce = 4096
    own_model: OwnModelConfig = machine(OwnModelConfig())
    mesh: MeshConfig = machine(MeshConfig())


def plan(config: AnswerConfig, output: str) -> str:
    """What the job would do."""
    return f"answer: greedy answers of {config.checkpoint} to {config.queries} → {output}"


@by_first
def run(config: AnswerConfig, output: str) -> Reader:
    """Writes the answers artifact: `answers.jsonl`, a line per query.

    With `before`, `gain` is log p(target given prompt) now minus then.
    """
    queries = corpora.open_corpus(config.queries)
    inputs = {"queries": queries.reader, "checkpoint": open_artifact(config.checkpoint, checkpoint_artifact.KIND)}
    if config.before:
        inputs["before"] = open_artifact(config.before, checkpoint_artifact.KIND)
    for made in [reader for name, reader in inputs.items() if name != "queries"]:
        checkpoint_artifact.check_fits(made, queries.reader)
    writer = begin(output, KIND, settings(config) | code_of(config.own_model), inputs)
    if isinstance(writer, Reader):
        return writer
    checkpoint = checkpoint_artifact.open_checkpoint(config.checkpoint, config.own_model)
    exact, log_p, guesses = _judge(checkpoint, queries, config)
    gains: list[dict[str, float]] = [{} for _ in queries.ids]
    if config.before:
        before = checkpoint_artifact.open_checkpoint(config.before, config.own_model)
        gained = log_p - _judge(before, queries, config)[1]
        gains = [{"gain": float(gain)} for gain in gained]
    vocabulary = queries.vocabulary
    writer.write_lines(
        "answers.jsonl",
        (
            {
                "query_id": name,
                "answered_exactly": bool(exact[row]),
                "target_log_probability": float(log_p[row]),
                "likeliest": vocabulary.decode(guesses[row]),
            }
            | gains[row]
            for row, name in enumerate(queries.ids)
        ),
    )
    facts = {
        "queries": queries.count,
        "answered_exactly": int(exact.sum()),
        "checkpoint": inputs["checkpoint"].manifest.digest,
    }
    if config.before:
        facts["gained"] = sum(row["gain"] > 0 for row in gains)
        print(f"answer: {facts['gained']:,} of {queries.count:,} targets gained probability")
    return writer.finish(facts)


def _judge(
    checkpoint: checkpoint_artifact.Checkpoint, queries: corpora.Corpus, config: AnswerConfig
) -> tuple[np.ndarray, np.ndarray, list[list[int]]]:
    mesh = meshes.make_mesh(config.mesh)
    model, params = checkpoint.on(mesh, config.mesh.weights)
    groups = mesh.shape[meshes.DATA]

    @functools.partial(jax.jit, out_shardings=meshes.replicated(mesh))
    def judge(params: Any, tokens: jax.Array, weights: jax.Array) -> Any:
        logits: Any = model.apply({"params": params}, tokens)
        return (
            likelihood.answered_exactly(logits, tokens, weights),
            likelihood.target_log_probability(logits, tokens, weights),
            logits.argmax(-1),
        )

    lengths = queries.spans[:, 0]
    exact, log_p = np.zeros(queries.count, bool), np.zeros(queries.count, np.float32)
    guesses: list[list[int]] = [[] for _ in range(queries.count)]
    progress = Progress("answer", queries.count, "queries")
    for rows, length, size in sweep(
        np.arange(queries.count), lengths, bucket_lengths(lengths, 2), config.tokens_per_batch
    ):
        batch = meshes.shard_batch(mesh, queries.examples(rows, length, -(-size // groups) * groups))
        right, likely, best = jax.device_get(judge(params, batch["tokens"], batch["loss_weights"]))
        exact[rows], log_p[rows] = right[: len(rows)], likely[: len(rows)]
        for place, row in enumerate(rows):
            stop, start = queries.spans[row]
            # The logits at position t − 1 speak of the token at t, given the true tokens before it.
            guesses[row] = best[place, start - 1 : stop - 1].tolist()
        progress.advance(len(rows))
    return exact, log_p, guesses
