"""mix_curvature: λ, R^(-1/2) and the corpus's norms under it: all that scoring needs beside the encodings."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_tda.artifacts.artifact import Reader, begin, open_artifact
from jax_tda.artifacts.encodings import EncodingStore, check_joinable, open_encodings, shared_facts
from jax_tda.attribution import curvature, estimate, similarity
from jax_tda.core.config import input_path, settings
from jax_tda.core.errors import InputError
from jax_tda.core.progress import Progress

KIND = "correction"


@dataclasses.dataclass(frozen=True)
class MixCurvatureConfig:
    """How R is mixed for a task, and damped.

    Args:
      train: curvature of the corpus.
      query: curvature of the queries; empty for R_train alone.
      encodings: the corpus's encodings, whose norms are computed.
      query_weight: λ in R = λ R_query + (1 − λ) R_train; a negative number chooses it by the rule.
      component_fraction: the rule reads the spectra at this share of the encoding's dimension, when `component` is 0.
      component: the rule's k itself.
      damping: in units of each block's mean eigenvalue.
    """

    train: str = input_path()
    query: str = input_path()
    encodings: str = input_path()
    query_weight: float = -1.0
    component_fraction: float = 0.015
    component: int = 0
    damping: float = 0.1


def plan(config: MixCurvatureConfig, output: str) -> str:
    """What the job would do."""
    weight = "by the rule" if config.query_weight < 0 else config.query_weight
    return (
        f"mix_curvature: lambda {weight}, damping {config.damping}, R of {config.train} and {config.query} → {output}"
    )


def run(config: MixCurvatureConfig, output: str) -> Reader:
    """Writes the correction artifact: `inverse_root` float32 [blocks, p², p²] and `norms` float32 [examples]."""
    if config.query_weight > 1 or (config.query_weight != 0 and not config.query):
        raise InputError(
            "mix_curvature.query_weight is not possible",
            got=f"{config.query_weight} with query curvature {config.query or 'none'}",
            expected="0 without query curvature; with it, between 0 and 1, or negative for the rule",
            remedy="set mix_curvature.query_weight, or give mix_curvature.query",
        )
    store = open_encodings(config.encodings)
    inputs = {"train": open_artifact(config.train, estimate.KIND), "encodings": store.reader}
    if config.query:
        inputs["query"] = open_artifact(config.query, estimate.KIND)
    for name, reader in inputs.items():
        if name != "encodings":
            check_joinable(reader, store.reader)
    writer = begin(output, KIND, settings(config), inputs)
    if isinstance(writer, Reader):
        return writer
    root, facts = _correction(config, store, inputs)
    roots = writer.array("inverse_root", root.shape, "float32", 1)
    for block, value in enumerate(root):
        roots.write_shard(block, value[None].astype(np.float32))
    norms = writer.array("norms", (store.count,), "float32", store.shard_rows)
    device_root = jnp.asarray(root, jnp.float32)
    progress = Progress("norms", store.count, "examples")
    for start in range(0, store.count, store.shard_rows):
        rows = store.read(start, min(start + store.shard_rows, store.count))
        # Shards of one size compile once; the last is padded.
        padded = np.pad(rows, ((0, store.shard_rows - len(rows)), (0, 0), (0, 0)))
        sizes = jax.device_get(similarity.norms(similarity.whiten(jnp.asarray(padded), device_root)))
        norms.write_shard(start, sizes[: len(rows)])
        progress.advance(len(rows))
    return writer.finish(shared_facts(store) | facts)


def _correction(
    config: MixCurvatureConfig, store: EncodingStore, inputs: dict[str, Reader]
) -> tuple[np.ndarray, dict[str, Any]]:
    def whole(name: str) -> np.ndarray:
        array = inputs[name].array("curvature")
        return np.asarray(array.read(0, array.shape[0]), np.float64)

    train = whole("train")
    query = whole("query") if "query" in inputs else None
    weight, component = config.query_weight, None
    if weight < 0:
        assert query is not None
        component = config.component or curvature.default_component(store.dimension, config.component_fraction)
        weight = curvature.automatic_weight(train, query, component, inputs["query"].manifest.facts["sample"])
    # R determines every direction only where one of its parts does.
    parts = [n for n, share in (("train", 1 - weight), ("query", weight)) if share > 0]
    sample = max(inputs[name].manifest.facts["sample"] for name in parts)
    curvature.check_undamped(config.damping, sample, store.block_dimension)
    mixed = curvature.mix(train, query, weight)
    root = curvature.inverse_root(mixed, config.damping, store.blocks)
    return root, {"query_weight": weight, "component": component, "damping": config.damping, "sample": sample}
