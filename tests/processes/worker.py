"""One of several processes that goes through the chain: encode, curvature, correction, ranking."""

import json
from pathlib import Path

from absl import app

from jax_tda.attribution import estimate, mix
from jax_tda.attribution import run as score
from jax_tda.core.mesh import MeshConfig
from jax_tda.encoding import run as encode
from jax_tda.jobs import group


def chain(road: Path, out: Path, **options) -> dict[str, str]:
    """Every artifact of the chain below `out`, from the road's corpus, queries, answers and checkpoint."""
    mesh = MeshConfig(**options)
    made = {}
    for stream, name in (("train", "corpus"), ("query", "queries")):
        config = encode.EncodeConfig(
            str(road / name),
            str(road / "checkpoint_0"),
            projected_size=3,
            shard_rows=8,
            tokens_per_batch=128,
            mesh=mesh,
        )
        made[stream] = str(encode.run(config, str(out / stream)))
        config = estimate.EstimateCurvatureConfig(made[stream], sample_size=40, rows_at_once=4)
        made[f"r_{stream}"] = str(estimate.run(config, str(out / f"r_{stream}")))
    config = mix.MixCurvatureConfig(made["r_train"], made["r_query"], made["train"], query_weight=0.5)
    made["correction"] = str(mix.run(config, str(out / "correction")))
    config = score.ScoreConfig(made["train"], made["query"], made["correction"], str(road / "answers"), top_k=10)
    made["ranking"] = str(score.run(config, str(out / "rankings")))
    return made


def main(arguments):
    _, road, out, options = arguments
    group.work(lambda: chain(Path(road), Path(out), **json.loads(options)))


if __name__ == "__main__":
    group.define_flags()
    app.run(main)
