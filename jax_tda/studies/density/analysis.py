"""From the seeds' tables to results: what density explains, and in which space better."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jax_tda.core.config import settings
from jax_tda.studies.density import leakage, logistic
from jax_tda.studies.density.estimates import Estimate, over_seeds
from jax_tda.studies.density.regression import Moments, permutation_p
from jax_tda.studies.density.settings import DensityConfig

SPACES = ("text", "gradient", "trackstar")
PREDICTORS = (
    *(f"density/{space}" for space in SPACES),
    *(f"nearest/{space}" for space in SPACES),
    *(f"mean_nearest/{space}" for space in SPACES),
    "overlap",
    "wordings",
)
# Those of the paper's family; and, ours, what differs from relation to relation too.
CONTROLS = ("target_tokens", "tokens", "unigram")
_LOGISTIC_RESAMPLES = 200

Column = np.ndarray
Tables = Mapping[int, Mapping[str, Column]]


def analyse(tables: Tables, facts: Mapping[int, Mapping[str, Any]], config: DensityConfig) -> dict[str, Any]:
    """results.json.

    Args:
      tables: by seed, a value per query in each column; NaN where there is none.
      facts: by seed, what was measured beside the table.
      config: the study's.
    """
    complete = {seed: _complete(table) for seed, table in tables.items()}
    asked = {seed: _rows(table, np.isfinite(table["tail_patch"])) for seed, table in complete.items()}
    perplexity = {
        seed: _with(table, "outcome", -table["log_p"] / table["target_tokens"]) for seed, table in complete.items()
    }
    return {
        "settings": settings(config),
        "seeds": list(tables),
        "counts": {
            str(seed): dict(facts[seed]["counts"])
            | {"left_out": len(tables[seed]["id"]) - len(complete[seed]["id"])}
            | {"answered_exactly": int(np.nansum(tables[seed]["right"]))}
            for seed in tables
        },
        "sweeps": {str(seed): facts[seed]["sweeps"] for seed in tables},
        "sampled": {str(seed): facts[seed]["sampled"] for seed in tables},
        "coverage": _coverage(perplexity),
        "pretraining": regressions(perplexity, PREDICTORS, CONTROLS, config),
        "correctness": correctness(complete, "right", [f"density/{space}" for space in SPACES], CONTROLS, config),
        "leakage": leakage.analyse(complete, SPACES, config),
        "influence": {
            name: regressions(
                {seed: _with(table, "outcome", table[name]) for seed, table in asked.items()},
                [f"density/{space}" for space in SPACES] + ["overlap", "wordings"],
                (*CONTROLS, "log_p"),
                config,
            )
            for name in ("tail_patch", "strength")
        },
        "quintiles": {space: _quintiles(asked, space, config) for space in SPACES},
    }


def regressions(
    tables: Tables, predictors: Sequence[str], controls: Sequence[str], config: DensityConfig, cluster: str = "subject"
) -> dict[str, Any]:
    """`outcome` on each predictor: R² alone, partial R² beside the controls, and beside relation dummies too.

    Intervals come from draws of whole clusters; a figure over several seeds is their mean, its draws the means of their
    draws. Differences of spaces share their draws.
    """
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in predictors}
    for seed, table in tables.items():
        dummies = _dummies(table)
        columns = {name: table[name] for name in dict.fromkeys(["outcome", *predictors, *controls])} | dummies
        moments = Moments(columns, table[cluster])
        draws = moments.draws(config.bootstrap.resamples, seed)
        within = [*controls, *dummies]
        for name in predictors:
            held = [control for control in controls if control != name]
            found[name].append(
                {
                    "r_squared": moments.r_squared(draws, "outcome", [name]),
                    "partial": moments.partial(draws, "outcome", name, held),
                    "within_relation": moments.partial(draws, "outcome", name, within),
                    "slope": moments.slope(draws, "outcome", name, held),
                    "slope_within_relation": moments.slope(draws, "outcome", name, within),
                    "p": permutation_p(
                        table["outcome"], table[name], [table[c] for c in held], config.permutations, seed
                    ),
                    "p_within_relation": permutation_p(
                        table["outcome"], table[name], [columns[c] for c in within], config.permutations, seed
                    ),
                }
            )
    statistics = ("r_squared", "partial", "within_relation", "slope", "slope_within_relation")
    level = config.bootstrap.level
    results: dict[str, Any] = {
        name: {s: over_seeds([one[s] for one in seeds], level).as_dict() for s in statistics}
        | {s: [one[s] for one in seeds] for s in ("p", "p_within_relation")}
        for name, seeds in found.items()
    }
    return {
        "predictors": results,
        "differences": _differences(found, level),
        "rows": [len(t["outcome"]) for t in tables.values()],
    }


def _differences(found: Mapping[str, Sequence[Mapping[str, Any]]], level: float) -> dict[str, Any]:
    """Partial R² of one space's density minus another's, drawn in pairs."""
    pairs = [("gradient", "text"), ("trackstar", "text"), ("trackstar", "gradient")]
    prefix = next((name.split("/")[0] for name in found if "/" in name), "")
    results = {}
    for left, right in pairs:
        one, other = found.get(f"{prefix}/{left}"), found.get(f"{prefix}/{right}")
        if one and other:
            results[f"{left}-{right}"] = {
                s: over_seeds([a[s] - b[s] for a, b in zip(one, other, strict=True)], level).as_dict()
                for s in ("r_squared", "partial", "within_relation")
            }
    return results


def correctness(
    tables: Tables, outcome: str, predictors: Sequence[str], controls: Sequence[str], config: DensityConfig
) -> dict[str, Any]:
    """Logistic regression of answering exactly: log-odds per standard deviation, and the deviance it takes away."""
    resamples = min(config.bootstrap.resamples, _LOGISTIC_RESAMPLES)
    results = {}
    for name in predictors:
        draws = [
            logistic.bootstrap(t[name], t[outcome], [t[c] for c in controls], t["subject"], resamples, seed)
            for seed, t in tables.items()
        ]
        results[name] = {
            statistic: over_seeds([draw[:, place] for draw in draws], config.bootstrap.level).as_dict()
            for place, statistic in enumerate(("log_odds", "deviance"))
        }
    return results


def _coverage(tables: Tables) -> list[dict[str, Any]]:
    """Mean log perplexity and log densities by the number of a fact's passages in the corpus."""
    rows = []
    for count in range(5):
        part = {seed: _rows(table, table["wordings"] == count) for seed, table in tables.items()}
        names = ["outcome", "right", *(f"density/{space}" for space in SPACES)]
        if all(len(table["id"]) for table in part.values()):
            means = {name: float(np.mean([table[name].mean() for table in part.values()])) for name in names}
            rows.append({"wordings": count, "queries": sum(len(t["id"]) for t in part.values()), **means})
    return rows


