"""Where an encoder's parameters and projections lie on a mesh that weights are divided over."""

from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding

from jax_tda.core import mesh as meshes
from jax_tda.core import placement
from jax_tda.core.placement import Meanings
from jax_tda.encoding import probe
from jax_tda.encoding.blocks import Matrix, Plan
from jax_tda.models import layers
from jax_tda.models.decoder_config import DecoderConfig
from jax_tda.models.layout import Layout


class Places:
    """Each parameter as `Layout` says, and L = P₀/√r, R = P₁/√c and 1/√V as the axis of the kernel that they meet.

    Where that axis is not divided over `model`, p is, so that the devices of a data group do not all project the same.

    Args:
      mesh: the devices.
      config: the Decoder's, if the model is one.
      plan: the encoded parameters.
      unrolled: whether layers are separate.
    """

    def __init__(self, mesh: Mesh, config: DecoderConfig | None, plan: Plan, unrolled: bool):
        self.mesh, self.layout, self._unrolled = mesh, Layout(mesh, config), unrolled
        self._of_sides: dict[str, dict[str, Meanings]] = {}
        for matrix in plan.matrices:
            found = dict(zip((probe.LEFT, probe.RIGHT, probe.INVERSE_ROOT), self._meanings(matrix), strict=True))
            paths = [matrix.path]
            if unrolled and matrix.layers:
                paths = [layers.unstacked_path(matrix.path, layer) for layer in range(matrix.layers)]
            self._of_sides |= dict.fromkeys(paths, found)

    def _meanings(self, matrix: Matrix) -> tuple[Meanings, Meanings, Meanings]:
        """Of L, R and 1/√V, of one layer."""
        own = self.layout.meanings(matrix.path, matrix.shape)[1 if matrix.layers else 0 :]
        if self.layout.config is None or len(own) != 2:
            own = placement.largest_axis(self.mesh, (matrix.rows, matrix.columns))

        def side(meaning: str | None) -> Meanings:
            divided = meaning is not None and meshes.RULES[meaning] == meshes.MODEL
            return (None if divided else "projected", meaning)

        return side(own[0]), side(own[1]), own

    def leaf(self, path: str, shape: tuple[int, ...]) -> NamedSharding:
        """Where a parameter, as the program takes it, lies."""
        return self.layout.at_rest(path, shape)

    def sides(self, matrix: Matrix, sides: Any) -> Any:
        """Where each array of a parameter's sides lies, in the structure of `sides` as the program takes them."""

        def one(path: str, arrays: Any) -> Any:
            meanings = self._of_sides[path].values()
            return tuple(
                None if array is None else self.layout.sharding(array.shape, (None,) * (array.ndim - 2) + own)
                for array, own in zip(arrays, meanings, strict=True)
            )

        if isinstance(sides, list):
            return [one(layers.unstacked_path(matrix.path, layer), own) for layer, own in enumerate(sides)]
        return one(matrix.path, sides)

    def use(self, path: str, name: str, array: jax.Array) -> jax.Array:
        """What stands beside a kernel, as it is used: gathered over the data groups."""
        return self.layout.gathered(array, self._of_sides[path][name])
