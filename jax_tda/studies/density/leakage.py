"""What a leak does: to the density around the item and to its likelihood, beside controls that were not leaked."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jax_tda.core import seeds as names
from jax_tda.studies.density import explained
from jax_tda.studies.density.estimates import over_seeds
from jax_tda.studies.density.explained import Column, Table, Tables
from jax_tda.studies.density.regression import Moments
from jax_tda.studies.density.settings import DensityConfig
from jax_tda.studies.density.world import KINDS

_DOSES = ("dose_verbatim", "dose_reworded")


def analyse(tables: Tables, spaces: Sequence[str], controls: Sequence[str], config: DensityConfig) -> dict[str, Any]:
    """Rise and gain by kind and number of copies, paired; and what the density after the leak says of the gain.

    Gain is that of the target's log probability from the model before to the one tuned on the leak, rise that of the
    log density from the background alone to the tuning data. What predicts the gain also has the likelihood before
    among its controls.
    """
    pairs = {seed: _pairs(table, spaces) for seed, table in tables.items()}
    items = {seed: _items(table, spaces) for seed, table in tables.items()}
    leaked = {seed: _only(table, table["leaked"] > 0) for seed, table in items.items()}
    held, densities = [*controls, "log_p"], [f"tuning/{space}" for space in spaces]
    return {
        "cells": [
            {"kind": kind, "copies": m} | _cell(pairs, kind, m, spaces, config) for kind in KINDS for m in config.copies
        ],
        "prediction": _prediction(items, densities, held, config),
        "leaked_alone": _prediction(leaked, densities, held, config),
        "correct_after": explained.correctness(items, "right_tuned", densities, held, config, "pair"),
    }


def _pairs(table: Table, spaces: Sequence[str]) -> dict[str, Column]:
    """A row per pair whose two facts have every value: rise, gain and answer of both."""
    both: dict[float, dict[str, int]] = {}
    for row in np.flatnonzero(np.isfinite(table["pair"])):
        both.setdefault(table["pair"][row], {})[str(table["role"][row])] = int(row)
    whole = [pair for pair in both.values() if len(pair) == 2]
    gain = table["log_p_tuned"] - table["log_p"]
    rise = {f"rise/{space}": table[f"tuning/{space}"] - table[f"background/{space}"] for space in spaces}
    values = {"gain": gain, "right": table["right_tuned"], **rise}
    leaked, control = (np.array([pair[role] for pair in whole], int) for role in ("leaked", "control"))
    rows = {"kind": table["kind"][leaked], "copies": table["copies"][leaked]}
    for name, column in values.items():
        rows |= {f"leaked {name}": column[leaked], f"control {name}": column[control]}
    return rows


def _cell(
    pairs: Mapping[int, Table], kind: str, m: int, spaces: Sequence[str], config: DensityConfig
) -> dict[str, Any]:
    draws: dict[tuple[str, str], list[Column]] = {}
    number = 0
    for seed, rows in pairs.items():
        here = (rows["kind"] == kind) & (rows["copies"] == m)
        count = int(here.sum())
        number += count
        if not count:
            continue
        random = names.generator(seed, "density", "pairs drawn", kind, m)
        picked = random.integers(0, count, (config.bootstrap.resamples, count))
        picked = np.concatenate([np.arange(count)[None], picked])
        for name in ("gain", "right", *(f"rise/{space}" for space in spaces)):
            own, other = rows[f"leaked {name}"][here], rows[f"control {name}"][here]
            for which, values in (("leaked", own), ("control", other), ("difference", own - other)):
                draws.setdefault((name, which), []).append(values[picked].mean(1))
    found: dict[str, Any] = {"pairs": number}
    for (name, which), seeds in draws.items():
        found.setdefault(name, {})[which] = over_seeds(seeds, config.bootstrap.level).as_dict()
    return found


def _items(table: Table, spaces: Sequence[str]) -> dict[str, Column]:
    """A row per item of a pair, leaked or control, with what is to be explained and what was leaked."""
    finite = [np.isfinite(table[name]) for name in ("pair", *(f"tuning/{space}" for space in spaces))]
    rows = _only(table, np.all(finite, axis=0))
    leaked = rows["role"] == "leaked"
    doses = {f"dose_{kind}": np.where(leaked & (rows["kind"] == kind), rows["copies"], 0.0) for kind in KINDS}
    return rows | doses | {"gain": rows["log_p_tuned"] - rows["log_p"], "leaked": leaked.astype(float)}


def _prediction(items: Tables, densities: Sequence[str], held: Sequence[str], config: DensityConfig) -> dict[str, Any]:
    """Regressions of the gain, and the share that a line in the known number of copies of each kind explains."""
    known = []
    for seed, table in items.items():
        moments = Moments({name: table[name] for name in ("gain", *held, *_DOSES)}, table["pair"])
        draws = moments.draws(config.bootstrap.resamples, seed)
        without, full = (moments.r_squared(draws, "gain", names_) for names_ in (held, [*held, *_DOSES]))
        left = 1 - without > 1e-10
        known.append(np.where(left, (full - without) / np.where(left, 1 - without, 1.0), 0.0))
    found = explained.regressions(items, "gain", densities, held, config, "pair")
    return found | {"known_dose": over_seeds(known, config.bootstrap.level).as_dict()}


def _only(table: Table, keep: np.ndarray) -> dict[str, Column]:
    return {name: column[keep] for name, column in table.items()}
