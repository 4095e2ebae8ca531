"""study_density: does performance follow the density of training data, as LMD3 (arXiv 2405.06331) says it does?"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jax_tda.artifacts.artifact import Reader, Writer, begin
from jax_tda.artifacts.together import by_first
from jax_tda.core.config import settings
from jax_tda.core.progress import Progress
from jax_tda.data import sources
from jax_tda.models.importers.sentence_folder import SentenceFolder
from jax_tda.studies.density import analysis, measure, page, world
from jax_tda.studies.density.settings import DensityConfig
from jax_tda.studies.density.stages import Stages

KIND = "study"


def plan(config: DensityConfig, output: str) -> str:
    """What the job would do."""
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
    for seed in config.seeds:
        unit = f"seed_{seed}"
        if unit not in finished:
            writer.finish_unit(unit, _one_seed(writer, config, seed))
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


def _one_seed(writer: Writer, config: DensityConfig, seed: int) -> dict[str, Any]:
    texts = world.build(seed, config.facts, config.prose, config.pairs, config.copies, config.background)
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
