"""score_sweep: rankings under every combination of λ, damping, norm and k, in one pass over the stored encodings."""

import dataclasses
import itertools
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax_tda.artifacts import ranking
from jax_tda.artifacts.artifact import Reader, begin, open_artifact
from jax_tda.artifacts.encodings import EncodingStore, check_joinable, open_encodings
from jax_tda.artifacts.together import by_first
from jax_tda.attribution import curvature, estimate, lines, mix, scan, similarity
from jax_tda.attribution.top_k import Best, Ends
from jax_tda.core.bounds import Items
from jax_tda.core.config import input_path, machine, settings
from jax_tda.core.declared import declared, demand
from jax_tda.core.mesh import MeshConfig
from jax_tda.core.quantities import Component, Damping, Fraction, Name, Path, QueriesAtOnce, QueryWeight, TopK

_EACH_ONCE = Items(1, 64, different=True)


@dataclasses.dataclass(frozen=True)
@declared("score_sweep")
class ScoreSweepConfig:
    """Which encodings are compared, and every setting under which they are.

    Args:
      train: the corpus's encodings.
      query: the queries' encodings.
      train_curvature: curvature of the corpus.
      query_curvature: curvature of the queries; empty for R_train alone.
      answers: which queries the model answers exactly, carried into the rankings.
      method: what the rankings' names begin with.
      query_weights: every λ; a negative number chooses it by the rule.
      dampings: every damping, in units of each block's mean eigenvalue.
      unit_norms: whether scores are cosines.
      top_ks: how many of each end are kept.
      component_fraction: the rule reads the spectra at this share of the encoding's dimension, when `component` is 0.
      component: the rule's k itself.
      queries_at_once: queries scored per pass over a shard.
      mesh: how devices share the work.
    """

    train: Path = input_path(required=True)
    query: Path = input_path(required=True)
    train_curvature: Path = input_path(required=True)
    query_curvature: Path = input_path()
    answers: Path = input_path(required=True)
    method: Name = "trackstar"
    query_weights: Annotated[tuple[QueryWeight, ...], _EACH_ONCE] = (-1.0,)
    dampings: Annotated[tuple[Damping, ...], _EACH_ONCE] = (0.1,)
    unit_norms: Annotated[tuple[bool, ...], _EACH_ONCE] = (True,)
    top_ks: Annotated[tuple[TopK, ...], _EACH_ONCE] = (100,)
    component_fraction: Fraction = 0.015
    component: Component = 0
    queries_at_once: QueriesAtOnce = 1024
    mesh: MeshConfig = machine(MeshConfig())

    def __post_init__(self) -> None:
        rules = sum(weight < 0 for weight in self.query_weights)
        demand(self, rules <= 1, "query_weights", "at most one negative number, which means the rule")


class _Scores(NamedTuple):
    """One combination but for k: the queries' sides, and what is kept of their scores."""

    sides: list[jax.Array]
    best: list[Best]


class _Damped(NamedTuple):
    """One damping of a mixture: 1/√(σ + damping) for each eigenvector, and what is scored with it, by unit norm."""

    scales: jax.Array
    scores: dict[bool, _Scores]


class _Mixture(NamedTuple):
    """One λ: what there is to say of it, R's eigenvectors, and its dampings."""

    facts: dict[str, Any]
    vectors: jax.Array
    dampings: dict[float, _Damped]


def plan(config: ScoreSweepConfig, output: str) -> str:
    """What the job would do: every ranking's name."""
    names = [name for name, *_ in _combinations(config)]
    return f"score_sweep: one pass over {config.train} for {len(names)} rankings → {output}\n  " + "\n  ".join(names)


@by_first
def run(config: ScoreSweepConfig, output: str) -> Reader:
    """Writes `NAME.jsonl` for every combination, each what `mix_curvature` and `score` give alone, up to rounding."""
    _check(config)
    train, query = open_encodings(config.train), open_encodings(config.query)
    inputs = {"train": train.reader, "query": query.reader, "answers": open_artifact(config.answers, "answers")}
    inputs["train_curvature"] = open_artifact(config.train_curvature, estimate.KIND)
    if config.query_curvature:
        inputs["query_curvature"] = open_artifact(config.query_curvature, estimate.KIND)
    for name in ("query", "train_curvature", "query_curvature"):
        if name in inputs:
            check_joinable(inputs[name], train.reader)
    exact = lines.answered_exactly(inputs["answers"], query)
    writer = begin(output, ranking.SWEEP_KIND, settings(config), inputs)
    if isinstance(writer, Reader):
        return writer
    mixtures = _mixtures(config, query, inputs, min(max(config.top_ks), train.count))
    pace = scan.Pace()
    for shard in scan.shards(train, "score_sweep"):
        pace.step(_score(shard, mixtures))
    kept: dict[tuple[float, float, bool], list[Ends]] = {
        (weight, damping, unit): [best.ends() for best in scores.best]
        for weight, mixture in mixtures.items()
        for damping, damped in mixture.dampings.items()
        for unit, scores in damped.scores.items()
    }
    described = {}
    for name, weight, damping, unit, top_k in _combinations(config):
        rows = lines.of(kept[weight, damping, unit], query.ids, train.ids, exact, top_k)
        writer.write_lines(f"{name}.jsonl", rows)
        described[name] = mixtures[weight].facts | {"damping": damping, "unit_norm": unit, "top_k": top_k}
    return writer.finish({"rankings": described, "queries": query.count, "left_out": train.facts["left_out"]})


