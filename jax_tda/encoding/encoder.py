"""Encoder: per-example gradients, corrected by second moments and projected, as the gradient at zero probes."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jax_tda.core import mesh as meshes
from jax_tda.core import placement, trees
from jax_tda.core.errors import InputError
from jax_tda.encoding import blocks as layouts
from jax_tda.encoding import options, projection, self_check
from jax_tda.encoding.program import Encodings, Loss, Program, Sides
from jax_tda.encoding.second_moments import SecondMoments, inverse_root, rank_one
from jax_tda.encoding.self_check import Outcome


class Encoder:
    """Turns examples into encodings: P₀ (∇_W loss / √V) P₁ᵀ, summed over the matrices of each block.

    The loss of one example is −Σ_t w_t log p(token_t | tokens before it), a sum, so that no example's gradient depends
    on another's. Source: TrackStar (arXiv 2410.17413), G before R.

    Args:
      model_or_loss: a linen module that maps tokens [B, T] to logits [B, T, V]; an nnx module that does, or a pure
        `loss(params, example)` of one example `{"tokens": [T], "loss_weights": [T]}`, both on the weight path.
      params: the parameters, with or without an outer `params` collection.
      second_moments: from `second_moments_from`; None divides by nothing.
      blocks: `groups` or `matrices`.
      projected_size: p, the side of the projected matrices.
      seed: root of the projections.
      exclude: regular expressions; a parameter whose path matches one is left out, by name, in `plan.excluded`.
      projection_kind: `gaussian`, or `identity` for tests (needs p ≥ both sides of every matrix).
      reduction: `rank_one` divides by the rank-one form of V and never forms a weight gradient; `exact` divides
        element-wise by √V̂ + ε, at the cost of forming each layer's, except where V is rank one anyway.
      epsilon: floor of the rank-one factors of V, relative to each factor's mean.
      examples_at_once: how many examples of a batch each device has in flight; 0 takes all. None takes the fastest:
        on a CPU about 256 tokens, whose activations stay in the cache, elsewhere all. It changes no number.
      unroll_layers: whether the layers of a scanned Decoder are compiled one by one, which takes longer to compile.
        None does so on a CPU, where it runs faster, for up to 16 layers. It changes no number.
      remat: whether a Decoder's layers are computed again in the backward pass instead of being kept, which takes more
        time and far less memory. None does as the model's config says. It changes no number.
      example_length: tokens of the example that a linen model is traced with, for models that take one length alone.
      mesh: devices to share examples over; None uses the default device.
      weights: `sharded`, `replicated` or empty, as of `MeshConfig`. Where weights are sharded, so are projections and
        second moments; one layer is gathered at a time, and by default all of a data group's examples are in flight.
      layer_axes: of parameters that no module shows, such as those of a pure loss, the axis that counts matrices, by a
        regular expression: `{"^blocks/": 0}`. Without it such a parameter is one matrix, or refused.
      self_check: how many parameters, at least, are compared with plain gradients on the first example that is encoded
        (`self_check.py`); 0 compares none. It changes no number.

    Raises:
      InputError: a parameter is neither covered nor excluded, or second moments do not fit.
    """

    def __init__(
        self,
        model_or_loss: nn.Module | Loss,
        params: Any,
        second_moments: SecondMoments | None = None,
        blocks: str = "groups",
        projected_size: int = 32,
        seed: int = 0,
        *,
        exclude: tuple[str, ...] = layouts.DEFAULT_EXCLUDE,
        projection_kind: str = "gaussian",
        reduction: str = "rank_one",
        epsilon: float = 1e-10,
        examples_at_once: int | None = None,
        unroll_layers: bool | None = None,
        remat: bool | None = None,
        example_length: int = 2,
        mesh: jax.sharding.Mesh | None = None,
        weights: str = "",
        layer_axes: Mapping[str, int] | None = None,
        self_check: int = 3,
    ):
        if isinstance(params, nnx.State):
            params = nnx.to_pure_dict(params)
        self.program = Program(
            model_or_loss,
            params,
            blocks,
            projected_size,
            exclude=exclude,
            reduction=reduction,
            examples_at_once=examples_at_once,
            unroll_layers=unroll_layers,
            remat=remat,
            example_length=example_length,
            mesh=mesh,
            weights=weights,
            layer_axes=layer_axes,
        )
        self.plan, self._places = self.program.plan, self.program.places
        self.projected_size, self.seed = projected_size, seed
        self._kind, self._epsilon, self.mesh, self._reduction = projection_kind, epsilon, mesh, reduction
        options.check(self.plan, reduction, examples_at_once, projection_kind, projected_size)
        self.reduced: dict[str, float] = {}
        self.second_moments = options.described(second_moments, reduction, epsilon)
        self.fingerprints: dict[str, str] = {}
        # What the first example's encoding was compared with, once there was one.
        self.outcome: Outcome | None = None
        self._to_compare, self._moments = self_check, second_moments
        self.sides: dict[str, Any] = {
            matrix.path: self._placed_sides(matrix, self._side_factors(matrix, second_moments))
            for matrix in self.plan.matrices
        }
        self.leaves = self.program.arranged(trees.flatten(params))
        self._encode = self.program.compiled()
        if self._places is not None:
            self.leaves = {
                path: placement.place(leaf, self._places.leaf(path, leaf.shape)) for path, leaf in self.leaves.items()
            }
        elif mesh is not None:
            self.leaves, self.sides = meshes.replicate(mesh, (self.leaves, self.sides))

    def encode(self, examples: Mapping[str, Any]) -> Encodings:
        """Encodes a batch.

        Args:
          examples: `tokens` int [B, T] and `loss_weights` float [B, T]; position 0 has no loss.

        Returns:
          float32 [B, p, p] for each block.

        Raises:
          InputError: the arrays do not fit each other, a token is none of the model's, or the first example's encoding
            is not its projected gradient.
        """
        tokens, weights = options.checked(examples, self.program.ids)
        count = tokens.shape[0]
        # Rows of weight 0 fill the last places, so that every device has the same number of examples.
        spare = self.program.padded(count) - count
        tokens, weights = (np.pad(a, ((0, spare), (0, 0))) for a in (tokens, weights))
        given: Any = (tokens, weights, options.weighted_positions(weights))
        if self.mesh is not None:
            split = meshes.batch_sharding(self.mesh)
            given = jax.tree.map(lambda array: placement.place(array, split), given)
        counted = np.flatnonzero((weights[:, 1:] != 0).any(axis=1))
        if self._to_compare and self.outcome is None and len(counted):
            row = int(counted[0])
            self.outcome = self._compared(given, row, {"tokens": tokens[row], "loss_weights": weights[row]})
        return {block: value[:count] for block, value in self.encode_placed(*given).items()}

    def _compared(self, given: Any, row: int, example: dict[str, np.ndarray]) -> Outcome:
        """One row's encoding against plain gradients; the batch is encoded as ever, so that nothing new is compiled."""

        def encode(paths: set[str]) -> dict[str, np.ndarray]:
            def alone(path: str, sides: Any) -> Any:
                if path in paths:
                    return sides
                several = isinstance(sides, list)
                silent = [(jnp.zeros_like(left), *others) for left, *others in (sides if several else [sides])]
                return silent if several else silent[0]

            sides = {path: alone(path, own) for path, own in self.sides.items()}
            encoded = self._encode(self.leaves, sides, *given)
            return {name: np.asarray(self.program.gathered(value)[row]) for name, value in encoded.items()}

        return self_check.compare(
            self.program, self.leaves, self._plain_factors, encode, example, self._to_compare, self.seed
        )

    def _plain_factors(self, matrix: layouts.Matrix) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """P₀, P₁ and 1/√V of one parameter, the last made anew from the second moments, for all elements."""
        left, right = (np.asarray(side, np.float64) for side in self._projections(matrix))
        lead = (matrix.layers,) if matrix.layers else ()
        if self._moments is None:
            return left, right, np.ones((*lead, matrix.rows, matrix.columns))
        values = matrix.view(self._moments.full(matrix.path, matrix.shape))
        factors = rank_one(values, matrix.path, self._epsilon)
        if self._reduction == "exact" and (factors.residual > 1e-5 or self._moments.epsilon > 0):
            return left, right, inverse_root(values, self._moments.epsilon, matrix.path)
        return left, right, factors.row_scale[..., :, None] * factors.column_scale[..., None, :]

    def encode_placed(self, tokens: jax.Array, weights: jax.Array, positions: jax.Array) -> Encodings:
        """`encode` of arrays that lie on the mesh already, divided over its data groups, for meshes of many processes.

        Args:
          tokens: int32 [B, T].
          weights: float32 [B, T].
          positions: int32 [B, K], from `options.weighted_positions`.
        """
        encoded: Encodings = self._encode(self.leaves, self.sides, tokens, weights, positions)
        return encoded

    def held_whole(self) -> list[str]:
        """The parameters with an axis that the mesh should divide and cannot evenly, one line each."""
        if self._places is None:
            return []
        return self._places.layout.whole({path: tuple(leaf.shape) for path, leaf in self.leaves.items()})

    def projections(self, parameter_path: str) -> tuple[jax.Array, jax.Array]:
        """P₀ [p, in] and P₁ [p, out] of one parameter; scanned layers lead with a layer axis.

        Raises:
          InputError: the parameter is not encoded.
        """
        found = next((m for m in self.plan.matrices if m.path == parameter_path.removeprefix("params/")), None)
        if found is None:
            raise InputError(
                f"there is no projection for {parameter_path}",
                got=f"excluded by {self.plan.excluded.get(parameter_path, 'no pattern: no such parameter')}",
                expected=f"one of {', '.join(m.path for m in self.plan.matrices[:8])}",
                remedy="name an encoded parameter, or narrow the patterns in `exclude`",
            )
        return self._projections(found)

    def _projections(self, matrix: layouts.Matrix) -> tuple[jax.Array, jax.Array]:
        def side(name: str, size: int) -> jax.Array:
            p = self.projected_size
            return projection.matrix(self._kind, self.seed, matrix.path, name, matrix.layers, p, size)

        return side("left", matrix.rows), side("right", matrix.columns)

    def _side_factors(self, matrix: layouts.Matrix, moments: SecondMoments | None) -> Sides:
        """L = P₀/√r and R = P₁/√c of one parameter; or P₀, P₁ and 1/√V."""
        left, right = self._projections(matrix)
        self.fingerprints[matrix.path] = projection.fingerprint(left, right)
        if moments is None:
            return left, right, None
        values = matrix.view(moments.full(matrix.path, matrix.shape))
        factors = rank_one(values, matrix.path, self._epsilon)
        # Adam's ε is part of what it divides by, so that even a V of rank one is then no product of factors.
        if factors.residual > 1e-5 or (self._reduction == "exact" and moments.epsilon > 0):
            if self._reduction == "exact":
                return left, right, jnp.asarray(inverse_root(values, moments.epsilon, matrix.path), jnp.float32)
            self.reduced[matrix.path] = factors.residual

        def scaled(side: jax.Array, scale: np.ndarray) -> jax.Array:
            return side * jnp.asarray(scale[..., None, :], jnp.float32)

        return scaled(left, factors.row_scale), scaled(right, factors.column_scale), None

    def _placed_sides(self, matrix: layouts.Matrix, sides: Sides) -> Any:
        """As the program takes them; one parameter's at a time leave the host where weights are divided."""
        arranged = self.program.arranged_sides(matrix, sides)
        if self._places is None:
            return arranged
        return jax.tree.map(placement.place, arranged, self._places.sides(matrix, arranged))
