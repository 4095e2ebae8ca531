"""estimate_second_moments: V for a checkpoint that has no optimizer state, as an artifact that `encode` takes.

V = mean over batches of (∂/∂W mean loss of the batch)². Adam's second moments are those of BATCH gradients: with batch
size B they are near (∇ of the mean)² + variance / B, so the batch size decides them and is always said.
"""

import dataclasses
import sys
import time
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jax_tda.artifacts.artifact import Reader, begin, open_artifact
from jax_tda.core import mesh as meshes
from jax_tda.core import placement, processes, seeds, trees
from jax_tda.core.ahead import Ahead
from jax_tda.core.bounds import Bound
from jax_tda.core.config import input_path, machine, settings
from jax_tda.core.declared import declared
from jax_tda.core.errors import InputError
from jax_tda.core.mesh import MeshConfig
from jax_tda.core.progress import Progress, clock
from jax_tda.core.quantities import Buckets, Decay, ExamplesAtOnce, NotNegative, Path, Seed
from jax_tda.data import corpus as corpora
from jax_tda.data import sources
from jax_tda.data.batches import bucket_lengths
from jax_tda.encoding.second_moments import SecondMoments, from_values, second_moments_from
from jax_tda.models import checkpoint_artifact, checkpoints
from jax_tda.models.batch_gradient import mean_loss_and_gradient
from jax_tda.models.importers import torch_moments
from jax_tda.models.interface import Examples
from jax_tda.models.layout import Layout
from jax_tda.models.own_model import OwnModelConfig, code_of

KIND = "second_moments"
# A third pass over few examples would only mix the same ones otherwise.
_PASSES, _MOST_BATCHES = 2, 64
# Between two times that the sum so far is kept.
_KEEP_SECONDS = 120.0


@dataclasses.dataclass(frozen=True)
@declared("estimate_second_moments")
class EstimateSecondMomentsConfig:
    """Where second moments come from.

    Args:
      checkpoint: the model.
      source: `batches` squares gradients of batches of `examples`; `orbax` reads an optax state, and `torch` an
        optimizer.pt, from `state`.
      examples: the tokenized corpus that batches are drawn from.
      state: an orbax directory whose optax state names parameters as the checkpoint does; or a file optimizer.pt.
      batches: how many batches; 0 takes as many as two passes over the corpus have, and 64 at most.
      batch_size: examples per batch.
      buckets: how many padded lengths; each costs a compilation.
      seed: of the order of examples.
      epsilon: what is added to √V where it is divided by element-wise; an optimizer.pt brings its own.
      optimizer: optax's name of what made the optax state, such as `adamw`; its names alone do not tell Adam's from
        AdaBelief's.
      b2: of the optax state; 0 takes what `optax.inject_hyperparams` put into it, or else optax's own 0.999.
      own_model: the user's own code that makes the model, where it is no decoder.
      mesh: how devices share the work.
    """

    checkpoint: Path = input_path(required=True)
    source: Literal["batches", "orbax", "torch"] = "batches"
    examples: Path = input_path()
    state: Path = input_path()
    batches: Annotated[int, Bound(0, 10**9, unit="batches", meaning="0 for two passes, 64 at most")] = 0
    batch_size: ExamplesAtOnce = 32
    buckets: Buckets = 3
    seed: Seed = 0
    epsilon: NotNegative = 1e-8
    optimizer: Literal[
        "", "adam", "adamw", "nadam", "nadamw", "radam", "lamb", "yogi", "adamax", "adamaxw", "amsgrad", "adafactor"
    ] = ""
    b2: Decay = 0.0
    own_model: OwnModelConfig = machine(OwnModelConfig())
    mesh: MeshConfig = machine(MeshConfig())


def plan(config: EstimateSecondMomentsConfig, output: str) -> str:
    """What the job would do."""
    if config.source != "batches":
        return f"estimate_second_moments: {config.source} state {config.state} for {config.checkpoint} → {output}"
    batches = f"{config.batches:,}" if config.batches else f"{_PASSES} passes, {_MOST_BATCHES} at most, of"
    return (
        f"estimate_second_moments: {batches} batches of {config.batch_size:,} examples of {config.examples} "
        f"with {config.checkpoint} → {output}"
    )


