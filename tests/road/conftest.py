"""One road, gone once by the command that a user types, from paths that no shell likes."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.jobs.tiny_road import write_lines
from tests.road import texts

ROOT = Path(__file__).parents[2]
SETTINGS = """
train_vocabulary.size = 360
tokenize.context = 24
tokenize.shard_rows = 32
decoder.layers = 2
decoder.width = 16
decoder.heads = 2
decoder.kv_heads = 1
decoder.mlp_width = 16
optimizer.peak_rate = 2e-2
optimizer.warmup_steps = 5
pretrain.steps = 100
pretrain.tokens_per_batch = 256
pretrain.buckets = 1
encode.projected_size = 4
encode.buckets = 2
encode.shard_rows = 16
score.top_k = 12
rank_baseline.top_k = 12
tail_patch.queries = 8
tail_patch.proponents = 3
bootstrap.resamples = 200
"""


class Road:
    """Where a road's files lie, and the command that goes it."""

    def __init__(self, place: Path):
        self.place, self.out = place, place / "it's $OUT"
        self.corpus, self.queries = place / "the corpus.jsonl", place / "queries.jsonl"
        self.config = place / "tiny.gin"
        write_lines(self.corpus, texts.PASSAGES)
        write_lines(self.queries, texts.QUERIES)
        self.config.write_text(SETTINGS)

    def popen(self, *options: str, queries: Path | None = None, out: Path | None = None) -> dict[str, Any]:
        """What runs the launch script, on one device as a user would."""
        command = ["bash", str(ROOT / "launch/local/trackstar.sh"), str(self.corpus), str(queries or self.queries)]
        options = options if "--config" in options else ("--config", str(self.config), *options)
        environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"} | {
            "PYTHON": sys.executable,
            "PYTHONPATH": str(ROOT),
            "JAX_COMPILATION_CACHE_DIR": str(self.place / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
        return {"args": [*command, str(out or self.out), *options], "cwd": self.place, "env": environment}

    def command(self, *options: str, **places: Path | None) -> subprocess.CompletedProcess:
        """Runs the launch script to its end."""
        return subprocess.run(**self.popen(*options, **places), capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def road(tmp_path_factory):
    """The texts and the config, before anything was done with them."""
    return Road(tmp_path_factory.mktemp("a road"))


@pytest.fixture(scope="session")
def gone(road):
    """The road, gone to its end."""
    ended = road.command()
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    road.said = ended.stdout
    return road
