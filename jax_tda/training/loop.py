"""From a pure source of batches to a trained state: compiled once per batch length, sharded over examples, resumable.

A run that is killed and started again goes on from its latest complete checkpoint and ends at the same bits.
"""

import contextlib
import dataclasses
import functools
import json
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jax_tda.artifacts.arrays import write_atomically
from jax_tda.core import files, placement, processes
from jax_tda.core import mesh as meshes
from jax_tda.core.ahead import Ahead
from jax_tda.core.config import settings
from jax_tda.core.declared import declared
from jax_tda.core.errors import InputError
from jax_tda.core.progress import Progress
from jax_tda.core.quantities import Seed, Steps, StepsOrNone
from jax_tda.models import checkpoints
from jax_tda.models.interface import Examples, LanguageModel, Params
from jax_tda.training import optimizers
from jax_tda.training.divided import Divided
from jax_tda.training.scalars import Scalars
from jax_tda.training.step import TrainState, continued_state, initial_state

Batches = Callable[[int], Examples]
Evaluate = Callable[[int, Params], Mapping[str, float]]
Log = Callable[[int, Mapping[str, float]], None]


@dataclasses.dataclass(frozen=True)
@declared("training")
class TrainingConfig:
    """How long to train and how often to look.

    Attributes:
      steps: the number of updates.
      seed: the root of all randomness.
      log_every: steps between two looks at the losses; printing waits for the devices.
      evaluate_every: steps between two evaluations; 0 means never.
      save_every: steps between two checkpoints that a killed run can go on from; 0 means none.
    """

    steps: Steps = 1000
    seed: Seed = 0
    log_every: Steps = 20
    evaluate_every: StepsOrNone = 0
    save_every: StepsOrNone = 500


def train(
    model: LanguageModel,
    optimizer: optimizers.OptimizerConfig,
    config: TrainingConfig,
    batches: Batches,
    *,
    mesh: Mesh | None = None,
    weights: str = "",
    initial: Callable[[], Params] | None = None,
    progress_directory: str = "",
    scalars_directory: str = "",
    evaluate: Evaluate | None = None,
    log: Log | None = None,
) -> TrainState:
    """Trains from scratch or from given parameters, or goes on from what an interrupted run of the same settings left.

    Args:
      model: the language model.
      optimizer: how gradients become updates.
      config: how long to train.
      batches: step -> the batch of that step, a pure function; few different lengths, since each is compiled once.
      mesh: the devices; all, with examples divided over them, when None.
      weights: `sharded`, `replicated` or empty, as of `MeshConfig`.
      initial: gives the parameters to start from, which are then the trained state's own; None draws them.
      progress_directory: where checkpoints to resume from go; empty means none are written or looked for.
      scalars_directory: where TensorBoard events go; empty means none.
      evaluate: (finished steps, parameters) -> named numbers, logged under "evaluation/".
      log: called with (finished steps, named numbers) whenever the losses were looked at, then with the last step's own
        as `last_loss`, and after each evaluation.

    Returns:
      The state after the last step, on the mesh: replicated, or divided as `models/layout.py` says.

    Raises:
      InputError: if a loss is not finite, naming the step, or the progress directory belongs to other settings.
      Stopped: the run was asked to stop, and its state was saved.
    """
    mesh = mesh or meshes.make_mesh()
    transformation = optimizers.make(optimizer, config.steps)
    divided = Divided(model, transformation, mesh, weights)
    begin = jax.jit(functools.partial(initial_state, model, transformation, config.seed), out_shardings=divided.state)
    first_state = begin if initial is None else functools.partial(_continued, initial, transformation, divided.state)
    state = _resumed(progress_directory, _described(model, optimizer, config), first_state, divided.placed)
    advance = divided.step()

    first = int(state.step)
    progress = Progress("train", config.steps, "steps", done=first)
    # Without a place for checkpoints there is nothing to go on from.
    stoppable = processes.stoppable() if progress_directory else contextlib.nullcontext(processes.Stop())
    with Scalars(scalars_directory if processes.index() == 0 else "", first) as curves, stoppable as stop:
        window, ahead = _Window(first), Ahead()
        for step in range(first, config.steps):
            batch = batches(step)
            state, scalars = advance(state, meshes.shard_batch(mesh, batch))
            ahead.add(scalars)
            window.add(scalars, int(np.count_nonzero(np.asarray(batch["loss_weights"])[..., 1:])))
            done = step + 1
            saving = bool(progress_directory) and _due(done, config.save_every) and done < config.steps
            if _due(done, config.log_every) or saving or done == config.steps:
                seen = {**window.close(), "rate": float(optimizers.rate(optimizer, step, config.steps))}
                progress.advance(done - window.first, f"loss {seen['loss']:.4f}")
                curves.write(done, seen, "training")
                if log:
                    log(done, seen | {"last_loss": window.last})
                window = _Window(done)
            if evaluate and (_due(done, config.evaluate_every) or (config.evaluate_every and done == config.steps)):
                judged = dict(evaluate(done, state.params))
                curves.write(done, judged, "evaluation")
                if log:
                    log(done, judged)
            stopping = stop.asked() and done < config.steps
            if saving or stopping:
                checkpoints.save_step(progress_directory, done, state._asdict())
            if stopping:
                ahead.wait()
                stop.now()
    return state


