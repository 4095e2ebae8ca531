"""Training again, forwards and backwards: the derivative of anything of θ_T by every document's weight.

A run of T steps is a chain s_t = step(s_{t−1}, batch_t, w): parameters, moments and all. Reverse mode goes back
through it: with c_t = ∂f/∂s_t, one step's vector-Jacobian product gives c_{t−1} and what the step adds to ∂f/∂w. States
are kept at the starts of K segments, and those within a segment are formed again when it is gone through backwards:
K + ⌈T/K⌉ states and two trainings, besides the products, for as many f at once as there are cotangents.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jax_tda.models.interface import LanguageModel
from jax_tda.training.step import TrainState, train_step

# Stands for a second moment of 0 where a step is linearized: far below ε, and its root has a derivative.
_LEAST = 1e-30

Batch = dict[str, Any]
Look = Callable[[int], tuple[Batch, np.ndarray]]


class Replay:
    """One training run whose examples are weighted by their documents.

    Args:
      model: the language model.
      optimizer: how gradients become updates.
      begin: gives the state before the first step; called for every run.
      look: step → (its batch, [B] the document of each place).
      steps: T.
      documents: how many documents there are.
      segments: K; 0 for about √T.
    """

    def __init__(
        self,
        model: LanguageModel,
        optimizer: optax.GradientTransformation,
        begin: Callable[[], TrainState],
        look: Look,
        steps: int,
        documents: int,
        segments: int = 0,
    ):
        self._begin, self._look, self.steps, self.documents = begin, look, steps, documents
        self.length = math.ceil(steps / min(segments or math.ceil(math.sqrt(steps)), steps))
        self.segments = math.ceil(steps / self.length)
        self._advance = jax.jit(functools.partial(_next, model, optimizer))
        self._back = jax.jit(functools.partial(_back, model, optimizer), donate_argnums=3)

    def _weighted(self, step: int, weights: np.ndarray) -> Batch:
        batch, documents = self._look(step)
        # In float64 where JAX has it: a weight is changed by little.
        return {**batch, "example_weights": np.asarray(weights, np.float64)[documents]}

    def train(self, weights: np.ndarray, advanced: Callable[[], None] = lambda: None) -> Any:
        """θ_T with these weights [documents]; `advanced` is called after every step, and may raise to leave."""
        state = self._begin()
        for step in range(self.steps):
            state = self._advance(state, self._weighted(step, weights))
            _keep_pace(state, step)
            advanced()
        return state.params

    def kept(self, weights: np.ndarray, advanced: Callable[[], None] = lambda: None) -> list[TrainState]:
        """The states before every segment, and the last one."""
        states = [self._begin()]
        for segment in range(self.segments):
            states.append(self._through(segment, states[-1], weights, advanced)[-1])
        return states

    def _range(self, segment: int) -> range:
        return range(segment * self.length, min((segment + 1) * self.length, self.steps))

    def _through(
        self, segment: int, state: TrainState, weights: np.ndarray, advanced: Callable[[], None], every: bool = False
    ) -> list[TrainState]:
        """The state after a segment; before it every one from its start on, if asked for."""
        states = [state]
        for step in self._range(segment):
            state = self._advance(states[-1], self._weighted(step, weights))
            states = [*states, state] if every else [state]
            _keep_pace(state, step)
            advanced()
        return states

    def derivatives(
        self,
        kept: list[TrainState],
        cotangents: Any,
        weights: np.ndarray,
        advanced: Callable[[], None] = lambda: None,
    ) -> np.ndarray:
        """∂f_q/∂w_i: float64 [Q, documents].

        Args:
          kept: what `kept` gave for these weights.
          cotangents: a tree like the parameters, ∂f_q/∂θ_T with a leading axis of Q functions.
          weights: [documents].
          advanced: called after every step, forwards and backwards.
        """
        count = jax.tree.leaves(cotangents)[0].shape[0]
        found = np.zeros((count, self.documents))
        # Of moments, which f does not read, the cotangents are 0.
        none = jax.tree.map(lambda leaf: jnp.zeros((count, *leaf.shape), leaf.dtype), kept[-1])
        chain = _floats(none._replace(params=cotangents))[0]
        for segment in reversed(range(self.segments)):
            states = self._through(segment, kept[segment], weights, advanced, every=True)
            states.pop()  # What comes after the segment is not gone back from.
            for step in reversed(self._range(segment)):
                batch = self._weighted(step, weights)
                each = batch.pop("example_weights")
                chain, of_examples = self._back(states.pop(), batch, each, chain)
                np.add.at(found.T, self._look(step)[1], np.asarray(of_examples, np.float64).T)
                advanced()
        return found

    def state_bytes(self) -> int:
        """Of one state."""
        shapes = jax.eval_shape(self._begin)
        return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))

    def peak_bytes(self, queries: int) -> int:
        """Of a run backwards with so many cotangents: kept states, cotangents before and after a step, and the step.

        The last is what the compiler says of the batches of the first steps, the largest of each length among them.
        """
        state = jax.eval_shape(self._begin)
        chain = [jax.ShapeDtypeStruct((queries, *leaf.shape), leaf.dtype) for leaf in _floats(state)[0]]
        most, seen = 0, set()
        for step in range(min(self.steps, 64)):
            batch, _ = self._look(step)
            if (shape := batch["tokens"].shape) in seen:
                continue
            seen.add(shape)
            each = jax.ShapeDtypeStruct(shape[:1], jnp.result_type(float))
            told = self._back.lower(state, batch, each, chain).compile().memory_analysis()
            most = max(most, getattr(told, "temp_size_in_bytes", 0) + getattr(told, "output_size_in_bytes", 0))
        wide = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in chain)
        return (self.segments + 1 + self.length) * self.state_bytes() + wide + most


def _keep_pace(state: TrainState, step: int) -> None:
    """Python may run ahead of the devices by a few steps only: each holds a state."""
    if step % 4 == 3:
        jax.block_until_ready(state.step)


def _next(model: Any, optimizer: Any, state: TrainState, batch: Any) -> TrainState:
    return train_step(model, optimizer, state, batch)[0]


def _floats(state: Any) -> tuple[list[jax.Array], Callable[[list[jax.Array]], Any]]:
    """The floating leaves of a state, and how a state is made of such; counts have no derivative."""
    leaves, structure = jax.tree.flatten(state)
    places = [n for n, leaf in enumerate(leaves) if jnp.issubdtype(leaf.dtype, jnp.floating)]

    def put(floats: list[jax.Array]) -> Any:
        whole = list(leaves)
        for place, leaf in zip(places, floats, strict=True):
            whole[place] = leaf
        return jax.tree.unflatten(structure, whole)

    return [leaves[place] for place in places], put


def _rooted(opt_state: Any) -> Any:
    """Adam's second moments of 0 become 1e-30: a root has no derivative at 0, where a row was never seen."""

    def mended(node: Any) -> Any:
        if not isinstance(node, optax.ScaleByAdamState):
            return node
        return node._replace(nu=jax.tree.map(lambda nu: jnp.where(nu == 0, jnp.asarray(_LEAST, nu.dtype), nu), node.nu))

    return jax.tree.map(mended, opt_state, is_leaf=lambda node: isinstance(node, optax.ScaleByAdamState))


def _back(model: Any, optimizer: Any, state: TrainState, batch: Any, each: jax.Array, chain: list[jax.Array]) -> Any:
    """(c_{t−1}, [Q, B] what this step adds to ∂f/∂w of its places) of c_t."""
    floats, put = _floats(state)

    def forward(floats: list[jax.Array], each: jax.Array) -> list[jax.Array]:
        given = put(floats)
        given = given._replace(opt_state=_rooted(given.opt_state))
        return _floats(_next(model, optimizer, given, {**batch, "example_weights": each}))[0]

    _, pull = jax.vjp(forward, floats, each)
    return jax.vmap(pull)(chain)
