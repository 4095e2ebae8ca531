"""The decisions of an unlearning run, apart from any model: what is done next, given the losses seen so far.

The loop on a model and the replay of its log are driven by the same pure generator; only the origin of losses differs.

    retrain = True
    for every epoch, for every batch of the forget set:
        ascend on the batch
        if retrain: descend over the next chunk; evaluate; retrain = validation loss > its threshold
        every few steps: evaluate; retrain = True if validation loss > its threshold;
                         stop if forget loss > its threshold

Source: GRACE (arXiv 2402.11537), as its code has it. A state that was just evaluated is not evaluated twice.
"""

import dataclasses
from collections.abc import Generator, Iterable, Sequence
from typing import Any, NamedTuple

ASCEND, RETRAIN, EVALUATE, STOP = "ascend", "retrain", "evaluate", "stop"
FORGOTTEN, EPOCHS = "forgotten", "epochs"


class Losses(NamedTuple):
    """Mean losses per token of the forget set and of the validation set."""

    forget: float
    validation: float


@dataclasses.dataclass(frozen=True)
class Schedule:
    """What decisions depend on besides losses.

    Attributes:
      epochs: passes over the forget set at most.
      batches: batches of the forget set.
      evaluate_every: steps of ascent between two evaluations.
      forget_above: the forget loss beyond which the text is unlearned.
      validation_above: the validation loss beyond which the model is retrained.
    """

    epochs: int
    batches: int
    evaluate_every: int
    forget_above: float
    validation_above: float

    @property
    def most_chunks(self) -> int:
        """The chunks that are used if every step asks for one."""
        return self.epochs * self.batches


class Action(NamedTuple):
    """`ascend` on batch `number` of all epochs counted through, `retrain` on chunk `number`, `evaluate`, or `stop`.

    `why` says what ended the run.
    """

    kind: str
    number: int
    why: str = ""


def decisions(schedule: Schedule) -> Generator[Action, Losses | None, None]:
    """Yields what is to be done; after `evaluate` it must be sent the losses, otherwise None."""
    retrain, chunks, step = True, 0, 0
    for _ in range(schedule.epochs * schedule.batches):
        yield Action(ASCEND, step)
        step += 1
        seen: Losses | None = None
        if retrain:
            yield Action(RETRAIN, chunks)
            chunks += 1
            seen = yield Action(EVALUATE, step)
            assert seen is not None
            retrain = seen.validation > schedule.validation_above
        if step % schedule.evaluate_every == 0:
            if seen is None:
                seen = yield Action(EVALUATE, step)
                assert seen is not None
            retrain = retrain or seen.validation > schedule.validation_above
            if seen.forget > schedule.forget_above:
                yield Action(STOP, step, FORGOTTEN)
                return
    yield Action(STOP, step, EPOCHS)


def replayed(schedule: Schedule, losses: Iterable[Losses]) -> list[Action]:
    """Every decision that these losses lead to, in order: what a log must say."""
    given = iter(losses)
    running = decisions(schedule)
    found, action = [], next(running)
    while True:
        found.append(action)
        try:
            action = running.send(next(given)) if action.kind == EVALUATE else next(running)
        except StopIteration:
            return found


def from_log(log: Sequence[dict[str, Any]]) -> tuple[list[Action], list[Losses]]:
    """The decisions that a log tells of, and the losses that it tells of them."""
    actions = [Action(line["kind"], line["number"], line.get("why", "")) for line in log]
    losses = [Losses(line["forget"], line["validation"]) for line in log if line["kind"] == EVALUATE]
    return actions, losses
