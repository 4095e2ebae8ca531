"""encode: from a tokenized corpus and a checkpoint to an encodings artifact, shard by shard, stored before R."""

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import jax
import numpy as np

from jax_tda.artifacts import encodings as schema
from jax_tda.artifacts.artifact import Reader, Writer, begin, open_artifact
from jax_tda.artifacts.formats import StoreConfig
from jax_tda.core import mesh as meshes
from jax_tda.core import processes
from jax_tda.core.bounds import Bound
from jax_tda.core.config import input_path, machine, settings
from jax_tda.core.declared import declared
from jax_tda.core.mesh import MeshConfig
from jax_tda.core.progress import Progress
from jax_tda.core.quantities import (
    MOST_AT_ONCE,
    Buckets,
    NotNegative,
    Path,
    Patterns,
    ProjectedSize,
    Seed,
    ShardRows,
    TokensAtOnce,
)
from jax_tda.data import corpus as corpora
from jax_tda.data.batches import bucket_lengths, sweep
from jax_tda.encoding import estimate_moments, streams
from jax_tda.encoding.blocks import DEFAULT_EXCLUDE
from jax_tda.encoding.encoder import Encoder
from jax_tda.encoding.options import weighted_positions
from jax_tda.encoding.second_moments import SecondMoments, of_checkpoint
from jax_tda.models import checkpoint_artifact
from jax_tda.models.own_model import OwnModelConfig, code_of


@dataclasses.dataclass(frozen=True)
@declared("encode")
class EncodeConfig:
    """What is encoded, with which model, how.

    Args:
      examples: the tokenized corpus or queries.
      checkpoint: model and optimizer state.
      moments: second moments made by `estimate_second_moments`; empty for those of the checkpoint's optimizer.
      second_moments: `rank_one` or `exact` divide by their root in that form; `none` by nothing.
      blocks: `groups` or `matrices`.
      projected_size: p.
      seed: of the projections.
      epsilon: floor of the rank-one factors of V, relative to their mean.
      exclude: patterns of parameters that are left out; empty for the default (embeddings, head, norms, biases).
      loss: `target` counts each example's own span (all of a passage, the target of a query), `all` every token.
      buckets: how many padded lengths; each costs a compilation.
      tokens_per_batch: padded tokens encoded at once.
      examples_at_once: how many examples of a batch each device has in flight; 0 takes all, None what ran fastest.
      unroll_layers: whether layers are compiled one by one; None what ran fastest.
      remat: whether layers are computed twice instead of kept; None as the model's config says.
      shard_rows: examples per shard, the unit of writing and of resumption.
      self_check: how many parameters, at least, are compared with plain gradients on one example before the first
        shard; 0 compares none.
      store: the format of the stored numbers.
      own_model: the user's own code that makes the model, where it is no decoder.
      mesh: how devices share the work.
    """

    examples: Path = input_path(required=True)
    checkpoint: Path = input_path(required=True)
    moments: Path = input_path()
    second_moments: Literal["rank_one", "exact", "none"] = "rank_one"
    blocks: Literal["groups", "matrices"] = "groups"
    projected_size: ProjectedSize = 32
    seed: Seed = 0
    epsilon: NotNegative = 1e-10
    exclude: Patterns = ()
    loss: Literal["target", "all"] = "target"
    buckets: Buckets = 3
    tokens_per_batch: TokensAtOnce = 1024
    examples_at_once: Annotated[int, Bound(0, MOST_AT_ONCE, unit="examples", meaning="0 for all")] | None = None
    unroll_layers: bool | None = None
    remat: bool | None = machine(None)
    shard_rows: ShardRows = 1024
    self_check: Annotated[int, Bound(0, MOST_AT_ONCE, unit="parameters", meaning="0 for none")] = machine(3)
    store: StoreConfig = dataclasses.field(default_factory=StoreConfig)
    own_model: OwnModelConfig = machine(OwnModelConfig())
    mesh: MeshConfig = machine(MeshConfig())


