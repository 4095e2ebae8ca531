"""From the recorded units of all seeds to one account: matrices, joint impact, agreement; plain JSON."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jax_tda.evaluation.bootstrap import BootstrapConfig
from jax_tda.studies.unlearning import impact
from jax_tda.studies.unlearning.abilities import MEASURES
from jax_tda.studies.unlearning.influence import KINDS
from jax_tda.studies.unlearning.settings import CONTROL, StudyUnlearningConfig
from jax_tda.studies.unlearning.sources import NAMES

Units = Mapping[str, Any]
WAYS = {"unlearn": "unlearned", "retrain": "trained without"}


class _Seen(NamedTuple):
    """Effects by way and removal, over the queries of all seeds that are given, and each query's ability."""

    effects: dict[str, dict[str, np.ndarray]]
    ability: np.ndarray
    before: np.ndarray


def unit_of(seed: int, stage: str, name: str = "") -> str:
    """The name of a unit of work."""
    return "-".join(filter(None, (f"seed_{seed}", stage, name)))


def gather(config: StudyUnlearningConfig, units: Units) -> dict[str, Any]:
    """The account of the whole study.

    Args:
      config: the study's.
      units: what each finished unit recorded, by its name.
    """
    measures = {measure: _measured(config, units, measure) for measure in MEASURES}
    runs = {str(seed): {name: run_facts(_log(units, seed, name)) for name in config.removals} for seed in config.seeds}
    return {
        "seeds": list(config.seeds),
        "abilities": list(NAMES),
        "removals": list(config.removals),
        "pairs": list(config.pairs),
        "control": CONTROL,
        "queries": {str(seed): len(units[unit_of(seed, "ground")]["ability"]) for seed in config.seeds},
        "documents": units[unit_of(config.seeds[0], "ground")]["documents"],
        "parameters": units[unit_of(config.seeds[0], "ground")]["parameters"],
        "runs": runs,
        "traces": {name: _trace(_log(units, config.seeds[0], name)) for name in config.removals},
        "headlines": _headlines(measures["likelihood"]),
    } | measures


def _log(units: Units, seed: int, name: str) -> list[dict[str, Any]]:
    log: list[dict[str, Any]] = units[unit_of(seed, "unlearn", name)]["log"]
    return log