def _due(done: int, every: int) -> bool:
    return every > 0 and done % every == 0


class _Window:
    """The steps since the losses were last looked at; holds them on the devices until then."""

    def __init__(self, first: int):
        self.first, self.last = first, math.nan
        self._scalars: list[dict[str, jax.Array]] = []
        self._tokens = 0
        self._start = time.monotonic()

    def add(self, scalars: dict[str, jax.Array], tokens: int) -> None:
        self._scalars.append(scalars)
        self._tokens += tokens

    def close(self) -> dict[str, float]:
        """Waits for the devices; refuses a loss that is no number; gives the means and the speed of these steps."""
        values = [{name: float(value) for name, value in one.items()} for one in jax.device_get(self._scalars)]
        for offset, one in enumerate(values):
            if not all(math.isfinite(value) for value in one.values()):
                raise InputError(
                    f"Training diverged at step {self.first + offset}.",
                    got=", ".join(f"{name} {value}" for name, value in one.items()),
                    expected="finite numbers",
                    remedy="lower peak_rate, lengthen warmup_steps or lower clip_norm; a batch without any loss weight "
                    "also gives no number",
                )
        self.last = values[-1]["loss"]
        means = {name: sum(one[name] for one in values) / len(values) for name in values[0]}
        return {**means, "tokens_per_second": self._tokens / max(time.monotonic() - self._start, 1e-9)}


def _described(model: LanguageModel, optimizer: optimizers.OptimizerConfig, config: TrainingConfig) -> Any:
    shape = getattr(model, "config", None)
    described = {
        "model": settings(shape) if dataclasses.is_dataclass(shape) else type(model).__name__,
        "optimizer": settings(optimizer),
        # How often one looks or saves changes no number.
        "training": {"steps": config.steps, "seed": config.seed},
    }
    return json.loads(json.dumps(described))


def _continued(initial: Callable[[], Params], optimizer: Any, where: TrainState) -> TrainState:
    """Read only where no interrupted run is gone on from."""
    begin = jax.jit(functools.partial(continued_state, optimizer), out_shardings=where, donate_argnums=0)
    state: TrainState = begin(jax.tree.map(placement.place, initial(), where.params))
    return state


def _resumed(
    directory: str, described: Mapping[str, Any], begin: Callable[[], TrainState], like: TrainState
) -> TrainState:
    """The state of the latest complete checkpoint below `directory`, or a fresh one.

    The settings of the run lie beside the checkpoints, so that no run goes on from another's.
    """
    if not directory:
        return begin()
    found = processes.agree(lambda: _claimed(directory, described))
    if found is None:
        return begin()
    return TrainState(**checkpoints.restore(found[1], like._asdict()))


def _claimed(directory: str, described: Mapping[str, Any]) -> tuple[int, str] | None:
    """The latest complete checkpoint, after the settings beside it were compared, or written where there are none."""
    place = files.at(directory) / "settings.json"
    if files.exists(place) and (stored := json.loads(files.read(place))) != described:
        different = [name for name in described if stored.get(name) != described[name]]
        raise InputError(
            f"{directory} holds the progress of a run with other settings: {', '.join(different)}.",
            got="; ".join(str(described[name]) for name in different),
            expected="; ".join(str(stored.get(name)) for name in different),
            remedy="restore those settings, or delete the directory to start afresh",
        )
    found = checkpoints.latest_step(directory)
    if found is None:
        write_atomically(str(place), json.dumps(described, indent=1).encode())
    return found
