"""From a query's gradient to the direction that documents are scored against: one row for each kind.

A step on document i moves the parameters by −H⁻¹ ∇loss_i, for whatever H the kind stands for, and so raises a query's
log-probability by ⟨∇loss_q, H⁻¹ ∇loss_i⟩ = ⟨u_q, ∇loss_i⟩ with u_q = H⁻¹ ∇loss_q: all that is clever sits on the
query's side, and documents are never divided by anything.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jax_tda.core.errors import InputError
from jax_tda.encoding.blocks import Matrix
from jax_tda.encoding.directed import Matrices
from jax_tda.encoding.second_moments import SecondMoments


@dataclasses.dataclass(frozen=True)
class Factors:
    """The Fisher matrix of one parameter in Kronecker eigenvectors, [L, in, in], [L, in], and so on; float64.

    Args:
      basis_in: eigenvectors of A, in columns.
      values_in: eigenvalues of A.
      basis_out: eigenvectors of G.
      values_out: eigenvalues of G.
      measured: Λ [L, in, out], the mean squared gradient in these eigenvectors.
    """

    basis_in: np.ndarray
    values_in: np.ndarray
    basis_out: np.ndarray
    values_out: np.ndarray
    measured: np.ndarray


@dataclasses.dataclass(frozen=True)
class Given:
    """What directions are made with.

    Args:
      matrices: the encoded parameters, by path.
      power: p of V^p a side.
      damping: λ as a share of each layer's mean eigenvalue.
      moments: the optimizer's second moments, where the kind divides by them.
      factors: by parameter path, where the kind needs them.
    """

    matrices: Mapping[str, Matrix]
    power: float
    damping: float
    moments: SecondMoments | None = None
    factors: Mapping[str, Factors] | None = None


def identity(path: str, gradients: np.ndarray, given: Given) -> np.ndarray:
    """u = g: plain gradient descent."""
    del path, given
    return gradients


def second_moments(path: str, gradients: np.ndarray, given: Given) -> np.ndarray:
    """u = g / (√V̂ + ε)^(4·power): V^power on either side; power ¼ is a step of Adam, ½ is TrackStar's."""
    matrix = given.matrices[path]
    assert given.moments is not None
    root = np.sqrt(matrix.view(given.moments.full(path, matrix.shape))) + given.moments.epsilon
    root = root.reshape(gradients.shape[1:])
    if given.power and not (root > 0).all():
        raise InputError(
            f"the direction of {path} would be divided by zero",
            got=f"{int((root == 0).sum())} elements whose second moment and ε are zero",
            expected="√V̂ + ε > 0",
            remedy="estimate second moments with an epsilon above 0, or exclude the parameter",
        )
    return gradients / root ** (4 * given.power)


def kfac(path: str, gradients: np.ndarray, given: Given) -> np.ndarray:
    """u = Q_A [(Q_Aᵀ g Q_G) / (a ⊗ b + λ)] Q_Gᵀ with the eigenvalues a, b of both factors."""
    own = _of(path, given)
    return _divided(path, gradients, own, own.values_in[:, :, None] * own.values_out[:, None, :], given.damping)


def ekfac(path: str, gradients: np.ndarray, given: Given) -> np.ndarray:
    """u = Q_A [(Q_Aᵀ g Q_G) / (Λ + λ)] Q_Gᵀ with the measured Λ (arXiv 1806.03884)."""
    own = _of(path, given)
    return _divided(path, gradients, own, own.measured, given.damping)


def _of(path: str, given: Given) -> Factors:
    assert given.factors is not None
    return given.factors[path]


def _divided(path: str, gradients: np.ndarray, own: Factors, values: np.ndarray, damping: float) -> np.ndarray:
    whole = values + damping * values.mean((1, 2), keepdims=True)
    if not (whole > 0).all():
        raise InputError(
            f"the Fisher matrix of {path} cannot be inverted",
            got=f"damping {damping} and {int((whole <= 0).sum())} eigenvalues of 0",
            expected="damping above 0, or factors of full rank",
            remedy="raise the damping (0.1 is usual), or estimate factors from more examples",
        )
    turned = own.basis_in.swapaxes(1, 2) @ gradients @ own.basis_out
    return own.basis_in @ (turned / whole) @ own.basis_out.swapaxes(1, 2)


@dataclasses.dataclass(frozen=True)
class Kind:
    """A way to make directions.

    Args:
      make: from (path, gradients [Q, L, in, out] float64, what is given) to directions of that shape.
      needs: `moments`, `factors` or nothing.
    """

    make: Callable[[str, np.ndarray, Given], np.ndarray]
    needs: str = ""


KINDS: Mapping[str, Kind] = {
    "gradient": Kind(identity),
    "second_moments": Kind(second_moments, "moments"),
    "kfac": Kind(kfac, "factors"),
    "ekfac": Kind(ekfac, "factors"),
}


def make(kind: str, gradients: Matrices, given: Given) -> Matrices:
    """Directions [Q, L, in, out] float32 by parameter path.

    Args:
      kind: a key of `KINDS`.
      gradients: of the queries' losses, [Q, L, in, out].
      given: what the kind needs.

    Raises:
      InputError: a direction is not finite.
    """
    found = dict[str, Any]()
    for path, own in gradients.items():
        value = KINDS[kind].make(path, own.astype(np.float64), given).astype(np.float32)
        if not np.isfinite(value).all():
            raise InputError(
                f"the direction of {path} is not finite",
                got=f"{int((~np.isfinite(value)).sum())} elements beyond float32, kind {kind}",
                expected="finite numbers",
                remedy="raise the damping, or lower the power",
            )
        found[path] = value
    return found
