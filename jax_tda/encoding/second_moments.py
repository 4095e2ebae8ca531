"""The optimizer's second moments V: found in an optax state, rebuilt by optax's own rules, reduced to rank one.

Encodings divide a gradient by √V. When V is rank one over (in, out), the division folds into activations and output
gradients; `rank_one` makes that form of any V and says how much it lost.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from jax_tda.core import placement, trees
from jax_tda.core.errors import InputError
from jax_tda.encoding import optax_states
from jax_tda.models import checkpoints, narrow
from jax_tda.models.checkpoint_artifact import Checkpoint
from jax_tda.models.layout import Layout

Leaf = Any


@dataclasses.dataclass(frozen=True)
class _Elementwise:
    """V̂ = values^power / divisor + added."""

    values: Leaf
    divisor: float = 1.0
    added: float = 0.0
    power: int = 1


@dataclasses.dataclass(frozen=True)
class _Factored:
    v_row: Leaf
    v_col: Leaf
    v: Leaf


@dataclasses.dataclass(frozen=True)
class SecondMoments:
    """Second moments by parameter path.

    Args:
      leaves: what the state holds for each parameter, and Adam's bias correction 1 − b2^count, of each group its own.
      epsilon: the optimizer's own ε, added to √V̂ where a step is taken (Adam); 0 for Adafactor and Adamax.
      source: `adam`, `adamax`, `amsgrad` or `adafactor`, and the type where it is narrow; for the manifest.
    """

    leaves: dict[str, _Elementwise | _Factored]
    epsilon: float
    source: str

    def full(self, path: str, shape: tuple[int, ...]) -> np.ndarray:
        """V̂ of one parameter, element-wise.

        Adam: nu / (1 − b2^count). AMSGrad: nu_max, the largest of these. Adamax: nu², as it divides by nu.
        Adafactor: v where the state is not factored, else the outer product
        v_row ⊗ v_col / mean(v_row) over the two largest dimensions, as `optax.scale_by_factored_rms` divides.

        Args:
          path: '/'-joined parameter path.
          shape: the parameter's shape, which decides what optax factored.

        Returns:
          float64 array of `shape`.

        Raises:
          InputError: the state has nothing for this parameter, something of another shape, or no mean of squares.
        """
        leaf = self.leaves.get(path)
        if leaf is None:
            raise InputError(
                f"the optimizer state has no second moments for {path}",
                got=f"moments for {len(self.leaves)} parameters, such as {', '.join(sorted(self.leaves)[:3])}",
                expected="moments for every parameter that is encoded",
                remedy="give the state of the optimizer that trained this model, or exclude the parameter by name",
            )
        if isinstance(leaf, _Elementwise):
            value = _wide(leaf.values) ** leaf.power / leaf.divisor + leaf.added
        else:
            value = _unfactor(leaf, shape)
        if value.shape != tuple(shape):
            raise InputError(
                f"the second moments of {path} do not fit the parameter",
                got=f"shape {value.shape}",
                expected=f"shape {tuple(shape)}",
                remedy="give the optimizer state that belongs to this checkpoint",
            )
        if wrong := int(np.sum(~(np.isfinite(value) & (value >= 0)))):
            raise InputError(
                f"the second moments of {path} are no mean of squares",
                got=f"{wrong} of {value.size} negative or not finite",
                expected="finite numbers ≥ 0",
                remedy="take an earlier checkpoint: this training diverged, or the file is damaged",
            )
        return value


def from_values(values: Mapping[str, Leaf], epsilon: float, source: str) -> SecondMoments:
    """Second moments that are known element-wise.

    Args:
      values: V̂ by parameter path.
      epsilon: what the optimizer would add to √V̂.
      source: where they come from, for the manifest.
    """
    return SecondMoments({path: _Elementwise(value) for path, value in values.items()}, epsilon, source)


def _wide(leaf: Leaf) -> np.ndarray:
    return np.asarray(placement.fetch(leaf), np.float64)


def _unfactor(leaf: _Factored, shape: tuple[int, ...]) -> np.ndarray:
    v = _wide(leaf.v)
    if v.shape == tuple(shape) and (v.size > 1 or leaf.v_row.size <= 1):
        return v
    # optax sorts axes by size: v_row is the mean over the largest (d0), v_col over the second largest (d1).
    order = np.argsort(shape)
    if len(shape) < 2:
        return v
    d1, d0 = int(order[-2]), int(order[-1])
    v_row, v_col = _wide(leaf.v_row), _wide(leaf.v_col)
    if v_row.shape != tuple(np.delete(shape, d0)) or v_col.shape != tuple(np.delete(shape, d1)):
        return v_row
    axis = d1 - 1 if d1 > d0 else d1
    return np.expand_dims(v_row / v_row.mean(axis=axis, keepdims=True), d0) * np.expand_dims(v_col, d1)


# What optax takes where nothing is said, in every optimizer of Adam's kind but Adafactor.
_DEFAULTS = {"b2": 0.999, "eps": 1e-8}


def second_moments_from(
    optax_state: Any, *, optimizer: str | None = None, b2: float | None = None, epsilon: float | None = None
) -> SecondMoments:
    """Finds the second moments in an optax state, through chains, masks, multi_transform and MultiSteps.

    Args:
      optax_state: the state, or what orbax restores of it without a target.
      optimizer: optax's name of what made it, such as `adamw`. None where the state's types tell; plain containers with
        Adam's names need it, because AdaBelief's, Adamax's and others' have the same.
      b2: Adam's decay of second moments, which bias correction needs. None takes what `optax.inject_hyperparams` put
        into the state, and otherwise optax's own default, 0.999: a plain state does not hold it.
      epsilon: Adam's ε. None likewise, with the default 1e-8. Ignored for Adafactor and Adamax, which have it inside V.

    Raises:
      InputError: there are no second moments in it, those of two optimizers at once, those of an optimizer that divides
        otherwise, or those of one that must be named; b2 or ε are impossible, or contradict the state.
    """
    states = optax_states.find(optax_state, optimizer)
    kinds = sorted({state.kind for state in states})
    if len(kinds) > 1:
        raise InputError(
            "second moments could not be read from the optimizer state",
            got=f"states of {' and '.join(kinds)} side by side",
            expected="one kind of optimizer for all parameters that are encoded",
            remedy="give the state of one of them, or encode without second moments",
        )
    leaves: dict[str, _Elementwise | _Factored] = {}
    for state in states:
        found = _leaves(state, b2)
        if twice := sorted(leaves.keys() & found.keys()):
            raise InputError(
                f"two optimizer states hold second moments of {twice[0]}",
                got=f"{len(twice)} parameters in two states",
                expected="one state for each parameter",
                remedy="give the one by which the model's last steps were divided",
            )
        leaves |= found
    # The others have theirs inside V.
    eps = {_setting("eps", state.injected, epsilon) for state in states if state.kind in ("adam", "amsgrad")} or {0.0}
    if len(eps) > 1:
        raise InputError(
            "the optimizer state's groups have different ε",
            got=", ".join(map(str, sorted(eps))),
            expected="one ε for all parameters that are encoded",
            remedy="encode one group at a time, by excluding the others' parameters",
        )
    return SecondMoments(leaves, eps.pop(), kinds[0] + _narrow(leaves))


def _leaves(state: optax_states.Held, b2: float | None) -> dict[str, _Elementwise | _Factored]:
    fields, added = state.fields, state.injected.get("eps_root", 0.0)
    if state.kind == "adafactor":
        parts = [trees.flatten(fields[name]) for name in ("v_row", "v_col", "v")]
        return {path: _Factored(*(part[path] for part in parts)) for path in parts[0]}
    if state.kind == "adamax":
        return {path: _Elementwise(nu, power=2) for path, nu in trees.flatten(fields["nu"]).items()}
    if state.kind == "amsgrad":  # It keeps the largest of the corrected values.
        return {path: _Elementwise(nu, added=added) for path, nu in trees.flatten(fields["nu_max"]).items()}
    correction = 1.0 - _setting("b2", state.injected, b2) ** state.count
    return {path: _Elementwise(nu, correction, added) for path, nu in trees.flatten(fields["nu"]).items()}


def _setting(name: str, injected: Mapping[str, float], given: float | None) -> float:
    """A hyperparameter: as given, as the state has it, or optax's default."""
    value = injected.get(name, _DEFAULTS[name]) if given is None else given
    most = 1.0 if name == "b2" else math.inf
    contradicted = given is not None and name in injected and not math.isclose(given, injected[name], rel_tol=1e-5)
    if contradicted or not 0 <= value < most:
        raise InputError(
            f"the optimizer's {name} is not possible",
            got=f"{value}, where the state was made with {injected[name]}" if contradicted else value,
            expected="a number ≥ 0 and below 1" if name == "b2" else "a finite number ≥ 0",
            remedy=f"give the {name} of the training; in bfloat16, 0.999 becomes 1",
        )
    return value


