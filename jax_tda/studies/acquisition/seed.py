"""One seed of the study: its passages, its base model, and its runs with and without injection, unit by unit."""

import io
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from jax_tda.artifacts.artifact import Writer
from jax_tda.core import files, seeds
from jax_tda.data.vocabulary import Vocabulary
from jax_tda.models import checkpoints
from jax_tda.models.decoder import Decoder
from jax_tda.studies.acquisition.config import AcquisitionConfig
from jax_tda.studies.acquisition.influence import Influence, InfluenceConfig
from jax_tda.studies.acquisition.observe import Look, observe
from jax_tda.studies.acquisition.rows import Queries, Rows, heads, tokens_of
from jax_tda.studies.acquisition.sample import Sample, measured
from jax_tda.studies.acquisition.selection import Selection
from jax_tda.studies.acquisition.tracking import METHODS
from jax_tda.training.step import TrainState, initial_state


class Seed:
    """What all runs of a seed share.

    Args:
      config: of the study.
      number: the seed.
      selection: its passages.
      documents: token ids of the ordinary corpus, without the file's passages.
      vocabulary: of the tokens.
    """

    def __init__(
        self,
        config: AcquisitionConfig,
        number: int,
        selection: Selection,
        documents: Sequence[np.ndarray],
        vocabulary: Vocabulary,
    ):
        self.config, self.number, self.selection = config, number, selection
        self.schedule = np.array(selection.schedules)
        injected = int(np.sum(self.schedule != "placebo"))
        # A placebo takes the times of an injected passage, and meets nothing.
        places = [i % injected for i in range(len(self.schedule))]
        timeline = config.timeline
        self.met = [timeline.met(place, s) for place, s in zip(places, selection.schedules, strict=True)]
        self.steps = timeline.steps(injected)
        self.heads = heads(selection.passages, selection.schedules, self.met, vocabulary)
        self.queries = Queries(selection.passages, vocabulary, config.context)
        ordinary = [text for passage in selection.rest for text in (passage.text, *passage.paraphrases)]
        self.documents = [*documents, *(tokens_of(text, vocabulary) for text in ordinary)]
        self.rows = Rows(self.documents, config.context, number)

    def run_of(self, size: int, injected: bool) -> Callable[[int], Any]:
        """step → batch of a run that goes on where the base model stopped."""
        first = self.config.base_steps * self.config.rows[0]
        return lambda step: self.rows.batch(first + step * size, size, self.heads.get(step) if injected else None)

    def facts(self) -> dict[str, Any]:
        """What is known of it before anything is trained."""
        return {
            "seed": self.number,
            **self.selection.counts,
            "schedules": list(self.selection.schedules),
            "numbers": [passage.number for passage in self.selection.passages],
            "met": [list(steps) for steps in self.met],
            "steps": self.steps,
            "rows": self.rows.count,
            "tokens_left_out": self.rows.left_out,
            "queries": len(self.queries.kind),
        }


def train_seed(seed: Seed, model: Decoder, optimizer: Any, step: Callable[..., Any], writer: Writer) -> None:
    """Everything that a seed trains; units that are finished are not done again."""
    done = writer.finished_units()
    config, name = seed.config, f"seed{seed.number}"
    place = writer.scratch() / f"{name}-base"
    root = seeds.generator(seed.number, "acquisition", "model").integers(2**31)

    def fresh() -> TrainState:
        return initial_state(model, optimizer, int(root))

    if f"{name}-base" not in done:
        start = jax.jit(fresh)()
        label, size = f"seed {seed.number}: base model", config.rows[0]
        state, _, losses = observe(label, step, start, lambda now: seed.rows.batch(now * size, size), config.base_steps)
        checkpoints.save_again(str(place), state._asdict())
        writer.finish_unit(f"{name}-base", {"loss": float(losses[-10:].mean())})
    look = Look(model, seed.queries)
    for run, size, injected in config.runs():
        if f"{name}-{run}" in done:
            continue
        like = jax.eval_shape(fresh)
        state = TrainState(**checkpoints.restore(str(place), like._asdict()))
        visit, influence = _influence(seed, model) if run == config.runs()[0][0] else (None, None)
        looks = config.timeline.looks(seed.met, seed.steps)[:, seed.queries.passage]
        label, batch = f"seed {seed.number}: {run}", seed.run_of(size, injected)
        _, curves, losses = observe(label, step, state, batch, seed.steps, look, looks, visit)
        writer.write_bytes(f"curves/{name}-{run}.npy", _bytes(curves))
        if influence is not None:
            writer.write_bytes(f"influence/{name}.npy", _bytes(influence))
        writer.finish_unit(f"{name}-{run}", {"loss": float(losses[-10:].mean())})


def _influence(seed: Seed, model: Decoder) -> tuple[Callable[[int, TrainState], None], np.ndarray]:
    """What to call before each step, and the array [rounds, methods, Q, passages] that it fills."""
    config, rounds = seed.config, seed.config.timeline.rounds()
    found = np.full((len(rounds), len(METHODS), len(seed.queries.kind), len(seed.schedule)), np.nan)
    how = InfluenceConfig(config.projected_size, config.sample, config.query_weight, config.damping)
    scorer = Influence(model, config.optimizer, seed.queries, seed.documents, config.context, how, seed.number)

    def visit(now: int, state: TrainState) -> None:
        if now in rounds:
            turn = rounds.index(now)
            due = [
                place for place, steps in enumerate(seed.met) if seed.schedule[place] != "placebo" and len(steps) > turn
            ]
            texts = [seed.heads[seed.met[place][turn]] for place in due]
            found[turn, :, :, due] = np.moveaxis(scorer.scores(state, texts, config.injected), -1, 0)

    return visit, found


def sample_of(seed: Seed, curves: np.ndarray) -> Sample:
    """The measures of one run of a seed."""
    timeline = seed.config.timeline
    window, horizon = timeline.window, timeline.plain
    found = measured(curves, seed.met, seed.queries.passage, window, horizon, timeline.encounters)
    return Sample(seed.queries.passage, seed.queries.kind, seed.schedule, *found)


def read_array(writer: Writer, name: str) -> np.ndarray:
    """An array that a finished unit wrote."""
    found: np.ndarray = np.load(io.BytesIO(files.read(writer.path / name)), allow_pickle=False)
    return found


def _bytes(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()