def plan(config: EncodeConfig, output: str) -> str:
    """What the job would do: every parameter's fate, and the size of the store."""
    lines = [f"encode: {config.examples} with {config.checkpoint}, second moments {config.second_moments} → {output}"]
    if config.examples and config.checkpoint:
        examples, encoder = corpora.open_corpus(config.examples), make_encoder(config)
        checkpoint_artifact.check_fits(open_artifact(config.checkpoint, checkpoint_artifact.KIND), examples.reader)
        covered = encoder.plan
        lines += [f"  {m.route:7} {m.path} {m.shape} → {', '.join(sorted(set(m.blocks)))}" for m in covered.matrices]
        lines += [f"  excluded {path} by {pattern!r}" for path, pattern in covered.excluded.items()]
        lines += [f"  held whole, as it does not divide evenly: {line}" for line in encoder.held_whole()]
        lines += [
            f"  {fate}: {count['parameters']} parameters, {count['elements']:,} elements"
            for fate, count in covered.counts.items()
        ]
        parts = config.store.parts(len(covered.blocks), config.projected_size).values()
        size = examples.count * sum(part.bytes for part in parts)
        lines.append(
            f"  {covered.attributed_share:.1%} of the parameters; {examples.count:,} examples × {len(covered.blocks)} "
            f"blocks of {config.projected_size}×{config.projected_size} in {config.store.type}"
            f"{f', rank {config.store.rank}' if config.store.rank else ''} = {size / 2**20:,.1f} MiB"
            f"{' before compression' if config.store.step else ''}"
        )
        if config.self_check:
            lines.append(
                f"  self-check: at least {config.self_check} parameters against plain gradients of one example, for "
                "the time of one more compilation and a few batches; encode.self_check = 0 leaves it out"
            )
    return "\n".join(lines)


def run(config: EncodeConfig, output: str) -> Reader:
    """Writes the encodings artifact; a killed run redoes at most the shard in flight of each stream."""
    meshes.one_cpu_device_per_core()
    config.store.parts(1, config.projected_size)
    examples = corpora.open_corpus(config.examples)
    checkpoint = open_artifact(config.checkpoint, checkpoint_artifact.KIND)
    checkpoint_artifact.check_fits(checkpoint, examples.reader)
    inputs = {"examples": examples.reader, "checkpoint": checkpoint} | moments_of(config)
    writer = begin(output, schema.KIND, settings(config) | code_of(config.own_model), inputs)
    if isinstance(writer, Reader):
        return writer
    len(examples.ids)  # Checks the records, which are written out only in the end.
    encoder = make_encoder(config)
    counts = _encode_shards(writer, encoder, examples, config)
    writer.write_lines("ids.jsonl", ({"id": name} for name in examples.ids))
    return writer.finish(facts_of(encoder, checkpoint, config) | counts)


def moments_of(config: EncodeConfig) -> dict[str, Reader]:
    """The artifact of second moments as one more input, where the checkpoint's own are not taken."""
    if not config.moments or config.second_moments == "none":
        return {}
    return {"moments": open_artifact(config.moments, estimate_moments.KIND)}


def make_encoder(config: EncodeConfig) -> Encoder:
    """The encoder of these settings, on all devices, with the checkpoint's parameters and second moments."""
    checkpoint = checkpoint_artifact.open_checkpoint(config.checkpoint, config.own_model)
    mesh = meshes.make_mesh(config.mesh)
    layout = checkpoint.layout(mesh, config.mesh.weights)
    moments: SecondMoments | None = None
    if config.second_moments != "none" and not config.moments:
        params, moments = of_checkpoint(checkpoint, layout)
    else:
        params = checkpoint.params(layout)
        if config.second_moments != "none":
            moments = estimate_moments.read(config.moments, checkpoint, layout)
    return Encoder(
        checkpoint.module,
        params,
        moments,
        config.blocks,
        config.projected_size,
        config.seed,
        exclude=config.exclude or DEFAULT_EXCLUDE,
        reduction="exact" if config.second_moments == "exact" else "rank_one",
        epsilon=config.epsilon,
        examples_at_once=config.examples_at_once,
        unroll_layers=config.unroll_layers,
        remat=config.remat,
        mesh=mesh,
        weights=config.mesh.weights,
        self_check=config.self_check,
    )


