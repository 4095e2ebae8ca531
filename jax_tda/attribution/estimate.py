"""estimate_curvature: R of one stream, from a random sample of its stored encodings."""

import dataclasses

import numpy as np

from jax_tda.artifacts.artifact import Reader, begin
from jax_tda.artifacts.encodings import OK, open_encodings, shared_facts
from jax_tda.artifacts.shares import Shares
from jax_tda.attribution import curvature
from jax_tda.core import processes, seeds
from jax_tda.core.config import input_path, machine, settings
from jax_tda.core.declared import declared
from jax_tda.core.errors import InputError
from jax_tda.core.mesh import MeshConfig
from jax_tda.core.progress import Progress
from jax_tda.core.quantities import ExamplesAtOnce, ExamplesOrAll, Path, Seed

KIND = "curvature"


@dataclasses.dataclass(frozen=True)
@declared("estimate_curvature")
class EstimateCurvatureConfig:
    """Which encodings R is estimated from.

    Args:
      encodings: the stream's encodings.
      sample_size: examples drawn without replacement; 0 or more than there are takes all.
      seed: of the draw.
      rows_at_once: examples read at a time.
      mesh: how devices share the work.
    """

    encodings: Path = input_path(required=True)
    sample_size: ExamplesOrAll = 4096
    seed: Seed = 0
    rows_at_once: ExamplesAtOnce = 512
    mesh: MeshConfig = machine(MeshConfig())


def plan(config: EstimateCurvatureConfig, output: str) -> str:
    """What the job would do."""
    return f"estimate_curvature: R of {config.encodings} from {config.sample_size or 'all'} examples → {output}"


def run(config: EstimateCurvatureConfig, output: str) -> Reader:
    """Writes the curvature artifact: `curvature` float32 [blocks, p², p²].

    Each process reads its own part of the sample; the sums so far are kept, and a killed run goes on from them.
    """
    store = open_encodings(config.encodings)
    usable = np.flatnonzero(store.status == OK)
    if not len(usable):
        raise InputError(
            f"no example of {config.encodings} can be used for R",
            got=f"{store.count} examples, all flagged {store.facts['left_out']}",
            expected="at least one gradient that is finite and not zero",
            remedy="look at the examples named in the manifest under left_out_ids",
        )
    writer = begin(output, KIND, settings(config), {"encodings": store.reader})
    if isinstance(writer, Reader):
        return writer
    sample = usable
    if 0 < config.sample_size < len(usable):
        generator = seeds.generator(config.seed, "curvature", "sample")
        sample = np.sort(generator.choice(usable, config.sample_size, replace=False))
    total = np.zeros((len(store.blocks), store.block_dimension, store.block_dimension), np.float64)
    starts = range(0, len(sample), config.rows_at_once)
    shares = Shares(writer, len(starts))

    def state() -> dict[str, np.ndarray]:
        return {_name(block): value for block, value in enumerate(total)}

    if kept := shares.kept():
        for block in range(len(total)):
            total[block] = kept(_name(block))
    left = sum(min(config.rows_at_once, len(sample) - starts[step]) for step in shares.left)
    progress = Progress("estimate_curvature", len(sample), "examples", done=len(sample) - left)
    for step in shares.work(state):
        rows = sample[starts[step] : starts[step] + config.rows_at_once]
        total += curvature.autocorrelation(store.read_rows(rows)) * len(rows)
        progress.advance(len(rows))
    parts = shares.whole(state)
    array = writer.array("curvature", total.shape, "float32", 1)
    # A process sums the parts of a block at a time, in the order of the shares.
    for block in range(processes.index(), len(total), processes.count()):
        whole = sum((part(_name(block)) for part in parts[1:]), start=parts[0](_name(block)))
        array.write_shard(block, (whole / len(sample))[None].astype(np.float32))
    return writer.finish(shared_facts(store) | {"sample": len(sample), "left_out": store.count - len(usable)})


def _name(block: int) -> str:
    return f"block_{block:05d}"
