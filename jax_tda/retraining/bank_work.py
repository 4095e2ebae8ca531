"""The members of a bank, trained group by group: each written when it is there, so that a run goes on from there."""

import time
from collections.abc import Callable, Sequence

import numpy as np

from jax_tda.artifacts.artifact import Writer
from jax_tda.core import processes, trees
from jax_tda.core.errors import InputError
from jax_tda.core.progress import Progress
from jax_tda.data.corpus import Corpus
from jax_tda.retraining.bank_reader import EXACT, LOG_PROBABILITIES, MODELS
from jax_tda.retraining.bank_training import Trainer, first_of
from jax_tda.retraining.subsets import Member


class Work:
    """The groups of a bank, divided over processes; each process trains one after another on its own devices.

    Args:
      writer: the bank.
      trainer: trains members together.
      members: all of them.
      queries: what every member is asked.
      documents: how many there are.
      keep_models: whether parameters are written too.
    """

    def __init__(
        self,
        writer: Writer,
        trainer: Trainer,
        members: Sequence[Member],
        queries: Corpus,
        documents: int,
        keep_models: bool,
    ):
        self._writer, self._trainer = writer, trainer
        self._members, self._queries, self._documents = members, queries, documents
        shape = len(members), queries.count
        self._log_p = writer.array(LOG_PROBABILITIES, shape, "float32", 1)
        self._exact = writer.array(EXACT, shape, "int8", 1)
        self._models = {}
        if keep_models:
            leaves = trees.flatten(trainer.shapes.params)
            self._models = {
                path: writer.array(f"{MODELS}/{path}", (len(members), *leaf.shape), "float32", 1)
                for path, leaf in leaves.items()
            }

    def _groups(self) -> list[list[int]]:
        """Members that are trained together share a seed, hence the order of batches."""
        groups: list[list[int]] = []
        for number, member in enumerate(self._members):
            same = groups and self._members[groups[-1][0]].seed == member.seed
            if same and len(groups[-1]) < self._trainer.together:
                groups[-1].append(number)
            else:
                groups.append([number])
        return groups

    def through(self, sheet: str) -> None:
        """Trains and writes every member that is not finished.

        Raises:
          Stopped: the run was asked to stop; whole groups are kept.
        """
        finished = processes.agree(lambda: sorted(self._writer.finished_units()))
        done = set(finished)
        groups = [group for group in self._groups() if any(_unit(number) not in done for number in group)]
        steps = self._trainer.steps
        if processes.index() == 0:
            print(sheet, flush=True)
            if groups:
                print(f"  {self._hours(groups)}; {len(done):,} members are finished already", flush=True)
        progress = Progress("bank", len(self._members) * steps, "steps of members", len(done) * steps)
        several = processes.count()
        with processes.stoppable() as stop:
            for turn in range(0, len(groups), several):
                wave = groups[turn : turn + several]
                mine = wave[processes.index()] if processes.index() < len(wave) else None
                together = sum(map(len, wave))

                def advanced(together: int = together) -> None:
                    progress.advance(together)
                    if stop.asked():
                        stop.now()

                if mine is None:
                    # All ask equally often whether to stop, also those for whom there is no group left.
                    for _ in range(steps):
                        advanced()
                else:
                    self._train(mine, advanced)
        processes.barrier("members")

    def _hours(self, groups: Sequence[Sequence[int]]) -> str:
        """How long the groups will take, from some steps of the first."""
        trainer, steps = self._trainer, self._trainer.steps
        tried, times = min(steps, 16), list[float]()
        seed = self._members[groups[0][0]].seed
        trainer.train(
            seed,
            [self._members[groups[0][0]].left_out],
            self._documents,
            tried,
            lambda: times.append(time.monotonic()),
        )
        # The first steps compile a program for each length, and are given to the devices without waiting for any.
        gaps = np.diff(times)[tried // 2 :]
        step = float(np.median(gaps)) if len(gaps) else 0.0
        turns = -(-len(groups) // processes.count())
        hours, together = step * steps * turns / 3600, trainer.together
        return f"about {hours:.2f} hours, {step * 1000:.1f} ms a step of {together} members"

    def _train(self, group: Sequence[int], advanced: Callable[[], None]) -> None:
        members, documents = [self._members[number] for number in group], self._documents
        left_out = [member.left_out for member in members]
        state = self._trainer.train(members[0].seed, left_out, documents, self._trainer.steps, advanced)
        found = self._trainer.measure(state.params, self._queries)
        models = trees.flatten(first_of(state.params, len(group))) if self._models else {}
        for place, number in enumerate(group):
            if not np.isfinite(found.log_probabilities[place]).all():
                raise InputError(
                    f"member {number} of the bank ({members[place].kind}) diverged",
                    got="log-probabilities that are no numbers",
                    expected="finite numbers, as of the full run",
                    remedy="lower optimizer.peak_rate, lengthen warmup_steps or lower clip_norm",
                )
            self._log_p.write_shard(number, found.log_probabilities[place][None])
            self._exact.write_shard(number, found.exact[place][None].astype(np.int8))
            for path, array in self._models.items():
                array.write_shard(number, np.asarray(models[path][place][None], np.float32))
            self._writer.finish_unit(_unit(number), {})


def _unit(number: int) -> str:
    return f"member_{number:06d}"
