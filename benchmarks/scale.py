"""What the number of examples, and of shards, costs the host: seconds and memory of everything but the gradients.

    python benchmarks/scale.py [--examples 10000000] [--shards 50000] [--directory DIR]

Hardware: any; the model is a stand-in, so no accelerator is of use. The examples are synthetic and tiny (at most six
tokens), the encoder computes four numbers from an example's tokens; everything else is what the jobs run. Each phase
is a fresh process and prints one JSON line: `seconds` of the phase's work, `peak_bytes` of the whole process with all
libraries, of which `libraries_bytes` it held before the work began. Phases:

    corpus       a tokenized corpus is written: tokens, spans, records
    encode       the job `encode`, but for the model: lengths, buckets, batches, shards, units, ids
    curvature    the job `estimate_curvature`: which rows may be used, the draw, the rows read
    score        the job `score`: every shard scored for eight queries, ids looked up
    look_up      a thousand ids turned into rows, as `evaluate` and `show` do
    shards       a store of many shards is written (one example each), with a record for each finished unit
    open_shards  it is opened: manifest, sizes of all files, status, one row read
    resume       the records of all finished units of an unfinished store are read
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import types

import numpy as np

PASSAGES_PER_WRITE = 200_000
P = 2


class StandIn:
    """An encoder that costs nothing: p × p numbers from an example's tokens, its positions and its weights."""

    plan = types.SimpleNamespace(blocks=("all",), matrices=(), excluded={}, counts={}, attributed_share=0.0)
    fingerprints, second_moments, reduced, outcome = {"stand-in": "0"}, "none", {}, None

    def __init__(self):
        from jax_tda.core import mesh

        self.mesh = mesh.make_mesh()

    def encode(self, batch):
        tokens, weights = np.asarray(batch["tokens"], np.float32), np.asarray(batch["loss_weights"], np.float32)
        position = np.arange(1, tokens.shape[1] + 1, dtype=np.float32)
        parts = [tokens.sum(1), (tokens * position).sum(1), (tokens**2 / position).sum(1), weights.sum(1)]
        return {"all": np.stack(parts, axis=1).reshape(-1, P, P) / 100}


def write_corpus(place, count, kind="passages"):
    """A corpus artifact of `count` examples of two to six tokens, as `tokenize` writes one, without its lists."""
    from jax_tda.artifacts.artifact import begin
    from jax_tda.data import corpus
    from jax_tda.data.train_vocabulary import write
    from jax_tda.data.vocabulary import ByteVocabulary

    writer = begin(place, corpus.KIND, {"examples": count, "kind": kind}, {})
    tokens = writer.array("tokens", (count, 6), "int32", PASSAGES_PER_WRITE, compressed=True)
    spans = writer.array("spans", (count, 2), "int32", PASSAGES_PER_WRITE)
    for start in range(0, count, PASSAGES_PER_WRITE):
        rows = np.arange(start, min(start + PASSAGES_PER_WRITE, count))
        lengths = 2 + rows * 7 % 5
        drawn = 3 + rows[:, None] * np.array([1, 7, 13, 31, 57, 91]) % 250
        tokens.write_shard(start, np.where(np.arange(6) < lengths[:, None], drawn, 0).astype(np.int32))
        spans.write_shard(start, np.stack([lengths, np.ones_like(lengths)], axis=1).astype(np.int32))
    writer.write_lines("records.jsonl", ({"id": f"{kind} {n}", "document": f"{kind} {n}"} for n in range(count)))
    vocabulary = ByteVocabulary()
    write(writer, vocabulary)
    facts = {"examples": count, "documents": count, "longest": 6, "context": 6, "kind": kind}
    writer.finish(facts | {"vocabulary": vocabulary.digest, "vocabulary_size": vocabulary.size})


def write_inputs(place):
    """What else the jobs ask for: a checkpoint of nothing, queries, and their answers."""
    from jax_tda.artifacts.artifact import begin
    from jax_tda.data.vocabulary import ByteVocabulary

    write_corpus(f"{place}/queries", 8, "queries")
    begin(f"{place}/checkpoint", "checkpoint", {}, {}).finish({"vocabulary": ByteVocabulary().digest, "context": 6})
    answers = begin(f"{place}/answers", "answers", {}, {})
    answers.write_lines("answers.jsonl", ({"query_id": f"queries {n}", "answered_exactly": True} for n in range(8)))
    answers.finish({})


