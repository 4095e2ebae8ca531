"""How much of an outcome each predictor explains, alone and beside controls; which space's density explains more."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jax_tda.studies.density import logistic
from jax_tda.studies.density.estimates import over_seeds
from jax_tda.studies.density.regression import Moments, permutation_p
from jax_tda.studies.density.settings import DensityConfig

Column = np.ndarray
Table = Mapping[str, Column]
Tables = Mapping[int, Table]
_SHARES = ("r_squared", "partial", "within_relation")
_LOGISTIC_RESAMPLES = 200


def regressions(
    tables: Tables,
    outcome: str,
    predictors: Sequence[str],
    controls: Sequence[str],
    config: DensityConfig,
    cluster: str = "subject",
) -> dict[str, Any]:
    """Regressions of the outcome on each predictor: R² alone, partial R² beside controls, and beside relations too.

    Intervals come from draws of whole clusters. Predictors NAME/SPACE of one name are compared space by space: how much
    more one explains than the other, from the same draws, and how much each adds to the other.

    Args:
      tables: by seed, a column by name.
      outcome: the column that is explained.
      predictors: the columns that explain it, one at a time.
      controls: columns that are held.
      config: the study's.
      cluster: the column whose values are drawn.
    """
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in predictors}
    pairs = _pairs(predictors)
    compared: dict[str, list[dict[str, Any]]] = {f"{a}-{b}": [] for a, b in pairs}
    for seed, table in tables.items():
        dummies = _dummies(table)
        columns = {name: table[name] for name in dict.fromkeys([outcome, *predictors, *controls])} | dummies
        moments, within = Moments(columns, table[cluster]), [*controls, *dummies]
        draws = moments.draws(config.bootstrap.resamples, seed)

        def chance(name: str, held: Sequence[str], columns: Table = columns, seed: int = seed) -> float:
            given = [columns[control] for control in held]
            return permutation_p(columns[outcome], columns[name], given, config.permutations, seed)

        for name in predictors:
            found[name].append(
                {
                    "r_squared": moments.r_squared(draws, outcome, [name]),
                    "partial": moments.partial(draws, outcome, name, controls),
                    "within_relation": moments.partial(draws, outcome, name, within),
                    "slope": moments.slope(draws, outcome, name, controls),
                    "slope_within_relation": moments.slope(draws, outcome, name, within),
                    "p": chance(name, controls),
                    "p_within_relation": chance(name, within),
                }
            )
        for one, other in pairs:
            difference = {share: found[one][-1][share] - found[other][-1][share] for share in _SHARES}
            adds = {
                "added": moments.partial(draws, outcome, one, [*controls, other]),
                "added_by_other": moments.partial(draws, outcome, other, [*controls, one]),
            }
            compared[f"{one}-{other}"].append(difference | adds)
    level = config.bootstrap.level
    return {
        "predictors": {name: _over_seeds(seeds, level) for name, seeds in found.items()},
        "differences": {name: _over_seeds(seeds, level) for name, seeds in compared.items()},
        "rows": [len(table[outcome]) for table in tables.values()],
    }


def correctness(
    tables: Tables,
    outcome: str,
    predictors: Sequence[str],
    controls: Sequence[str],
    config: DensityConfig,
    cluster: str = "subject",
) -> dict[str, Any]:
    """Logistic regression of a yes or no on each predictor: log-odds per deviation, and the deviance it takes away."""
    resamples = min(config.bootstrap.resamples, _LOGISTIC_RESAMPLES)
    results = {}
    for name in predictors:
        draws = [
            logistic.bootstrap(t[name], t[outcome], [t[c] for c in controls], t[cluster].tolist(), resamples, seed)
            for seed, t in tables.items()
        ]
        results[name] = {
            statistic: over_seeds([draw[:, place] for draw in draws], config.bootstrap.level).as_dict()
            for place, statistic in enumerate(("log_odds", "deviance"))
        }
    return results


def _over_seeds(seeds: Sequence[Mapping[str, Any]], level: float) -> dict[str, Any]:
    return {
        name: over_seeds([one[name] for one in seeds], level).as_dict()
        if isinstance(value, np.ndarray)
        else [one[name] for one in seeds]
        for name, value in seeds[0].items()
    }


def _pairs(predictors: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of one predictor in two spaces, the later space first; of the first such predictor alone."""
    first = next((name.split("/")[0] for name in predictors if "/" in name), None)
    spaces = [name for name in predictors if name.split("/")[0] == first and "/" in name]
    return [(later, earlier) for earlier, later in itertools.combinations(spaces, 2)]


def _dummies(table: Table) -> dict[str, Column]:
    relations = sorted(set(table["relation"].tolist()))
    return {f"relation {name}": (table["relation"] == name).astype(float) for name in relations[1:]}
