"""Kronecker factors of the Fisher matrix, and the eigenvalues of EK-FAC, streamed over examples.

For a layer y = x W with W (in, out) the Fisher matrix of W is near A ⊗ G, A = E[x xᵀ] and G = E[ẏ ẏᵀ] over positions
(K-FAC, arXiv 1503.05671; over sequences arXiv 2311.00636). In the eigenvectors Q_A, Q_G of both, EK-FAC takes the
measured second moments Λ = E[(Q_Aᵀ ∇_W loss Q_G)²] over examples instead of the product (arXiv 1806.03884).
"""

import functools
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jax_tda.core import trees
from jax_tda.core.errors import InputError
from jax_tda.encoding import direction_probe, options, probe, sites
from jax_tda.encoding.directed import DirectedProgram

Labels = Literal["data", "model"]


class Sums(NamedTuple):
    """Sums over examples of one parameter, [L, in, in], [L, out, out], and the positions that they are over, [L]."""

    factor_in: np.ndarray
    factor_out: np.ndarray
    positions: np.ndarray


class FactorProgram:
    """Sums of K-FAC's factors, and of squared gradients in their eigenvectors, for batches of examples.

    Args:
      model: a linen module that maps tokens [B, T] to logits [B, T, V].
      params: its parameters.
      labels: `data` takes each next token as it stands (the empirical Fisher matrix), `model` draws it from the model's
        own distribution (the Fisher matrix).
      given: `exclude`, `unroll_layers`, `example_length` as of `Encoder`.

    Raises:
      InputError: the input of an encoded parameter is not shown by its module, so that it has no factors.
    """

    def __init__(self, model: nn.Module, params: Any, labels: Labels = "model", **given: Any):
        self.program = DirectedProgram(model, params, **given)
        hidden = [m.path for m in self.program.plan.matrices if m.route == "weight"]
        if hidden or self.program.model is None:
            raise InputError(
                "these parameters have no Kronecker factors, as no Dense, DenseGeneral or Einsum shows their input",
                got=", ".join(hidden[:6]) or "a loss of one's own",
                expected="a linen module whose attributed parameters are kernels of such layers",
                remedy="exclude them by a pattern, or take another direction",
            )
        self.labels = labels
        self.leaves = self.program.arranged(trees.flatten(params))
        self._factors, self._squares = jax.jit(self._sum_factors), jax.jit(self._sum_squares)

    def factors(self, examples: Mapping[str, Any], keys: jax.Array) -> dict[str, Sums]:
        """The sums over a batch.

        Args:
          examples: `tokens` int [B, T] and `loss_weights` float [B, T].
          keys: [B], of each example its own, that its labels are drawn with.
        """
        found = self._factors(self.leaves, *options.checked(examples, self.program.ids), keys)
        return {path: Sums(*(np.asarray(part, np.float64) for part in sums)) for path, sums in found.items()}

    def squares(self, bases: Mapping[str, Any], examples: Mapping[str, Any], keys: jax.Array) -> dict[str, np.ndarray]:
        """Σ over a batch of (Q_Aᵀ ∇_W loss Q_G)², [L, in, out] by parameter path.

        Args:
          bases: (Q_A [L, in, in], Q_G [L, out, out]) by parameter path, float32.
          examples: `tokens` int [B, T] and `loss_weights` float [B, T].
          keys: [B], of each example its own, that its labels are drawn with.
        """
        sides = tuple(self.program.split({path: pair[side] for path, pair in bases.items()}) for side in (0, 1))
        found = self._squares(self.leaves, sides, *options.checked(examples, self.program.ids), keys)
        return {path: np.asarray(value, np.float64) for path, value in found.items()}

    def _loss(self, held: Any, beside: Any, tokens: jax.Array, weights: jax.Array, keys: jax.Array) -> jax.Array:
        """−Σ w log p(label) of a batch; an example's labels depend on its own key alone."""
        params = trees.grafted(self.program._tree(held), beside)
        assert self.program.model is not None
        logits = sites.apply(self.program.model, params, tokens).astype(jnp.float32)[:, :-1]
        labels = tokens[:, 1:]
        if self.labels == "model":
            labels = jax.vmap(jax.random.categorical)(keys, jax.lax.stop_gradient(logits))
        log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[..., None], axis=-1)[..., 0]
        return -jnp.sum(weights[:, 1:] * log_p)

    def _zeros(self, leaf: str, sides: tuple[str, str]) -> dict[str, dict[str, jax.Array]]:
        sizes = {"one": lambda m: 1, "in": lambda m: m.rows, "out": lambda m: m.columns}
        whole = {
            m.path: jnp.zeros((max(1, m.layers), *(sizes[side](m) for side in sides)), jnp.float32)
            for m in self.program.plan.matrices
        }
        return {path: {leaf: zero} for path, zero in self.program.split(whole).items()}

    def _beside(self, named: Mapping[str, Mapping[str, Any]]) -> dict[str, jax.Array]:
        return {
            sites.beside(path, leaf): site.beside(value)
            for matrix in self.program.plan.matrices
            for path, _, site in self.program.slots(matrix)
            for leaf, value in named[path].items()
        }

    def _sum_factors(self, leaves: Any, tokens: jax.Array, weights: jax.Array, keys: jax.Array) -> dict[str, Any]:
        kinds = {probe.PROBE: ("one", "one"), direction_probe.FACTOR_IN: ("in", "in")}
        kinds[direction_probe.FACTOR_OUT] = ("out", "out")
        zeros = [self._zeros(leaf, sides) for leaf, sides in kinds.items()]
        probes = {path: functools.reduce(dict.__or__, (each[path] for each in zeros)) for path in zeros[0]}
        found = jax.grad(lambda probes: self._loss(leaves, self._beside(probes), tokens, weights, keys))(probes)
        counted, inner, outer = (self.program.joined({p: v[leaf] for p, v in found.items()}) for leaf in kinds)
        return {path: (inner[path], outer[path], counted[path][:, 0, 0]) for path in counted}

    def _sum_squares(
        self, leaves: Any, sides: Any, tokens: jax.Array, weights: jax.Array, keys: jax.Array
    ) -> dict[str, jax.Array]:
        zeros = self._zeros(probe.PROBE, ("in", "out"))
        bases = {
            path: {direction_probe.BASIS_IN: sides[0][path], direction_probe.BASIS_OUT: sides[1][path]}
            for path in zeros
        }

        def loss(zeros: Any) -> jax.Array:
            beside = self._beside({path: bases[path] | zeros[path] for path in zeros})

            def one(*example: jax.Array) -> jax.Array:
                return self._loss(leaves, beside, *(part[None] for part in example))

            return jnp.sum(jax.vmap(one)(tokens, weights, keys))

        found = jax.grad(loss)(zeros)
        return self.program.joined({path: value[probe.PROBE] for path, value in found.items()})


def eigenvectors(factor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of symmetric factors, float64: eigenvalues [L, n], not negative, rising; eigenvectors [L, n, n] in columns."""
    values, vectors = np.linalg.eigh((factor + factor.swapaxes(-1, -2)) / 2)
    return np.maximum(values, 0.0), vectors
