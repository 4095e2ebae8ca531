"""The mean loss of a batch and its whole gradient: what every step of training begins with.

On a CPU a decoder's batch is taken as the encoder takes its examples: few at a time, whose activations stay in the
cache, layers one by one, with a loss that forms its own gradient, and each device its own share. Elsewhere, where
weights are divided, and for a model of anybody's own it is autodiff of the plain mean. No number depends on the way
beyond rounding.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from jax_tda.core.mesh import DATA
from jax_tda.models import layers, likelihood, products, trained_head
from jax_tda.models.decoder import Decoder
from jax_tda.models.interface import Examples, LanguageModel, Params
from jax_tda.models.widths import computed, widened

# Floats that one position of the widest activations times the positions at once may have, and the most unrolled layers.
_FLOATS_AT_ONCE, _MOST_UNROLLED = 1280 * 256, 16

_Sums = tuple[jax.Array, Any]


def mean_loss(
    model: LanguageModel,
    params: Params,
    tokens: jax.Array,
    loss_weights: jax.Array,
    example_weights: jax.Array | None = None,
) -> jax.Array:
    """The weighted mean over a batch's tokens of −log p: Σ_b w_b loss_b / Σ_{b, t ≥ 1} loss_weights[b, t].

    Args:
      model: the language model.
      params: its parameters.
      tokens: [..., T] int32, with any leading axes.
      loss_weights: [..., T] float32.
      example_weights: w [...]; None for 1. The divisor does not know them, so that the loss is linear in each.

    Returns:
      A scalar, float32, or float64 where the parameters are; NaN where nothing is weighted.
    """
    logits = model.apply({"params": params}, tokens)
    losses = likelihood.loss(logits, tokens, loss_weights)
    loss = jnp.sum(losses if example_weights is None else losses * example_weights)
    return loss / jnp.sum(loss_weights[..., 1:], dtype=loss.dtype)


def mean_loss_and_gradient(
    model: LanguageModel, params: Params, batch: Examples, mesh: Mesh | None = None
) -> tuple[jax.Array, Any]:
    """`mean_loss` and its gradient by every parameter, in float32 (float64 where the parameters are).

    Args:
      model: the language model.
      params: its parameters, whole on every device where it has no layout.
      batch: tokens and loss weights, [B, T] or [T]; `example_weights` [B] where examples count more or less.
      mesh: the devices over whose data groups the batch is divided; None for no division, or where XLA divides it.
    """
    tokens, weights = jnp.atleast_2d(batch["tokens"]), jnp.atleast_2d(batch["loss_weights"])
    each = batch.get("example_weights")
    # A subclass may compute otherwise; it is taken as it is.
    decoder = model if type(model) is Decoder and model.layout is None and _on_cpu(mesh) else None
    if decoder is None:
        loss, gradient = jax.value_and_grad(lambda p: mean_loss(model, p, tokens, weights, each))(params)
        return loss, jax.tree.map(widened, gradient)

    if each is None:
        each = jnp.ones(weights.shape[:1], weights.dtype)

    def summed(
        params: Params, tokens: jax.Array, weights: jax.Array, each: jax.Array
    ) -> tuple[jax.Array, Any, jax.Array]:
        loss, gradient = loss_and_gradient(decoder, params, tokens, weights * each[:, None])
        return loss, gradient, jnp.sum(weights[..., 1:], dtype=loss.dtype)

    if mesh is not None and mesh.size > 1:
        whole, split = PartitionSpec(), PartitionSpec(DATA)
        summed = jax.shard_map(
            lambda *arguments, own=summed: jax.lax.psum(own(*arguments), DATA),
            mesh=mesh,
            in_specs=(whole, split, split, split),
            out_specs=whole,
            check_vma=False,
        )
    loss, gradient, count = summed(params, tokens, weights, each)
    return loss / count, jax.tree.map(lambda leaf: leaf / count, gradient)


def _on_cpu(mesh: Mesh | None) -> bool:
    return (jax.default_backend() if mesh is None else str(mesh.devices.flat[0].platform)) == "cpu"


def loss_and_gradient(model: Decoder, params: Params, tokens: jax.Array, weights: jax.Array) -> _Sums:
    """−Σ_{b, t ≥ 1} w log p and its gradient by every parameter, a few examples at a time.

    Args:
      model: a decoder without a layout.
      params: its parameters.
      tokens: [B, T] int32.
      weights: [B, T].
    """
    apart = model.config.scan_layers and model.config.layers <= _MOST_UNROLLED
    if apart:
        model, params = model.unrolled(), layers.unstack_layers(params)
    groups = [_grouped(model, array) for array in (tokens, weights)]
    summed = _by_autodiff if model.head_path() is None else _by_pieces
    loss, gradient = summed(model, dict(params), *groups)
    return loss, layers.stack_layers(gradient) if apart else gradient


def _grouped(model: Decoder, array: jax.Array) -> jax.Array:
    """[groups, at once, T] of [B, T]; what is spare in the last group has weight 0."""
    count, length = array.shape
    most = max(1, _FLOATS_AT_ONCE // (length * (model.config.width + model.config.mlp_width)))
    groups = -(-count // most)
    at_once = -(-count // groups)
    return jnp.pad(array, ((0, groups * at_once - count), (0, 0))).reshape(groups, at_once, length)


def _over(groups: tuple[jax.Array, ...], add: Any, start: Any) -> Any:
    """`jax.lax.scan`, without a loop where there is one group alone."""
    if groups[0].shape[0] > 1:
        return jax.lax.scan(add, start, groups)
    end, found = add(start, tuple(array[0] for array in groups))
    return end, jax.tree.map(lambda array: array[None], found)


def _zeros(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.zeros_like(widened(leaf)), tree)


def _by_autodiff(model: Decoder, params: Any, tokens: jax.Array, weights: jax.Array) -> _Sums:
    """Where logits are more than a product with the head."""

    def summed(params: Any, tokens: jax.Array, weights: jax.Array) -> jax.Array:
        with nn.intercept_methods(products.intercept):
            logits: Any = model.apply({"params": params}, tokens)
        return jnp.sum(likelihood.loss(logits, tokens, weights))

    def add(sums: Any, group: Any) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, sums, jax.value_and_grad(summed)(params, *group)), None

    start = jax.tree.leaves(params)[0]
    sums: _Sums = _over((tokens, weights), add, (jnp.zeros((), widened(start).dtype), _zeros(params)))[0]
    return sums


def _by_pieces(model: Decoder, params: Any, tokens: jax.Array, weights: jax.Array) -> _Sums:
    """The head's loss forms its own gradient; rows of tables are added once, at the end."""
    table, tied = params["embedding"]["embedding"], model.config.tied
    vocabulary, width = table.shape
    narrow = computed(table, model.config.dtype)
    head = narrow if tied else computed(params["head"]["kernel"], model.config.dtype).T
    pieces, inner = trained_head.cut(head), {name: leaf for name, leaf in params.items() if name != "head"}
    trained = {name: leaf for name, leaf in inner.items() if name != "embedding"}

    def add(sums: Any, group: Any) -> tuple[Any, Any]:
        loss, gradient, before = sums
        tokens, weights = group

        def hidden(trained: Any, embedded: jax.Array) -> jax.Array:
            with nn.intercept_methods(functools.partial(_embedded, embedded)):
                found: Any = model.apply({"params": inner | trained}, tokens, method="hidden")
            return found[:, :-1].reshape(-1, width)

        predicting, pull = jax.vjp(hidden, trained, _rows(narrow, tokens))
        own = _rows(head, tokens[:, 1:].reshape(-1))
        found = trained_head.go_over(predicting, pieces, own, weights[:, 1:].reshape(-1), before)
        of_trained, of_embedded = pull(found.predicting)
        sums = (loss + found.loss, jax.tree.map(jnp.add, gradient, of_trained), found.pieces)
        return sums, (widened(of_embedded).reshape(-1, width), found.rows)

    before = trained_head.empty(pieces)
    start = (jnp.zeros((), before.dtype), _zeros(trained), before)
    (loss, gradient, before), (entering, right) = _over((tokens, weights), add, start)
    of_head = trained_head.joined(before, vocabulary)
    of_head = of_head.at[tokens[..., 1:].reshape(-1)].add(right.reshape(-1, width))
    of_table = (of_head if tied else jnp.zeros_like(of_head)).at[tokens.reshape(-1)].add(entering.reshape(-1, width))
    gradient["embedding"] = {"embedding": of_table}
    return loss, gradient if tied else gradient | {"head": {"kernel": of_head.T}}


def _rows(table: jax.Array, ids: jax.Array) -> jax.Array:
    """Rows of a table; no numbers for an id beyond it, as the model itself gives."""
    return jnp.take(table, ids, axis=0)


def _embedded(embedded: jax.Array, next_function: Any, arguments: Any, keywords: Any, context: Any) -> Any:
    """What was looked up beforehand enters where the table of tokens would be asked."""
    module = context.module
    if type(module) is nn.Embed and module.name == "embedding" and context.method_name == "__call__":
        return embedded
    return products.intercept(next_function, arguments, keywords, context)
