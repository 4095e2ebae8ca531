"""The decisions of an unlearning run follow from the losses alone."""

import numpy as np
import pytest

from jax_tda.studies.unlearning.decisions import Action, Losses, Schedule, replayed


def transcribed(schedule: Schedule, losses: list[Losses]) -> list[tuple[str, int, str]]:
    """The loop as its source writes it down, word for word, with flags and loops and nothing else."""
    told, seen, chunk, step, retrain = [], iter(losses), 0, 0, True
    for _ in range(schedule.epochs):
        for _ in range(schedule.batches):
            told.append(("ascend", step, ""))
            step += 1
            now = None
            if retrain:
                told.append(("retrain", chunk, ""))
                chunk += 1
                retrain = False
                told.append(("evaluate", step, ""))
                now = next(seen)
                if now.validation > schedule.validation_above:
                    retrain = True
            if step % schedule.evaluate_every == 0:
                if now is None:
                    told.append(("evaluate", step, ""))
                    now = next(seen)
                if now.validation > schedule.validation_above:
                    retrain = True
                if now.forget > schedule.forget_above:
                    return [*told, ("stop", step, "forgotten")]
    return [*told, ("stop", step, "epochs")]


@pytest.mark.parametrize("seed", range(8))
def test_decisions_are_those_of_the_loop_as_it_is_written_down(seed):
    """Law: on any losses the generator and a plain transcription of the loop decide the same."""
    generator = np.random.default_rng(seed)
    schedule = Schedule(3, 4, int(generator.integers(1, 6)), 1.6, 0.8)
    losses = [Losses(float(f), float(v)) for f, v in generator.uniform(0, 1 + 0.1 * seed, (40, 2))]
    found = replayed(schedule, losses)
    assert [tuple(action) for action in found] == transcribed(schedule, losses)
    assert found[-1].kind == "stop"


def test_a_run_retrains_first_and_stops_at_the_first_look_that_finds_the_text_forgotten():
    """Law, by hand: thresholds are strict, and the forget loss counts only at every second step."""
    schedule = Schedule(1, 5, 2, forget_above=3.0, validation_above=1.0)
    losses = [Losses(9.0, 1.0), Losses(3.0, 1.1), Losses(9.0, 1.0), Losses(3.1, 0.9)]
    kinds = "ascend retrain evaluate ascend evaluate ascend retrain evaluate ascend evaluate stop".split()
    found = replayed(schedule, losses)
    assert [action.kind for action in found] == kinds
    assert found[-1] == Action("stop", 4, "forgotten")


def test_no_run_asks_for_more_chunks_than_it_has_steps():
    """Law: with a validation loss that is always too high, every step is followed by a chunk, each another."""
    schedule = Schedule(2, 3, 10, 9.0, 0.0)
    chunks = [a.number for a in replayed(schedule, [Losses(0.0, 1.0)] * 20) if a.kind == "retrain"]
    assert chunks == list(range(schedule.most_chunks))
