"""What each token of an example has to do with its score: ⟨U_q, ∇_W loss_i⟩ told apart in two ways.

By the token that is READ: a layer's weight gradient is a sum over positions, Σ_t x_t ẏ_tᵀ, so that

    score[i, q] = Σ_t read[i, q, t] + elsewhere[i, q],   read[i, q, t] = Σ_layers x_tᵀ U_q ẏ_t

Position t is the one at which token t is read: x_t is what a layer was given there, having seen tokens 0 … t, and ẏ_t
is what the losses of LATER tokens ask of its output. A word shades at its own position what it teaches as context: that
"Paris" followed "France" lies at "France", whose position foretells "Paris".

By the token that is FORETOLD: a loss is a sum over tokens, Σ_t w_t loss_t, so that score[i, q] = Σ_t foretold[i, q, t]
with foretold[i, q, t] = w_t ⟨U_q, ∇_W loss_t⟩: that "Paris" followed lies at "Paris".
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.errors import FlaxError

from jax_tda.core import trees
from jax_tda.core.errors import InputError
from jax_tda.encoding import direction_probe, options, probe, sites
from jax_tda.encoding.directed import DirectedProgram, DirectionScorer
from jax_tda.encoding.program import Encodings


class TokenShares(NamedTuple):
    """Shares of scores; read [B, Q, T], foretold [B, Q, T], elsewhere [B, Q], float32.

    Σ_t read + elsewhere = Σ_t foretold = score.
    """

    read: np.ndarray
    foretold: np.ndarray
    elsewhere: np.ndarray


class _TokenProgram(DirectedProgram):
    def __init__(self, model: Any, params: Any, **given: Any):
        super().__init__(model, params, **given)
        seen = _rows_are_positions(self, trees.flatten(params), given.get("example_length", 2))
        paths = {path: matrix for matrix in self.plan.matrices for path, _, _ in self.slots(matrix)}
        # The leaves whose rows are positions, and the parameters that have none.
        self.told = {path for path, matrix in paths.items() if matrix.route == "probe" and path in seen}
        self.untold = sorted({matrix.path for path, matrix in paths.items() if path not in self.told})
        if not self.told:
            raise InputError(
                "no parameter's share can be told by position",
                got=", ".join(self.untold[:6]),
                expected="a linen module that takes any length, with a Dense, DenseGeneral or Einsum that is given "
                "[examples, positions, in]",
                remedy="take the model itself instead of a loss of it, or exclude fewer parameters",
            )

    def _encode_one(self, leaves: Any, directions: Any, *example: jax.Array) -> Encodings:
        """{"read": [Q, T], "foretold": [Q, T], "elsewhere": [Q]}; `directions` by leaf as of `DirectionScorer`."""
        tokens, weights, weighted = example
        first = next(iter(directions.values()))
        count, length = first.shape[-3], tokens.shape[0]

        def loss(steps: tuple[jax.Array, jax.Array], weights: jax.Array) -> jax.Array:
            by_position, whole = steps
            held, beside = dict(leaves), dict[str, jax.Array]()
            for matrix in self.plan.matrices:
                for path, _, site in self.slots(matrix):
                    own = directions[path]
                    if matrix.route == "weight":
                        change = jnp.einsum("q,...qio->...io", whole, own)
                        held[path] = leaves[path] + site.kernel(change).astype(leaves[path].dtype)
                        continue
                    lead, told = own.shape[:-3], path in self.told
                    step = by_position if told else whole[:, None]
                    named = {
                        probe.PROBE: jnp.broadcast_to(step, (*lead, *step.shape)),
                        direction_probe.BY_POSITION if told else direction_probe.DIRECTIONS: own.reshape(
                            *lead, count, -1
                        ),
                    }
                    beside |= {sites.beside(path, name): site.beside(leaf) for name, leaf in named.items()}
            return self._example_loss(held, beside, tokens, weights, weighted)

        def shares(weights: jax.Array) -> tuple[jax.Array, jax.Array]:
            zeros = jnp.zeros((count, length), first.dtype), jnp.zeros(count, first.dtype)
            return jax.grad(loss)(zeros, weights)

        # Scores are linear in the losses' weights: their derivative tells the losses apart, in one pass for all.
        (read, elsewhere), back = jax.vjp(shares, weights)
        each = jnp.eye(count, dtype=first.dtype)
        (slopes,) = jax.vmap(lambda one: back((jnp.broadcast_to(one[:, None], read.shape), one)))(each)
        return {"read": read, "foretold": slopes * weights[None], "elsewhere": elsewhere}


def _rows_are_positions(program: DirectedProgram, leaves: dict[str, Any], length: int) -> set[str]:
    """The leaves whose layers are given [1, T, …] for examples of T tokens, every time that they are used.

    Asked of two lengths, so that no axis is taken for T because it is as long; none of a model of one length alone.
    """
    if program.model is None:
        return set()
    model, found = program.model, dict[str, bool]()
    shapes = {path: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for path, leaf in leaves.items()}
    params = program._tree(jax.eval_shape(program.arranged, shapes))
    for count in (length, length + 1):

        def watch(function: Any, arguments: Any, keywords: Any, context: Any, count: int = count) -> Any:
            output = function(*arguments, **keywords)
            shown = sites.call(context, arguments, keywords, output)
            if shown is not None and shown.site.direct:
                path = "/".join((*context.module.path, sites.name(context.module)))
                found[path] = found.get(path, True) and shown.x.shape[:-1] == (1, count)
            return output

        try:
            with nn.intercept_methods(watch):
                tokens = jax.ShapeDtypeStruct((1, count), jnp.int32)
                jax.eval_shape(lambda held, tokens: model.apply({"params": held}, tokens), params, tokens)
        except (TypeError, ValueError, AttributeError, FlaxError):
            return set()
    return {path for path, always in found.items() if always}


class TokenScorer:
    """Shares of exact scores by token; arguments and errors as of `DirectionScorer`.

    `elsewhere` holds what has no position, of the parameters that `untold` names: those on the weight path, and layers
    whose rows are not positions.

    Raises:
      InputError: no parameter's share can be told by position.
    """

    def __init__(self, model: Any, params: Any, **given: Any):
        self.scorer = DirectionScorer(model, params, **given)
        program = _TokenProgram(model, trees.unboxed(params), **given)
        self.untold, self._shares = program.untold, program.compiled()

    def shares(self, placed: Mapping[str, jax.Array], examples: Mapping[str, Any]) -> TokenShares:
        """The shares of examples' scores.

        Args:
          placed: Q directions, from `scorer.place`; each costs a forward and two backward passes of each example.
          examples: `tokens` int [B, T] and `loss_weights` float [B, T].
        """
        program = self.scorer.program
        tokens, weights = options.checked(examples, program.ids)
        count = tokens.shape[0]
        spare = program.padded(count) - count
        tokens, weights = (np.pad(a, ((0, spare), (0, 0))) for a in (tokens, weights))
        found = self._shares(self.scorer.leaves, placed, tokens, weights, options.weighted_positions(weights))
        read, foretold, elsewhere = (np.asarray(found[n])[:count] for n in ("read", "foretold", "elsewhere"))
        return TokenShares(read, foretold, elsewhere)
