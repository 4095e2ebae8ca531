"""Which bandwidth: the one under which passages that were held out are likeliest."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from jax_tda.core import seeds
from jax_tda.core.errors import InputError
from jax_tda.studies.density import kde, kernels


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Held-out likelihood by bandwidth.

    Args:
      bandwidths: h, ascending.
      held_out: mean log density of held-out rows under each.
      median_distance: the median distance of a held-out row to its nearest other (not squared; L1 for the laplacian).
      coinciding: held-out rows that were left out because another row equals them: under these, h = 0 would be best.
    """

    bandwidths: np.ndarray
    held_out: np.ndarray
    median_distance: float
    coinciding: int

    @property
    def best(self) -> int:
        """The place of the likeliest bandwidth."""
        return int(self.held_out.argmax())

    @property
    def at_edge(self) -> bool:
        """Whether the best is the first or last that was tried, so that a better one may lie beyond."""
        return self.best in (0, len(self.bandwidths) - 1)


def sweep(rows_ND: np.ndarray, kernel: str, factors: Sequence[float], held_out: int, seed: int) -> Sweep:
    """Mean log density of a random part of the rows given all others, under each bandwidth.

    Bandwidths are factors times `kernels.natural_bandwidth` of the median nearest distance, so that one list of factors
    serves every kernel and space.

    Args:
      rows_ND: the corpus.
      kernel: one of `kernels.KERNELS`.
      factors: of the natural bandwidth.
      held_out: rows.
      seed: of their draw.

    Raises:
      InputError: fewer rows than are to be held out, a factor that is not positive, or rows that all coincide.
    """
    if not 0 < held_out < len(rows_ND):
        raise InputError(
            "the bandwidth cannot be chosen by held-out likelihood",
            got=f"{held_out} rows to hold out, of {len(rows_ND)}",
            expected="at least one, and fewer than there are",
            remedy="set study_density.held_out",
        )
    chosen = np.zeros(len(rows_ND), bool)
    chosen[seeds.generator(seed, "density", "held out").choice(len(rows_ND), held_out, replace=False)] = True
    points, rest = rows_ND[chosen], rows_ND[~chosen]
    _, distances = kde.nearest(points, rest, 1, kernel)
    apart = np.sqrt(distances[:, 0]) if kernel == "gaussian" else distances[:, 0]
    distinct = apart > 0
    median = float(np.median(apart[distinct])) if distinct.any() else 0.0
    kernels.check(kernel, factors)
    bandwidths = np.sort(factors) * kernels.natural_bandwidth(kernel, rows_ND.shape[1], median)
    kernels.check(kernel, bandwidths)
    likelihood = kde.log_density(points[distinct], rest, bandwidths, kernel).mean(1)
    return Sweep(bandwidths, likelihood, median, int((~distinct).sum()))
