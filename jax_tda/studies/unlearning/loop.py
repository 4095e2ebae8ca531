"""Unlearning by ascent with retraining, on a model: the decisions of `decisions`, executed and logged.

Ascent raises the mean loss per token of a batch of the forget set, descent lowers that of a chunk of other text; both
take steps of Adam of one constant rate. Source: GRACE (arXiv 2402.11537). Ours: ascent and descent keep moments of
their own, so that neither carries on the other's direction; losses are taken on fixed samples of the sets.
"""

import dataclasses
import functools
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jax_tda.core import seeds
from jax_tda.core.bounds import Bound
from jax_tda.core.declared import declared
from jax_tda.core.errors import InputError
from jax_tda.core.progress import Progress
from jax_tda.core.quantities import Decay, Documents, ExamplesAtOnce, NotNegative, Positive, Steps
from jax_tda.models.batch_gradient import mean_loss
from jax_tda.models.interface import LanguageModel
from jax_tda.studies.unlearning import decisions
from jax_tda.studies.unlearning.randomise import Rule
from jax_tda.training.step import TrainState, train_step

Log = list[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
@declared("unlearning")
class UnlearningConfig:
    """How a text is unlearned.

    Attributes:
      epochs: passes over the forget set at most.
      batch: passages of one step of ascent for each source that is unlearned, and of one step of descent.
      chunk: passages of a round of retraining, each used once.
      evaluate_every: steps of ascent between two evaluations.
      evaluated: passages of the forget set whose loss is taken.
      validation: passages of other text whose loss says whether the model is to be retrained.
      tolerance: how far the validation loss may lie above the original model's, as a share of it. 0 is the paper's
        strict comparison.
      randomisation: `words` or `tokens`, the rule of the randomised text whose loss ends the run.
      rate: of Adam, both ways.
      b1: the decay of Adam's first moments.
      b2: the decay of its second moments.
    """

    epochs: Annotated[int, Bound(1, 10**6, unit="epochs")] = 5
    batch: ExamplesAtOnce = 40
    chunk: ExamplesAtOnce = 160
    evaluate_every: Steps = 10
    evaluated: Documents = 80
    validation: Documents = 160
    tolerance: NotNegative = 0.02
    randomisation: Rule = "words"
    rate: Positive = 2e-4
    b1: Decay = 0.9
    b2: Decay = 0.98


@dataclasses.dataclass(frozen=True)
class Texts:
    """Passages as arrays: tokens int32 [N, T], loss weights float32 [N, T]."""

    tokens: np.ndarray
    loss_weights: np.ndarray

    def __len__(self) -> int:
        return len(self.tokens)

    def rows(self, chosen: Any) -> "Texts":
        """The chosen passages."""
        return Texts(self.tokens[chosen], self.loss_weights[chosen])

    def keys(self) -> list[bytes]:
        """What two passages share that differ in padding alone: their tokens through the last one that counts."""
        ends = [int(np.flatnonzero(row).max(initial=-1)) + 1 for row in self.loss_weights]
        return [row[:end].astype(np.int32).tobytes() for row, end in zip(self.tokens, ends, strict=True)]


def batches(texts: Texts, size: int) -> list[dict[str, np.ndarray]]:
    """All passages in order, in batches of `size`; the last is filled up with passages of weight 0."""
    found = []
    for start in range(0, len(texts), size):
        part = texts.rows(slice(start, start + size))
        spare = ((0, size - len(part)), (0, 0))
        found.append({"tokens": np.pad(part.tokens, spare), "loss_weights": np.pad(part.loss_weights, spare)})
    return found


@dataclasses.dataclass(frozen=True)
class Sets:
    """What one run of unlearning reads.

    Attributes:
      forget: what is unlearned.
      randomised: randomised copies of passages of the forget set.
      pool: other text for retraining.
      validation: other text, whose loss is watched.
      sources: how many sources the forget set is made of; a batch of ascent has `batch` passages for each.
    """

    forget: Texts
    randomised: Texts
    pool: Texts
    validation: Texts
    sources: int = 1


def check(sets: Sets, config: UnlearningConfig) -> None:
    """Refuses sets with which a run would be empty, would judge itself by what it trains on, or could run out of text.

    Raises:
      InputError: a set whose loss is taken is empty or weighs nothing, two sets share a passage, or the pool is too
        small for a run in which every step asks for a chunk.
    """
    for name in ("forget", "validation", "randomised"):
        texts = getattr(sets, name)
        # No loss is taken of a first token.
        if not texts.loss_weights[:, 1:].any():
            raise InputError(
                f"the {name} set {'weighs nothing' if len(texts) else 'is empty'}",
                got=f"{len(texts)} passages, and a loss weight of 0 at every token",
                expected="at least one passage with a loss weight above 0 behind its first token",
                remedy="name a source that has documents, and more documents where a sample of them is taken",
            )
    # Passages of no weight have no key: nothing is learned from them.
    seen = {name: set(getattr(sets, name).keys()) - {b""} for name in ("forget", "pool", "validation")}
    for first, second in (("forget", "validation"), ("forget", "pool"), ("pool", "validation")):
        if shared := len(seen[first] & seen[second]):
            raise InputError(
                f"the {first} set and the {second} set overlap",
                got=f"{shared} passages in both",
                expected="no passage in both: what is unlearned, retrained and watched are different texts",
                remedy="take the passages of one out of the other",
            )
    needed = config.epochs * _steps(sets, config) * config.chunk
    if len(sets.pool) < needed:
        raise InputError(
            "the pool of text for retraining is too small",
            got=f"{len(sets.pool):,} passages",
            expected=f"at least {needed:,}: {config.epochs} epochs × {_steps(sets, config)} steps × "
            f"{config.chunk} passages, each used once",
            remedy="raise study_unlearning.pool_documents, or lower unlearning.chunk or unlearning.epochs",
        )


def _steps(sets: Sets, config: UnlearningConfig) -> int:
    return -(-len(sets.forget) // (config.batch * sets.sources))


def descent(config: UnlearningConfig) -> optax.GradientTransformation:
    """The optimizer of retraining: Adam, its rate constant."""
    return optax.adam(config.rate, config.b1, config.b2)


def ascent(config: UnlearningConfig) -> optax.GradientTransformation:
    """The optimizer of unlearning: the same on the gradient turned round."""
    return optax.chain(optax.scale(-1.0), descent(config))


class Unlearner:
    """A model with its compiled steps, for as many runs as are asked for.

    Args:
      model: the language model.
      config: how text is unlearned.
    """

    def __init__(self, model: LanguageModel, config: UnlearningConfig):
        self._config = config
        self._ascent, self._descent = ascent(config), descent(config)
        self._ascend = jax.jit(functools.partial(train_step, model, self._ascent))
        self._descend = jax.jit(functools.partial(train_step, model, self._descent))
        self._mean_loss = jax.jit(
            lambda params, batch: mean_loss(model, params, batch["tokens"], batch["loss_weights"])
        )

    def loss(self, params: Any, texts: Texts) -> float:
        """The mean loss per token of some text."""
        total = count = 0.0
        for batch in batches(texts, self._config.batch):
            weight = float(batch["loss_weights"][:, 1:].sum())
            total += weight * float(self._mean_loss(params, batch))
            count += weight
        return total / count

    def unlearn(self, params: Any, sets: Sets, seed: int, label: str = "unlearn") -> tuple[Any, Log]:
        """Unlearns the forget set.

        Args:
          params: the original model's parameters; they stay as they are.
          sets: what is read.
          seed: of the order of the forget set and of the pool.
          label: of the progress line.

        Returns:
          The parameters, and the log: first a line `start` with thresholds and the losses behind them, then a line for
          each decision with the losses that it saw.

        Raises:
          InputError: see `check`.
        """
        config = self._config
        check(sets, config)
        watched = seeds.generator(seed, "unlearning", "watched").permutation(len(sets.forget))
        watched_texts = sets.forget.rows(watched[: config.evaluated])

        def evaluate(now: Any) -> decisions.Losses:
            found = decisions.Losses(self.loss(now, watched_texts), self.loss(now, sets.validation))
            if not np.isfinite(found).all():
                raise InputError(
                    f"{label}: the model broke under ascent",
                    got=f"forget loss {found.forget}, validation loss {found.validation}",
                    expected="finite losses",
                    remedy="lower unlearning.rate",
                )
            return found

        before, random = evaluate(params), self.loss(params, sets.randomised)
        schedule = decisions.Schedule(
            config.epochs,
            _steps(sets, config),
            config.evaluate_every,
            random,
            before.validation * (1 + config.tolerance),
        )
        log: Log = [{"kind": "start", "losses": before._asdict(), "randomised": random} | dataclasses.asdict(schedule)]
        return self._executed(params, sets, schedule, evaluate, seed, label, log), log

    def _executed(
        self, params: Any, sets: Sets, schedule: decisions.Schedule, evaluate: Any, seed: int, label: str, log: Log
    ) -> Any:
        config = self._config
        generator = seeds.generator(seed, "unlearning", "order")
        pool = sets.pool.rows(generator.permutation(len(sets.pool)))
        up = TrainState(jnp.zeros((), jnp.int32), params, self._ascent.init(params))
        down = self._descent.init(params)
        epoch: list[dict[str, np.ndarray]] = []
        progress = Progress(label, schedule.most_chunks, "steps")
        running = decisions.decisions(schedule)
        action = next(running)
        while True:
            line: dict[str, Any] = {"kind": action.kind, "number": action.number}
            seen = None
            if action.kind == decisions.ASCEND:
                if action.number % schedule.batches == 0:
                    order = generator.permutation(len(sets.forget))
                    epoch = batches(sets.forget.rows(order), config.batch * sets.sources)
                up, scalars = self._ascend(up, epoch[action.number % schedule.batches])
                line["loss"] = float(scalars["loss"])
                progress.advance()
            elif action.kind == decisions.RETRAIN:
                chunk = pool.rows(slice(action.number * config.chunk, (action.number + 1) * config.chunk))
                state, losses = TrainState(up.step, up.params, down), []
                for batch in batches(chunk, config.batch):
                    state, scalars = self._descend(state, batch)
                    losses.append(float(scalars["loss"]))
                up, down = up._replace(params=state.params), state.opt_state
                line["loss"] = float(np.mean(losses))
            elif action.kind == decisions.EVALUATE:
                seen = evaluate(up.params)
                line |= seen._asdict()
            else:
                log.append(line | {"why": action.why})
                return up.params
            log.append(line)
            action = running.send(seen)
