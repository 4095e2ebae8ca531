"""One seed's table: for every query its likelihood, the densities around it, what is beside them, what was leaked."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jax_tda.artifacts import ranking
from jax_tda.core import seeds
from jax_tda.data import corpus as corpora
from jax_tda.evaluation import run as evaluate
from jax_tda.studies.density import bandwidth, kde, sampled, spaces, text_space
from jax_tda.studies.density.bandwidth import Sweep
from jax_tda.studies.density.settings import DensityConfig
from jax_tda.studies.density.stages import Stages

Table = dict[str, list[Any]]
# Queries of the sampled estimator and of a bandwidth's correlation, where all would cost much and say no more.
_ESTIMATED, _SWEPT, _STRONGEST = 100, 500, 10


def measure(config: DensityConfig, seed: int, stages: Stages) -> tuple[Table, dict[str, Any]]:
    """The table, by column, and what there is to say of bandwidths and of the sampled estimator.

    A cell is None where a query has no such value: a gradient of zero has no direction, most queries have no pair.
    """
    stages.make()
    table = _queries(stages)
    perplexity = -np.array(table["log_p"]) / np.array(table["target_tokens"])
    swept = seeds.generator(seed, "density", "swept").permutation(len(perplexity))[:_SWEPT]
    paired = np.array([pair is not None for pair in table["pair"]])
    tuning = corpora.open_corpus(stages.path("tuning")).records
    background = np.array([record["id"].startswith("background/") for record in tuning])
    facts: dict[str, Any] = {"sweeps": {}, "sampled": {}}
    for name, space in spaces.build(config, seed, stages).items():
        sweeps = {
            kernel: bandwidth.sweep(space.rows("corpus"), kernel, config.bandwidth_factors, config.held_out, seed)
            for kernel in config.kernels
        }
        facts["sweeps"][name] = {
            kernel: _swept(sweep, kernel, space, swept, perplexity) for kernel, sweep in sweeps.items()
        }
        facts["sampled"][name] = _estimated(config, seed, space, sweeps[config.kernel])
        found = _around(config, space, sweeps[config.kernel], paired, background)
        table |= {f"{column}/{name}": values for column, values in found.items()}
    table["overlap"] = text_space.overlap(table["sentence"], spaces.texts_of(stages, "corpus")).tolist()
    return table | _influence(config, seed, stages), facts


def _around(
    config: DensityConfig, space: spaces.Space, sweep: Sweep, paired: np.ndarray, background: np.ndarray
) -> Table:
    """What lies around every query in one space: log density and cosines in the corpus, of pairs in the leak too."""
    usable, points, rows = space.usable["queries"], space.points["queries"], space.rows("corpus")
    chosen = sweep.bandwidths[sweep.best : sweep.best + 1]
    _, squared = kde.nearest(points[usable], rows, config.neighbours)
    cosines = 1 - squared / 2  # All points have length 1.
    table: Table = {
        "density": _spread(kde.log_density(points[usable], rows, chosen, config.kernel)[0], usable),
        "nearest": _spread(cosines[:, 0], usable),
        "mean_nearest": _spread(cosines.mean(1), usable),
    }
    asked = usable & paired
    for column, members in (("tuning", background | True), ("background", background)):
        held = space.points["tuning"][space.usable["tuning"] & members]
        table[column] = _spread(kde.log_density(points[asked], held, chosen, config.kernel)[0], asked)
    return table


def _queries(stages: Stages) -> Table:
    """What is known of every query from its record, its tokens and the answers of both models."""
    queries, corpus = corpora.open_corpus(stages.path("queries")), corpora.open_corpus(stages.path("corpus"))
    every = corpus.examples(np.arange(corpus.count), corpus.longest, corpus.count)
    size = corpus.reader.manifest.facts["vocabulary_size"]
    counts = np.bincount(every["tokens"][every["loss_weights"] > 0], minlength=size)
    frequency = np.log((counts + 1) / (counts.sum() + size))
    asked = queries.examples(np.arange(queries.count), queries.longest, queries.count)
    targets = asked["loss_weights"]
    table: Table = {
        "id": list(queries.ids),
        "target_tokens": targets.sum(1).astype(int).tolist(),
        "tokens": queries.spans[:, 0].tolist(),
        "unigram": ((frequency[asked["tokens"]] * targets).sum(1) / targets.sum(1)).tolist(),
    }
    records = list(queries.records)
    for name in ("relation", "subject", "sentence", "wordings", "pair", "role", "kind", "copies"):
        table[name] = [record["fields"].get(name) for record in records]
    for ending, stage in (("", "answers"), ("_tuned", "answers_tuned")):
        answers = stages.answers(stage)
        table[f"log_p{ending}"] = [row["target_log_probability"] for row in answers]
        table[f"right{ending}"] = [row["answered_exactly"] for row in answers]
    return table


def _swept(sweep: Sweep, kernel: str, space: spaces.Space, drawn: np.ndarray, perplexity: np.ndarray) -> dict[str, Any]:
    """A sweep, and how log perplexity and the log density of some queries go together under each of its bandwidths."""
    rows = drawn[space.usable["queries"][drawn]]
    densities = kde.log_density(space.points["queries"][rows], space.rows("corpus"), sweep.bandwidths, kernel)
    return {
        "bandwidths": sweep.bandwidths.tolist(),
        "held_out": sweep.held_out.tolist(),
        "best": sweep.best,
        "at_edge": sweep.at_edge,
        "median_distance": sweep.median_distance,
        "coinciding": sweep.coinciding,
        "correlations": [_correlation(density, perplexity[rows]) for density in densities],
    }


def _estimated(config: DensityConfig, seed: int, space: spaces.Space, sweep: Sweep) -> dict[str, Any]:
    """The sampled estimator beside the exact density, at the likeliest bandwidth and at the widest that was tried."""
    rows = space.rows("corpus")
    usable = np.flatnonzero(space.usable["queries"])
    random = seeds.generator(seed, "density", "estimated")
    points = space.points["queries"][random.permutation(usable)[:_ESTIMATED]]
    near, _ = kde.nearest(points, rows, config.neighbours, config.kernel)
    found = {}
    for label, h in (("likeliest", sweep.bandwidths[sweep.best]), ("widest", sweep.bandwidths[-1])):
        exact = kde.log_density(points, rows, np.array([h]), config.kernel)[0]
        drawn = [
            sampled.sampled_log_density(
                points, lambda places: rows[places], len(rows), h, config.kernel, near, config.sample, draw
            )
            for draw in range(config.draws)
        ]
        ratios = np.exp(np.array([one.log_density for one in drawn]) - exact)
        errors = np.array([one.relative_error for one in drawn])
        found[label] = {
            "bandwidth": float(h),
            "mean_ratio": float(ratios.mean()),
            "spread": float(ratios.std(0, ddof=1).mean()),
            "error_bar": float(errors.mean()),
            "worst_log_error": float(np.abs(np.log(ratios)).max()),
        }
    return found


def _influence(config: DensityConfig, seed: int, stages: Stages) -> Table:
    """TrackStar's first ten of a query: how strong they score, whether gold is among them, what a step on them does."""
    corpus, queries = corpora.open_corpus(stages.path("corpus")), corpora.open_corpus(stages.path("queries"))
    rows, _ = ranking.read(f"{stages.path('rankings')}/trackstar.jsonl")
    by_query = {row["query_id"]: row for row in rows}
    judged = evaluate.judge_retrieval(rows, corpus, queries)
    settings = evaluate.EvaluateConfig(checkpoint=stages.path("checkpoint"), tail_patch=config.tail_patch, seed=seed)
    tables: dict[str, Any] = {"trackstar": judged}
    evaluate.judge_tail_patch(settings, {"trackstar": rows}, tables, corpus, queries)

    def strength(name: str) -> float | None:
        scores = [entry["score"] for entry in by_query[name]["proponents"][:_STRONGEST]]
        return float(np.mean(scores)) if scores else None

    metrics: Mapping[str, Mapping[str, float | None]] = tables["trackstar"]
    return {
        "strength": [strength(name) for name in queries.ids],
        "recall": [metrics["recall_at_10"].get(name) for name in queries.ids],
        "tail_patch": [metrics["tail_patch"].get(name) for name in queries.ids],
    }


def _spread(values: np.ndarray, where: np.ndarray) -> list[float | None]:
    """Values at the places that have one, None elsewhere."""
    column: list[float | None] = [None] * len(where)
    for place, value in zip(np.flatnonzero(where), values, strict=True):
        column[place] = float(value)
    return column


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    if one.std() == 0 or other.std() == 0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])
