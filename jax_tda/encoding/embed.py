"""embed: from the texts of a corpus and a sentence encoder to an encodings artifact of one vector per example.

A vector is an encoding of one block, [1, d]; it is scored by the same jobs as gradients are, and never beside them.
"""

import dataclasses
import hashlib
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, Literal

import jax
import numpy as np

from jax_tda.artifacts import encodings as schema
from jax_tda.artifacts.artifact import Reader, Writer, begin
from jax_tda.artifacts.formats import StoreConfig
from jax_tda.artifacts.together import by_first
from jax_tda.core import mesh as meshes
from jax_tda.core.config import input_path, settings
from jax_tda.core.declared import declared, demand
from jax_tda.core.errors import InputError
from jax_tda.core.files import is_remote
from jax_tda.core.progress import Progress
from jax_tda.core.quantities import Path, ShardRows, TokensAtOnce
from jax_tda.data import corpus as corpora
from jax_tda.data import sources
from jax_tda.data.batches import sweep
from jax_tda.data.sentence_tokenizer import SentenceTokenizer
from jax_tda.models.importers.sentence_folder import SentenceFolder


@dataclasses.dataclass(frozen=True)
@declared("embed")
class EmbedConfig:
    """Which texts, which sentence encoder.

    Args:
      examples: the tokenized corpus or queries; their texts are read, not their tokens.
      model: a Hugging Face folder of a BERT-type sentence encoder.
      field: what of a record is embedded: `text` (of a query, prompt and target), or a query's `prompt`.
      prefix: what is put before every text, for models that were trained with it ("query: "); empty for the prompt that
        the model's folder names as its default, if any.
      tokens_per_batch: padded tokens at once.
      shard_rows: examples per shard, the unit of writing and of resumption.
    """

    examples: Path = input_path(required=True)
    model: Path = input_path(required=True)
    field: Literal["text", "prompt"] = "text"
    prefix: str = ""
    tokens_per_batch: TokensAtOnce = 4096
    shard_rows: ShardRows = 1024

    def __post_init__(self) -> None:
        demand(self, not is_remote(self.model), "model", "a local folder")


def plan(config: EmbedConfig, output: str) -> str:
    """What the job would do, and the size of the store."""
    lines = [f"embed: {config.field} of {config.examples} with {config.model} → {output}"]
    if config.examples and config.model:
        examples, folder = corpora.open_corpus(config.examples), SentenceFolder(config.model)
        shape, size = folder.config, 4 * examples.count * folder.config.width
        lines.append(
            f"  {shape.layers} layers of {shape.width}, pooled by {shape.pooling}{', unit norm' * shape.unit_norm}; "
            f"{examples.count:,} examples × {shape.width} in float32 = {size / 2**20:,.1f} MiB"
        )
        lines += [f"  {remark}" for remark in folder.remarks]
        if before := folder.before(config.prefix):
            lines.append(f"  before every text: {before!r}")
    return "\n".join(lines)


def tokenizer_of(folder: SentenceFolder) -> SentenceTokenizer:
    """The tokenizer of a sentence encoder.

    Raises:
      InputError: there is none that can be read, or it does not belong to the model.
    """
    shape = folder.config
    return SentenceTokenizer(
        folder.tokenizer_folder, shape.positions, shape.vocabulary_size, folder.longest, folder.lower
    )


@by_first
def run(config: EmbedConfig, output: str) -> Reader:
    """Writes the encodings artifact; a killed run redoes at most the shard in flight."""
    meshes.one_cpu_device_per_core()
    examples, folder = corpora.open_corpus(config.examples), SentenceFolder(config.model)
    folder.before(config.prefix)
    # The folder is the job's input, but no artifact: its files' digests stand among the settings.
    files = {str(pathlib.Path(n).relative_to(config.model)): sources.identity(n, "", "") for n in folder.files()}
    writer = begin(output, schema.KIND, settings(config) | {"files": files}, {"examples": examples.reader})
    if isinstance(writer, Reader):
        return writer
    counts = _embed_shards(writer, folder, examples, config)
    writer.write_lines("ids.jsonl", ({"id": name} for name in examples.ids))
    return writer.finish(_facts(folder, files, config) | counts)