def _narrow(leaves: Mapping[str, _Elementwise | _Factored]) -> str:
    held = [leaf.values if isinstance(leaf, _Elementwise) else leaf.v_row for leaf in leaves.values()]
    return narrow.named(str(leaf.dtype) for leaf in held if leaf.dtype.itemsize < 4)


def of_checkpoint(checkpoint: Checkpoint, layout: Layout | None = None) -> tuple[Any, SecondMoments]:
    """Parameters and second moments of a checkpoint artifact, on the host, or divided as a layout says.

    The optimizer state is read as plain containers, since only the names in it matter.
    """
    settings = checkpoint.optimizer
    where = layout.of_tree if layout else None
    stored = checkpoints.restore_untyped(str(checkpoint.reader.path / "state"), where)
    moments = second_moments_from(
        stored["opt_state"], optimizer=settings["name"], b2=settings["b2"], epsilon=settings["epsilon"]
    )
    return stored["params"], moments


def inverse_root(values: np.ndarray, epsilon: float, path: str) -> np.ndarray:
    """1 / (√V̂ + ε), element-wise, as the optimizer itself divides.

    Raises:
      InputError: √V̂ + ε is zero somewhere, so that there is nothing to divide by.
    """
    divisor = np.sqrt(values) + epsilon
    if not np.all(divisor > 0):
        raise InputError(
            f"the second moments of {path} cannot be divided by",
            got=f"{int(np.sum(~(divisor > 0)))} elements where √V + ε is zero or not a number",
            expected="positive √V + ε everywhere",
            remedy="give the optimizer's ε, or use the rank-one reduction",
        )
    return 1.0 / divisor


