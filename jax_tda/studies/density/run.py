"""study_density: does performance follow the density of training data, as LMD3 (arXiv 2405.06331) says it does?"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jax_tda.artifacts.artifact import Reader, Writer, begin
from jax_tda.artifacts.together import by_first
from jax_tda.core.config import settings
from jax_tda.core.errors import InputError
from jax_tda.core.progress import Progress
from jax_tda.data import sources
from jax_tda.models.importers.sentence_folder import SentenceFolder
from jax_tda.studies.density import analysis, measure, page, world
from jax_tda.studies.density.settings import DensityConfig
from jax_tda.studies.density.stages import Stages

KIND = "study"
# More than the six columns of a regression on facts that have a passage: a constant, three controls, two densities.
_COVERED = 7


def plan(config: DensityConfig, output: str) -> str:
    """What the job would do; its worlds are drawn, which takes seconds, and what does not suit them is refused."""
    _worlds(config, config.seeds)
    leaks = len(world.KINDS) * len(config.copies) * config.pairs
    return (
        f"study_density: seeds {', '.join(map(str, config.seeds))}; {config.facts or 'all'} facts, {config.prose} "
        f"sentences of prose, {config.steps:,} steps; {leaks} pairs of one leaked and one control fact, "
        f"{config.tuning_steps} steps of tuning; kernels {', '.join(config.kernels)} × {len(config.bandwidth_factors)} "
        f"bandwidths in {4 if config.sentence_encoder else 3} spaces → {output}"
    )


@by_first
def run(config: DensityConfig, output: str) -> Reader:
    """Writes the study: `seed_N.jsonl`, a line per query, `results.json`, `figures/*.svg` and `index.html`."""
    # Encoding would make a device of each core of a CPU, and training, which is in this process too, would then have to
    # exchange gradients between them at every step; looking for the devices first leaves it at one.
    jax.devices()
    described = settings(config) | {"study": "density"}
    if config.sentence_encoder:  # A folder is no artifact, so its files' digests stand among the settings.
        files = SentenceFolder(config.sentence_encoder).files()
        described["sentence_encoder"] = {Path(name).name: sources.identity(name, "", "") for name in files}
    writer = begin(output, KIND, described, {})
    if isinstance(writer, Reader):
        return writer
    finished = writer.finished_units()
    progress = Progress("study_density", len(config.seeds), "seeds", done=len(finished))
    for seed, texts in _worlds(config, [seed for seed in config.seeds if f"seed_{seed}" not in finished]).items():
        writer.finish_unit(f"seed_{seed}", _one_seed(writer, config, seed, texts))
        progress.advance()
    finished = writer.finished_units()
    tables = {seed: _read(writer, seed) for seed in config.seeds}
    results = analysis.analyse(tables, {seed: finished[f"seed_{seed}"] for seed in config.seeds}, config)
    writer.write_json("results.json", results)
    drawn = page.figures(results)
    for name, drawing in drawn.items():
        writer.write_bytes(f"figures/{name}.svg", drawing.encode())
    writer.write_bytes("index.html", page.render(results, drawn).encode())
    print(page.summary(results))
    return writer.finish({"seeds": list(config.seeds), "queries": {str(s): len(t["id"]) for s, t in tables.items()}})


def _worlds(config: DensityConfig, seeds: Sequence[int]) -> dict[int, world.World]:
    """The worlds of all seeds, before a model is trained in the first.

    Raises:
      InputError: a world that cannot be drawn, or that a setting does not suit.
    """
    built = {}
    for seed in seeds:
        texts = world.build(seed, config.facts, config.prose, config.pairs, config.copies, config.background)
        passages = len(texts.passages)
        for name, most in (("held_out", passages - 1), ("neighbours", passages), ("sample", passages)):
            if getattr(config, name) > most:
                raise InputError(
                    f"study_density.{name} is more than the corpus of seed {seed} holds",
                    got=f"{getattr(config, name)}, of {passages} passages",
                    expected=f"at most {most}",
                    remedy=f"lower study_density.{name}, or raise study_density.facts or study_density.prose",
                )
        covered = sum(query["wordings"] > 0 for query in texts.queries)
        if covered < _COVERED:
            raise InputError(
                f"the world of seed {seed} has too few facts beside its pairs for a regression",
                got=f"{covered} facts with a passage",
                expected=f"at least {_COVERED}",
                remedy="raise study_density.facts, or lower study_density.pairs",
            )
        built[seed] = texts
    return built


def _one_seed(writer: Writer, config: DensityConfig, seed: int, texts: world.World) -> dict[str, Any]:
    drawn = dataclasses.replace(config, tail_patch=dataclasses.replace(config.tail_patch, seed=seed))
    stages = Stages(drawn, seed, texts, writer.scratch() / f"seed_{seed}")
    table, facts = measure.measure(drawn, seed, stages)
    names = list(table)
    writer.write_lines(
        f"seed_{seed}.jsonl", (dict(zip(names, row, strict=True)) for row in zip(*table.values(), strict=True))
    )
    counts = {"passages": len(texts.passages), "queries": len(texts.queries), "tuning": len(texts.tuning)}
    return facts | {"counts": counts}


def _read(writer: Writer, seed: int) -> dict[str, np.ndarray]:
    """A seed's table by column."""
    rows = [json.loads(line) for line in (writer.path / f"seed_{seed}.jsonl").read_text().splitlines()]
    return {name: column([row[name] for row in rows]) for name in rows[0]}


def column(values: list[Any]) -> np.ndarray:
    """A column of a table: strings, or numbers with NaN where one is missing."""
    if any(isinstance(value, str) for value in values):
        return np.array(["" if value is None else value for value in values])
    return np.array([np.nan if value is None else value for value in values], np.float64)
