"""Encoder: per-example gradients, corrected by second moments and projected, as the gradient at zero probes."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from flax.errors import FlaxError
from jax.sharding import PartitionSpec

from jax_tda.core import mesh as meshes
from jax_tda.core import trees
from jax_tda.core.errors import InputError
from jax_tda.encoding import blocks as layouts
from jax_tda.encoding import nnx_models, probe, projection, sites, visibility
from jax_tda.encoding.second_moments import SecondMoments, inverse_root, rank_one
from jax_tda.models import layers, likelihood
from jax_tda.models.decoder import Decoder

# What ran fastest on a CPU (benchmarks/README.md).
_TOKENS_IN_CACHE, _MOST_UNROLLED = 256, 16
_FEWEST_POSITIONS = 8

Loss = Callable[[Any, Mapping[str, jax.Array]], jax.Array]
Encodings = dict[str, jax.Array]
# P₀, P₁ and, where V is element-wise, 1/√V.
_Sides = tuple[jax.Array, jax.Array, jax.Array | None]


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
      example_length: tokens of the example that a linen model is traced with, for models that take one length alone.
      mesh: devices to share examples over; None uses the default device.

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
        example_length: int = 2,
        mesh: jax.sharding.Mesh | None = None,
    ):
        if isinstance(params, nnx.State):
            params = nnx.to_pure_dict(params)
        self._leaves = trees.flatten(params)
        self._names, self._structure = tuple(self._leaves), jax.tree.structure(params)
        self._model = model_or_loss if isinstance(model_or_loss, nn.Module) else None
        self._at_once, self._length = examples_at_once, example_length
        self._loss = None if self._model is not None else _pure(model_or_loss)
        shapes = {path: tuple(leaf.shape) for path, leaf in self._leaves.items()}
        self._kind, self._epsilon, self._mesh, self._reduction = projection_kind, epsilon, mesh, reduction
        self.mesh = mesh
        shown = nnx_models.shown_by(model_or_loss) if isinstance(model_or_loss, nnx.Module) else self._visible()
        self.plan = layouts.plan(shapes, shown, blocks, exclude)
        self.projected_size, self.seed = projected_size, seed
        self._check_options()
        self._cpu = (mesh.devices.flat[0].platform if mesh is not None else jax.default_backend()) == "cpu"
        self._unrolled = self._unroll(unroll_layers)
        self.reduced: dict[str, float] = {}
        self.second_moments = _described(second_moments, reduction, epsilon)
        self.fingerprints: dict[str, str] = {}
        self._sides: dict[str, Any] = {
            matrix.path: self._side_factors(matrix, second_moments) for matrix in self.plan.matrices
        }
        if self._unrolled:
            self._sides = {
                m.path: [jax.tree.map(lambda a, i=i: a[i], self._sides[m.path]) for i in range(m.layers)]
                if m.layers
                else self._sides[m.path]
                for m in self.plan.matrices
            }
        self._head = self._frozen_head()
        batch: Any = self._encode_batch
        if mesh is not None and mesh.devices.size > 1:
            # Each device takes its own examples one group after another; a loop over a sharded axis would gather them.
            whole, split = PartitionSpec(), PartitionSpec(meshes.DATA)
            batch = jax.shard_map(
                batch, mesh=mesh, in_specs=(whole, whole, split, split, split), out_specs=split, check_vma=False
            )
        self._encode = jax.jit(batch)
        if mesh is not None:
            self._leaves, self._sides = meshes.replicate(mesh, (self._leaves, self._sides))

    def encode(self, examples: Mapping[str, Any]) -> Encodings:
        """Encodes a batch.

        Args:
          examples: `tokens` int [B, T] and `loss_weights` float [B, T]; position 0 has no loss.

        Returns:
          float32 [B, p, p] for each block.

        Raises:
          InputError: the arrays do not fit each other.
        """
        tokens, weights = _checked(examples)
        count = tokens.shape[0]
        if self._mesh is not None:
            # Rows of weight 0 fill the last places, so that every device has the same number of examples.
            spare = -count % self._mesh.devices.size
            tokens, weights = (np.pad(a, ((0, spare), (0, 0))) for a in (tokens, weights))
        given = tokens, weights, weighted_positions(weights)
        if self._mesh is not None:
            given = jax.device_put(given, meshes.batch_sharding(self._mesh))
        encoded = self._encode(self._leaves, self._sides, *given)
        return {block: value[:count] for block, value in encoded.items()}

    def encode_placed(self, tokens: jax.Array, weights: jax.Array, positions: jax.Array) -> Encodings:
        """`encode` of arrays that lie on the mesh already, divided over its data groups, for meshes of many processes.

        Args:
          tokens: int32 [B, T].
          weights: float32 [B, T].
          positions: int32 [B, K], from `weighted_positions`.
        """
        encoded: Encodings = self._encode(self._leaves, self._sides, tokens, weights, positions)
        return encoded

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

    def _side_factors(self, matrix: layouts.Matrix, moments: SecondMoments | None) -> _Sides:
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

    def _visible(self) -> dict[str, sites.Site]:
        if self._model is None:
            return {}
        example = jax.ShapeDtypeStruct((1, self._length), jnp.int32)
        try:
            found = visibility.visible(self._model, self._tree(self._leaves), example)
        except (TypeError, ValueError, FlaxError) as problem:
            raise InputError(
                f"{type(self._model).__name__} cannot be traced",
                got=f"{type(problem).__name__}: {problem}",
                expected=f"a model that maps int tokens {example.shape} to logits, with these parameters",
                remedy="pass example_length if the model takes one length alone, or a pure loss(params, example)",
            ) from problem
        if self._reduction == "exact":
            # A table divided element-wise needs its whole gradient, which the weight path forms anyway.
            return {p: dataclasses.replace(s, direct=s.direct and not s.table) for p, s in found.items()}
        return found

    def _unroll(self, wanted: bool | None) -> bool:
        """Whether layers are compiled one by one; if so, parameters are held layer by layer from now on."""
        # A subclass may compute otherwise; it is taken as it is.
        show = self._model.unrolled if type(self._model) is Decoder else None
        deepest = max(matrix.layers for matrix in self.plan.matrices)
        if wanted and (show is None or not deepest):
            raise InputError(
                f"the layers of {type(self._model).__name__} cannot be unrolled",
                got="a model that is no Decoder" if show is None else "layers that are separate already",
                expected="a Decoder with scanned layers",
                remedy="leave unroll_layers out",
            )
        if not (wanted or (wanted is None and self._cpu and show is not None and 0 < deepest <= _MOST_UNROLLED)):
            return False
        assert show is not None
        self._model = show()
        apart = layers.unstack_layers(trees.unflatten(self._leaves))
        self._leaves = trees.flatten(apart)
        self._names, self._structure = tuple(self._leaves), jax.tree.structure(apart)
        return True

    def _encode_batch(self, leaves: Any, sides: Any, *examples: jax.Array) -> Encodings:
        def one(example: tuple[jax.Array, ...]) -> Encodings:
            return self._encode_one(leaves, sides, *example)

        count, length = examples[0].shape
        at_once = self._at_once
        if at_once is None:
            most = max(1, _TOKENS_IN_CACHE // length) if self._cpu else count
            # A divisor, so that no remainder is compiled for itself.
            at_once = max(n for n in range(1, min(most, count) + 1) if count % n == 0)
        if not at_once or at_once >= count:
            return jax.vmap(one)(examples)
        return jax.lax.map(one, examples, batch_size=at_once if at_once > 1 else None)

    def _encode_one(self, leaves: Any, sides: Any, *example: jax.Array) -> Encodings:
        zero = jnp.zeros((self.projected_size, self.projected_size), jnp.float32)
        return jax.grad(lambda probes: self._example_loss(*self._held(probes, leaves, sides), *example))(
            {block: zero for block in self.plan.blocks}
        )

    def _held(self, probes: Any, leaves: Any, sides: Any) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
        """The parameters, perturbed where they take the weight path, and what stands beside those that are probed."""
        held, beside = dict(leaves), dict[str, jax.Array]()

        def place(matrix: layouts.Matrix, path: str, own: jax.Array, side: _Sides) -> None:
            left, right, root = side
            if matrix.route == "weight":
                held[path] = matrix.back(probe.perturb(matrix.view(leaves[path]), own, left, right, root))
                return
            named = {probe.PROBE: own, probe.LEFT: left, probe.RIGHT: right, probe.INVERSE_ROOT: root}
            beside.update({sites.beside(path, name): leaf for name, leaf in named.items() if leaf is not None})

        for matrix in self.plan.matrices:
            # Matrices of one block share its probe, and autodiff sums what reaches it.
            own = [probes[block] for block in matrix.blocks]
            if not matrix.layers:
                place(matrix, matrix.path, own[0], sides[matrix.path])
            elif self._unrolled:
                for layer, side in enumerate(sides[matrix.path]):
                    place(matrix, layers.unstacked_path(matrix.path, layer), own[layer], side)
            else:
                place(matrix, matrix.path, jnp.stack(own), sides[matrix.path])
        return held, beside

    def _example_loss(
        self, held: Any, beside: Any, tokens: jax.Array, weights: jax.Array, weighted: jax.Array
    ) -> jax.Array:
        if self._loss is not None:
            return self._loss(self._tree(held), {"tokens": tokens, "loss_weights": weights})
        params = trees.grafted(self._tree(held), beside)
        assert self._model is not None
        if self._head is None:
            logits = sites.apply(self._model, params, tokens[None])[0]
            return likelihood.loss(logits.astype(jnp.float32), tokens, weights)
        hidden = sites.apply(self._model, params, tokens[None], method="hidden")[0]
        head = held[self._head].T if self._head.endswith("kernel") else held[self._head]
        if weighted.shape[0] >= tokens.shape[0] - 1:
            return likelihood.head_loss(hidden[:-1], head, tokens[1:], weights[1:])
        return likelihood.head_loss(hidden[weighted - 1], head, tokens[weighted], weights[weighted])

    def _tree(self, leaves: Any) -> Any:
        """Leaves in the containers that the parameters came in."""
        return jax.tree.unflatten(self._structure, [leaves[name] for name in self._names])

    def _frozen_head(self) -> str | None:
        """The path of a Decoder's output head, when it is not encoded and logits are its product: the loss is fused."""
        path = self._model.head_path() if type(self._model) is Decoder else None
        return path if path in self.plan.excluded else None

    def _check_options(self) -> None:
        if self._reduction not in ("rank_one", "exact"):
            raise InputError(
                "unknown reduction of second moments",
                got=self._reduction,
                expected="rank_one or exact",
                remedy="set reduction to one of them",
            )
        if self._at_once is not None and self._at_once < 0:
            raise InputError(
                "examples_at_once is not possible",
                got=self._at_once,
                expected="a number ≥ 0, or None",
                remedy="0 takes all examples of a batch at once, None what ran fastest",
            )
        largest = max(max(m.rows, m.columns) for m in self.plan.matrices)
        if self._kind not in projection.KINDS or (self._kind == "identity" and self.projected_size < largest):
            raise InputError(
                "the projection does not fit",
                got=f"{self._kind}, p = {self.projected_size}, for matrices with sides up to {largest}",
                expected=f"{' or '.join(projection.KINDS)}; identity needs p ≥ {largest}",
                remedy="use gaussian, or raise projected_size",
            )


