"""The compiled half of an encoder: one example's gradient at the zero probes, lifted over a batch and a mesh."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx
from flax.errors import FlaxError
from jax.sharding import PartitionSpec

from jax_tda.core import mesh as meshes
from jax_tda.core import trees
from jax_tda.core.errors import InputError
from jax_tda.encoding import blocks as layouts
from jax_tda.encoding import models, nnx_models, probe, sites, visibility
from jax_tda.encoding.places import Places
from jax_tda.models import layers, likelihood
from jax_tda.models.decoder import Decoder

# What ran fastest on a CPU (benchmarks/README.md).
_TOKENS_IN_CACHE, _MOST_UNROLLED = 256, 16

Loss = Callable[[Any, Mapping[str, jax.Array]], jax.Array]
Encodings = dict[str, jax.Array]
# P₀, P₁ and, where V is element-wise, 1/√V.
Sides = tuple[Any, Any, Any]


class Program:
    """A pure function of parameters, projections and examples, without any of them: shapes alone are needed.

    Arguments as of `Encoder`; `params` may hold `jax.ShapeDtypeStruct`s.
    """

    def __init__(
        self,
        model_or_loss: nn.Module | Loss,
        params: Any,
        blocks: str,
        projected_size: int,
        *,
        exclude: tuple[str, ...] = layouts.DEFAULT_EXCLUDE,
        reduction: str = "rank_one",
        examples_at_once: int | None = None,
        unroll_layers: bool | None = None,
        remat: bool | None = None,
        example_length: int = 2,
        mesh: jax.sharding.Mesh | None = None,
        weights: str = "",
        layer_axes: Mapping[str, int] | None = None,
    ):
        if isinstance(params, nnx.State):
            params = nnx.to_pure_dict(params)
        if isinstance(model_or_loss, nn.Module):
            params = trees.unboxed(params)
        self.model = model_or_loss if isinstance(model_or_loss, nn.Module) else None
        self._loss = None if self.model is not None else _pure(model_or_loss)
        self.projected_size, self.reduction, self.mesh = projected_size, reduction, mesh
        self._at_once = examples_at_once
        leaves = trees.flatten(params)
        self._names, self._structure = tuple(leaves), jax.tree.structure(params)
        shapes = {path: tuple(leaf.shape) for path, leaf in leaves.items()}
        # How many ids an example's tokens may be; None where a loss of one's own decides.
        self.ids: int | None = None
        visible: dict[str, sites.Site] = {}
        if isinstance(model_or_loss, nn.Module | nnx.Module):
            visible = self._visible(model_or_loss, leaves, example_length)
        self.plan = layouts.plan(shapes, visible, blocks, exclude, layer_axes)
        self._cpu = (mesh.devices.flat[0].platform if mesh is not None else jax.default_backend()) == "cpu"
        self.unrolled = self._unroll(unroll_layers)
        self._rematerialize(remat)
        if self.unrolled:
            apart = jax.eval_shape(layers.unstack_layers, trees.unflatten(_shapes(leaves)))
            self._names, self._structure = tuple(trees.flatten(apart)), jax.tree.structure(apart)
        self._head = self._frozen_head()
        self.places: Places | None = None
        if mesh is not None and meshes.splits_weights(mesh, weights):
            # A subclass may compute otherwise; its parameters are divided by their shapes alone.
            decoder = self.model if type(self.model) is Decoder else None
            self.places = Places(mesh, decoder.config if decoder else None, self.plan, self.unrolled)
            self.model = decoder.laid_out(mesh) if decoder else self.model

    def compiled(self, further: int = 0) -> Any:
        """The function of (leaves, sides, tokens, loss weights, weighted positions) to encodings, to be compiled.

        Args:
          further: how many arrays [B, …] a program of its own takes behind these.
        """
        if self.places is not None:
            return jax.jit(self._encode_divided, out_shardings=meshes.batch_sharding(self.places.mesh))
        if self.mesh is None or self.mesh.size == 1:
            return jax.jit(self.encode_batch)
        # Each device takes its own examples one group after another; a loop over a sharded axis would gather them.
        whole, split = PartitionSpec(), PartitionSpec(meshes.DATA)
        placed = jax.shard_map(
            self.encode_batch,
            mesh=self.mesh,
            in_specs=(whole, whole, *[split] * (3 + further)),
            out_specs=split,
            check_vma=False,
        )
        return jax.jit(placed)

    def padded(self, count: int) -> int:
        """The number of rows that a batch of `count` is filled up to, so that every data group has the same number."""
        if self.mesh is None:
            return count
        groups = self.mesh.shape[meshes.DATA]
        each = -(-count // groups)
        step = min(self._at_once or each, each) if self.places is not None else 1
        return groups * -(-each // step) * step

    def arranged(self, leaves: dict[str, Any]) -> dict[str, Any]:
        """Parameters by path as the program takes them: layer by layer where layers are unrolled."""
        return trees.flatten(layers.unstack_layers(trees.unflatten(leaves))) if self.unrolled else leaves

    def arranged_sides(self, matrix: layouts.Matrix, sides: Sides) -> Any:
        """A parameter's sides as the program takes them: a list by layer where layers are unrolled."""
        if not (self.unrolled and matrix.layers):
            return sides
        return [jax.tree.map(lambda a, i=i: a[i], sides) for i in range(matrix.layers)]

    def _visible(self, model: nn.Module | nnx.Module, leaves: dict[str, Any], length: int) -> dict[str, sites.Site]:
        example = jax.ShapeDtypeStruct((1, length), jnp.int32)
        try:
            if isinstance(model, nnx.Module):
                shown = nnx_models.look(model, leaves, example)
            else:
                shown = visibility.look(model, self._tree(leaves), example)
        except InputError:
            raise
        except (TypeError, ValueError, AttributeError, FlaxError) as problem:
            raise models.cannot_be_traced(model, example.shape, problem) from problem
        self.ids = models.ids(model, shown, example.shape)
        found = shown.sites
        if self.reduction == "exact":
            # A table divided element-wise needs its whole gradient, which the weight path forms anyway.
            return {p: dataclasses.replace(s, direct=s.direct and not s.table) for p, s in found.items()}
        return found

    def _unroll(self, wanted: bool | None) -> bool:
        """Whether layers are compiled one by one."""
        # A subclass may compute otherwise; it is taken as it is.
        show = self.model.unrolled if type(self.model) is Decoder else None
        deepest = max(matrix.layers for matrix in self.plan.matrices)
        if wanted and (show is None or not deepest):
            raise InputError(
                f"the layers of {type(self.model).__name__} cannot be unrolled",
                got="a model that is no Decoder" if show is None else "layers that are separate already",
                expected="a Decoder with scanned layers",
                remedy="leave unroll_layers out",
            )
        if not (wanted or (wanted is None and self._cpu and show is not None and 0 < deepest <= _MOST_UNROLLED)):
            return False
        assert show is not None
        self.model = show()
        return True

    def _rematerialize(self, wanted: bool | None) -> None:
        if wanted is None:
            return
        if type(self.model) is not Decoder:
            raise InputError(
                f"the layers of {type(self.model).__name__} cannot be computed twice",
                got="a model that is no Decoder",
                expected="a Decoder",
                remedy="leave remat out",
            )
        self.model = Decoder(dataclasses.replace(self.model.config, remat=wanted))

    def encode_batch(self, leaves: Any, sides: Any, *examples: jax.Array) -> Encodings:
        """float32 [B, p, p] for each block, on one device or inside a `shard_map`."""

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

    def _encode_divided(self, leaves: Any, sides: Any, *examples: jax.Array) -> Encodings:
        """The same over a mesh that weights are divided over: every data group has its share of what is in flight."""
        assert self.places is not None
        mesh, count = self.places.mesh, examples[0].shape[0]
        groups = mesh.shape[meshes.DATA]
        each = count // groups
        most = min(self._at_once or each, each)
        step = max(n for n in range(1, most + 1) if each % n == 0)

        def one(*example: jax.Array) -> Encodings:
            return self._encode_one(leaves, sides, *example)

        def together(given: tuple[jax.Array, ...]) -> Encodings:
            return jax.vmap(one, spmd_axis_name=meshes.DATA)(*given)

        if step == each:
            return together(examples)

        def split(array: jax.Array) -> jax.Array:
            # Rows stay where they are: each group's own rows are dealt out over time.
            apart = array.reshape(groups, each // step, step, *array.shape[1:]).swapaxes(0, 1)
            dealt = apart.reshape(each // step, groups * step, *array.shape[1:])
            return jax.lax.with_sharding_constraint(dealt, meshes.sharding(mesh, None, "batch"))

        def join(array: jax.Array) -> jax.Array:
            apart = array.reshape(each // step, groups, step, *array.shape[2:]).swapaxes(0, 1)
            return apart.reshape(count, *array.shape[2:])

        return jax.tree.map(join, jax.lax.map(together, jax.tree.map(split, examples)))

    def _encode_one(self, leaves: Any, sides: Any, *example: jax.Array) -> Encodings:
        zero = jnp.zeros((self.projected_size, self.projected_size), jnp.float32)
        return jax.grad(lambda probes: self._example_loss(*self._held(probes, leaves, sides), *example))(
            {block: zero for block in self.plan.blocks}
        )

    def _held(self, probes: Any, leaves: Any, sides: Any) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
        """The parameters, perturbed where they take the weight path, and what stands beside those that are probed."""
        held, beside = dict(leaves), dict[str, jax.Array]()

        def place(matrix: layouts.Matrix, path: str, own: jax.Array, side: Sides) -> None:
            left, right, root = side
            site = matrix.site.one() if self.unrolled and matrix.layers else matrix.site
            if matrix.route == "weight":
                held[path] = site.kernel(probe.perturb(site.matrix(leaves[path]), own, left, right, root))
                return
            named = {probe.PROBE: own, probe.LEFT: left, probe.RIGHT: right, probe.INVERSE_ROOT: root}
            for name, leaf in named.items():
                if leaf is not None:
                    beside[sites.beside(path, name)] = site.beside(leaf)

        for matrix in self.plan.matrices:
            # Matrices of one block share its probe, and autodiff sums what reaches it.
            own = [probes[block] for block in matrix.blocks]
            if not matrix.layers:
                place(matrix, matrix.path, own[0], sides[matrix.path])
            elif self.unrolled:
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
        assert self.model is not None
        if self._head is None:
            logits = sites.apply(self.model, params, tokens[None], places=self.places)[0]
            return likelihood.loss(logits.astype(jnp.float32), tokens, weights)
        hidden = sites.apply(self.model, params, tokens[None], method="hidden", places=self.places)[0]
        head, mesh = held[self._head], None
        if self.places is not None:
            layout, mesh = self.places.layout, self.places.mesh
            head = layout.gathered(head, layout.meanings(self._head, head.shape))
        head = head.T if self._head.endswith("kernel") else head
        if weighted.shape[0] >= tokens.shape[0] - 1:
            return likelihood.head_loss(hidden[:-1], head, tokens[1:], weights[1:], mesh)
        return likelihood.head_loss(hidden[weighted - 1], head, tokens[weighted], weights[weighted], mesh)

    def names_of(self, matrix: layouts.Matrix) -> list[str]:
        """The leaves, as the program takes them, that a parameter is made of."""
        if not (self.unrolled and matrix.layers):
            return [matrix.path]
        return [layers.unstacked_path(matrix.path, layer) for layer in range(matrix.layers)]

    def plain_loss(self, leaves: dict[str, jax.Array], example: Mapping[str, jax.Array]) -> jax.Array:
        """−Σ w log p of one example without a probe, or the loss that was given; no numbers are fused or rounded."""
        if self._loss is not None:
            return self._loss(self._tree(leaves), example)
        assert self.model is not None
        logits: Any = self.model.apply({"params": self._tree(leaves)}, example["tokens"][None])
        log_p = jax.nn.log_softmax(logits[0, :-1].astype(jnp.promote_types(logits.dtype, jnp.float32)))
        chosen = jnp.take_along_axis(log_p, example["tokens"][1:, None], axis=-1)[:, 0]
        return -jnp.sum(example["loss_weights"][1:] * chosen)

    def gathered(self, array: jax.Array) -> jax.Array:
        """An array that every process holds whole."""
        if self.mesh is None or array.is_fully_replicated:
            return array
        return jax.jit(lambda x: x, out_shardings=meshes.replicated(self.mesh))(array)

    def _tree(self, leaves: Any) -> Any:
        """Leaves in the containers that the parameters came in."""
        return jax.tree.unflatten(self._structure, [leaves[name] for name in self._names])

    def _frozen_head(self) -> str | None:
        """The path of a Decoder's output head, when it is not encoded and logits are its product: the loss is fused."""
        path = self.model.head_path() if type(self.model) is Decoder else None
        return path if path in self.plan.excluded else None


def _shapes(leaves: dict[str, Any]) -> dict[str, Any]:
    return {path: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for path, leaf in leaves.items()}


def _pure(model_or_loss: Any) -> Loss:
    loss: Loss = nnx_models.loss_of(model_or_loss) if isinstance(model_or_loss, nnx.Module) else model_or_loss
    return loss
