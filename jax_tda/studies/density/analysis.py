"""From the seeds' tables to results: what density explains, and in which space better."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jax_tda.core import seeds
from jax_tda.core.config import settings
from jax_tda.studies.density import explained, leakage
from jax_tda.studies.density.estimates import Estimate, over_seeds
from jax_tda.studies.density.explained import Column, Table, Tables
from jax_tda.studies.density.settings import DensityConfig

# LMD3 names length and unigram frequency; we control for both lengths.
CONTROLS = ("target_tokens", "tokens", "unigram")
_MEASURED = ("density", "nearest", "mean_nearest")


def analyse(tables: Tables, facts: Mapping[int, Mapping[str, Any]], config: DensityConfig) -> dict[str, Any]:
    """results.json.

    Args:
      tables: by seed, a value per query in each column; NaN where there is none.
      facts: by seed, what was measured beside the table.
      config: the study's.
    """
    spaces = [name.split("/")[1] for name in next(iter(tables.values())) if name.startswith("density/")]
    densities = [f"density/{space}" for space in spaces]
    predictors = [*(f"{name}/{space}" for name in _MEASURED for space in spaces), "overlap", "wordings"]
    complete = {
        seed: _rows(table, np.all([np.isfinite(table[name]) for name in (*predictors, *CONTROLS)], axis=0))
        for seed, table in tables.items()
    }
    for table in complete.values():
        table["perplexity"] = -table["log_p"] / table["target_tokens"]
    # That a fact has no passage at all is one thing; how near what it has lies is another.
    covered = {seed: _rows(table, table["wordings"] > 0) for seed, table in complete.items()}
    asked = {seed: _rows(table, np.isfinite(table["tail_patch"])) for seed, table in complete.items()}
    return {
        "settings": settings(config),
        "seeds": list(tables),
        "spaces": spaces,
        "counts": {
            str(seed): dict(facts[seed]["counts"])
            | {
                "left_out": len(table["id"]) - len(complete[seed]["id"]),
                "answered_exactly": int(np.nansum(table["right"])),
                "answered_exactly_tuned": int(np.nansum(table["right_tuned"])),
            }
            for seed, table in tables.items()
        },
        "sweeps": {str(seed): facts[seed]["sweeps"] for seed in tables},
        "sampled": {str(seed): facts[seed]["sampled"] for seed in tables},
        "coverage": _coverage(complete, densities),
        "pretraining": explained.regressions(complete, "perplexity", predictors, CONTROLS, config),
        "pretraining_covered": explained.regressions(covered, "perplexity", [*densities, "wordings"], CONTROLS, config),
        "correctness": explained.correctness(complete, "right", densities, CONTROLS, config),
        "leakage": leakage.analyse(complete, spaces, CONTROLS, config),
        "influence": {
            name: explained.regressions(asked, name, [*densities, "overlap", "wordings"], (*CONTROLS, "log_p"), config)
            for name in ("tail_patch", "strength")
        },
        "fifths": {space: _fifths(asked, f"density/{space}", config) for space in spaces},
    }


def _coverage(tables: Tables, densities: Sequence[str]) -> list[dict[str, Any]]:
    """Mean log perplexity and log densities by the number of a fact's passages in the corpus."""
    rows = []
    for count in range(5):
        parts = [_rows(table, table["wordings"] == count) for table in tables.values()]
        if all(len(part["id"]) for part in parts):
            names = ("perplexity", "right", *densities)
            means = {name: float(np.mean([part[name].mean() for part in parts])) for name in names}
            rows.append({"wordings": count, "queries": sum(len(part["id"]) for part in parts)} | means)
    return rows


def _fifths(tables: Tables, density: str, config: DensityConfig) -> list[dict[str, Any]]:
    """Tail-patch, strength and recall of TrackStar's first ten by fifths of a log density."""
    rows: list[dict[str, Any]] = []
    for fifth in range(5):
        parts = {
            seed: _rows(table, np.array_split(np.argsort(table[density], kind="stable"), 5)[fifth])
            for seed, table in tables.items()
        }
        rows.append({name: _mean(parts, name, config) for name in ("tail_patch", "strength", "recall")})
    return rows


def _mean(tables: Tables, name: str, config: DensityConfig) -> dict[str, Any]:
    """The mean over seeds of the mean over the queries that have a value; queries are drawn anew."""
    draws = []
    for seed, table in tables.items():
        values = table[name][np.isfinite(table[name])]
        if not len(values):
            return Estimate(None, None, None, []).as_dict()
        random = seeds.generator(seed, "density", "mean", name)
        picked = random.integers(0, len(values), (config.bootstrap.resamples, len(values)))
        draws.append(np.concatenate([[values.mean()], values[picked].mean(1)]))
    return over_seeds(draws, config.bootstrap.level).as_dict()


def _rows(table: Table, keep: np.ndarray) -> dict[str, Column]:
    return {name: column[keep] for name, column in table.items()}
