"""One of several processes of a test: it goes through the chain, or asks the others something.

python -m tests.processes.worker WHAT ROAD OUT MESH, with the flags of a job in several processes.
"""

import json
from pathlib import Path

import jax
from absl import app, flags

from jax_tda.attribution import estimate, mix
from jax_tda.attribution import run as score
from jax_tda.baselines import run as baselines
from jax_tda.core import processes
from jax_tda.core.errors import InputError
from jax_tda.core.mesh import MeshConfig
from jax_tda.encoding import run as encode
from jax_tda.jobs import group
from jax_tda.training import run as training
from tests.jobs import tiny_road

SHARD_ROWS = 4


def encode_config(road: Path, stream: str, mesh: MeshConfig) -> encode.EncodeConfig:
    sizes = {"projected_size": 3, "shard_rows": SHARD_ROWS, "tokens_per_batch": 128, "buckets": 2}
    return encode.EncodeConfig(str(road / stream), str(road / "checkpoint_0"), mesh=mesh, **sizes)


def chain(road: Path, out: Path, mesh: MeshConfig) -> None:
    """Every artifact from encodings to rankings."""
    made = {}
    for stream, name in (("train", "corpus"), ("query", "queries")):
        made[stream] = str(encode.run(encode_config(road, name, mesh), str(out / stream)))
        config = estimate.EstimateCurvatureConfig(made[stream], sample_size=40, rows_at_once=4)
        made[f"r_{stream}"] = str(estimate.run(config, str(out / f"r_{stream}")))
    config = mix.MixCurvatureConfig(made["r_train"], made["r_query"], made["train"], query_weight=0.5)
    made["correction"] = str(mix.run(config, str(out / "correction")))
    config = score.ScoreConfig(made["train"], made["query"], made["correction"], str(road / "answers"), top_k=10)
    score.run(config, str(out / "rankings"))
    config = baselines.RankBaselineConfig(str(road / "corpus"), str(road / "queries"), str(road / "answers"))
    baselines.run(config, str(out / "rankings"))


def questions(road: Path, out: Path, mesh: MeshConfig) -> None:
    """What this process was told, and how what only process 0 may find out reached it."""
    said = {"count": processes.count(), "index": processes.index(), "devices": jax.device_count()}
    said["agreed"] = processes.agree(lambda: ["value", processes.index()])
    said["long"] = len(processes.agree(lambda: "x" * 3_000_000))

    def refuse() -> None:
        raise InputError("what", got="got", expected="expected", remedy="remedy")

    def fail() -> None:
        raise KeyError("a fault of our own")

    def taken() -> None:
        # A directory that holds something else: process 0 sees it, all refuse.
        encode.run(encode_config(road, "corpus", mesh), str(road / "corpus"))

    def unknown() -> None:
        baselines.run(baselines.RankBaselineConfig(method="nonsense"), str(out / "never"))

    for work in (refuse, fail, taken, unknown):
        try:
            processes.agree(work) if work in (refuse, fail) else work()
        except Exception as error:
            said[work.__name__] = [type(error).__name__, str(error), getattr(error, "agreed", None)]
    (out / f"said_{processes.index()}.json").write_text(json.dumps(said))


def pretrain(road: Path, out: Path, mesh: MeshConfig) -> None:
    """A model of some steps, with checkpoints on the way."""
    config = training.PretrainConfig(
        corpus=str(road / "corpus"),
        decoder=tiny_road.DECODER,
        optimizer=tiny_road.OPTIMIZER,
        steps=4,
        tokens_per_batch=128,
        buckets=1,
        save_every=2,
        mesh=mesh,
    )
    training.run(config, str(out / "checkpoint"))


def main(arguments):
    _, what, road, out, mesh = arguments
    if given := flags.FLAGS.cache:
        jax.config.update("jax_compilation_cache_dir", given)

    def work() -> None:
        for name in what.split(","):
            {"chain": chain, "questions": questions, "pretrain": pretrain}[name](
                Path(road), Path(out), MeshConfig(**json.loads(mesh))
            )

    group.work(work, False)


if __name__ == "__main__":
    flags.DEFINE_string("cache", "", "Where compiled programs are kept.")
    group.define_flags()
    app.run(main)