def weighted_positions(weights: np.ndarray, most: int | None = None) -> np.ndarray:
    """int32 [B, K]: of each example the positions with a weight, which are all that the head need look at.

    K is a power of two, so that few programs are compiled, at most T − 1; positions without a weight fill what is left.

    Args:
      weights: float32 [B, T].
      most: no example has more such positions; those of this batch when None.
    """
    counted = weights[:, 1:] != 0
    most = int(counted.sum(axis=1).max(initial=1)) if most is None else most
    size = min(max(_FEWEST_POSITIONS, 1 << (most - 1).bit_length()), weights.shape[1])
    # A stable sort of "has no weight" puts weighted positions first, in order.
    order = np.argsort(~counted, axis=1, kind="stable")
    return (order[:, :size] + 1).astype(np.int32)


def _pure(model_or_loss: Any) -> Loss:
    loss: Loss = nnx_models.loss_of(model_or_loss) if isinstance(model_or_loss, nnx.Module) else model_or_loss
    return loss


def _described(moments: SecondMoments | None, reduction: str, epsilon: float) -> str:
    """How V enters, in words that two encodings must share before they may be compared."""
    if moments is None:
        return "none"
    own = f", ε {moments.epsilon}" if reduction == "exact" else ""
    return f"{moments.source}, {reduction}, relative floor {epsilon}{own}"


def _checked(examples: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    tokens, weights = np.asarray(examples["tokens"]), np.asarray(examples["loss_weights"])
    fits = tokens.ndim == 2 and tokens.shape == weights.shape and tokens.size > 0
    if not fits or not np.issubdtype(tokens.dtype, np.integer):
        raise InputError(
            "examples have the wrong form",
            got=f"tokens {tokens.dtype} {tokens.shape}, loss_weights {weights.dtype} {weights.shape}",
            expected="tokens int [B, T] and loss_weights float [B, T], at least one of each",
            remedy="pad every example of a batch to one length, with weight 0 on the padding",
        )
    return tokens.astype(np.int32), weights.astype(np.float32)