def _facts(folder: SentenceFolder, files: dict[str, Any], config: EmbedConfig) -> dict[str, Any]:
    digest = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()
    return {
        # What two artifacts share whose vectors may be multiplied; a query's own prefix and field may differ.
        "embedding": {"model": pathlib.Path(folder.where).name, "digest": digest} | settings(folder.config),
        "embedded": {"field": config.field, "prefix": folder.before(config.prefix)},
        "blocks": ["embedding"],
        "matrix": [1, folder.config.width],
        "store": settings(StoreConfig()),
        "matmul_precision": str(jax.config.values["jax_default_matmul_precision"]),
    }


def _embed_shards(
    writer: Writer, folder: SentenceFolder, examples: corpora.Corpus, config: EmbedConfig
) -> dict[str, Any]:
    shape, rows, count = folder.config, config.shard_rows, examples.count
    tokenizer, prefix = tokenizer_of(folder), folder.before(config.prefix)
    store = schema.EncodingWriter(writer, StoreConfig(), (count, 1, 1, shape.width), rows)
    finished = writer.finished_units()
    progress = Progress("embed", count, "examples", done=sum(unit["rows"] for unit in finished.values()))
    embed = embedder(folder)
    for start in range(0, count, rows):
        unit = f"shard_{start // rows:07d}"
        if unit in finished:
            continue
        stop = min(start + rows, count)
        texts = [prefix + _text(examples.records[row], config.field) for row in range(start, stop)]
        ids = tokenizer.encode(texts)
        values = np.empty((stop - start, 1, 1, shape.width), np.float32)
        for members, vectors in _batches(embed, ids, tokenizer.longest, config.tokens_per_batch):
            values[members, 0, 0] = vectors
            progress.advance(len(members))
        finite = np.isfinite(values).all(axis=(1, 2, 3))
        values[~finite] = np.nan
        store.write_shard(start, values, np.where(finite, schema.OK, schema.NOT_FINITE).astype(np.int8))
        cut = sum(len(one) == tokenizer.longest for one in ids)
        finished[unit] = {"rows": stop - start, "not_finite": int((~finite).sum()), "cut": cut}
        writer.finish_unit(unit, finished[unit])
    total = {name: sum(unit[name] for unit in finished.values()) for name in ("not_finite", "cut")}
    return {
        "examples": count,
        "left_out": {"zero_gradient": 0, "not_finite": total["not_finite"]},
        "longest": tokenizer.longest,
        "as_long_as_longest": total["cut"],
    }


def _text(record: dict[str, Any], field: str) -> str:
    if field not in record:
        raise InputError(
            f"the example {record['id']!r} has no {field}",
            got="a passage",
            expected="a query, which has a prompt",
            remedy="set embed.field = 'text'",
        )
    return str(record[field])


Embed = Callable[[np.ndarray, np.ndarray], np.ndarray]


def embedder(folder: SentenceFolder) -> Embed:
    """(tokens [B, T], which are text [B, T]) → vectors float32 [B, d], a batch's rows divided over all devices."""
    mesh = meshes.make_mesh()
    whole, split = meshes.replicated(mesh), meshes.batch_sharding(mesh)
    params = jax.device_put(folder.parameters(), whole)

    def apply(params: Any, tokens: jax.Array, there: jax.Array) -> Any:
        return folder.model.apply({"params": params}, tokens, there)

    compiled = jax.jit(apply, in_shardings=(whole, split, split))

    def embed(tokens_BT: np.ndarray, there_BT: np.ndarray) -> np.ndarray:
        spare = -len(tokens_BT) % mesh.devices.size
        tokens = np.pad(tokens_BT, ((0, spare), (0, 0)))
        # A row of padding alone has no mean; its first place stands for a text.
        there = np.pad(there_BT, ((0, spare), (0, 0)))
        there[len(there_BT) :, 0] = True
        return np.asarray(compiled(params, tokens, there))[: len(tokens_BT)]

    return embed


def _batches(
    embed: Embed, ids: list[list[int]], longest: int, tokens_per_batch: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    lengths = np.array([len(one) for one in ids])
    # Five padded lengths, whatever the texts, so that every shard runs the same programs; no number depends on them.
    buckets = tuple(sorted({min(longest, max(8, longest >> halvings)) for halvings in range(5)}))
    for members, length, size in sweep(np.arange(len(ids)), lengths, buckets, tokens_per_batch):
        tokens = np.zeros((size, length), np.int32)
        there = np.zeros((size, length), bool)
        there[len(members) :, 0] = True
        for place, row in enumerate(members):
            tokens[place, : lengths[row]], there[place, : lengths[row]] = ids[row], True
        yield members, embed(tokens, there)[: len(members)]
