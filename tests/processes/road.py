"""A tiny road, and runs over it in several processes of this machine."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from jax_tda.artifacts import ranking
from jax_tda.artifacts.artifact import open_artifact
from jax_tda.artifacts.encodings import open_encodings
from jax_tda.evaluation import answers
from tests.house import tree
from tests.jobs import tiny_road

# docs/precision.md: of encodings computed in float32.
TOLERANCE = 1e-5
PASSAGES, QUERIES = 62, 9


def make(place: Path) -> Path:
    """Corpus, queries, checkpoint and answers."""
    corpus = tiny_road.tokenized(place, "corpus", tiny_road.passages(PASSAGES))
    tiny_road.tokenized(place, "queries", tiny_road.queries(QUERIES), kind="queries")
    tiny_road.trained(place, corpus)
    answers.run(answers.AnswerConfig(str(place / "queries"), str(place / "checkpoint_0")), str(place / "answers"))
    return place


def command(what: str, road: Path, out: Path, mesh: str = "{}") -> list[str]:
    out.mkdir(exist_ok=True)
    worker = [sys.executable, "-m", "tests.processes.worker", what, str(road), str(out), mesh]
    return [*worker, f"--cache={road / 'compiled'}"]


def launched(count: int, devices: int, *given: str) -> subprocess.CompletedProcess:
    """A command in several processes, at its end."""
    launcher = [sys.executable, str(tree.ROOT / "launch/local/processes.py")]
    options = ["--processes", str(count), "--devices_per_process", str(devices), "--"]
    return subprocess.run(
        [*launcher, *options, *given], cwd=tree.ROOT, capture_output=True, text=True, timeout=900, check=False
    )


def wait_for(condition, process: subprocess.Popen) -> None:
    """Returns when the condition holds; a process that ended before is said."""
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


def encodings(out: Path, stream: str) -> np.ndarray:
    """[blocks, N, K]."""
    store = open_encodings(str(out / stream))
    return np.moveaxis(store.read(0, store.count), 1, 0)


def curvature(out: Path, stream: str) -> np.ndarray:
    """[blocks, K, K]."""
    array = open_artifact(str(out / f"r_{stream}")).array("curvature")
    return array.read(0, array.shape[0])


def rows(out: Path, method: str) -> list[dict]:
    return ranking.read(str(out / "rankings" / f"{method}.jsonl"))[0]


def expect_the_same_chain(found: Path, expected: Path) -> None:
    """Encodings and R within the limit of docs/precision.md; rankings equal up to swaps of scores closer than it."""
    for stream in ("train", "query"):
        assert open_encodings(str(found / stream)).ids == open_encodings(str(expected / stream)).ids
        for read in (encodings, curvature):
            for block, whole in zip(read(found, stream), read(expected, stream), strict=True):
                assert np.linalg.norm(block - whole) <= TOLERANCE * np.linalg.norm(whole)
    for mine, theirs in zip(rows(found, "trackstar"), rows(expected, "trackstar"), strict=True):
        for end in ("proponents", "opponents"):
            expect_the_same_end(mine[end], theirs[end])
    assert rows(found, "bm25") == rows(expected, "bm25")


def expect_the_same_end(found: list[dict], expected: list[dict]) -> None:
    """Place for place the scores are close, and another passage stands there only where theirs are as close."""
    assert len({entry["id"] for entry in found}) == len(found) == len(expected)
    known = {entry["id"]: entry["score"] for entry in expected}
    last = expected[-1]["score"]
    for one, other in zip(found, expected, strict=True):
        assert abs(one["score"] - other["score"]) <= TOLERANCE
        if one["id"] != other["id"]:
            assert abs(known.get(one["id"], last) - other["score"]) <= 2 * TOLERANCE
