"""What the fault drill drills: a tiny road for encode, stores of random numbers for the rest, and the judgement."""

import json
import sys
from pathlib import Path

import numpy as np

# docs/precision.md: of encodings computed in float32, and of what follows from them.
TOLERANCE = 1e-5
JOBS = ("encode", "estimate_curvature", "score")
_PASSAGES, _SHARD = 160, 4
_ROWS, _STORE_SHARD, _QUERIES, _BLOCKS, _SIDE = 12_000, 16, 12, 4, 6


def make(place: Path) -> None:
    """Everything that the three jobs read."""
    from jax_tda.attribution import estimate, mix
    from jax_tda.data import tokenize, train_vocabulary
    from jax_tda.models.decoder import DecoderConfig
    from jax_tda.training import run as training
    from jax_tda.training.optimizers import OptimizerConfig

    train_vocabulary.run(train_vocabulary.TrainVocabularyConfig(kind="bytes"), str(place / "vocabulary"))
    source = place / "passages.jsonl"
    passages = ({"id": f"p{i}", "text": f"{'it ' * (i % 5)}{i} squared is {i * i}"} for i in range(_PASSAGES))
    source.write_text("".join(json.dumps(row) + "\n" for row in passages))
    tokenize.run(
        tokenize.TokenizeConfig(source=str(source), vocabulary=str(place / "vocabulary"), context=40),
        str(place / "corpus"),
    )
    training.run(
        training.PretrainConfig(
            corpus=str(place / "corpus"),
            decoder=DecoderConfig(layers=2, width=16, heads=2, kv_heads=1, mlp_width=16, tied=False),
            optimizer=OptimizerConfig(name="adamw", peak_rate=1e-2, warmup_steps=1),
            steps=3,
            tokens_per_batch=128,
            buckets=1,
            save_every=0,
        ),
        str(place / "checkpoint"),
    )
    random = np.random.default_rng(0)
    for name, count in (("train", _ROWS), ("query", _QUERIES)):
        _store(place / name, random.normal(size=(count, _BLOCKS, _SIDE, _SIDE)).astype(np.float32), name)
        estimate.run(estimate.EstimateCurvatureConfig(str(place / name)), str(place / f"r_{name}"))
    mix.run(
        mix.MixCurvatureConfig(str(place / "r_train"), str(place / "r_query"), str(place / "train"), query_weight=0.5),
        str(place / "correction"),
    )


def _store(path: Path, values: np.ndarray, name: str) -> None:
    from jax_tda.artifacts import encodings as schema
    from jax_tda.artifacts.artifact import begin

    writer = begin(str(path), schema.KIND, {"name": name}, {})
    array = writer.array("encodings", values.shape, "float32", _STORE_SHARD)
    status = writer.array("status", values.shape[:1], "int8", _STORE_SHARD)
    for start in range(0, len(values), _STORE_SHARD):
        rows = values[start : start + _STORE_SHARD]
        array.write_shard(start, rows)
        status.write_shard(start, np.zeros(len(rows), np.int8))
    writer.write_lines("ids.jsonl", ({"id": f"{name}{row}"} for row in range(len(values))))
    same = {"checkpoint": "c", "projection": "p", "second_moments": "none", "blocks": [f"b{i}" for i in range(_BLOCKS)]}
    writer.finish(same | {"projected_size": _SIDE, "left_out": {}})
    if name == "query":
        answers = begin(str(path.parent / "answers"), "answers", {}, {})
        exact = ({"query_id": f"{name}{row}", "answered_exactly": True} for row in range(len(values)))
        answers.write_lines("answers.jsonl", exact)
        answers.finish({})


def command(job: str, place: Path, output: Path) -> list[str]:
    """The job, as a user would give it."""
    settings: dict[str, object] = {
        "encode": {
            "examples": str(place / "corpus"),
            "checkpoint": str(place / "checkpoint"),
            "projected_size": 4,
            "shard_rows": _SHARD,
            "tokens_per_batch": 160,
            "buckets": 2,
        },
        "estimate_curvature": {"encodings": str(place / "train"), "sample_size": 0, "rows_at_once": 8},
        "score": {
            "train": str(place / "train"),
            "query": str(place / "query"),
            "correction": str(place / "correction"),
            "answers": str(place / "answers"),
            "top_k": 50,
        },
    }[job]
    bindings = [f"--gin_bindings={job}.{name} = {value!r}" for name, value in settings.items()]
    return [sys.executable, "-m", f"jax_tda.jobs.{job}", f"--output_dir={output}", *bindings]


