"""From every seed's snapshots to results: means over queries with intervals, methods paired, kinds counted."""

from collections.abc import Mapping, Sequence
from typing import Any

from jax_tda.core.config import settings
from jax_tda.evaluation.bootstrap import mean_interval, paired
from jax_tda.studies.scaling.judge import METHODS
from jax_tda.studies.scaling.kinds import KINDS
from jax_tda.studies.scaling.settings import ScalingConfig

Unit = Mapping[str, Any]


def analyse(units: Mapping[int, Sequence[Unit]], config: ScalingConfig) -> dict[str, Any]:
    """results.json: a row for each size and checkpoint, over the queries of all seeds.

    Args:
      units: by seed, what `judge` gave of each snapshot, all seeds in one order.
      config: the study's.
    """
    rows = [_row({seed: found[place] for seed, found in units.items()}, config) for place in range(_count(units))]
    return {"settings": settings(config), "seeds": list(units), "rows": rows}


def _count(units: Mapping[int, Sequence[Unit]]) -> int:
    return min(len(found) for found in units.values())


def _row(seeds: Mapping[int, Unit], config: ScalingConfig) -> dict[str, Any]:
    first = next(iter(seeds.values()))
    values = {name: _pooled(seeds, name) for name in first["per_query"]}
    known = {query for query, right in values["right"].items() if right}

    def interval(of: Mapping[str, float | None]) -> dict[str, Any]:
        return mean_interval(of.values(), 0, config.bootstrap).as_dict()

    row: dict[str, Any] = {name: first[name] for name in ("layers", "width", "steps", "parameters")}
    row["answered_exactly"] = [unit["answered_exactly"] for unit in seeds.values()]
    for name, of in values.items():
        row[name] = interval(of)
        row[f"{name} (answered)"] = interval({query: value for query, value in of.items() if query in known})
    for metric in ("mrr", "recall_at_10", "tail_patch"):
        one, other = (values[f"{metric}/{method}"] for method in METHODS)
        row[f"{metric}/difference"] = paired(one, other, 0, config.bootstrap).as_dict()
        row[f"{metric}/seeds"] = [
            mean_interval(unit["per_query"][f"{metric}/trackstar"].values(), 0, config.bootstrap).mean
            for unit in seeds.values()
        ]
    row["kinds"] = {
        method: {kind: sum(unit["kinds"][method][kind] for unit in seeds.values()) for kind in KINDS}
        for method in METHODS
    }
    return row


def _pooled(seeds: Mapping[int, Unit], name: str) -> dict[str, float | None]:
    """Values of all seeds' queries; a query of another seed is another query."""
    return {
        f"{seed}/{query}": value for seed, unit in seeds.items() for query, value in unit["per_query"][name].items()
    }
