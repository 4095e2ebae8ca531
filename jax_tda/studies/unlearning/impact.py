"""What taking a corpus away does to every ability, how two corpora act together, and how far two accounts agree.

An effect [removals, queries] is a query's outcome after the removal minus its outcome before; a cell of a matrix is the
mean of an ability's queries. Intervals draw the queries of every ability anew, the same ones for whatever is compared.

Source: GRACE (arXiv 2402.11537) for impact and its three kinds of joint impact; their operational forms are ours.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jax_tda.core import seeds
from jax_tda.evaluation.bootstrap import BootstrapConfig, mean_interval

Matrix = np.ndarray
Statistic = Callable[[Matrix, Matrix], float]


def effects(before: Sequence[float], after: Mapping[str, Sequence[float]]) -> dict[str, np.ndarray]:
    """I of every query: after − before, by removal."""
    return {name: np.asarray(values) - np.asarray(before) for name, values in after.items()}


def interaction(one: np.ndarray, other: np.ndarray, both: np.ndarray) -> np.ndarray:
    """J = I(a + b) − I(a) − I(b) of every query; negative where the loss of both is worse than the two losses added."""
    return both - one - other


def cells(effect: np.ndarray, ability: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """The mean effect on the queries of each ability: [..., queries] to [..., abilities]."""
    return np.stack([effect[..., ability == name].mean(axis=-1) for name in names], axis=-1)


def intervals(
    effect: np.ndarray, ability: np.ndarray, names: Sequence[str], seed: int, config: BootstrapConfig
) -> dict[str, dict[str, float | int | None]]:
    """Mean and bootstrap interval over queries, by ability.

    Args:
      effect: [queries].
      ability: the ability of each query.
      names: the abilities.
      seed: of the bootstrap.
      config: of the bootstrap.
    """
    return {name: mean_interval(effect[ability == name].tolist(), seed, config).as_dict() for name in names}


def hit(interval: Mapping[str, Any], least: float = 0.0) -> bool:
    """Whether an effect's whole interval lies beyond `least`, on either side of 0."""
    return bool(interval["low"] is not None and (interval["low"] > least or interval["high"] < -least))


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks 1 … n of a vector, equal values sharing the mean of theirs."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2)[place]


def pearson(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's correlation of all numbers of two arrays; NaN where one of them does not vary."""
    a, b = (np.ravel(values) - np.mean(values) for values in (one, other))
    length = np.sqrt(a @ a) * np.sqrt(b @ b)
    return float(a @ b / length) if length > 0 else float("nan")


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's correlation of ranks."""
    return pearson(ranks(np.ravel(one)), ranks(np.ravel(other)))


def _apart(one: Matrix) -> np.ndarray:
    return one[np.eye(*one.shape) == 0]


def _ranked(one: Matrix, other: Matrix) -> float:
    found = [spearman(one[:, ability], other[:, ability]) for ability in range(one.shape[1])]
    known = [value for value in found if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


def _first(one: Matrix, other: Matrix) -> float:
    return float(np.mean(np.argmin(one, axis=0) == np.argmin(other, axis=0)))


# Of two matrices corpora × abilities, a corpus's own ability on the diagonal.
STATISTICS: Mapping[str, Statistic] = {
    "pearson": pearson,
    "spearman": spearman,
    "pearson_apart": lambda one, other: pearson(_apart(one), _apart(other)),
    "spearman_apart": lambda one, other: spearman(_apart(one), _apart(other)),
    "corpora_ranked": _ranked,
    "corpora_first": _first,
}


def agreement(
    one: np.ndarray, other: np.ndarray, ability: np.ndarray, names: Sequence[str], seed: int, config: BootstrapConfig
) -> dict[str, dict[str, float | None]]:
    """How far two accounts of the same corpora agree, with bootstrap intervals over queries.

    `pearson` and `spearman` are over all cells, `…_apart` without the diagonal; `corpora_ranked` is the mean over
    abilities of Spearman's correlation over corpora, `corpora_first` the share of abilities of which both name the same
    corpus first (the most negative effect).

    Args:
      one: [corpora, queries] effects.
      other: [corpora, queries] effects, or another account of the same sign.
      ability: the ability of each query.
      names: the abilities, a corpus's own at its place.
      seed: of the bootstrap.
      config: of the bootstrap.
    """
    members = [np.flatnonzero(ability == name) for name in names]
    generator = seeds.generator(seed, "unlearning", "agreement")

    def matrices(rows: Sequence[np.ndarray]) -> tuple[Matrix, Matrix]:
        a, b = (np.stack([effect[:, row].mean(axis=1) for row in rows], axis=1) for effect in (one, other))
        return a, b

    drawn = [
        matrices([row[generator.integers(0, len(row), len(row))] for row in members]) for _ in range(config.resamples)
    ]
    tail = (1 - config.level) / 2
    found: dict[str, dict[str, float | None]] = {}
    for name, statistic in STATISTICS.items():
        value = statistic(*matrices(members))
        samples = np.array([statistic(*pair) for pair in drawn])
        samples = samples[np.isfinite(samples)]
        known = np.isfinite(value) and len(samples) > 0
        low, high = np.quantile(samples, [tail, 1 - tail]) if known else (None, None)
        found[name] = {
            "value": float(value) if known else None,
            "low": None if low is None else float(low),
            "high": None if high is None else float(high),
        }
    return found


def relation(one: Matrix, other: Matrix, both_hit: int, apart: float = 0.3, together: float = 0.7) -> str:
    """What two corpora's rows of impact say of them: correlated, orthogonal, or neither.

    Correlated: Pearson's and Spearman's correlation of the rows are at least `together`. Orthogonal: Pearson's is below
    `apart` in size, and no ability is hit by both. The bounds are ours.

    Args:
      one: [abilities].
      other: [abilities].
      both_hit: how many abilities are hit by both.
      apart: the bound of orthogonal.
      together: the bound of correlated.
    """
    linear, ranked = pearson(one, other), spearman(one, other)
    if min(linear, ranked) >= together:
        return "correlated"
    return "orthogonal" if abs(linear) < apart and not both_hit else "neither"