@dataclasses.dataclass(frozen=True)
class RankOne:
    """V ≈ r_i c_j / mean(V) per layer, as the factors of 1/√V.

    Args:
      row_scale: [..., in], √mean(V) / √(r + ε mean(r)).
      column_scale: [..., out], 1 / √(c + ε mean(c)).
      residual: ‖V − r cᵀ/mean(V)‖ / ‖V‖, the largest over the layers; about 1e-7 where V was rank one already.
    """

    row_scale: np.ndarray
    column_scale: np.ndarray
    residual: float


def rank_one(values: np.ndarray, path: str, epsilon: float) -> RankOne:
    """Reduces V [..., in, out] to rank one by its row and column means.

    Exact where V is an outer product. ε is relative to the mean of each factor and enters before the root, so that a
    row or column that training never touched is not divided by zero and 1/√V stays rank one.

    Raises:
      InputError: V of a layer is zero or not finite everywhere.
    """
    mean = values.mean(axis=(-2, -1))
    if not np.all(np.isfinite(mean) & (mean > 0)):
        raise InputError(
            f"the second moments of {path} cannot correct anything",
            got="values that are all zero or not finite",
            expected="positive second moments",
            remedy="exclude the parameter by name, or encode without second moments",
        )
    row, column = values.mean(axis=-1), values.mean(axis=-2)
    lost = values - row[..., :, None] * column[..., None, :] / mean[..., None, None]
    residual = np.linalg.norm(lost, axis=(-2, -1)) / np.linalg.norm(values, axis=(-2, -1))
    floor = epsilon * mean[..., None]
    return RankOne(np.sqrt(mean[..., None] / (row + floor)), 1.0 / np.sqrt(column + floor), float(np.max(residual)))