def unfinished(job: str, output: Path) -> Path:
    """The folder that a job keeps while it works."""
    return output / ("trackstar.unfinished" if job == "score" else "unfinished")


def progress(job: str, output: Path) -> int:
    """How many units of work are recorded."""
    units, done = unfinished(job, output) / "units", 0
    for path in list(units.glob("shard_*.json" if job == "encode" else "share_*.json")) if units.exists() else ():
        try:
            done += 1 if job == "encode" else json.loads(path.read_text())["steps"]
        except (OSError, ValueError):  # It was replaced, or deleted at the end, just now.
            continue
    return done


def steps(job: str) -> int:
    """How many units a whole run has."""
    return {
        "encode": -(-_PASSAGES // _SHARD),
        "estimate_curvature": -(-_ROWS // 8),
        "score": -(-_ROWS // _STORE_SHARD),
    }[job]


def difference(job: str, found: Path, expected: Path, equal: bool) -> str:
    """What is wrong with an output, beside one of a run that nothing befell; empty where nothing is.

    Args:
      job: which job.
      found: its output.
      expected: the other's.
      equal: whether they must be equal bit for bit, or only within the tolerance.
    """
    if unfinished(job, found).exists():
        return "traces of the work were left"
    judge = {"encode": _encodings, "estimate_curvature": _curvature, "score": _ranking}[job]
    return judge(found, expected, 0.0 if equal else TOLERANCE)


def _encodings(found: Path, expected: Path, tolerance: float) -> str:
    from jax_tda.artifacts.encodings import open_encodings

    one, other = open_encodings(str(found)), open_encodings(str(expected))
    if one.ids != other.ids or len(set(one.ids)) != len(one.ids):
        return "ids are missing, twice, or others"
    if not np.array_equal(one.status, other.status):
        return "other examples are left out"
    return _apart(one.read(0, one.count), other.read(0, other.count), 1, tolerance)


def _curvature(found: Path, expected: Path, tolerance: float) -> str:
    from jax_tda.artifacts.artifact import open_artifact

    one, other = (open_artifact(str(path)).array("curvature") for path in (found, expected))
    return _apart(one.read(0, one.shape[0]), other.read(0, other.shape[0]), 0, tolerance)


def _apart(one: np.ndarray, other: np.ndarray, axis: int, tolerance: float) -> str:
    if tolerance == 0:
        return "" if np.array_equal(one, other) else "values are not equal bit for bit"
    for mine, theirs in zip(np.moveaxis(one, axis, 0), np.moveaxis(other, axis, 0), strict=True):
        apart = float(np.linalg.norm(mine - theirs) / np.linalg.norm(theirs))
        if not apart <= tolerance:
            return f"a block is {apart:.2g} away"
    return ""


def _ranking(found: Path, expected: Path, tolerance: float) -> str:
    from jax_tda.artifacts import ranking

    one, other = (ranking.read(str(path / "trackstar.jsonl"))[0] for path in (found, expected))
    if tolerance == 0:
        return "" if one == other else "rankings are not equal"
    for mine, theirs in zip(one, other, strict=True):
        for end in ("proponents", "opponents"):
            known = {entry["id"]: entry["score"] for entry in theirs[end]}
            if mine["query_id"] != theirs["query_id"] or len({entry["id"] for entry in mine[end]}) != len(theirs[end]):
                return "ids are missing, twice, or others"
            for place, entry in zip(mine[end], theirs[end], strict=True):
                swapped = known.get(place["id"], theirs[end][-1]["score"])
                if max(abs(place["score"] - entry["score"]), abs(swapped - place["score"])) > 2 * tolerance:
                    return "rankings differ by more than swaps of equals"
    return ""
