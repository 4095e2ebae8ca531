"""The whole pipeline as a list of steps: text in, a judged influence ranking and a page out."""

import dataclasses
from collections.abc import Iterator
from typing import Annotated, Any

from jax_tda.core import files
from jax_tda.core.bounds import Items, Text
from jax_tda.core.declared import declared, demand
from jax_tda.core.quantities import Path, Seed
from jax_tda.pipeline.methods import METHODS, Method, words
from jax_tda.pipeline.step import Step

# Every draw hangs on one seed.
_SEEDED = "pretrain estimate_second_moments encode estimate_curvature rank_baseline evaluate tail_patch".split()
# A small format is for the many passages; the few queries, which every score hangs on, stay as they were computed.
_PLAIN_STORE = {"store.type": "float32", "store.rank": 0, "store.step": 0.0}
_STREAMS = {"train": "corpus", "query": "queries"}


@dataclasses.dataclass(frozen=True)
@declared("trackstar")
class TrackstarConfig:
    """From text to a page: what is read, where everything is written, and what differs from the usual way.

    Args:
      corpus: passages, as `tokenize` takes them: a file, a folder or a pattern of shards, or seqio:TASK.
      queries: prompts and targets, in any of the same forms.
      output: the directory below which every step writes.
      config: gin files with the settings of every job; what a later one says goes before an earlier one.
      gin_bindings: single settings, `job.parameter = value`, which go before the files.
      checkpoint: the model, which is then not trained; what this pipeline or the job `import_checkpoint` wrote.
      continue_from: a checkpoint that is trained on with the corpus; its vocabulary is taken too.
      embedding: a folder of a sentence encoder, whose cosines are one method more.
      seed: of every draw; without it each job takes its own setting.
    """

    corpus: Path
    queries: Path
    output: Path
    config: Annotated[tuple[Path, ...], Items()] = ()
    gin_bindings: Annotated[tuple[Annotated[str, Text(r".+", "that is not empty")], ...], Items()] = ()
    checkpoint: Path = ""
    continue_from: Path = ""
    embedding: Path = ""
    seed: Seed | None = None

    def __post_init__(self) -> None:
        goes = not (self.checkpoint and self.continue_from)
        demand(self, goes, "checkpoint", "one of the two: --checkpoint trains nothing, --continue_from does")
        object.__setattr__(self, "output", self.output.rstrip("/") or self.output)

    @property
    def trains(self) -> bool:
        """Whether a model is trained on the way."""
        return not self.checkpoint


def steps(config: TrackstarConfig) -> list[Step]:
    """Every step in its order; a step reads what was given or what an earlier one made.

    Raises:
      InputError: the place of the given checkpoint cannot be asked.
    """
    seeded = {} if config.seed is None else {f"{name}.seed": config.seed for name in _SEEDED}
    found = list(_Steps(config).all())
    return [dataclasses.replace(step, settings={**step.settings, **seeded}) for step in found]


def is_imported(checkpoint: str) -> bool:
    """Whether a checkpoint brings no optimizer state, so that its second moments must be estimated."""
    place = files.at(checkpoint)
    model = any(files.is_file(place / name) for name in ("decoder.json", "own_model.json"))
    return model and not files.is_file(place / "optimizer.json")


