"""metagradient: d log p(target | prompt; θ_T) / d w_i for every document, through the whole training, as a ranking.

w_i multiplies the loss of document i's pieces in every batch that they are in; the score is in nats of the target per
unit of that weight, positive where training on the document made the target likelier (MAGIC, arXiv 2504.16430).
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_tda.artifacts import ranking
from jax_tda.artifacts.artifact import Reader, Writer, begin, open_artifact
from jax_tda.artifacts.shares import Shares
from jax_tda.core import processes
from jax_tda.core.bounds import Bound
from jax_tda.core.config import complete_part, input_path, machine, settings
from jax_tda.core.declared import declared, demand
from jax_tda.core.errors import InputError
from jax_tda.core.progress import Progress
from jax_tda.core.quantities import Fraction, Name, Path, QueriesAtOnce, Seed, TopK
from jax_tda.data import corpus as corpora
from jax_tda.models import checkpoint_artifact, likelihood
from jax_tda.models.decoder import Decoder
from jax_tda.models.own_model import demand_none
from jax_tda.retraining import smoothness
from jax_tda.retraining.replay import Replay
from jax_tda.retraining.subsets import Documents
from jax_tda.training import optimizers
from jax_tda.training.batches import TrainingBatches
from jax_tda.training.run import PretrainConfig
from jax_tda.training.step import continued_state, initial_state

_Directions = Annotated[int, Bound(0, 1000, unit="directions, two trainings each")]


@dataclasses.dataclass(frozen=True)
@declared("metagradient")
class MetagradientConfig:
    """Which training is gone back through, for which queries.

    Args:
      pretrain: the recipe: the model is trained as `pretrain` would train it, in the same order and from the same seed.
      queries: the tokenized queries.
      answers: which queries the model answers exactly, carried into the ranking.
      method: the ranking's name.
      top_k: how many documents of each end are kept; the number of all documents keeps every score.
      queries_at_once: queries that are gone back with together, each with a state's worth of cotangents.
      single_documents: directions of one document each along which smoothness is measured.
      random_signs: directions of random signs of all documents, likewise.
      weight_change: h, by how much weights are changed along them, up and down.
      tolerance: Σ |predicted − retrained| / Σ |retrained| up to which the recipe counts as smooth.
      seed: of the directions.
      segments: K of replay.py; 0 for about the root of the number of steps. It changes no number.
      memory: what may be used, in GiB; a run that needs more is refused before it starts.
    """

    pretrain: PretrainConfig = complete_part(PretrainConfig)
    queries: Path = input_path(required=True)
    answers: Path = input_path(required=True)
    method: Name = "metagradient"
    top_k: TopK = 100
    queries_at_once: QueriesAtOnce = 8
    single_documents: _Directions = 2
    random_signs: _Directions = 2
    weight_change: Annotated[float, Bound(above=0, at_most=1)] = 0.1
    tolerance: Fraction = 0.1
    seed: Seed = 0
    segments: Annotated[int, Bound(0, 10**9, meaning="0 for the root of the number of steps")] = machine(0)
    memory: Annotated[float, Bound(above=0, at_most=2**20, unit="GiB")] = machine(4.0)

    def __post_init__(self) -> None:
        whole = self.pretrain.mesh.model == 1 and self.pretrain.mesh.weights != "sharded"
        demand(self.pretrain, whole, "mesh", "mesh.model = 1 and whole weights, as every device holds whole states")


class _Asked:
    """All that the job is made of, opened and checked."""

    def __init__(self, config: MetagradientConfig):
        recipe, self.config = config.pretrain, config
        demand_none("metagradient", recipe.own_model)
        self.corpus, self.queries = corpora.open_corpus(recipe.corpus), corpora.open_corpus(config.queries)
        self.inputs = {"corpus": self.corpus.reader, "queries": self.queries.reader}
        ours, theirs = (made.manifest.facts["vocabulary"] for made in (self.queries.reader, self.corpus.reader))
        if ours != theirs:
            raise InputError(
                f"the queries {self.queries.reader} do not fit the corpus {self.corpus.reader}: vocabulary",
                got=ours[:12],
                expected=theirs[:12],
                remedy="tokenize both with one vocabulary",
            )
        self.exact = self._answered()
        decoder = dataclasses.replace(
            recipe.decoder, vocabulary_size=self.corpus.reader.manifest.facts["vocabulary_size"]
        )
        self._initial = None
        if recipe.initial:
            initial = checkpoint_artifact.open_checkpoint(recipe.initial)
            checkpoint_artifact.check_fits(initial.reader, self.corpus.reader)
            decoder, self.inputs["initial"], self._initial = initial.decoder.config, initial.reader, initial.params
        self.model, described = Decoder(decoder), dataclasses.replace(recipe, decoder=decoder)
        self.settings = settings(dataclasses.replace(config, pretrain=described))
        self._documents = Documents(self.corpus)
        self.names = self._documents.names
        self.at_once = min(config.queries_at_once, self.queries.count)
        self.blocks = -(-self.queries.count // self.at_once)
        self._held = self.queries.examples(np.arange(self.queries.count), self.queries.longest, self.queries.count)
        asked = self._held["loss_weights"][:, 1:].any(axis=1)
        if not asked.all():
            raise InputError(
                "a query asks for nothing",
                got=f"no token to predict in {self.queries.ids[int(np.argmin(asked))]!r}",
                expected="a target of at least one token after the first position",
                remedy="tokenize the queries with their targets",
            )

    def _answered(self) -> dict[str, bool]:
        self.inputs["answers"] = open_artifact(self.config.answers, "answers")
        lines = self.inputs["answers"].read_lines("answers.jsonl")
        exact = {row["query_id"]: row["answered_exactly"] for row in lines}
        missing = [name for name in self.queries.ids if name not in exact]
        if missing:
            raise InputError(
                f"the answers {self.inputs['answers']} are not those of the queries {self.queries.reader}",
                got=f"no answer for {len(missing)} queries, such as {missing[0]!r}",
                expected="an answer for every query",
                remedy="run answer with these queries",
            )
        return exact

    @functools.cached_property
    def replay(self) -> Replay:
        """The training run."""
        recipe = self.config.pretrain
        optimizer = optimizers.make(recipe.optimizer, recipe.steps)
        batches = TrainingBatches(self.corpus, recipe.buckets, recipe.tokens_per_batch, recipe.seed)
        fresh = jax.jit(functools.partial(initial_state, self.model, optimizer, recipe.seed))

        def begin() -> Any:
            # A model that is trained on is read again for every run, as its state is then the run's own.
            return continued_state(optimizer, self._initial()) if self._initial else fresh()

        def look(step: int) -> tuple[dict[str, Any], np.ndarray]:
            return dict(batches.batch(step)), self._documents.of_row[batches.rows(step)]

        return Replay(self.model, optimizer, begin, look, recipe.steps, len(self.names), self.config.segments)

    def places(self, block: int) -> np.ndarray:
        """The queries of a block; one that is filled up repeats its first, so that one program serves all."""
        found = np.arange(block * self.at_once, min((block + 1) * self.at_once, self.queries.count))
        return np.concatenate([found, np.full(self.at_once - len(found), found[0])])

    def _examples(self, places: np.ndarray) -> dict[str, np.ndarray]:
        return {name: array[places] for name, array in self._held.items()}

    def values(self, params: Any, places: np.ndarray) -> np.ndarray:
        """log p(target | prompt) of each query."""
        return np.asarray(self._value(params, self._examples(places)), np.float64)

    def slopes(self, params: Any, places: np.ndarray) -> Any:
        """Its gradient by the parameters, with a leading axis of queries."""
        return self._slope(params, self._examples(places))

    @functools.cached_property
    def _value(self) -> Any:
        return jax.jit(self._log_p)

    @functools.cached_property
    def _slope(self) -> Any:
        one = jax.grad(lambda params, example: self._log_p(params, jax.tree.map(lambda a: a[None], example))[0])
        return jax.jit(jax.vmap(one, in_axes=(None, 0)))

    def _log_p(self, params: Any, examples: Any) -> jax.Array:
        logits: Any = self.model.apply({"params": params}, examples["tokens"])
        return likelihood.target_log_probability(logits, examples["tokens"], jnp.asarray(examples["loss_weights"]))


def plan(config: MetagradientConfig, output: str) -> str:
    """What the job would do: trainings, and bytes."""
    if not (config.pretrain.corpus and config.queries and config.answers):
        return f"metagradient: of {config.queries or '-'} by {config.pretrain.corpus or '-'} → {output}"
    return _sheet(_Asked(config), output)


def _sheet(asked: _Asked, output: str) -> str:
    config, replay = asked.config, asked.replay
    peak = replay.peak_bytes(asked.at_once) / 2**30
    if peak > config.memory:
        raise InputError(
            "going back through this training needs more memory than it may use",
            got=f"{peak:.2f} GiB: {replay.segments + 1} + {replay.length} states of "
            f"{replay.state_bytes() / 2**20:,.1f} MiB, and {asked.at_once} queries at once",
            expected=f"at most metagradient.memory = {config.memory:g} GiB",
            remedy="lower metagradient.queries_at_once, set metagradient.segments to 0, or raise metagradient.memory",
        )
    measured = 2 * (config.single_documents + config.random_signs)
    return (
        f"metagradient: {asked.queries.count:,} queries by {len(asked.names):,} documents, {replay.steps:,} steps → "
        f"{output}\n"
        f"  1 training forwards, {measured} to measure smoothness, then for each {asked.at_once} queries 1 forwards "
        f"and 1 backwards: {asked.blocks:,} times\n"
        f"  at most {peak:.2f} GiB: {replay.segments + 1} + {replay.length} states of "
        f"{replay.state_bytes() / 2**20:,.1f} MiB, the cotangents of {asked.at_once} queries, and one step"
    )


def run(config: MetagradientConfig, output: str) -> Reader:
    """Writes one ranking of documents, `METHOD.jsonl`, with a line for every query.

    Blocks of queries are dealt over processes; a killed run trains once more and goes on with the blocks that are left.

    Raises:
      InputError: inputs do not fit each other, memory does not suffice, or the training diverged.
    """
    asked = _Asked(config)
    writer = begin(output, ranking.KIND, asked.settings, asked.inputs, name=config.method)
    if isinstance(writer, Reader):
        return writer
    sheet = _sheet(asked, output)
    if processes.index() == 0:
        print(sheet, flush=True)
    scores, facts = _scores(asked, writer)
    writer.write_lines(f"{config.method}.jsonl", _lines(asked, scores))
    unit = "nats of the target's log-probability per unit of a document's weight; positive: made it likelier"
    return writer.finish(
        {"method": config.method, "queries": asked.queries.count, "documents": len(asked.names), "unit": unit, **facts}
    )


def _scores(asked: _Asked, writer: Writer) -> tuple[np.ndarray, dict[str, Any]]:
    """float32 [queries, documents], and what was found of smoothness."""
    replay, one = asked.replay, np.ones(len(asked.names))
    shares = Shares(writer, asked.blocks)
    found = np.full((asked.queries.count, len(asked.names)), np.nan, np.float32)
    smooth = np.full((2, _directions(asked).shape[0], asked.at_once), np.nan)
    if kept := shares.kept():
        found, smooth = kept("scores"), kept("smoothness")

    def state() -> dict[str, np.ndarray]:
        return {"scores": found, "smoothness": smooth}

    run = None
    for block in shares.work(state):
        places = asked.places(block)
        progress = Progress("metagradient", (0 if run else replay.steps) + 2 * replay.steps, "steps")
        if run is None:
            run = replay.kept(one, progress.advance)
        values = asked.values(run[-1].params, places)
        if not np.isfinite(values).all():
            raise InputError(
                "the training diverged, so that nothing can be derived from it",
                got=f"log p {values.min()} for a query",
                expected="finite numbers",
                remedy="lower optimizer.peak_rate or lengthen optimizer.warmup_steps",
            )
        slopes = replay.derivatives(run, asked.slopes(run[-1].params, places), one, progress.advance)
        if not np.isfinite(slopes).all():
            raise InputError(
                "derivatives grew beyond all numbers on the way back through the training",
                got=f"{int((~np.isfinite(slopes)).sum()):,} of {slopes.size:,} that are not finite",
                expected="finite numbers",
                remedy="lower optimizer.peak_rate, raise optimizer.epsilon to 1e-3, or do without optimizer.clip_norm",
            )
        found[places] = slopes
        if block == 0:
            smooth = _smoothness(asked, slopes, places)
            if smooth.shape[1]:
                said = smoothness.advice(_outcome(asked, smooth), asked.config.pretrain.optimizer)
                print(f"metagradient: {said}", flush=True)
    whole = shares.whole(state)
    joined = np.nansum([np.nan_to_num(part("scores"), nan=0.0) for part in whole], axis=0).astype(np.float32)
    outcome = next((part("smoothness") for part in whole if np.isfinite(part("smoothness")).all()), smooth)
    return joined, {"smoothness": _outcome(asked, outcome).facts() if outcome.shape[1] else None}


def _directions(asked: _Asked) -> np.ndarray:
    config = asked.config
    return smoothness.directions(len(asked.names), config.single_documents, config.random_signs, config.seed)


def _smoothness(asked: _Asked, slopes: np.ndarray, places: np.ndarray) -> np.ndarray:
    """[2, directions, Q]: predicted and retrained changes of the first block's queries."""
    config, along = asked.config, _directions(asked)

    def values(weights: np.ndarray) -> np.ndarray:
        return asked.values(asked.replay.train(weights), places)

    outcome = smoothness.compare(values, slopes, along, config.weight_change, config.tolerance)
    return np.stack([outcome.predicted, outcome.measured])


def _outcome(asked: _Asked, smooth: np.ndarray) -> smoothness.Outcome:
    return smoothness.Outcome(smooth[0], smooth[1], asked.config.tolerance)


def _lines(asked: _Asked, scores: np.ndarray) -> Iterator[dict[str, Any]]:
    k = min(asked.config.top_k, len(asked.names))
    for name, row in zip(asked.queries.ids, scores, strict=True):
        # Ties go to the earlier document at both ends.
        best, worst = (np.argsort(sign * row, kind="stable")[:k] for sign in (-1, 1))
        ends = [[{"id": asked.names[n], "score": float(row[n])} for n in end] for end in (best, worst)]
        yield ranking.row(name, asked.exact[name], *ends)
