"""study_scaling: how do influence and attribution change with a model's size and the length of its training?"""

from typing import Any

import jax

from jax_tda.artifacts.artifact import Reader, Writer, begin
from jax_tda.artifacts.together import by_first
from jax_tda.core.config import settings
from jax_tda.core.progress import Progress
from jax_tda.studies.scaling import analysis, judge, models, page
from jax_tda.studies.scaling.settings import ScalingConfig

KIND = "study"


def plan(config: ScalingConfig, output: str) -> str:
    """What the job would do."""
    sizes = ", ".join(f"{layers} × {width}" for layers, width in zip(config.layers, config.widths, strict=True))
    return (
        f"study_scaling: seeds {', '.join(map(str, config.seeds))}; {config.facts or 'all'} facts, {config.prose} "
        f"sentences of prose; models of layers × width {sizes}, each after {', '.join(map(str, config.checkpoints))} "
        f"steps; TrackStar and BM25, tail-patch of {config.tail_patch.queries} queries → {output}"
    )


@by_first
def run(config: ScalingConfig, output: str) -> Reader:
    """Writes the study: `results.json`, `figures/*.svg` and `index.html`; a finished snapshot is not made again."""
    # Training on a device for each core of a CPU would exchange gradients at every step; this leaves it at one.
    jax.devices()
    writer = begin(output, KIND, settings(config) | {"study": "scaling"}, {})
    if isinstance(writer, Reader):
        return writer
    total = len(config.seeds) * len(config.layers) * len(config.checkpoints)
    progress = Progress("study_scaling", total, "models", done=len(writer.finished_units()))
    for seed in config.seeds:
        _one_seed(writer, config, seed, progress)
    finished = writer.finished_units()
    units = {
        seed: [finished[f"seed_{seed}_{now.unit}"] for now in models.snapshots(config, writer.scratch())]
        for seed in config.seeds
    }
    results = analysis.analyse(units, config)
    writer.write_json("results.json", results)
    drawn = page.figures(results)
    for name, drawing in drawn.items():
        writer.write_bytes(f"figures/{name}.svg", drawing.encode())
    writer.write_bytes("index.html", page.render(results, drawn).encode())
    print(page.summary(results))
    return writer.finish({"seeds": list(config.seeds), "models": total})


def _one_seed(writer: Writer, config: ScalingConfig, seed: int, progress: Progress) -> None:
    place = writer.scratch() / f"seed_{seed}"
    pairs = list(models.in_order(models.snapshots(config, place)))
    finished: dict[str, Any] = writer.finished_units()
    if all(f"seed_{seed}_{now.unit}" in finished for _, now in pairs):
        return
    models.write_texts(config, seed, place)
    for before, now in pairs:
        unit = f"seed_{seed}_{now.unit}"
        if unit not in finished:
            models.make(config, seed, place, before, now)
            writer.finish_unit(unit, judge.judge(config, seed, str(place), now))
            progress.advance()
