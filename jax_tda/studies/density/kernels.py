"""The three kernels of a density: how a distance becomes a weight, and what makes the weights a density."""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from jax_tda.core.errors import InputError

# exp(−‖x − y‖² / 2h²), exp(−‖x − y‖ / h), exp(−‖x − y‖₁ / h)
Kernel = Literal["gaussian", "exponential", "laplacian"]
KERNELS: tuple[Kernel, ...] = get_args(Kernel)


def check(kernel: str, bandwidths: Sequence[float] | np.ndarray) -> None:
    """Refuses an unknown kernel, and a bandwidth that is no positive number.

    Raises:
      InputError: saying which.
    """
    if kernel not in KERNELS:
        raise InputError(
            "there is no such kernel",
            got=repr(kernel),
            expected=" or ".join(map(repr, KERNELS)),
            remedy="set study_density.kernels to some of them",
        )
    wrong = [float(h) for h in bandwidths if not 0 < h < math.inf]
    if wrong or not len(bandwidths):
        raise InputError(
            f"a {kernel} density has no such bandwidth",
            got=wrong[0] if wrong else "none",
            expected="finite numbers above 0: a kernel of bandwidth 0 is no density",
            remedy="set study_density.bandwidth_factors to positive numbers; rows that all coincide have no scale",
        )


def scales(kernel: str, bandwidths: np.ndarray) -> np.ndarray:
    """What a kernel's distance (squared, plain, or in L1) is multiplied with: 1 / 2h² or 1 / h."""
    h = np.asarray(bandwidths, np.float64)
    with np.errstate(divide="ignore", over="ignore", under="ignore"):
        return 1 / (2 * h**2) if kernel == "gaussian" else 1 / h


def log_normaliser(kernel: str, dimension: int, bandwidths: np.ndarray) -> np.ndarray:
    """log of 1 / ∫ kernel(x) dx over d dimensions, per bandwidth.

    Gaussian (2π)^(−d/2) h^(−d); laplacian (2h)^(−d); exponential Γ(d/2) / (2 π^(d/2) Γ(d)) h^(−d), from the surface of
    the unit sphere times ∫ r^(d−1) exp(−r / h) dr.
    """
    d, h = dimension, np.asarray(bandwidths, np.float64)
    constant = {
        "gaussian": -0.5 * d * math.log(2 * math.pi),
        "laplacian": -d * math.log(2),
        "exponential": math.lgamma(d / 2) - math.log(2) - 0.5 * d * math.log(math.pi) - math.lgamma(d),
    }[kernel]
    return constant - d * np.log(h)


def natural_bandwidth(kernel: str, dimension: int, distance: float) -> float:
    """The bandwidth that makes one neighbour at this distance likeliest: r / √d for the gaussian, r / d for the others.

    d/dh of log K_h(r) with its normaliser is zero there, so held-out likelihood falls on either side of it where one
    neighbour outweighs all others. A laplacian's r is in L1.
    """
    return distance / math.sqrt(dimension) if kernel == "gaussian" else distance / dimension
