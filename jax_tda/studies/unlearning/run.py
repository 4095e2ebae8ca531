"""The study of unlearning: what each corpus contributes, by unlearning it, by training without it, and by influence.

For every seed: eight sources, one original model; every source, a random set of the same size and the chosen pairs are
taken away, once by unlearning and once by training again; and the original model's encodings are scored. Each is a unit
of work, recorded when it is finished.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from etils import epath

from jax_tda.artifacts.artifact import Reader, Writer, begin
from jax_tda.artifacts.together import by_first
from jax_tda.core.config import settings
from jax_tda.core.progress import Progress
from jax_tda.studies.unlearning import ground, influence, page, results
from jax_tda.studies.unlearning.abilities import judge
from jax_tda.studies.unlearning.loop import Unlearner
from jax_tda.studies.unlearning.retrain import Trainer
from jax_tda.studies.unlearning.settings import StudyUnlearningConfig

KIND = "study_unlearning"


def plan(config: StudyUnlearningConfig, output: str) -> str:
    """What the job would do."""
    removals, loop = list(config.removals), config.unlearning
    return (
        f"study_unlearning: seeds {', '.join(map(str, config.seeds))} → {output}\n"
        f"  each: one model of {config.steps:,} steps, and {len(removals)} removals ({', '.join(removals)}), every one "
        f"unlearned (at most {loop.epochs} epochs, {loop.randomisation} randomised, tolerance {loop.tolerance:g}) and "
        f"trained without"
    )


@by_first
def run(config: StudyUnlearningConfig, output: str) -> Reader:
    """Writes results.json, the log of every unlearning run, figures and a page; a killed run redoes one unit."""
    writer = begin(output, KIND, settings(config), {})
    if isinstance(writer, Reader):
        return writer
    total = len(config.seeds) * (1 + 2 * len(config.removals) + 1)
    progress = Progress("study_unlearning", total, "units", done=len(writer.finished_units()))
    for seed in config.seeds:
        _Seed(config, seed, writer, progress).run()
    found = writer.finished_units()
    seen = results.gather(config, found)
    for seed in config.seeds:
        for name in config.removals:
            writer.write_lines(f"logs/seed_{seed}/{name}.jsonl", found[results.unit_of(seed, "unlearn", name)]["log"])
    writer.write_json("results.json", seen)
    for name, data in page.files(seen, found[results.unit_of(config.seeds[0], "ground")]["shown"]).items():
        writer.write_bytes(name, data)
    return writer.finish({"seeds": list(config.seeds), "headlines": seen["headlines"]})


class _Seed:
    """The units of one seed; what they share is made when the first unfinished one asks for it."""

    def __init__(self, config: StudyUnlearningConfig, seed: int, writer: Writer, progress: Progress):
        self._config, self._seed, self._writer, self._progress = config, seed, writer, progress
        self._place: epath.Path = writer.scratch() / f"seed_{seed}"

    @functools.cached_property
    def _ground(self) -> ground.Ground:
        return ground.lay(self._config, self._seed, self._place)

    @functools.cached_property
    def _params(self) -> Any:
        return self._ground.checkpoint.params()

    @functools.cached_property
    def _judge(self) -> Callable[[Any], Any]:
        return judge(self._ground.checkpoint.model, self._ground.queries)

    @functools.cached_property
    def _unlearner(self) -> Unlearner:
        return Unlearner(self._ground.checkpoint.model, self._config.unlearning)

    @functools.cached_property
    def _trainer(self) -> Trainer:
        corpus = self._ground.corpus
        texts = ground.texts_of(corpus, np.arange(corpus.count))
        return Trainer(self._ground.checkpoint.model, texts, self._ground.training)

    def run(self) -> None:
        """Every unit that no earlier run finished."""
        self._unit("ground", "", self._original)
        for name, sources in self._config.removals.items():
            self._unit("unlearn", name, functools.partial(self._unlearned, name, sources))
        for name, sources in self._config.removals.items():
            self._unit("retrain", name, functools.partial(self._retrained, name, sources))
        self._unit("influence", "", self._influence)

    def _unit(self, stage: str, name: str, work: Callable[[], Any]) -> None:
        unit = results.unit_of(self._seed, stage, name)
        if unit not in self._writer.finished_units():
            self._writer.finish_unit(unit, work())
            self._progress.advance(note=unit)

    def _original(self) -> Any:
        found = self._ground
        first = {source: row for row, source in reversed(list(enumerate(ground.sources_of(found.corpus))))}
        asked = {source: row for row, source in reversed(list(enumerate(ground.sources_of(found.queries))))}
        shown = {
            source: {
                "document": found.corpus.records[row]["text"],
                "prompt": found.queries.records[asked[source]]["prompt"],
                "target": found.queries.records[asked[source]]["target"],
            }
            for source, row in sorted(first.items())
        }
        return {
            "ability": ground.sources_of(found.queries),
            "outcome": self._judge(self._params),
            "documents": found.corpus.count,
            "tokens": int(found.corpus.reader.manifest.facts["tokens"]),
            "parameters": int(found.checkpoint.reader.manifest.facts["parameters"]),
            "shown": shown,
        }

    def _unlearned(self, name: str, sources: tuple[str, ...]) -> Any:
        sets = self._ground.sets(sources, self._config)
        params, log = self._unlearner.unlearn(self._params, sets, self._seed, f"unlearn {name}")
        return {"outcome": self._judge(params), "log": log}

    def _retrained(self, name: str, sources: tuple[str, ...]) -> Any:
        params = self._trainer.without(self._ground.removed(sources), f"train without {name}")
        return {"outcome": self._judge(params)}

    def _influence(self) -> Any:
        found = influence.scores(self._ground, self._config.projected_size, self._config.damping)
        members = {name: self._ground.removed(sources) for name, sources in self._config.removals.items()}
        return influence.by_corpus(found, members)