def encode(place, stream, output, shard_rows=8192):
    """The job, with the stand-in where the model would be."""
    from jax_tda.encoding import run

    run.make_encoder = lambda _: StandIn()
    config = run.EncodeConfig(
        examples=f"{place}/{stream}",
        checkpoint=f"{place}/checkpoint",
        second_moments="none",
        self_check=0,
        projected_size=P,
        shard_rows=shard_rows,
        tokens_per_batch=6 * shard_rows,
    )
    run.run(config, f"{place}/{output}")


def corpus(place, arguments):
    write_corpus(f"{place}/corpus", arguments.examples)
    write_inputs(place)


def encode_corpus(place, arguments):
    encode(place, "corpus", "train")
    encode(place, "queries", "query")


def curvature(place, arguments):
    from jax_tda.attribution import estimate

    estimate.run(estimate.EstimateCurvatureConfig(encodings=f"{place}/train"), f"{place}/curvature")


def score(place, arguments):
    from jax_tda.attribution import run

    config = run.ScoreConfig(train=f"{place}/train", query=f"{place}/query", answers=f"{place}/answers")
    run.run(config, f"{place}/rankings")


def look_up(place, arguments):
    from jax_tda.artifacts.encodings import open_encodings

    ids = open_encodings(f"{place}/train").ids
    step = max(1, len(ids) // 1000)
    assert [ids.row_of(f"passages {row}") for row in range(0, len(ids), step)] == list(range(0, len(ids), step))


def shards(place, arguments):
    from jax_tda.artifacts import encodings
    from jax_tda.artifacts.artifact import begin

    count = arguments.shards
    facts = {"checkpoint": "c", "projection": "p", "second_moments": "none", "blocks": ["all"], "left_out": {}}
    for output in ("many", "many_unfinished"):
        writer = begin(f"{place}/{output}", encodings.KIND, {}, {})
        for unit in range(count):
            writer.finish_unit(f"shard_{unit:07d}", {"rows": 1, "zero_gradient": [], "not_finite": []})
        if output == "many":
            # Every shard is a file of its own, however they are written.
            writer.array("encodings", (count, 1, P, P), "float32", 1).store.write(
                np.ones((count, 1, P, P), np.float32)
            ).result()
            writer.array("status", (count,), "int8", 1).store.write(np.zeros(count, np.int8)).result()
            writer.write_lines("ids.jsonl", ({"id": f"passages {row}"} for row in range(count)))
            writer.finish(facts | {"projected_size": P})


def open_shards(place, arguments):
    from jax_tda.artifacts.encodings import open_encodings

    store = open_encodings(f"{place}/many")
    assert store.count == arguments.shards and store.read(7, 8).sum() == P * P and not store.status.any()


def resume(place, arguments):
    from jax_tda.artifacts import encodings
    from jax_tda.artifacts.artifact import begin

    assert len(begin(f"{place}/many_unfinished", encodings.KIND, {}, {}).finished_units()) == arguments.shards


PHASES = {
    "corpus": corpus,
    "encode": encode_corpus,
    "curvature": curvature,
    "score": score,
    "look_up": look_up,
    "shards": shards,
    "open_shards": open_shards,
    "resume": resume,
}


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=10_000_000)
    parser.add_argument("--shards", type=int, default=50_000)
    parser.add_argument("--directory", default="", help="where the stores lie; empty for a temporary one, deleted")
    parser.add_argument("--phase", choices=PHASES, help="one alone, in this process")
    arguments = parser.parse_args()
    if arguments.phase:
        import jax_tda.attribution.run
        import jax_tda.encoding.run  # noqa: F401 - imported before the clock starts.

        held, started = peak(), time.monotonic()
        PHASES[arguments.phase](arguments.directory, arguments)
        seconds = round(time.monotonic() - started, 2)
        print(json.dumps({"phase": arguments.phase, "seconds": seconds, "peak_bytes": peak(), "libraries_bytes": held}))
        return
    directory = arguments.directory or tempfile.mkdtemp()
    try:
        for phase in PHASES:
            command = [sys.executable, os.path.abspath(__file__), "--phase", phase, "--directory", directory]
            command += ["--examples", str(arguments.examples), "--shards", str(arguments.shards)]
            subprocess.run(command, check=True)
    finally:
        if not arguments.directory:
            shutil.rmtree(directory)


if __name__ == "__main__":
    main()
