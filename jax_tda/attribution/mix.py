"""mix_curvature: λ, R^(-1/2) and, for stored encodings, their norms under it: what scoring needs beside encodings."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jax_tda.artifacts.artifact import Reader, begin, open_artifact
from jax_tda.artifacts.encodings import check_joinable, joined_facts, open_encodings
from jax_tda.artifacts.together import by_first
from jax_tda.attribution import curvature, estimate, scan
from jax_tda.core.config import input_path, settings
from jax_tda.core.declared import declared
from jax_tda.core.errors import InputError
from jax_tda.core.progress import Progress
from jax_tda.core.quantities import Component, Damping, Fraction, Path, QueryWeight

KIND = "correction"


@dataclasses.dataclass(frozen=True)
@declared("mix_curvature")
class MixCurvatureConfig:
    """How R is mixed for a task, and damped.

    Args:
      train: curvature of the corpus.
      query: curvature of the queries; empty for R_train alone.
      encodings: the corpus's encodings, whose norms are computed; empty for none, as where no encodings are stored.
      query_weight: λ in R = λ R_query + (1 − λ) R_train; a negative number chooses it by the rule.
      component_fraction: the rule reads the spectra at this share of the encoding's dimension, when `component` is 0.
      component: the rule's k itself.
      damping: in units of each block's mean eigenvalue.
    """

    train: Path = input_path(required=True)
    query: Path = input_path()
    encodings: Path = input_path()
    query_weight: QueryWeight = -1.0
    component_fraction: Fraction = 0.015
    component: Component = 0
    damping: Damping = 0.1


def plan(config: MixCurvatureConfig, output: str) -> str:
    """What the job would do."""
    weight = "by the rule" if config.query_weight < 0 else config.query_weight
    return (
        f"mix_curvature: lambda {weight}, damping {config.damping}, R of {config.train} and {config.query} → {output}"
    )


@by_first
def run(config: MixCurvatureConfig, output: str) -> Reader:
    """Writes the correction artifact: `inverse_root` float32 [blocks, p², p²] and `norms` float32 [examples]."""
    check_weight("mix_curvature.query_weight", config.query_weight, config.query)
    inputs = {"train": open_artifact(config.train, estimate.KIND)}
    if config.query:
        inputs["query"] = open_artifact(config.query, estimate.KIND)
        check_joinable(inputs["query"], inputs["train"])
    store = open_encodings(config.encodings) if config.encodings else None
    if store:
        check_joinable(inputs["train"], store.reader)
        inputs["encodings"] = store.reader
    writer = begin(output, KIND, settings(config), inputs)
    if isinstance(writer, Reader):
        return writer
    train, query = (whole(inputs[name]) if name in inputs else None for name in ("train", "query"))
    assert train is not None
    rule = Rule(config.component, config.component_fraction)
    by_rule = config.query_weight < 0
    progress = Progress("mix_curvature", (4 if by_rule else 1) * len(train), "eigendecompositions")
    mixed, facts = mixture(config.query_weight, rule, train, query, inputs, progress.advance)
    curvature.check_undamped(config.damping, facts["sample"], train.shape[1])
    root = curvature.inverse_root(
        mixed, config.damping, tuple(inputs["train"].manifest.facts["blocks"]), progress.advance
    )
    roots = writer.array("inverse_root", root.shape, "float32", 1)
    for block, value in enumerate(root):
        roots.write_shard(block, value[None].astype(np.float32))
    if store:
        norms, norms_of = writer.array("norms", (store.count,), "float32", store.shard_rows), scan.norms_under(root)
        for shard in scan.shards(store, "norms"):
            found = jax.device_get(norms_of(shard) + shard.unranked)
            norms.write_shard(shard.start, found[: shard.filled])
    return writer.finish(joined_facts(inputs["train"]) | facts | {"damping": config.damping})


def check_weight(name: str, weight: float, query: str) -> None:
    """Refuses a λ beyond 1, or one that needs a curvature of the queries where there is none."""
    if weight > 1 or (weight != 0 and not query):
        raise InputError(
            f"{name} is not possible",
            got=f"{weight} with query curvature {query or 'none'}",
            expected="0 without query curvature; with it, between 0 and 1, or negative for the rule",
            remedy=f"set {name}, or give the curvature of the queries",
        )


def whole(curvature_reader: Reader) -> np.ndarray:
    """float64 [blocks, K, K] of a curvature artifact."""
    array = curvature_reader.array("curvature")
    return np.asarray(array.read(0, array.shape[0]), np.float64)


class Rule(NamedTuple):
    """Where the rule for λ reads the spectra: at a component, or where that is 0 at a share of the dimension."""

    component: int
    fraction: float


def mixture(
    weight: float,
    rule: Rule,
    train: np.ndarray,
    query: np.ndarray | None,
    inputs: dict[str, Reader],
    done: Callable[[], object] = lambda: None,
) -> tuple[np.ndarray, dict[str, Any]]:
    """R = λ R_query + (1 − λ) R_train, and what there is to say of it.

    Args:
      weight: λ; negative for the rule.
      rule: where it reads the spectra.
      train: R_train [blocks, K, K].
      query: R_query, or None.
      inputs: the artifacts `train` and `query`.
      done: called after each eigendecomposition that the rule takes.
    """
    component = None
    if weight < 0:
        assert query is not None
        component = rule.component or curvature.default_component(train.shape[0] * train.shape[1], rule.fraction)
        weight = curvature.automatic_weight(train, query, component, inputs["query"].manifest.facts["sample"], done)
    # R determines every direction only where one of its parts does.
    parts = [n for n, share in (("train", 1 - weight), ("query", weight)) if share > 0]
    sample = max(inputs[name].manifest.facts["sample"] for name in parts)
    return curvature.mix(train, query, weight), {"query_weight": weight, "component": component, "sample": sample}