def _check(config: ScoreSweepConfig) -> None:
    for weight in config.query_weights:
        mix.check_weight("score_sweep.query_weights", weight, config.query_curvature)


def _combinations(config: ScoreSweepConfig) -> list[tuple[str, float, float, bool, int]]:
    """(name, λ, damping, unit norm, k) of each ranking; a name says only what varies."""
    found = []
    for weight, damping, unit, top_k in itertools.product(
        config.query_weights, config.dampings, config.unit_norms, config.top_ks
    ):
        said = {
            "lambda": (config.query_weights, "rule" if weight < 0 else weight),
            "damping": (config.dampings, damping),
            "norm": (config.unit_norms, "unit" if unit else "none"),
            "k": (config.top_ks, top_k),
        }
        varies = ",".join(f"{name}={value}" for name, (values, value) in said.items() if len(values) > 1)
        found.append((f"{config.method}@{varies}" if varies else config.method, weight, damping, unit, top_k))
    return found


def _mixtures(
    config: ScoreSweepConfig, query: EncodingStore, inputs: dict[str, Reader], k: int
) -> dict[float, _Mixture]:
    curvatures = {n: inputs[f"{n}_curvature"] for n in ("train", "query") if f"{n}_curvature" in inputs}
    train_BKK = mix.whole(curvatures["train"])
    query_BKK = mix.whole(curvatures["query"]) if "query" in curvatures else None
    rule, asked = mix.Rule(config.component, config.component_fraction), query.read(0, query.count)
    found = {}
    for weight in config.query_weights:
        mixed, facts = mix.mixture(weight, rule, train_BKK, query_BKK, curvatures)
        for damping in config.dampings:
            curvature.check_undamped(damping, facts["sample"], query.block_dimension)
        # The costly part of R^(-1/2), once for all dampings.
        values, vectors_BKK = curvature.spectrum(mixed, query.blocks)
        vectors = jnp.asarray(vectors_BKK, jnp.float32)
        dampings = {}
        for damping in config.dampings:
            scales = jnp.asarray(curvature.damped(values, damping, query.blocks) ** -0.5, jnp.float32)
            dampings[damping] = _Damped(
                scales, {u: _scores(asked, vectors, scales, u, config.queries_at_once, k) for u in config.unit_norms}
            )
        found[weight] = _Mixture(facts, vectors, dampings)
    return found


def _scores(
    asked_QBK: np.ndarray, vectors_BKK: jax.Array, scales_BK: jax.Array, unit_norm: bool, at_once: int, k: int
) -> _Scores:
    """The queries' sides R^(-1) g = U s² Uᵀ g, over ‖s Uᵀ g‖ when scores are cosines."""
    sides = []
    for start in range(0, len(asked_QBK), at_once):
        whitened = similarity.whiten(jnp.asarray(asked_QBK[start : start + at_once]), vectors_BKK) * scales_BK[None]
        size = similarity.norms(whitened)[:, None, None] if unit_norm else 1.0
        side = similarity.whiten(whitened * scales_BK[None], jnp.swapaxes(vectors_BKK, 1, 2)) / size
        sides.append(side.reshape(side.shape[0], -1))
    return _Scores(sides, [Best(side.shape[0], k) for side in sides])


def _score(shard: scan.Shard, mixtures: dict[float, _Mixture]) -> list[jax.Array]:
    """Adds one shard to all that is kept; a passage's norm is ‖s Uᵀ g‖, its turned encoding Uᵀ g shared by dampings."""
    done = []
    for mixture in mixtures.values():
        needs_norms = any(True in damped.scores for damped in mixture.dampings.values())
        turned = similarity.whiten(shard.rows, mixture.vectors) if needs_norms else shard.rows
        for damped in mixture.dampings.values():
            for unit, scores in damped.scores.items():
                norms = similarity.norms(turned * damped.scales[None]) if unit else scan.no_norms(shard)
                for best, found in zip(scores.best, scan.score(shard, scores.sides, norms), strict=True):
                    best.update(found, shard.start)
                    done.append(found)
    return done