def run_facts(log: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a log comes to: steps of ascent, rounds of retraining, why it ended, first and last losses, thresholds."""
    start, end = log[0], log[-1]
    last = [line for line in log if line["kind"] == "evaluate"][-1]
    return {
        "steps": sum(line["kind"] == "ascend" for line in log),
        "retrained": sum(line["kind"] == "retrain" for line in log),
        "ended": end["why"],
        "forget": [start["losses"]["forget"], last["forget"]],
        "validation": [start["losses"]["validation"], last["validation"]],
        "forget_above": start["forget_above"],
        "validation_above": start["validation_above"],
    }


def _trace(log: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Losses over the steps of ascent, for the picture."""
    points = [[0, log[0]["losses"]["forget"], log[0]["losses"]["validation"]]]
    points += [[line["number"], line["forget"], line["validation"]] for line in log if line["kind"] == "evaluate"]
    step, retrained = 0, []
    for line in log:
        step += line["kind"] == "ascend"
        if line["kind"] == "retrain":
            retrained.append(step)
    return {"points": points, "retrained": retrained} | {k: log[0][k] for k in ("forget_above", "validation_above")}


def _seen(config: StudyUnlearningConfig, units: Units, measure: str, seeds: Sequence[int]) -> _Seen:
    found: dict[str, dict[str, list[np.ndarray]]] = {way: {name: [] for name in config.removals} for way in WAYS}
    ability: list[str] = []
    before: list[float] = []
    for seed in seeds:
        original = units[unit_of(seed, "ground")]
        ability += original["ability"]
        before += original["outcome"][measure]
        for way, lists in found.items():
            after = {n: units[unit_of(seed, way, n)]["outcome"][measure] for n in config.removals}
            for name, effect in impact.effects(original["outcome"][measure], after).items():
                lists[name].append(effect)
    joined = {way: {name: np.concatenate(parts) for name, parts in lists.items()} for way, lists in found.items()}
    return _Seen(joined, np.array(ability), np.array(before))


def _measured(config: StudyUnlearningConfig, units: Units, measure: str) -> dict[str, Any]:
    first, bootstrap = config.seeds[0], config.bootstrap
    seen = _seen(config, units, measure, config.seeds)
    each = {seed: _seen(config, units, measure, (seed,)) for seed in config.seeds}

    def table(effect: np.ndarray) -> dict[str, Any]:
        found = impact.intervals(effect, seen.ability, NAMES, first, bootstrap)
        return {name: cell | {"hit": impact.hit(cell, config.least_effect)} for name, cell in found.items()}

    matrices = {way: {name: table(effect) for name, effect in rows.items()} for way, rows in seen.effects.items()}
    # Against the control: what is due to this corpus and not to taking away as much text as one source has. A pair has
    # twice as much as the control.
    above = {
        way: {name: table(effect - rows[CONTROL]) for name, effect in rows.items() if name != CONTROL}
        for way, rows in seen.effects.items()
    }
    joint = {way: {pair: _joint(rows, pair, table) for pair in config.pairs} for way, rows in seen.effects.items()}
    return {
        "before": impact.intervals(seen.before, seen.ability, NAMES, first, bootstrap),
        "impact": matrices,
        "impact_above_control": above,
        "joint": joint,
        "relations": {way: _relations(rows, seen.ability, above[way]) for way, rows in seen.effects.items()},
        "high_impact": {way: _high_impact(above[way]) for way in WAYS},
        "influence": {kind: _influence(config, units, kind, seen.ability) for kind in KINDS},
        "agreement": {str(seed): _agreement(units, one, seed, measure, bootstrap) for seed, one in each.items()},
        "by_seed": {
            way: {
                name: {
                    str(seed): impact.cells(one.effects[way][name], one.ability, NAMES).tolist()
                    for seed, one in each.items()
                }
                for name in config.removals
            }
            for way in WAYS
        },
    }


def _joint(rows: Mapping[str, np.ndarray], pair: str, table: Any) -> dict[str, Any]:
    one, other = pair.split("+")
    return table(impact.interaction(rows[one], rows[other], rows[pair]))


def _relations(rows: Mapping[str, np.ndarray], ability: np.ndarray, above: Mapping[str, Any]) -> dict[str, Any]:
    """Every two sources: the correlations of their rows of impact, and what these make of them."""
    cells = {name: impact.cells(rows[name] - rows[CONTROL], ability, NAMES) for name in NAMES}
    found = {}
    for place, one in enumerate(NAMES):
        for other in NAMES[place + 1 :]:
            both = sum(above[one][name]["hit"] and above[other][name]["hit"] for name in NAMES)
            found[f"{one}+{other}"] = {
                "pearson": _known(impact.pearson(cells[one], cells[other])),
                "spearman": _known(impact.spearman(cells[one], cells[other])),
                "both_hit": both,
                "relation": impact.relation(cells[one], cells[other], both),
            }
    return found


def _known(value: float) -> float | None:
    """JSON has no NaN: a row without variation has no correlation."""
    return value if np.isfinite(value) else None


def _high_impact(above: Mapping[str, Any]) -> dict[str, int]:
    """By source, how many abilities fall by `least_effect` more than under the control, told by their intervals."""
    return {name: sum(cell["hit"] and cell["mean"] < 0 for cell in above[name].values()) for name in NAMES}


def _influence(config: StudyUnlearningConfig, units: Units, kind: str, ability: np.ndarray) -> dict[str, list[float]]:
    """By removal, its summed influence on the mean query of each ability, over all seeds."""
    found = {}
    for name in config.removals:
        values = [units[unit_of(seed, "influence")][kind][name] for seed in config.seeds]
        found[name] = impact.cells(np.concatenate(values), ability, NAMES).tolist()
    return found


def _agreement(units: Units, seen: _Seen, seed: int, measure: str, bootstrap: BootstrapConfig) -> dict[str, Any]:
    """Unlearning against training without, and each of them against summed influence with its sign turned."""
    influence = units[unit_of(seed, "influence")]
    accounts = {way: np.stack([seen.effects[way][name] for name in NAMES]) for way in WAYS}
    for kind in KINDS:
        # An influence speaks for a corpus, the effect of taking it away against it.
        accounts[kind] = -np.array([influence[kind][name] for name in NAMES])
    pairs = [("unlearn", "retrain"), *((kind, way) for kind in KINDS for way in WAYS)]
    return {
        f"{one}/{other}": impact.agreement(accounts[one], accounts[other], seen.ability, NAMES, seed, bootstrap)
        for one, other in pairs
    }


def _headlines(measured: Mapping[str, Any]) -> dict[str, Any]:
    """The few numbers that a manifest repeats: agreement by seed, and the own and other abilities' mean impact."""
    found: dict[str, Any] = {
        pair: {seed: one[pair]["spearman"]["value"] for seed, one in measured["agreement"].items()}
        for pair in next(iter(measured["agreement"].values()))
    }
    for way in WAYS:
        rows = measured["impact"][way]
        found[f"{way}: own ability"] = float(np.mean([rows[name][name]["mean"] for name in NAMES]))
        others = [rows[name][other]["mean"] for name in NAMES for other in NAMES if other != name]
        found[f"{way}: other abilities"] = float(np.mean(others))
        found[f"{way}: control"] = float(np.mean([rows[CONTROL][name]["mean"] for name in NAMES]))
    return found
