"""Is a derivative by document weights worth anything? Asked of the run in hand, once its first queries are computed.

A metagradient says what an infinitely small change of weights does. Training can be so rough that a change of any size
does something else: the rate is high, ε of Adam tiny, gradients are clipped. So the predicted change Σ_i v_i ∂f/∂w_i is
compared with (f(w + hv) − f(w − hv)) / 2h of whole retrainings, along single documents and along random signs of all.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from jax_tda.core import seeds
from jax_tda.training.optimizers import OptimizerConfig

# ε of Adam from which on updates change smoothly with small gradients, in runs that we have seen.
_SMOOTH_EPSILON = 1e-4


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What was compared, [directions, queries] each.

    Args:
      predicted: Σ_i v_i ∂f/∂w_i.
      measured: (f(w + hv) − f(w − hv)) / 2h.
      tolerance: the error that is allowed.
    """

    predicted: np.ndarray
    measured: np.ndarray
    tolerance: float

    @property
    def error(self) -> float:
        """Σ |predicted − measured| / Σ |measured|, infinite where nothing moves but something was predicted."""
        apart, size = np.abs(self.predicted - self.measured).sum(), np.abs(self.measured).sum()
        return float(apart / size) if size else (float("inf") if apart else 0.0)

    @property
    def holds(self) -> bool:
        """Whether derivatives predict."""
        return bool(np.isfinite(self.error)) and self.error <= self.tolerance

    def facts(self) -> dict[str, Any]:
        """For a manifest."""
        error = round(self.error, 6) if np.isfinite(self.error) else None
        return {"error": error, "tolerance": self.tolerance, "holds": self.holds, "compared": int(self.measured.size)}


def directions(documents: int, singles: int, signs: int, seed: int) -> np.ndarray:
    """[singles + signs, documents]: single documents drawn without repetition, then random signs of all of them."""
    generator = seeds.generator(seed, "smoothness", "directions")
    chosen = generator.permutation(documents)[:singles]
    alone = np.zeros((len(chosen), documents))
    alone[np.arange(len(chosen)), chosen] = 1
    return np.concatenate([alone, generator.choice([-1.0, 1.0], (signs, documents))])


def compare(
    values: Callable[[np.ndarray], np.ndarray],
    derivatives: np.ndarray,
    along: np.ndarray,
    change: float,
    tolerance: float,
) -> Outcome:
    """Retrains twice along every direction.

    Args:
      values: weights [documents] → f [Q] of the model trained with them.
      derivatives: ∂f/∂w at weights 1, [Q, documents].
      along: [directions, documents].
      change: h.
      tolerance: as of `Outcome`.
    """
    one = np.ones(along.shape[1])
    measured = [(values(one + change * v) - values(one - change * v)) / (2 * change) for v in along]
    return Outcome(along @ derivatives.T, np.asarray(measured, np.float64).reshape(len(along), -1), tolerance)


def advice(outcome: Outcome, optimizer: OptimizerConfig) -> str:
    """One line on whether derivatives predict, and if not, what of the recipe to change."""
    error = f"{outcome.error:.1%}" if np.isfinite(outcome.error) else "without bound"
    said = f"smoothness: predicted and retrained changes differ by {error} ({outcome.measured.size} compared)"
    if outcome.holds:
        return f"{said}; {outcome.tolerance:.0%} is allowed"
    change = [f"lower optimizer.peak_rate ({optimizer.peak_rate:g})"]
    if optimizer.name == "adamw" and optimizer.epsilon < _SMOOTH_EPSILON:
        change.append(f"raise optimizer.epsilon ({optimizer.epsilon:g}) to 1e-3")
    if optimizer.clip_norm:
        change.append(f"do without optimizer.clip_norm ({optimizer.clip_norm:g})")
    if optimizer.name == "adafactor" and optimizer.update_clip:
        change.append(f"do without optimizer.update_clip ({optimizer.update_clip:g})")
    return f"{said}, more than {outcome.tolerance:.0%}: this recipe is not smooth. To mend it: {'; '.join(change)}"
