"""Training on a mesh: where the state lies, and the compiled step that keeps it there."""

import functools
from typing import Any

import jax
import optax
from jax.sharding import Mesh

from jax_tda.core import mesh as meshes
from jax_tda.models.decoder import Decoder
from jax_tda.models.interface import LanguageModel
from jax_tda.models.layout import Layout
from jax_tda.training.step import TrainState, initial_state, train_step


class Divided:
    """A model's training state on a mesh, every weight and moment held once where weights are divided.

    Args:
      model: the language model; a Decoder's activations are divided too.
      optimizer: how gradients become updates.
      mesh: the devices.
      weights: `sharded`, `replicated` or empty, as of `MeshConfig`.
    """

    def __init__(self, model: LanguageModel, optimizer: optax.GradientTransformation, mesh: Mesh, weights: str = ""):
        self._model, self._optimizer, self._mesh = model, optimizer, mesh
        # Where every device holds all weights, each takes its own examples.
        self._whole_on: Mesh | None = None if meshes.splits_weights(mesh, weights) else mesh
        self.shapes: TrainState = jax.eval_shape(functools.partial(initial_state, model, optimizer, 0))
        self.state: TrainState = jax.tree.map(lambda _: meshes.replicated(mesh), self.shapes)
        if meshes.splits_weights(mesh, weights):
            # A subclass may compute otherwise; its parameters are divided by their shapes alone.
            decoder = model if type(model) is Decoder else None
            self._model = decoder.laid_out(mesh) if decoder else model
            self.state = Layout(mesh, decoder.config if decoder else None).of_tree(self.shapes)

    @property
    def placed(self) -> TrainState:
        """The state's shapes, each with its place."""

        def place(leaf: Any, where: Any) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where)

        found: TrainState = jax.tree.map(place, self.shapes, self.state)
        return found

    def step(self) -> Any:
        """The compiled (state, batch) → (next state, scalars); the state given is used up."""
        return jax.jit(
            functools.partial(train_step, self._model, self._optimizer, mesh=self._whole_on),
            in_shardings=(self.state, meshes.batch_sharding(self._mesh)),
            out_shardings=(self.state, meshes.replicated(self._mesh)),
            donate_argnums=0,
        )