class _Steps:
    def __init__(self, config: TrackstarConfig):
        self.config, self.out = config, config.output
        self.model = config.checkpoint or f"{self.out}/checkpoint"
        # An imported checkpoint has no optimizer state: squared gradients of batches stand in for it.
        estimates = bool(config.checkpoint) and is_imported(config.checkpoint)
        self.moments = f"{self.out}/second_moments" if estimates else ""

    def all(self) -> Iterator[Step]:
        yield self.check()
        yield from self.texts()
        yield from self.models()
        for stream in _STREAMS:
            yield from self.encodings(stream)
        yield from self.curvature()
        yield from self.rankings()
        yield from self.judgement()

    def made(self, name: str, job: str, inputs: dict[str, str], settings: dict[str, Any] | None = None) -> Step:
        """A step whose artifact is a directory, called after its place; inputs without a path are left out."""
        output = f"{self.out}/{name}"
        given = {f"{job}.{parameter}": path for parameter, path in inputs.items() if path}
        return Step(name, job, output, given, settings or {}, f"{output}/manifest.json")

    def at(self, *names: str) -> dict[str, str]:
        """Inputs that are called as they lie below the output."""
        return {name: f"{self.out}/{name}" for name in names}

    def check(self) -> Step:
        """Before anything is computed: do the files, the number of queries and the settings fit together?"""
        given = {"checkpoint": self.config.checkpoint, "initial": self.config.continue_from}
        given |= {"corpus": self.config.corpus, "queries": self.config.queries, "embedding": self.config.embedding}
        return dataclasses.replace(self.made("check", "check_road", given), output=self.out, writes="")

    def texts(self) -> Iterator[Step]:
        """Text to tokens. A given checkpoint brings its vocabulary and its context."""
        vocabulary = self.config.continue_from or self.config.checkpoint
        if not vocabulary:
            vocabulary = f"{self.out}/vocabulary"
            yield self.made("vocabulary", "train_vocabulary", {"source": self.config.corpus})
        given = {"vocabulary": vocabulary, "source": self.config.queries}
        yield self.made("queries", "tokenize", given, {"tokenize.kind": "queries"})
        # The corpus is cut to the context, which is the longest query's length or the config's, whichever is longer.
        yield self.made("corpus", "tokenize", given | {"source": self.config.corpus} | self.at("queries"))

    def models(self) -> Iterator[Step]:
        """Tokens to a model and its optimizer state; then, what does the model answer?"""
        initial = self.config.continue_from
        if self.config.trains:
            yield self.made("checkpoint", "pretrain", {**self.at("corpus"), "initial": initial})
        # What a continued model knew already is told apart from what it was taught.
        asked = {**self.at("queries"), "checkpoint": self.model, "before": initial}
        yield self.made("answers", "answer", asked)
        if self.moments:
            given = {"checkpoint": self.model, "examples": f"{self.out}/corpus"}
            yield self.made("second_moments", "estimate_second_moments", given)

    def encodings(self, stream: str) -> Iterator[Step]:
        """Examples to encodings: with the optimizer's second moments, and without, on the same projections."""
        settings = _PLAIN_STORE if stream == "query" else {}
        given = {"examples": f"{self.out}/{_STREAMS[stream]}", "checkpoint": self.model, "moments": self.moments}
        yield self.made(f"encodings/{stream}", "encode", given, settings)
        plain = settings | {"encode.second_moments": "none"}
        yield self.made(f"encodings_plain/{stream}", "encode", given, plain)

    def curvature(self) -> Iterator[Step]:
        """Encodings to curvature, and to two corrections: R of the corpus alone, and mixed with that of the queries."""
        for stream in _STREAMS:
            given = {"encodings": f"{self.out}/encodings/{stream}"}
            yield self.made(f"curvature/{stream}", "estimate_curvature", given)
        train = {"train": f"{self.out}/curvature/train", "encodings": f"{self.out}/encodings/train"}
        yield self.made("corrections/r_train", "mix_curvature", train, {"mix_curvature.query_weight": 0.0})
        yield self.made("corrections/trackstar", "mix_curvature", train | {"query": f"{self.out}/curvature/query"})

    def rankings(self) -> Iterator[Step]:
        """Encodings, or texts, to rankings: every way ends in the same form."""
        yield from (self.scored(method) for method in METHODS if method.encodings.startswith("encodings"))
        if self.config.embedding:
            for stream, source in _STREAMS.items():
                given = {"model": self.config.embedding, "examples": f"{self.out}/{source}"}
                yield self.made(f"embeddings/{stream}", "embed", given)
            yield from (self.scored(method) for method in METHODS if method.encodings == "embeddings")
        for method in METHODS:
            if not method.encodings:
                yield self.ranking(method, "rank_baseline", self.at("corpus", "queries"), {})

    def scored(self, method: Method) -> Step:
        given = {stream: f"{self.out}/{method.encodings}/{stream}" for stream in _STREAMS}
        if method.correction:
            given["correction"] = f"{self.out}/corrections/{method.correction}"
        return self.ranking(method, "score", given, {} if method.unit_norm else {"score.unit_norm": False})

    def ranking(self, method: Method, job: str, inputs: dict[str, str], settings: dict[str, Any]) -> Step:
        name = f"rankings/{method.name}"
        told = {f"{job}.method": method.name, **settings, **words(method)}
        step = self.made(name, job, {**inputs, **self.at("answers")}, told)
        return dataclasses.replace(step, output=f"{self.out}/rankings", writes=f"{self.out}/{name}.manifest.json")

    def judgement(self) -> Iterator[Step]:
        """Rankings to judgements to a page."""
        shown = self.at("rankings", "corpus", "queries")
        judged = {**shown, **self.at("answers"), "checkpoint": self.model, "moments": self.moments}
        report = self.made("report", "evaluate", judged)
        yield dataclasses.replace(report, output=self.out, writes=f"{self.out}/report.manifest.json")
        yield self.made("page", "show", {**shown, **self.at("answers"), "report": self.out})
