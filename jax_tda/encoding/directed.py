"""Programs whose result is a contraction of per-example gradients with something given, without a projection.

`DirectionScorer`: ⟨U_q, ∇_W loss_i⟩, summed over all encoded parameters W, of every example i with every direction q.
A layer's weight gradient is formed once for an example and contracted with all directions, so that all of them together
cost one exact encode, and Q/T of a forward pass more.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jax_tda.core import mesh as meshes
from jax_tda.core import trees
from jax_tda.core.errors import InputError
from jax_tda.encoding import blocks as layouts
from jax_tda.encoding import direction_probe, options, probe, sites
from jax_tda.encoding.program import Encodings, Loss, Program
from jax_tda.models import layers

# Gradients, or what has their form: by parameter path, [..., layers, in, out], with one layer where there are none.
Matrices = dict[str, np.ndarray]


class DirectedProgram(Program):
    """An encoder's program that holds other probes; arguments as of `Encoder`, without those of projections.

    Raises:
      InputError: weights are divided over devices, whose layers these programs do not gather.
    """

    def __init__(self, model_or_loss: nn.Module | Loss, params: Any, **given: Any):
        super().__init__(model_or_loss, params, "matrices", 1, reduction="exact", **given)
        if self.places is not None:
            raise InputError(
                "weights that are divided over devices are not scored without a projection",
                got=f"a mesh with {self.places.mesh.shape[meshes.MODEL]} devices for each copy of the model",
                expected="a model that each device holds whole",
                remedy="leave mesh.model at 1, or score projected encodings",
            )

    def slots(self, matrix: layouts.Matrix) -> Iterator[tuple[str, int | None, sites.Site]]:
        """The leaves that a parameter is made of here: path, layer (None for all at once), and site."""
        if self.unrolled and matrix.layers:
            for layer in range(matrix.layers):
                yield layers.unstacked_path(matrix.path, layer), layer, matrix.site.one()
        else:
            yield matrix.path, None, matrix.site

    def split(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Arrays by parameter, [L, …], as the program takes them: by leaf, without L where a leaf has no layers."""

        def own(matrix: layouts.Matrix, layer: int | None) -> Any:
            if layer is not None:
                return given[matrix.path][layer]
            return given[matrix.path] if matrix.layers else given[matrix.path][0]

        return {path: own(matrix, layer) for matrix in self.plan.matrices for path, layer, _ in self.slots(matrix)}

    def joined(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """The opposite of `split`, for arrays with any axes in front of their last two: [..., L, a, b] by parameter."""
        return {
            matrix.path: jnp.stack([found[path] for path, _, _ in self.slots(matrix)], axis=-3)
            if self.unrolled or not matrix.layers
            else found[matrix.path]
            for matrix in self.plan.matrices
        }

    def gradient(self, leaves: Any, *example: jax.Array) -> dict[str, jax.Array]:
        """∇_W loss of one example, [L, in, out] of every encoded parameter."""
        own = {path: leaves[path] for matrix in self.plan.matrices for path, _, _ in self.slots(matrix)}
        found = jax.grad(lambda own: self._example_loss(dict(leaves) | own, {}, *example))(own)
        return self.joined({p: site.matrix(found[p]) for m in self.plan.matrices for p, _, site in self.slots(m)})


class _DirectionProgram(DirectedProgram):
    def _encode_one(self, leaves: Any, directions: Any, *example: jax.Array) -> Encodings:
        """{"scores": [Q]} of one example; `directions` by leaf, [Q, in, out] or [layers, Q, in, out].

        A fourth array of the example is int [K], the directions that are wanted: scores are then [K].
        """
        wanted = example[3] if len(example) == 4 else None
        count = next(iter(directions.values())).shape[-3] if wanted is None else wanted.shape[0]

        def loss(steps: jax.Array) -> jax.Array:
            held, beside = dict(leaves), dict[str, jax.Array]()
            for matrix in self.plan.matrices:
                for path, _, site in self.slots(matrix):
                    own = directions[path]
                    if matrix.route == "weight":
                        own = own if wanted is None else jnp.take(own, wanted, axis=-3)
                        change = jnp.einsum("q,...qio->...io", steps, own)
                        held[path] = leaves[path] + site.kernel(change).astype(leaves[path].dtype)
                        continue
                    lead = own.shape[:-3]
                    named = {
                        probe.PROBE: jnp.broadcast_to(steps[:, None], (*lead, count, 1)),
                        direction_probe.DIRECTIONS: own.reshape(*lead, own.shape[-3], -1),
                    }
                    if wanted is not None:
                        named[direction_probe.WANTED] = jnp.broadcast_to(wanted[:, None], (*lead, count, 1))
                    beside |= {sites.beside(path, name): site.beside(leaf) for name, leaf in named.items()}
            return self._example_loss(held, beside, *example[:3])

        return {"scores": jax.grad(loss)(jnp.zeros(count, next(iter(directions.values())).dtype))}


class DirectionScorer:
    """Exact scores of examples against directions in parameter space.

    score[i, q] = ⟨U_q, ∇_W loss_i⟩, loss_i = −Σ_t w_t log p(token_t | tokens before it): nats of the example's loss for
    a step of one U_q.

    Args:
      model_or_loss: as of `Encoder`.
      params: the parameters.
      given: `exclude`, `examples_at_once`, `unroll_layers`, `remat`, `example_length`, `mesh`, `layer_axes` as of
        `Encoder`.

    Raises:
      InputError: a parameter is neither covered nor excluded.
    """

    def __init__(self, model_or_loss: nn.Module | Loss, params: Any, **given: Any):
        self.program = _DirectionProgram(model_or_loss, params, **given)
        self.plan, self.mesh = self.program.plan, self.program.mesh
        self.leaves = self.program.arranged(trees.flatten(params))
        if self.mesh is not None:
            self.leaves = meshes.replicate(self.mesh, self.leaves)
        self._scores, self._some = self.program.compiled(), self.program.compiled(further=1)
        self._gradient = jax.jit(self.program.gradient)

    def gradients(self, examples: Mapping[str, Any]) -> Iterator[dict[str, np.ndarray]]:
        """∇_W loss of one example after the other, [L, in, out] by parameter path, on the host.

        Args:
          examples: `tokens` int [B, T] and `loss_weights` float [B, T].
        """
        tokens, weights = options.checked(examples, self.program.ids)
        for row in zip(tokens, weights, options.weighted_positions(weights), strict=True):
            yield {path: np.asarray(value) for path, value in self._gradient(self.leaves, *row).items()}

    def place(self, directions: Matrices) -> dict[str, jax.Array]:
        """Directions [Q, L, in, out] by parameter path, where and as the program takes them.

        Raises:
          InputError: they do not fit the parameters.
        """
        sizes = {m.path: (max(1, m.layers), m.rows, m.columns) for m in self.plan.matrices}
        found = {path: tuple(array.shape[1:]) for path, array in directions.items()}
        if found != sizes or len({len(array) for array in directions.values()}) != 1:
            wrong = sorted(path for path in {*sizes, *found} if sizes.get(path) != found.get(path))[:4]
            raise InputError(
                "the directions do not fit the model",
                got=", ".join(f"{path} {found.get(path)}" for path in wrong) or "numbers of directions that differ",
                expected=", ".join(f"{path} {sizes.get(path)}" for path in wrong) or "as many of every parameter",
                remedy="make them from gradients of this model, with the same parameters excluded",
            )
        arranged = self.program.split({path: jnp.asarray(array.swapaxes(0, 1)) for path, array in directions.items()})
        return meshes.replicate(self.mesh, arranged) if self.mesh is not None else arranged

    def scores(
        self, placed: Mapping[str, jax.Array], examples: Mapping[str, Any], wanted: np.ndarray | None = None
    ) -> np.ndarray:
        """float32 [B, Q], or [B, K] of the directions that are wanted of each example.

        Args:
          placed: from `place`.
          examples: `tokens` int [B, T] and `loss_weights` float [B, T].
          wanted: int [B, K], numbers of directions; K gathered directions cost a read of each, all of them a product.
        """
        tokens, weights = options.checked(examples, self.program.ids)
        count = tokens.shape[0]
        spare = self.program.padded(count) - count
        tokens, weights = (np.pad(a, ((0, spare), (0, 0))) for a in (tokens, weights))
        given = self.leaves, placed, tokens, weights, options.weighted_positions(weights)
        if wanted is None:
            return np.asarray(self._scores(*given)["scores"])[:count]
        wanted = np.pad(np.asarray(wanted, np.int32), ((0, spare), (0, 0)))
        return np.asarray(self._some(*given, wanted)["scores"])[:count]
