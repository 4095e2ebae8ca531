"""Linear regressions with controls, and their bootstrap, from the second moments of the columns alone."""

from collections.abc import Mapping, Sequence

import numpy as np

from jax_tda.core import seeds
from jax_tda.core.errors import InputError

# A share of an outcome's own moment below which a residual is rounding: nothing is left to explain.
_ROUNDING = 1e-10


class Moments:
    """Σ z zᵀ over rows z = (1, columns), cluster by cluster: enough for every regression of one column on others.

    Columns are standardised first, which changes no R² and makes slopes standardised ones. A bootstrap draws whole
    clusters, because rows of one cluster (queries about one subject) resemble each other; a draw is then a weighted sum
    of small matrices.

    Args:
      columns: values by name, one per row; a constant column explains nothing and is kept as zeros.
      clusters: the cluster of each row; None makes each row its own.

    Raises:
      InputError: columns of different lengths, fewer than three rows, or values that are not finite.
    """

    def __init__(self, columns: Mapping[str, np.ndarray], clusters: Sequence[object] | np.ndarray | None = None):
        self._places = {name: place for place, name in enumerate(columns, 1)}
        lengths = {len(column) for column in columns.values()}
        values = [np.asarray(column, np.float64) for column in columns.values()]
        if len(lengths) != 1 or min(lengths) < 3 or not all(np.isfinite(value).all() for value in values):
            bad = [name for name, value in zip(columns, values, strict=True) if not np.isfinite(value).all()]
            raise InputError(
                "these columns cannot be regressed",
                got=f"lengths {sorted(lengths)}" + (f", {', '.join(bad)} not finite" if bad else ""),
                expected="one finite number per row and column, and at least three rows",
                remedy="leave out the rows without a value, and take more queries",
            )
        self.count = lengths.pop()
        z = np.stack([np.ones(self.count), *map(standardised, values)], axis=1)
        _, place = np.unique(
            [str(c) for c in clusters] if clusters is not None else range(self.count), return_inverse=True
        )
        self._by_cluster = np.zeros((place.max() + 1, z.shape[1], z.shape[1]))
        np.add.at(self._by_cluster, place, z[:, :, None] * z[:, None, :])

    def draws(self, resamples: int, seed: int) -> np.ndarray:
        """[1 + resamples, k, k]: the moments of all rows, then those of each draw of as many clusters as there are."""
        clusters, size, _ = self._by_cluster.shape
        random = seeds.generator(seed, "density", "bootstrap")
        counts = random.multinomial(clusters, np.full(clusters, 1 / clusters), size=resamples)
        weights = np.concatenate([np.ones((1, clusters)), counts])
        return (weights @ self._by_cluster.reshape(clusters, -1)).reshape(-1, size, size)

    def r_squared(self, moments: np.ndarray, outcome: str, predictors: Sequence[str]) -> np.ndarray:
        """1 − RSS / TSS of the outcome on predictors and a constant, per draw; 0 where the outcome does not vary.

        NaN where the predictors and the constant are as many as the rows, which they fit whatever they are.
        """
        return self._share(moments, outcome, (), predictors)

    def partial(self, moments: np.ndarray, outcome: str, predictor: str, controls: Sequence[str]) -> np.ndarray:
        """(RSS of the controls − RSS with the predictor too) / RSS of the controls, per draw; 0 where they leave none.

        NaN as `r_squared` is.
        """
        return self._share(moments, outcome, controls, [*controls, predictor])

    def slope(self, moments: np.ndarray, outcome: str, predictor: str, controls: Sequence[str]) -> np.ndarray:
        """Standard deviations of the outcome per standard deviation of the predictor, controls held, per draw.

        NaN as `r_squared` is.
        """
        if self._saturated([*controls, predictor]):
            return np.full(len(moments), np.nan)
        return self._coefficients(moments, outcome, [*controls, predictor])[..., -1]

    def _share(self, moments: np.ndarray, outcome: str, few: Sequence[str], more: Sequence[str]) -> np.ndarray:
        """How much of the residual on few columns more columns take away."""
        if self._saturated(more):
            return np.full(len(moments), np.nan)
        y = self._places[outcome]
        without, full = (self._residual(moments, outcome, names) for names in (few, more))
        left = without > _ROUNDING * moments[:, y, y]
        return np.where(left, np.clip(1 - full / np.where(left, without, 1.0), 0.0, 1.0), 0.0)

    def _saturated(self, predictors: Sequence[str]) -> bool:
        x = [0, *(self._places[name] for name in predictors)]
        whole = self._by_cluster.sum(0)[x][:, x]
        return self.count <= int(np.linalg.matrix_rank(whole, tol=1e-9 * np.linalg.norm(whole, 2), hermitian=True))

    def _coefficients(self, moments: np.ndarray, outcome: str, predictors: Sequence[str]) -> np.ndarray:
        x = [0, *(self._places[name] for name in predictors)]
        y = self._places[outcome]
        # Controls may be collinear, and a draw may miss a relation altogether.
        inverse = np.linalg.pinv(moments[:, x][:, :, x], rcond=1e-9, hermitian=True)
        return np.einsum("bij,bj->bi", inverse, moments[:, x, y])

    def _residual(self, moments: np.ndarray, outcome: str, predictors: Sequence[str]) -> np.ndarray:
        x = [0, *(self._places[name] for name in predictors)]
        y = self._places[outcome]
        fitted = np.einsum("bi,bi->b", self._coefficients(moments, outcome, predictors), moments[:, x, y])
        return np.maximum(moments[:, y, y] - fitted, 0.0)


def permutation_p(
    outcome: np.ndarray, predictor: np.ndarray, controls: Sequence[np.ndarray], permutations: int, seed: int
) -> float:
    """How often a shuffled residual gives at least this partial R²: (1 + #{shuffled ≥ seen}) / (1 + permutations).

    Freedman & Lane: the outcome's residuals on the controls are shuffled, which keeps what the controls explain, and
    are freed of the controls again. 1 where the controls leave nothing of the outcome or of the predictor.
    """
    x = np.stack([np.ones(len(outcome)), *map(standardised, controls)], axis=1)
    basis, singular, _ = np.linalg.svd(x, full_matrices=False)
    basis = basis[:, singular > 1e-9 * singular[0]]

    def free(values: np.ndarray) -> np.ndarray:
        return values - (values @ basis) @ basis.T

    left, right = free(standardised(outcome)), free(standardised(predictor))
    # A standardised column has the sum of squares N.
    if min(left @ left, right @ right) <= 1e-18 * len(left):
        return 1.0
    random = seeds.generator(seed, "density", "permutations")
    shuffled = free(np.stack([left[random.permutation(len(left))] for _ in range(permutations)]))

    def share(values: np.ndarray) -> np.ndarray:
        return (values @ right) ** 2 / np.maximum((values**2).sum(-1) * (right @ right), 1e-300)

    # Rounding must not make the very same order of residuals look smaller than itself.
    return float(1 + (share(shuffled) >= share(left[None])[0] * (1 - 1e-12)).sum()) / (1 + permutations)


def standardised(values: np.ndarray) -> np.ndarray:
    """Values of mean 0 and deviation 1; zeros where they differ by no more than rounding."""
    centred = np.asarray(values, np.float64) - np.mean(values)
    deviation = centred.std()
    return centred / deviation if deviation > 1e-12 * np.abs(values).max() else np.zeros_like(centred)