def run(config: EstimateSecondMomentsConfig, output: str) -> Reader:
    """Writes the second-moments artifact."""
    meshes.one_cpu_device_per_core()
    checkpoint = checkpoint_artifact.open_checkpoint(config.checkpoint, config.own_model)
    inputs, described = {"checkpoint": checkpoint.reader}, settings(config) | code_of(config.own_model)
    if config.source == "batches":
        inputs["examples"] = corpora.open_corpus(config.examples).reader
        checkpoint_artifact.check_fits(checkpoint.reader, inputs["examples"])
    elif config.source == "torch":
        described["state"] = sources.identity(config.state, "", "")
    writer = begin(output, KIND, described, inputs)
    if isinstance(writer, Reader):
        return writer
    if config.source == "batches":
        found, facts = _of_batches(config, checkpoint, str(writer.scratch()))
    else:
        found, facts = {"orbax": _of_optax, "torch": _of_torch}[config.source](config, checkpoint)
    checkpoints.save_again(str(writer.path / "state"), {"second_moments": trees.unflatten(found)})
    return writer.finish({"checkpoint": checkpoint.reader.manifest.digest, "source": config.source} | facts)


def read(path: str, checkpoint: checkpoint_artifact.Checkpoint, layout: Layout | None = None) -> SecondMoments:
    """The second moments of an artifact, for the checkpoint that they were made for; divided as a layout says.

    Raises:
      InputError: they belong to another checkpoint.
    """
    reader = open_artifact(path, KIND)
    facts = reader.manifest.facts
    checkpoint_artifact.check_made_for(reader, checkpoint.reader, "second moments", "estimate_second_moments")
    reader.check_files()
    where = layout.of_tree if layout else None
    held = checkpoints.restore_untyped(str(reader.path / "state"), where)["second_moments"]
    # Two samples may be described alike; encodings of one may not meet those of the other.
    source = f"{facts['described']} ({reader.manifest.digest[:12]})"
    return from_values(trees.flatten(held), facts["epsilon"], source)


_Found = tuple[dict[str, Any], dict[str, Any]]


