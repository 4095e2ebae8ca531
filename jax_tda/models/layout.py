"""How a model lies on a mesh: what each parameter's axes mean, and with that its place at rest and in use."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding

from jax_tda.core import mesh as meshes
from jax_tda.core import placement, trees
from jax_tda.core.placement import Meanings
from jax_tda.models.decoder_config import DecoderConfig
from jax_tda.models.widths import promote

# A Decoder's parameters, without their layer axis.
AXES: Mapping[str, Meanings] = {
    r"^embedding/embedding$": ("vocabulary", "embed"),
    r"^position_embedding/embedding$": (None, "embed"),
    r"^head/kernel$": ("embed", "vocabulary"),
    r"/attention/query/kernel$": ("embed", "heads"),
    r"/attention/(key|value)/kernel$": ("embed", "kv_heads"),
    r"/attention/output/kernel$": ("heads", "embed"),
    r"/attention/query/bias$": ("heads",),
    r"/attention/(key|value)/bias$": ("kv_heads",),
    r"/mlp/(gate|up)/kernel$": ("embed", "mlp"),
    r"/mlp/(gate|up)/bias$": ("mlp",),
    r"/mlp/down/kernel$": ("mlp", "embed"),
    # Norms, and biases of what is added to the stream: small, and read by every device.
    r"(norm/(scale|bias)|/(output|down)/bias)$": (None,),
}
# Optax's factored moments leave out the largest and the second largest axis of a parameter.
_FACTORED = {"v_row": -1, "v_col": -2}


@dataclasses.dataclass(frozen=True)
class Layout:
    """The places of a model's parameters and activations on a mesh.

    Args:
      mesh: the devices.
      config: the Decoder's; None for any other model, whose parameters are divided by `placement.largest_axis`.
    """

    mesh: Mesh
    config: DecoderConfig | None = None

    @property
    def parts(self) -> dict[str, int]:
        """The number of parts that must not be cut, by meaning."""
        return {"heads": self.config.heads, "kv_heads": self.config.kv_heads} if self.config else {}

    def meanings(self, path: str, shape: tuple[int, ...]) -> Meanings:
        """What the axes of a parameter mean."""
        if self.config is not None:
            axes = next((axes for pattern, axes in AXES.items() if re.search(pattern, f"{path}")), None)
            if axes is not None and len(shape) - len(axes) in (0, 1):
                return ("layer",) * (len(shape) - len(axes)) + axes
        return placement.largest_axis(self.mesh, shape)

    def sharding(self, shape: tuple[int, ...], meanings: Meanings) -> NamedSharding:
        """Where an array lies whose axes mean this."""
        return NamedSharding(self.mesh, placement.partition(self.mesh, shape, meanings, self.parts))

    def at_rest(self, path: str, shape: tuple[int, ...]) -> NamedSharding:
        """Where a parameter lies."""
        return self.sharding(shape, self.meanings(path, shape))

    def of_tree(self, shapes: Any) -> Any:
        """Where each leaf of a tree of parameters, or of an optimizer's state over them, lies.

        A leaf whose path ends in a parameter's is divided as it is, one of Adafactor's factored moments as those of its
        axes that are left; every other leaf is whole.
        """
        found = jax.tree_util.tree_flatten_with_path(shapes)[0]
        known = {trees.path_of(keys): tuple(leaf.shape) for keys, leaf in found}
        params = {path.removeprefix("params/"): shape for path, shape in known.items() if path.startswith("params/")}
        params = params or known
        return jax.tree_util.tree_map_with_path(
            lambda keys, leaf: self._of_leaf(trees.path_of(keys), tuple(leaf.shape), params), shapes
        )

    def _of_leaf(self, path: str, shape: tuple[int, ...], params: Mapping[str, tuple[int, ...]]) -> NamedSharding:
        parents = path.split("/")
        for start in range(len(parents)):
            own = "/".join(parents[start:])
            if own not in params:
                continue
            whole, meanings = params[own], self.meanings(own, params[own])
            if shape == whole:
                return self.sharding(shape, meanings)
            order = sorted(range(len(whole)), key=lambda axis: whole[axis])
            place = next((_FACTORED[name] for name in parents[:start] if name in _FACTORED), 0)
            left_out = order[place] if -len(order) <= place < 0 else -1
            if left_out >= 0 and shape == (*whole[:left_out], *whole[left_out + 1 :]):
                return self.sharding(shape, (*meanings[:left_out], *meanings[left_out + 1 :]))
        return meshes.replicated(self.mesh)

    def gathered(self, weight: jax.Array, meanings: Meanings) -> jax.Array:
        """A weight as it is used, whole but for its division over `model`."""
        used, rest = (self.sharding(weight.shape, axes) for axes in (placement.in_use(meanings), meanings))
        return weight if used == rest else placement.gather(weight, used, rest)

    def whole(self, shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
        """What the rules would divide and cannot, in words, one line a parameter."""
        said = []
        for path, shape in shapes.items():
            meanings = self.meanings(path, shape)
            axes = placement.whole_axes(self.mesh, shape, meanings, self.parts)
            names = [f"{meanings[axis]} ({self.parts.get(meanings[axis] or '', shape[axis])})" for axis in axes]
            said += [f"{path} {shape}: {', '.join(names)}"] if names else []
        return said


def constrain(layout: Layout | None, array: jax.Array, *meanings: str | None) -> jax.Array:
    """An activation whose last axes mean `meanings`, divided as the rules say; untouched without a layout."""
    return placement.constrain(layout.mesh if layout else None, array, *meanings)


@dataclasses.dataclass(frozen=True)
class Gathering:
    """A linen layer's `promote_dtype`: casts as ever, then gathers the kernel, whose axes mean `meanings`."""

    layout: Layout
    meanings: Meanings

    def __call__(self, *arrays: Any, **keywords: Any) -> Any:
        cast = promote(*arrays, **keywords)
        # An input stands before a kernel; a table that is looked up stands alone.
        place = min(1, len(cast) - 1)
        cast[place] = self.layout.gathered(cast[place], self.meanings)
        return cast


def gathering(layout: Layout | None, meanings: Meanings) -> Any:
    """The `promote_dtype` of a layer of ours, with a layout or without."""
    return promote if layout is None else Gathering(layout, meanings)
