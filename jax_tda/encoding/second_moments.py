"""The optimizer's second moments V: found in an optax state, rebuilt by optax's own rules, reduced to rank one.

Encodings divide a gradient by √V. When V is rank one over (in, out), the division folds into activations and output
gradients; `rank_one` makes that form of any V and says how much it lost.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jax_tda.core import placement, trees
from jax_tda.core.errors import InputError
from jax_tda.models import checkpoints
from jax_tda.models.checkpoint_artifact import Checkpoint
from jax_tda.models.layout import Layout

Leaf = Any


@dataclasses.dataclass(frozen=True)
class _Adam:
    nu: Leaf


@dataclasses.dataclass(frozen=True)
class _Factored:
    v_row: Leaf
    v_col: Leaf
    v: Leaf


@dataclasses.dataclass(frozen=True)
class SecondMoments:
    """Second moments by parameter path.

    Args:
      leaves: what the state holds for each parameter.
      bias_correction: 1 − b2^count for Adam, by which nu is divided; 1 for Adafactor, whose decay corrects itself.
      epsilon: the optimizer's own ε, added to √V̂ where a step is taken (Adam); 0 for Adafactor.
      source: `adam` or `adafactor`, for the manifest.
    """

    leaves: dict[str, _Adam | _Factored]
    bias_correction: float
    epsilon: float
    source: str

    def full(self, path: str, shape: tuple[int, ...]) -> np.ndarray:
        """V̂ of one parameter, element-wise.

        Adam: nu / (1 − b2^count). Adafactor: v where the state is not factored, else the outer product
        v_row ⊗ v_col / mean(v_row) over the two largest dimensions, as `optax.scale_by_factored_rms` divides.

        Args:
          path: '/'-joined parameter path.
          shape: the parameter's shape, which decides what optax factored.

        Returns:
          float64 array of `shape`.

        Raises:
          InputError: the state has nothing for this parameter, or something of another shape.
        """
        leaf = self.leaves.get(path)
        if leaf is None:
            raise InputError(
                f"the optimizer state has no second moments for {path}",
                got=f"moments for {len(self.leaves)} parameters, such as {', '.join(sorted(self.leaves)[:3])}",
                expected="moments for every parameter that is encoded",
                remedy="give the state of the optimizer that trained this model, or exclude the parameter by name",
            )
        if isinstance(leaf, _Adam):
            value = _wide(leaf.nu) / self.bias_correction
        else:
            value = _unfactor(leaf, shape)
        if value.shape != tuple(shape):
            raise InputError(
                f"the second moments of {path} do not fit the parameter",
                got=f"shape {value.shape}",
                expected=f"shape {tuple(shape)}",
                remedy="give the optimizer state that belongs to this checkpoint",
            )
        return value


def from_values(values: Mapping[str, Leaf], epsilon: float, source: str) -> SecondMoments:
    """Second moments that are known element-wise.

    Args:
      values: V̂ by parameter path.
      epsilon: what the optimizer would add to √V̂.
      source: where they come from, for the manifest.
    """
    return SecondMoments({path: _Adam(value) for path, value in values.items()}, 1.0, epsilon, source)


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


def _fields(node: Any) -> dict[str, Any]:
    if isinstance(node, Mapping):
        return dict(node)
    if hasattr(node, "_fields"):
        return {name: getattr(node, name) for name in node._fields}
    if dataclasses.is_dataclass(node) and not isinstance(node, type):
        return {field.name: getattr(node, field.name) for field in dataclasses.fields(node)}
    return {}


_DEFAULT_B2 = 0.999
_ADAM = ("ScaleByAdamState", "ScaleByAmsgradState")


def _states(node: Any) -> list[dict[str, Any]]:
    """Every Adam or factored state in a nest of chains, wrappers and restored dictionaries."""
    fields = _fields(node)
    if {"count", "nu"} <= set(fields) or {"count", "v_row", "v_col", "v"} <= set(fields):
        name = type(node).__name__
        # Others keep something else under `nu` (AdaBelief a variance, RMSProp another decay) and divide otherwise.
        if "nu" in fields and ("mu" not in fields or (hasattr(node, "_fields") and name not in _ADAM)):
            raise InputError(
                "these second moments are not Adam's",
                got=f"a {name} with {', '.join(sorted(fields))}",
                expected=f"one of {', '.join(_ADAM)}, or Adafactor's FactoredState",
                remedy="estimate second moments otherwise, or encode without them",
            )
        return [fields]
    children = list(fields.values()) if fields else list(node) if isinstance(node, (list, tuple)) else []
    return [found for child in children for found in _states(child)]


def _injected_b2(node: Any) -> float:
    """b2 among the hyperparameters that an optax wrapper put into the state; 0.999 where none did."""
    fields = _fields(node)
    if "b2" in _fields(fields.get("hyperparams")):
        return float(np.asarray(fields["hyperparams"]["b2"]))
    children = list(fields.values()) if fields else list(node) if isinstance(node, (list, tuple)) else []
    return next((found for child in children if (found := _injected_b2(child)) != _DEFAULT_B2), _DEFAULT_B2)


def second_moments_from(optax_state: Any, *, b2: float | None = None, epsilon: float = 1e-8) -> SecondMoments:
    """Finds the second moments in an optax state, through chains, masks, multi_transform and MultiSteps.

    Args:
      optax_state: the state, or what orbax restores of it without a target.
      b2: Adam's decay of second moments, which bias correction needs. None takes what `optax.inject_hyperparams` put
        into the state, and otherwise optax's own default, 0.999: a plain state does not hold it.
      epsilon: Adam's ε. Ignored for Adafactor, whose ε is already inside V.

    Raises:
      InputError: there are no second moments in it, or those of two optimizers at once.
    """
    states = _states(optax_state)
    adam = [state for state in states if "nu" in state]
    factored = [state for state in states if "nu" not in state]
    if not states or (adam and factored):
        raise InputError(
            "second moments could not be read from the optimizer state",
            got="Adam's and Adafactor's states side by side"
            if states
            else f"a {type(optax_state).__name__} without any",
            expected="the state of optax Adam(W) (`nu`) or Adafactor (`v_row`, `v_col`, `v`)",
            remedy="give the state of the optimizer that trained the model, or encode without second moments",
        )
    leaves: dict[str, _Adam | _Factored] = {}
    for state in adam:
        leaves |= {path: _Adam(nu) for path, nu in trees.flatten(state.get("nu_max", state["nu"])).items()}
    for state in factored:
        parts = [trees.flatten(state[name]) for name in ("v_row", "v_col", "v")]
        leaves |= {path: _Factored(*(part[path] for part in parts)) for path in parts[0]}
    if not adam:
        return SecondMoments(leaves, 1.0, 0.0, "adafactor")
    count = int(np.max(jax.device_get(adam[0]["count"])))
    if count == 0:
        raise InputError(
            "the optimizer state has seen no step",
            got="count 0, so that every second moment is 0",
            expected="the state after training",
            remedy="give the state of a trained checkpoint, or encode without second moments",
        )
    # AMSGrad keeps the largest of the corrected values.
    corrected = any("nu_max" in state for state in adam)
    decay = _injected_b2(optax_state) if b2 is None else b2
    return SecondMoments(leaves, 1.0 if corrected else 1.0 - decay**count, epsilon, "adam")


def of_checkpoint(checkpoint: Checkpoint, layout: Layout | None = None) -> tuple[Any, SecondMoments]:
    """Parameters and second moments of a checkpoint artifact, on the host, or divided as a layout says.

    The optimizer state is read as plain containers, since only the names in it matter.
    """
    settings = checkpoint.optimizer
    where = layout.of_tree if layout else None
    stored = checkpoints.restore_untyped(str(checkpoint.reader.path / "state"), where)
    return stored["params"], second_moments_from(stored["opt_state"], b2=settings["b2"], epsilon=settings["epsilon"])


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
