"""Training several members of a bank at once: one program, each device some members, every member the same batches."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jax_tda.core import mesh as meshes
from jax_tda.core.ahead import Ahead
from jax_tda.data.batches import bucket_lengths, sweep
from jax_tda.data.corpus import Corpus
from jax_tda.models import likelihood
from jax_tda.models.decoder import Decoder
from jax_tda.models.interface import Examples
from jax_tda.retraining.bank_step import weighted_step
from jax_tda.training import optimizers
from jax_tda.training.batches import TrainingBatches
from jax_tda.training.run import PretrainConfig
from jax_tda.training.step import TrainState, continued_state, initial_state

# Padded tokens of queries that are looked at together; no number depends on it.
_TOKENS_AT_ONCE = 4096
# Of an accelerator's memory that parameters, moments and gradients of all members may take by default.
_BYTES_AT_ONCE, _MOST_AT_ONCE = 2**32, 16
_MEMBERS = PartitionSpec((meshes.DATA, meshes.MODEL))


@dataclasses.dataclass(frozen=True)
class Measured:
    """What members say of every query.

    Args:
      log_probabilities: float32 [members, queries], Σ_t log p of the target's tokens given the prompt.
      exact: bool [members, queries], whether greedy decoding gives the target.
    """

    log_probabilities: np.ndarray
    exact: np.ndarray


class Trainer:
    """Trains members of one recipe, as many at once as devices × `at_once`.

    Args:
      model: the decoder.
      config: the recipe; its seed is each member's own.
      corpus: what it trains on.
      document_of_row: int64, by corpus row the number of its document.
      initial: gives the parameters that every member starts from; None draws them by the member's seed.
      at_once: members that each device trains in one program; 0 for the default: 1 on a CPU, elsewhere as many as fit
        into 4 GiB, at most 16.
      mesh: the devices; all of this process when None.
    """

    def __init__(
        self,
        model: Decoder,
        config: PretrainConfig,
        corpus: Corpus,
        document_of_row: np.ndarray,
        initial: Callable[[], Any] | None = None,
        at_once: int = 0,
        mesh: Mesh | None = None,
    ):
        self._model, self._config, self._corpus, self._documents = model, config, corpus, document_of_row
        self._mesh = mesh or meshes.make_mesh(devices=jax.local_devices())
        self._optimizer = optimizers.make(config.optimizer, config.steps)
        self._initial = initial
        self.shapes: TrainState = jax.eval_shape(functools.partial(initial_state, model, self._optimizer, 0))
        self.at_once = at_once or self._fitting()
        self._batches: tuple[int, TrainingBatches] | None = None

    def _fitting(self) -> int:
        if self._mesh.devices.flat[0].platform == "cpu":
            return 1
        size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(self.shapes))
        return max(1, min(_MOST_AT_ONCE, _BYTES_AT_ONCE // (2 * size)))

    @property
    def steps(self) -> int:
        """How many steps every member takes."""
        return self._config.steps

    @property
    def together(self) -> int:
        """How many members are trained at once, over all devices."""
        return self._mesh.size * self.at_once

    def batches(self, seed: int) -> TrainingBatches:
        """The batches of members of a seed."""
        if self._batches is None or self._batches[0] != seed:
            config = self._config
            self._batches = seed, TrainingBatches(self._corpus, config.buckets, config.tokens_per_batch, seed)
        return self._batches[1]

    def _over_members(self, function: Callable[..., Any], has_members: Sequence[bool], donated: Any = ()) -> Any:
        """A function of one member, for all members at once, each device working on its own ones.

        Args:
          function: of one member's arguments.
          has_members: for each argument whether every member has its own, or all the same.
          donated: the arguments that are used up.
        """
        each = tuple(0 if has else None for has in has_members)

        def alone(*given: Any) -> Any:
            # A batch of one is no batch: plain products are faster than batched ones.
            pairs = zip(given, each, strict=True)
            first = (v if axis is None else jax.tree.map(lambda leaf: leaf[0], v) for v, axis in pairs)
            return jax.tree.map(lambda leaf: leaf[None], function(*first))

        mapped = jax.shard_map(
            alone if self.at_once == 1 else jax.vmap(function, in_axes=each),
            mesh=self._mesh,
            in_specs=tuple(_MEMBERS if has else PartitionSpec() for has in has_members),
            out_specs=_MEMBERS,
            check_vma=False,
        )
        return jax.jit(mapped, donate_argnums=donated)

    @functools.cached_property
    def _advance(self) -> Any:
        """(states, batch, example weights [members, B]) → (states, losses [members]); the states given are used up."""

        def step(state: TrainState, batch: Examples, weights: jax.Array) -> Any:
            return weighted_step(self._model, self._optimizer, state, batch, weights)

        return self._over_members(step, (True, False, True), 0)

    @functools.cached_property
    def _look(self) -> Any:
        """(parameters, queries) → (log-probabilities, whether answered exactly), each [members, queries]."""

        def look(params: Any, queries: Any) -> Any:
            logits: Any = self._model.apply({"params": params}, queries["tokens"])
            asked = logits, queries["tokens"], queries["loss_weights"]
            return likelihood.target_log_probability(*asked), likelihood.answered_exactly(*asked)

        return self._over_members(look, (True, False))

    def begin(self, seed: int) -> TrainState:
        """The states of all members that are trained together, before their first step."""
        where = NamedSharding(self._mesh, _MEMBERS)
        if self._initial is None:
            one = jax.jit(functools.partial(initial_state, self._model, self._optimizer, seed))()
        else:
            one = jax.jit(functools.partial(continued_state, self._optimizer))(self._initial())

        def spread(leaf: jax.Array) -> jax.Array:
            held = np.asarray(leaf)
            return jax.device_put(np.broadcast_to(held, (self.together, *held.shape)), where)

        return jax.tree.map(spread, one)

    def example_weights(self, left_out: Sequence[np.ndarray], documents: int) -> np.ndarray:
        """float32 [members, documents]: 0 where a member is trained without a document, else 1.

        Places beyond the members repeat the last of them, so that one program serves any number.
        """
        weights = np.ones((self.together, documents), np.float32)
        for row in range(self.together):
            weights[row, left_out[min(row, len(left_out) - 1)]] = 0
        return weights

    def train(
        self, seed: int, left_out: Sequence[np.ndarray], documents: int, steps: int, advanced: Callable[[], None]
    ) -> TrainState:
        """The states after the given steps from the beginning.

        Args:
          seed: of all these members.
          left_out: of each member the documents that it is trained without; at most `together` members.
          documents: of the corpus.
          steps: how many.
          advanced: called after each step was given to the devices; may raise to leave.
        """
        state, weights, batches = self.begin(seed), self.example_weights(left_out, documents), self.batches(seed)
        ahead = Ahead()
        try:
            for step in range(steps):
                of_rows = weights[:, self._documents[batches.rows(step)]]
                state, losses = self._advance(state, dict(batches.batch(step)), of_rows)
                ahead.add(losses)
                advanced()
        finally:
            ahead.wait()
        return state

    def measure(self, params: Any, queries: Corpus) -> Measured:
        """What these members, their parameters stacked, say of every query."""
        log_p = np.zeros((self.together, queries.count), np.float32)
        exact = np.zeros((self.together, queries.count), bool)
        lengths = queries.spans[:, 0]
        for rows, length, size in sweep(np.arange(queries.count), lengths, bucket_lengths(lengths, 2), _TOKENS_AT_ONCE):
            likely, right = self._look(params, queries.examples(rows, length, size))
            log_p[:, rows], exact[:, rows] = np.asarray(likely)[:, : len(rows)], np.asarray(right)[:, : len(rows)]
        return Measured(log_p, exact)


def first_of(tree: Any, count: int) -> Any:
    """The first members of stacked arrays, on the host."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[:count], tree)


def parameters_of(shapes: TrainState) -> int:
    """How many parameters a member has."""
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes.params))