def _of_batches(
    config: EstimateSecondMomentsConfig, checkpoint: checkpoint_artifact.Checkpoint, scratch: str
) -> _Found:
    examples = corpora.open_corpus(config.examples)
    if examples.count < config.batch_size:
        raise InputError(
            "there are too few examples for one batch",
            got=f"{examples.count} examples",
            expected=f"at least batch_size = {config.batch_size}",
            remedy="lower estimate_second_moments.batch_size",
        )
    mesh = meshes.make_mesh(config.mesh)
    model, params = checkpoint.on(mesh, config.mesh.weights)
    places = jax.tree.map(lambda leaf: leaf.sharding, params)
    one = meshes.replicated(mesh)

    whole_on = None if meshes.splits_weights(mesh, config.mesh.weights) else mesh

    def add(total: Any, params: Any, tokens: jax.Array, weights: jax.Array) -> tuple[Any, jax.Array]:
        batch: Examples = {"tokens": tokens, "loss_weights": weights}
        loss, gradient = mean_loss_and_gradient(model, params, batch, whole_on)
        return jax.tree.map(lambda sum_, g: sum_ + jnp.square(g.astype(jnp.float32)), total, gradient), loss

    add = jax.jit(add, donate_argnums=0, out_shardings=(places, one))
    lengths = examples.spans[:, 0]
    buckets = np.array(bucket_lengths(lengths, config.buckets))
    groups = mesh.shape[meshes.DATA]
    size = -(-config.batch_size // groups) * groups
    each = examples.count // config.batch_size
    batches = how_many(config, examples.count)
    drawn = _drawn(examples.count, batches, config.batch_size, config.seed)
    padded = [int(buckets[np.searchsorted(buckets, lengths[rows].max())]) for rows in drawn]
    _say(f"{batches:,} batches of {config.batch_size:,} examples, {batches / each:.1f} passes; compiling")
    # Before the first step, when a stop has nothing to keep: it need not wait for the compiler.
    like = _like(params, places)
    programs = {
        length: add.lower(like, params, *_batch_like(mesh, size, length)).compile() for length in sorted(set(padded))
    }
    with processes.stoppable() as stop:
        total, begun = _kept(scratch, like, places)
        progress, ahead = Progress("estimate_second_moments", batches, "batches", done=begun), Ahead()
        done, started = begun, time.monotonic()
        due = started + _KEEP_SECONDS
        for rows, length in zip(drawn[begun:], padded[begun:], strict=True):
            batch = meshes.shard_batch(mesh, examples.examples(rows, length, size))
            total, loss = programs[length](total, params, batch["tokens"], batch["loss_weights"])
            ahead.add(loss)
            if done == begun:
                ahead.wait()
                seconds = (batches - begun) * (time.monotonic() - started)
                _say(f"some {clock(seconds)} for {batches - begun:,} batches, as the first one took")
            done += 1
            progress.advance()
            stopping = stop.asked() and done < batches
            if stopping or (processes.agree(lambda: time.monotonic() >= due) and done < batches):  # noqa: B023
                ahead.wait()
                checkpoints.save_step(scratch, done, {"total": total})
                due = time.monotonic() + _KEEP_SECONDS
            if stopping:
                stop.now()
    tokens = sum(int(lengths[rows].sum()) - len(rows) for rows in drawn)
    found = {path: placement.fetch(leaf) / batches for path, leaf in trees.flatten(total).items()}
    described = f"estimated from {batches} batches of {config.batch_size}"
    return found, {"epsilon": config.epsilon, "described": described, "loss_tokens_per_batch": tokens / batches}


def how_many(config: EstimateSecondMomentsConfig, examples: int) -> int:
    """The number of batches that are taken of so many examples."""
    return config.batches or min(_MOST_BATCHES, _PASSES * (examples // config.batch_size))


def _say(line: str) -> None:
    if processes.index() == 0:
        print(f"estimate_second_moments: {line}", file=sys.stderr, flush=True)


def _like(params: Any, places: Any) -> Any:
    """The sum of squares, as a description."""
    return jax.tree.map(lambda leaf, at: jax.ShapeDtypeStruct(leaf.shape, jnp.float32, sharding=at), params, places)


def _batch_like(mesh: Mesh, size: int, length: int) -> list[jax.ShapeDtypeStruct]:
    where = meshes.batch_sharding(mesh)
    return [jax.ShapeDtypeStruct((size, length), dtype, sharding=where) for dtype in (jnp.int32, jnp.float32)]


def _kept(scratch: str, like: Any, places: Any) -> tuple[Any, int]:
    """The sum of squares over the batches that an earlier run had done, and how many these are."""
    if latest := processes.agree(lambda: checkpoints.latest_step(scratch)):
        return checkpoints.restore(latest[1], {"total": like})["total"], latest[0]
    zeros = jax.jit(lambda: jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.float32), like), out_shardings=places)
    return zeros(), 0


def _drawn(count: int, batches: int, size: int, seed: int) -> list[np.ndarray]:
    """The rows of each batch: no row twice until all that fill whole batches were drawn."""
    each = count // size
    epochs = [
        seeds.generator(seed, "second moments", epoch).permutation(count)[: each * size].reshape(each, size)
        for epoch in range(-(-batches // each))
    ]
    return list(np.concatenate(epochs)[:batches])


def _of_optax(config: EstimateSecondMomentsConfig, checkpoint: checkpoint_artifact.Checkpoint) -> _Found:
    stored = checkpoints.restore_untyped(config.state)
    moments = second_moments_from(
        stored, optimizer=config.optimizer or None, b2=config.b2 or None, epsilon=config.epsilon
    )
    shapes = _shapes(checkpoint)
    found = {path: moments.full(path, shape).astype(np.float32) for path, shape in shapes.items()}
    return found, {"epsilon": moments.epsilon, "described": f"{moments.source}, from an optax state"}


def _of_torch(config: EstimateSecondMomentsConfig, checkpoint: checkpoint_artifact.Checkpoint) -> _Found:
    imported = checkpoint.reader.manifest.facts.get("imported", {})
    if imported.get("format") != "huggingface":
        raise InputError(
            f"an optimizer.pt says nothing of the checkpoint {checkpoint.reader}",
            got="a checkpoint that was not imported from a Hugging Face folder",
            expected="the imported model that this optimizer trained",
            remedy="import the Trainer's folder with jobs.import_checkpoint",
        )
    decoder, shapes = checkpoint.decoder.config, _shapes(checkpoint)
    found, epsilon, kind = torch_moments.read(config.state, imported["family"], decoder, shapes)
    return found, {"epsilon": epsilon, "described": f"{kind}, from a torch optimizer's state"}


def _shapes(checkpoint: checkpoint_artifact.Checkpoint) -> dict[str, tuple[int, ...]]:
    shapes = jax.eval_shape(lambda: checkpoint.model.init(jax.random.key(0), jnp.zeros((1, 2), jnp.int32)))
    return {path: tuple(leaf.shape) for path, leaf in trees.flatten(shapes).items()}