def _quintiles(tables: Tables, space: str, config: DensityConfig) -> list[dict[str, Any]]:
    """Tail-patch, strength and recall of TrackStar's first ten by fifths of the log density."""
    rows: list[dict[str, Any]] = []
    for fifth in range(5):
        values: dict[str, list[Column]] = {name: [] for name in ("tail_patch", "strength", "recall")}
        for table in tables.values():
            order = np.argsort(table[f"density/{space}"], kind="stable")
            part = np.array_split(order, 5)[fifth]
            for name, kept in values.items():
                kept.append(table[name][part][np.isfinite(table[name][part])])
        rows.append({name: _mean_of(kept, config, fifth) for name, kept in values.items()})
    return rows


def _mean_of(parts: Sequence[Column], config: DensityConfig, seed: int) -> dict[str, Any]:
    """The mean over seeds of the mean over queries, with queries drawn anew."""
    random = np.random.default_rng(seed)
    draws = []
    for part in parts:
        if not len(part):
            return Estimate(None, None, None, []).as_dict()
        picked = random.integers(0, len(part), (config.bootstrap.resamples, len(part)))
        draws.append(np.concatenate([[part.mean()], part[picked].mean(1)]))
    return over_seeds(draws, config.bootstrap.level).as_dict()


def _dummies(table: Mapping[str, Column]) -> dict[str, Column]:
    relations = sorted(set(table["relation"].tolist()))
    return {f"relation/{name}": (table["relation"] == name).astype(float) for name in relations[1:]}


def _complete(table: Mapping[str, Column]) -> dict[str, Column]:
    """The rows that have a value for every predictor."""
    keep = np.all([np.isfinite(table[name]) for name in (*PREDICTORS, *CONTROLS)], axis=0)
    return _rows(table, keep)


def _rows(table: Mapping[str, Column], keep: np.ndarray) -> dict[str, Column]:
    return {name: column[keep] for name, column in table.items()}


def _with(table: Mapping[str, Column], name: str, column: Column) -> dict[str, Column]:
    return {**table, name: column}
