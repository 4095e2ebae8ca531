"""pretrain: from a tokenized corpus to a checkpoint with its optimizer state."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from jax_tda.artifacts.artifact import Reader, begin
from jax_tda.core import mesh as meshes
from jax_tda.core.config import input_path, machine, settings
from jax_tda.core.declared import declared
from jax_tda.core.mesh import MeshConfig
from jax_tda.core.quantities import Buckets, Path, Seed, Steps, StepsOrNone, TokensAtOnce
from jax_tda.data import train_vocabulary
from jax_tda.data.corpus import open_corpus
from jax_tda.models import checkpoint_artifact, checkpoints
from jax_tda.models.decoder import Decoder, DecoderConfig
from jax_tda.models.own_model import OwnModel, OwnModelConfig, built
from jax_tda.training.batches import TrainingBatches
from jax_tda.training.loop import TrainingConfig, train
from jax_tda.training.optimizers import OptimizerConfig


@dataclasses.dataclass(frozen=True)
@declared("pretrain")
class PretrainConfig:
    """What is trained, on what, for how long.

    Args:
      corpus: the tokenized corpus.
      initial: a checkpoint whose model training goes on from, with a new optimizer; empty for a fresh model.
      decoder: the fresh model; its vocabulary size is taken from the corpus.
      optimizer: the optimizer and its schedule.
      steps: updates.
      tokens_per_batch: padded tokens per update.
      buckets: how many padded lengths; each costs a compilation.
      seed: of initial parameters and of the order of examples.
      log_every: steps between printed losses.
      save_every: steps between checkpoints that a killed run can go on from.
      own_model: the user's own code that makes the model, where it is no decoder.
      mesh: how devices share the work.
    """

    corpus: Path = input_path(required=True)
    initial: Path = input_path()
    decoder: DecoderConfig = dataclasses.field(default_factory=DecoderConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    steps: Steps = 3000
    tokens_per_batch: TokensAtOnce = 512
    buckets: Buckets = 3
    seed: Seed = 0
    log_every: Steps = machine(100)
    save_every: StepsOrNone = machine(500)
    own_model: OwnModelConfig = machine(OwnModelConfig())
    mesh: MeshConfig = machine(MeshConfig())


def plan(config: PretrainConfig, output: str) -> str:
    """What the job would do, and its cost: 6 FLOPs per parameter and token."""
    model = _model(config, _initial(config), config.decoder.vocabulary_size)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 2), jnp.int32)))
    vocabulary = (
        f"vocabulary {model.config.vocabulary_size:,}" if isinstance(model, Decoder) else config.own_model.build
    )
    count = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes))
    flops = 6 * count * config.tokens_per_batch * config.steps
    return (
        f"pretrain: {count:,} parameters ({vocabulary}), {config.optimizer.name}, "
        f"{config.steps:,} steps of {config.tokens_per_batch:,} tokens, about {flops:.2g} FLOPs → {output}"
    )


def _initial(config: PretrainConfig) -> checkpoint_artifact.Checkpoint | None:
    """The checkpoint that training goes on from."""
    return checkpoint_artifact.open_checkpoint(config.initial, config.own_model) if config.initial else None


def _model(
    config: PretrainConfig, initial: checkpoint_artifact.Checkpoint | None, vocabulary_size: int
) -> Decoder | OwnModel:
    """The model that is trained."""
    if initial:
        return initial.own_model or initial.decoder
    if config.own_model.build:
        return built(config.own_model)
    return Decoder(dataclasses.replace(config.decoder, vocabulary_size=vocabulary_size))


def run(config: PretrainConfig, output: str) -> Reader:
    """Writes the checkpoint artifact; a killed run goes on from its latest complete step."""
    corpus = open_corpus(config.corpus)
    facts, inputs = corpus.reader.manifest.facts, {"corpus": corpus.reader}
    initial = _initial(config)
    if initial:
        checkpoint_artifact.check_fits(initial.reader, corpus.reader)
        inputs["initial"] = initial.reader
    model = _model(config, initial, facts["vocabulary_size"])
    if isinstance(model, OwnModel):
        model.demand_vocabulary(facts["vocabulary_size"])
        described = settings(config) | {"decoder": None, "own_model": model.described}
    else:
        described = settings(dataclasses.replace(config, decoder=model.config))
    writer = begin(output, checkpoint_artifact.KIND, described, inputs)
    if isinstance(writer, Reader):
        return writer
    training = TrainingConfig(config.steps, config.seed, config.log_every, 0, config.save_every)
    scratch, mesh = writer.scratch(), meshes.make_mesh(config.mesh)
    batches = TrainingBatches(corpus, config.buckets, config.tokens_per_batch, config.seed, mesh.shape[meshes.DATA])
    seen: dict[str, float] = {}
    state = train(
        model,
        config.optimizer,
        training,
        batches.batch,
        mesh=mesh,
        weights=config.mesh.weights,
        initial=functools.partial(initial.params, initial.layout(mesh, config.mesh.weights)) if initial else None,
        progress_directory=str(scratch),
        scalars_directory=str(writer.path / "scalars"),
        log=lambda _, numbers: seen.update(numbers),
    )
    checkpoints.save_again(str(writer.path / "state"), state._asdict())
    checkpoint_artifact.write_model(writer, model)
    writer.write_json("optimizer.json", settings(config.optimizer) | {"steps": config.steps})
    train_vocabulary.write(writer, corpus.vocabulary)
    return writer.finish(
        {
            "context": corpus.context,
            "step": int(state.step),
            "parameters": sum(int(leaf.size) for leaf in jax.tree.leaves(state.params)),
            # Of the last step: what is the same however often the run was looked at, saved or stopped.
            "final_loss": seen.get("last_loss"),
            "vocabulary": facts["vocabulary"],
        }
    )
