"""Is what an encoder gives the projected gradient? Asked of the model in hand, at the start of every run.

A few parameters, one of every kind among them, are compared on one example with the plain way: autodiff of the loss
without a probe, in float64 where the model allows it, divided and projected by numpy. So a layer of a kind that nobody
foresaw cannot be wrong in silence. It costs one compilation of the plain gradient, and the time of as many batches as
parameters are compared.
"""

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.experimental
import jax.numpy as jnp
import numpy as np

from jax_tda.core.errors import InputError
from jax_tda.encoding import traced
from jax_tda.encoding.blocks import Matrix
from jax_tda.encoding.program import Program

# ‖encoded − plain‖ / ‖plain‖ that rounding may bring, by the coarsest numbers in the program. A wrong axis brings 1.
TOLERANCES = {"float64": 1e-3, "float32": 1e-3, "float16": 3e-2, "bfloat16": 1e-1}
_COARSE = 0.3
# On an accelerator, matrices of float32 are by default multiplied in fewer bits.
_ACCELERATOR = 5e-2
# A difference is rounding where float32 and float64 differ about as much by themselves.
_ROUNDINGS = 30

Gradients = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What was compared and how well it agreed.

    Args:
      errors: ‖encoded − plain‖ / ‖plain‖ by parameter.
      tolerance: what is allowed.
      precision: of the plain gradient.
    """

    errors: dict[str, float]
    tolerance: float
    precision: str

    def facts(self) -> dict[str, Any]:
        """For a manifest."""
        errors = {path: float(f"{error:.1e}") for path, error in self.errors.items()}
        largest = max(errors.values(), default=None)
        return {"parameters": errors, "largest": largest, "tolerance": self.tolerance, "precision": self.precision}

    def __str__(self) -> str:
        if not self.errors:
            return "self-check: no gradient to compare"
        worst = max(self.errors, key=lambda path: self.errors[path])
        return (
            f"self-check: {len(self.errors)} parameters agree with plain gradients in {self.precision} to "
            f"{self.errors[worst]:.1e} ({worst}), {self.tolerance:.0e} allowed"
        )


def drawn(matrices: tuple[Matrix, ...], count: int, seed: int) -> list[Matrix]:
    """At least `count` parameters at random, one of every kind (route and axes) among them."""
    order = [matrices[place] for place in np.random.default_rng(seed).permutation(len(matrices))]
    kinds = {_kind(matrix): matrix for matrix in reversed(order)}
    first = list(kinds.values())
    return first + [m for m in order if m not in first][: max(0, count - len(first))]


def _kind(matrix: Matrix) -> tuple[Any, ...]:
    site = matrix.site
    return matrix.route, site.table, site.in_axes, site.out_axes, site.layer_axes


def compare(
    program: Program,
    leaves: dict[str, jax.Array],
    factors: Callable[[Matrix], tuple[np.ndarray, np.ndarray, np.ndarray]],
    encode: Callable[[set[str]], dict[str, np.ndarray]],
    example: dict[str, np.ndarray],
    count: int,
    seed: int,
) -> Outcome:
    """Compares drawn parameters with their plain gradients.

    Args:
      program: what is checked.
      leaves: parameters as the program takes them.
      factors: P₀, P₁ and 1/√V of a parameter, without a device.
      encode: this example's blocks, float [p, p], of the named parameters alone.
      example: tokens [T] and loss weights [T].
      count: how many parameters, at least.
      seed: which.

    Raises:
      InputError: one of them differs by more than rounding.
    """
    chosen = drawn(program.plan.matrices, count, seed)
    wanted = [name for matrix in chosen for name in program.names_of(matrix)]
    plain, precision, again = _plain_gradients(program, leaves, wanted, example)
    tolerance = _tolerance(program, leaves, example)
    errors = {}
    for matrix in chosen:
        found = encode({matrix.path})
        sides = factors(matrix)
        expected = _expected(program, matrix, plain, sides)
        error = _distance(found, expected)
        if error is None:
            continue
        if not error <= tolerance:
            noise = _distance(_expected(program, matrix, again(), sides), expected) or 0.0
            if not error <= _ROUNDINGS * noise:
                raise InputError(
                    f"the encoding of {matrix.path} is not its projected gradient",
                    got=f"a relative difference of {error:.1e} from the plain gradient in {precision}, on one example "
                    f"({matrix.route} path, shape {matrix.shape}, axes {_kind(matrix)[2:]})",
                    expected=f"at most {tolerance:.0e}",
                    remedy=f"exclude {matrix.path} by name, or pass a pure loss(params, example); and report the "
                    "model, as a layer of this kind is not understood",
                )
        errors[matrix.path] = error
    return Outcome(errors, tolerance, precision)


def _expected(
    program: Program, matrix: Matrix, gradients: Gradients, sides: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> dict[str, np.ndarray]:
    """P₀ (∇ ∘ 1/√V) P₁ᵀ, layer by layer, summed over what shares a block."""
    names = program.names_of(matrix)
    whole = gradients[names[0]] if names == [matrix.path] else np.stack([gradients[name] for name in names])
    stack = [np.asarray(side, np.float64) for side in (matrix.view(whole), *sides)]
    found: dict[str, np.ndarray] = {}
    for layer, block in enumerate(matrix.blocks):
        gradient, left, right, root = (part[layer] if matrix.layers else part for part in stack)
        found[block] = found.get(block, 0.0) + left @ (gradient * root) @ right.T
    return found


def _distance(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> float | None:
    """‖a − b‖ / ‖b‖ over all blocks; None where there is nothing to compare."""
    a, b = (
        np.concatenate([np.asarray(part[name], np.float64).ravel() for name in expected]) for part in (found, expected)
    )
    if not np.isfinite(b).all() or not b.any():
        # Both at once: the example has no gradient, and its row says so by itself.
        return None if np.array_equal(np.isfinite(a), np.isfinite(b)) and not np.nan_to_num(a).any() else np.inf
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def _plain_gradients(
    program: Program, leaves: dict[str, jax.Array], wanted: list[str], example: dict[str, np.ndarray]
) -> tuple[Gradients, str, Callable[[], Gradients]]:
    """In float64 where the model runs in it; and a way to have them in float32 as well."""

    def run(wide: bool) -> Gradients:
        def loss(some: dict[str, jax.Array], others: dict[str, jax.Array], example: dict[str, jax.Array]) -> jax.Array:
            return program.plain_loss({**_widened(others, wide), **some}, example)

        others = {name: leaf for name, leaf in leaves.items() if name not in wanted}
        with _float64() if wide else contextlib.nullcontext(), jax.default_matmul_precision("highest"):
            some = _widened({name: jnp.asarray(leaves[name]) for name in wanted}, wide)
            found = jax.jit(jax.grad(loss))(some, others, example)
            whole = {name: jax.device_get(program.gathered(leaf)) for name, leaf in found.items()}
        return {name: np.asarray(leaf, np.float64) for name, leaf in whole.items()}

    # A TPU has no float64.
    if jax.default_backend() in ("cpu", "gpu"):
        try:
            return run(True), "float64", lambda: run(False)
        except (TypeError, ValueError):
            # The model fixes float32 somewhere, which does not mix with float64 in its loops.
            pass
    found = run(False)
    return found, "float32", lambda: found


def _float64() -> Any:
    # It moved with JAX 0.8.
    enable: Any = getattr(jax if hasattr(jax, "enable_x64") else jax.experimental, "enable_x64")  # noqa: B009
    return enable(True)


def _widened(leaves: dict[str, jax.Array], wide: bool) -> dict[str, jax.Array]:
    if not wide:
        return leaves
    real = {path: jnp.issubdtype(leaf.dtype, jnp.floating) for path, leaf in leaves.items()}
    return {path: leaf.astype(jnp.float64) if real[path] else leaf for path, leaf in leaves.items()}


def _tolerance(program: Program, leaves: dict[str, jax.Array], example: dict[str, np.ndarray]) -> float:
    """By the coarsest floating numbers that the plain loss computes with."""
    found = {str(leaf.dtype) for leaf in leaves.values() if jnp.issubdtype(leaf.dtype, jnp.floating)}

    def see(program: Any) -> None:
        for equation in program.eqns:
            for variable in equation.outvars:
                dtype = getattr(variable.aval, "dtype", None)
                if dtype is not None and jnp.issubdtype(dtype, jnp.floating):
                    found.add(str(dtype))
            for inner in traced.inner_programs(equation):
                see(inner)

    see(jax.make_jaxpr(program.plain_loss)(leaves, example).jaxpr)
    allowed = max((TOLERANCES.get(name, _COARSE) for name in found), default=TOLERANCES["float32"])
    return allowed if jax.default_backend() == "cpu" else max(allowed, _ACCELERATOR)