def check_itself(encoder: Encoder, examples: corpora.Corpus, config: EncodeConfig, label: str) -> None:
    """Compares the first example that has a loss with plain gradients, whatever of the run is left to do.

    Raises:
      InputError: an encoding is not what it should be.
    """
    if not config.self_check:
        return
    lengths = examples.spans[:, 0]
    buckets = bucket_lengths(lengths, config.buckets)
    for rows, length, size in sweep(np.arange(examples.count), lengths, buckets, config.tokens_per_batch):
        if encoder.outcome is not None:
            break
        encoder.encode(examples.examples(rows, length, size, config.loss))
    if processes.index() == 0:
        print(f"{label}: {encoder.outcome or 'self-check: no example has a loss'}")


def _encode_shards(writer: Writer, encoder: Encoder, examples: corpora.Corpus, config: EncodeConfig) -> dict[str, Any]:
    count, blocks, p, rows = examples.count, encoder.plan.blocks, config.projected_size, config.shard_rows
    store = schema.EncodingWriter(writer, config.store, (count, len(blocks), p, p), rows)
    finished = processes.agree(writer.finished_units)
    for unit, start, values, status in encoded_shards(encoder, examples, config, finished):
        store.write_shard(start, values, status)
        finished[unit] = unit_facts(examples, start, status)
        writer.finish_unit(unit, finished[unit])
    if processes.count() > 1:
        processes.barrier("encoded")
        finished = processes.agree(writer.finished_units)
    return counts_of(examples, config, finished)


def encoded_shards(
    encoder: Encoder, examples: corpora.Corpus, config: EncodeConfig, finished: Mapping[str, Any], label: str = "encode"
) -> Iterator[tuple[str, int, np.ndarray, np.ndarray]]:
    """Encodes shard after shard, without those that are finished; of several processes each is given its own.

    Yields:
      (unit, first row, values float32 [n, blocks, p, p], status int8 [n]); rows that are not finite are NaN throughout.

    Raises:
      Stopped: the run was asked to stop, and the shards in flight were taken.
    """
    count, blocks, p, rows = examples.count, encoder.plan.blocks, config.projected_size, config.shard_rows
    lengths = examples.spans[:, 0]
    buckets = bucket_lengths(lengths, config.buckets)
    done = dict(finished)
    progress = Progress(label, count, "examples", done=sum(unit["rows"] for unit in done.values()))
    left = [start for start in range(0, count, rows) if _unit(start, rows) not in done]
    assert encoder.mesh is not None
    shared = streams.of(encoder.mesh)
    encode = _encode_together if encoder.mesh.is_multi_process else _encode_alone
    check_itself(encoder, examples, config, label)
    with processes.stoppable(keeps=False) as stop:
        # All streams take a shard each, and the processes run the same programs, whoever has how many rows.
        for turn in range(0, len(left), shared.total):
            wave = left[turn : turn + shared.total]
            members = [np.arange(start, min(start + rows, count)) for start in wave]
            members += [np.zeros(0, np.int64)] * (shared.total - len(wave))
            mine = members[shared.own]
            values = np.empty((len(mine), len(blocks), p, p), np.float32)
            for batch in streams.batches(members, shared.own, lengths, buckets, config.tokens_per_batch):
                found = encode(encoder, examples, config, batch, shared)
                if len(batch.rows):
                    values[batch.rows - mine[0]] = found
                progress.advance(batch.together)
            if len(mine) and shared.writes:
                yield _unit(int(mine[0]), rows), int(mine[0]), values, _judge(values)
            if stop.asked():
                stop.now()


def _unit(start: int, rows: int) -> str:
    return f"shard_{start // rows:07d}"


