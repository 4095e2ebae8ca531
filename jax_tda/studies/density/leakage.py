"""What a leak does: to the density around the item and to its likelihood, beside controls that were not leaked."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jax_tda.core import seeds as names
from jax_tda.studies.density import logistic
from jax_tda.studies.density.estimates import over_seeds
from jax_tda.studies.density.regression import Moments, permutation_p
from jax_tda.studies.density.settings import DensityConfig
from jax_tda.studies.density.world import KINDS

Column = np.ndarray
Tables = Mapping[int, Mapping[str, Column]]


def analyse(tables: Tables, spaces: Sequence[str], config: DensityConfig) -> dict[str, Any]:
    """Rise and gain by kind and number of copies, paired; and what the density after the leak says of the gain."""
    pairs = {seed: _pairs(table, spaces) for seed, table in tables.items()}
    cells = [
        {"kind": kind, "copies": m} | _cell(pairs, kind, m, spaces, config) for kind in KINDS for m in config.copies
    ]
    items = {seed: _items(table, spaces) for seed, table in tables.items()}
    return {
        "cells": cells,
        "prediction": _prediction(items, spaces, config),
        "leaked_alone": _prediction({seed: _leaked(table) for seed, table in items.items()}, spaces, config),
        "correct_after": _correct(items, spaces, config),
    }


def _pairs(table: Mapping[str, Column], spaces: Sequence[str]) -> dict[str, Column]:
    """A row per pair whose two facts have every value: rise, gain, and the differences to the control's."""
    both: dict[float, dict[str, int]] = {}
    for row in np.flatnonzero(np.isfinite(table["pair"])):
        both.setdefault(table["pair"][row], {})[str(table["role"][row])] = int(row)
    whole = [pair for pair in both.values() if len(pair) == 2]
    leaked = np.array([pair["leaked"] for pair in whole], int)
    control = np.array([pair["control"] for pair in whole], int)
    gain = table["log_p_tuned"] - table["log_p"]
    rows = {
        "kind": table["kind"][leaked],
        "copies": table["copies"][leaked],
        "gain": gain[leaked],
        "gain_control": gain[control],
        "right": table["right_tuned"][leaked],
        "right_control": table["right_tuned"][control],
    }
    for space in spaces:
        rise = table[f"tuning/{space}"] - table[f"background/{space}"]
        rows |= {f"rise/{space}": rise[leaked], f"rise_control/{space}": rise[control]}
    return rows


def _cell(
    pairs: Mapping[int, Mapping[str, Column]], kind: str, m: int, spaces: Sequence[str], config: DensityConfig
) -> dict[str, Any]:
    found: dict[str, Any] = {"pairs": 0}
    quantities = ["gain", "right", *(f"rise/{space}" for space in spaces)]
    draws: dict[str, list[Column]] = {}
    for seed, rows in pairs.items():
        here = (rows["kind"] == kind) & (rows["copies"] == m)
        count = int(here.sum())
        found["pairs"] += count
        if not count:
            continue
        random = names.generator(seed, "density", "pairs drawn", kind, m)
        picked = np.concatenate(
            [np.arange(count)[None], random.integers(0, count, (config.bootstrap.resamples, count))]
        )
        for name in quantities:
            head, _, space = name.partition("/")
            own, other = rows[name][here], rows[f"{head}_control{'/' if space else ''}{space}"][here]
            for label, values in (("leaked", own), ("control", other), ("difference", own - other)):
                draws.setdefault(f"{name}:{label}", []).append(values[picked].mean(1))
    for label, seeds in draws.items():
        name, _, which = label.partition(":")
        found.setdefault(name, {})[which] = over_seeds(seeds, config.bootstrap.level).as_dict()
    return found


def _items(table: Mapping[str, Column], spaces: Sequence[str]) -> dict[str, Column]:
    """A row per item of a pair, leaked or control, with what is to be explained."""
    keep = np.isfinite(table["pair"])
    for space in spaces:
        keep &= np.isfinite(table[f"tuning/{space}"])
    rows = {name: column[keep] for name, column in table.items()}
    leaked = rows["role"] == "leaked"
    verbatim = leaked & (rows["kind"] == "verbatim")
    return rows | {
        "gain": rows["log_p_tuned"] - rows["log_p"],
        "leaked": leaked.astype(float),
        # What the density is to stand for, known here because we leaked it.
        "dose_verbatim": np.where(verbatim, rows["copies"], 0.0),
        "dose_reworded": np.where(leaked & ~verbatim, rows["copies"], 0.0),
    }


def _leaked(table: Mapping[str, Column]) -> dict[str, Column]:
    keep = table["leaked"] > 0
    return {name: column[keep] for name, column in table.items()}


_CONTROLS = ("target_tokens", "tokens", "unigram", "log_p")


def _prediction(items: Tables, spaces: Sequence[str], config: DensityConfig) -> dict[str, Any]:
    """Partial R² of each density in the tuning data for the gain, beside the likelihood before; pairs are drawn whole."""
    found: dict[str, list[dict[str, Any]]] = {space: [] for space in spaces}
    doses = []
    for seed, table in items.items():
        columns = {
            name: table[name]
            for name in ("gain", *_CONTROLS, "dose_verbatim", "dose_reworded", *(f"tuning/{s}" for s in spaces))
        }
        moments = Moments(columns, table["pair"])
        draws = moments.draws(config.bootstrap.resamples, seed)
        base = moments.r_squared(draws, "gain", _CONTROLS)
        known = moments.r_squared(draws, "gain", [*_CONTROLS, "dose_verbatim", "dose_reworded"])
        doses.append((known - base) / np.maximum(1 - base, 1e-12))
        for space in spaces:
            name, controls = f"tuning/{space}", [table[c] for c in _CONTROLS]
            found[space].append(
                {
                    "r_squared": moments.r_squared(draws, "gain", [name]),
                    "partial": moments.partial(draws, "gain", name, _CONTROLS),
                    "slope": moments.slope(draws, "gain", name, _CONTROLS),
                    "p": permutation_p(table["gain"], table[name], controls, config.permutations, seed),
                }
            )
    level = config.bootstrap.level
    differences = {
        f"{left}-{right}": over_seeds(
            [a["partial"] - b["partial"] for a, b in zip(found[left], found[right], strict=True)], level
        ).as_dict()
        for left, right in (("gradient", "text"), ("trackstar", "text"), ("trackstar", "gradient"))
        if left in found and right in found
    }
    return {
        "spaces": {
            space: {s: over_seeds([one[s] for one in rows], level).as_dict() for s in ("r_squared", "partial", "slope")}
            | {"p": [one["p"] for one in rows]}
            for space, rows in found.items()
        },
        "known_dose": over_seeds(doses, level).as_dict(),
        "differences": differences,
        "rows": [len(table["gain"]) for table in items.values()],
    }


def _correct(items: Tables, spaces: Sequence[str], config: DensityConfig) -> dict[str, Any]:
    """Logistic regression of answering exactly after the tuning on the log density in the tuning data."""
    results = {}
    for space in spaces:
        draws = [
            logistic.bootstrap(
                t[f"tuning/{space}"], t["right_tuned"], [t[c] for c in _CONTROLS], t["pair"],
                min(config.bootstrap.resamples, 200), seed,
            )
            for seed, t in items.items()
        ]  # fmt: skip
        results[space] = {
            statistic: over_seeds([draw[:, place] for draw in draws], config.bootstrap.level).as_dict()
            for place, statistic in enumerate(("log_odds", "deviance"))
        }
    return results