def _encode_alone(
    encoder: Encoder, examples: corpora.Corpus, config: EncodeConfig, batch: streams.Batch, _: streams.Streams
) -> np.ndarray:
    encoded = encoder.encode(examples.examples(batch.rows, batch.length, batch.size, config.loss))
    return np.stack([np.asarray(encoded[name])[: len(batch.rows)] for name in encoder.plan.blocks], axis=1)


def _encode_together(
    encoder: Encoder, examples: corpora.Corpus, config: EncodeConfig, batch: streams.Batch, shared: streams.Streams
) -> np.ndarray:
    """The same of this process's rows, while the other streams encode theirs.

    What the head looks at depends on the corpus and the length alone: a row must not depend on what others encode.
    """
    given = examples.examples(batch.rows, batch.length, batch.size, config.loss)
    tokens, weights = given["tokens"], given["loss_weights"]
    arrays = (tokens, weights, weighted_positions(weights, batch.length - 1))
    assert encoder.mesh is not None
    groups = len(shared.places)
    each = encoder.program.padded(groups * -(-batch.size // shared.rows)) // groups
    encoded = encoder.encode_placed(*streams.placed(encoder.mesh, shared, arrays, each))
    found = [streams.own_rows(shared, encoded[name], len(batch.rows)) for name in encoder.plan.blocks]
    return np.stack(found, axis=1)


def unit_facts(examples: corpora.Corpus, start: int, status: np.ndarray) -> dict[str, Any]:
    """What is recorded of a finished shard: its rows, and by reason the ids of those left out."""
    return {"rows": len(status)} | {
        name: [examples.ids[start + int(row)] for row in np.flatnonzero(status == code)]
        for code, name in schema.STATUS_NAMES.items()
    }


def counts_of(
    examples: corpora.Corpus, config: EncodeConfig, finished: Mapping[str, Any], label: str = "encode"
) -> dict[str, Any]:
    """The manifest's counts over all shards, of which the left out are also printed."""
    left_out = {n: [i for u in sorted(finished) for i in finished[u][n]] for n in schema.STATUS_NAMES.values()}
    for name, ids in left_out.items():
        if ids and processes.index() == 0:
            print(f"{label}: {len(ids)} examples flagged {name}, left out of R and rankings: {', '.join(ids[:5])}")
    return {
        "examples": examples.count,
        "left_out": {name: len(ids) for name, ids in left_out.items()},
        "left_out_ids": {name: ids[:1000] for name, ids in left_out.items()},
        "bucket_lengths": list(bucket_lengths(examples.spans[:, 0], config.buckets)),
    }


def _judge(values: np.ndarray) -> np.ndarray:
    """Each row's status; a row that is not finite becomes NaN throughout, so that it can never be half used."""
    flat = values.reshape(len(values), -1)
    finite = np.isfinite(flat).all(axis=1)
    values[~finite] = np.nan
    zero = finite & ~flat.any(axis=1)
    return np.where(finite, np.where(zero, schema.ZERO, schema.OK), schema.NOT_FINITE).astype(np.int8)


def facts_of(encoder: Encoder, checkpoint: Reader, config: EncodeConfig) -> dict[str, Any]:
    """What a manifest says of encodings that this encoder makes."""
    prints = "".join(f"{path}:{mark};" for path, mark in sorted(encoder.fingerprints.items()))
    return {
        "blocks": list(encoder.plan.blocks),
        "projected_size": config.projected_size,
        "store": settings(config.store),
        "projection": hashlib.sha256(prints.encode()).hexdigest(),
        "projection_fingerprints": encoder.fingerprints,
        "checkpoint": checkpoint.manifest.digest,
        "second_moments": encoder.second_moments,
        "matmul_precision": str(jax.config.values["jax_default_matmul_precision"]),
        "reduced_to_rank_one": encoder.reduced,
        "encoded": {m.path: {"route": m.route, "shape": list(m.shape)} for m in encoder.plan.matrices},
        "excluded": encoder.plan.excluded,
        "parameter_counts": encoder.plan.counts,
        "attributed_share": encoder.plan.attributed_share,
        "self_check": encoder.outcome.facts() if encoder.outcome else None,
    }
