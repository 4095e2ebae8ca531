"""Scoring 100,000 stored encodings for 64 queries, beside what no scoring can avoid, in interleaved rounds of one run.

    python benchmarks/score.py [--rows 100000 --dimension 4096 --queries 64 --k 100 --threads 2] [--directory DIR]

Prints one JSON line: for each key the median seconds, their spread over the rounds, and the shares of the limits.

    cold, warm                   both ends of every query from the store on disk, norms present
    cold_discard, warm_discard   the same store through the same reader, every shard read and thrown away
    memory                       the same from one float32 matrix in memory that the device may use as it is
    numpy                        np.matmul and np.argpartition for both ends, of that very matrix

Cold means that every file of the store was flushed (fsync) and then dropped from the page cache (posix_fadvise,
DONTNEED) just before; a cache below the operating system is not reached. The store is made in a temporary directory and
deleted. OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE are taken out of the environment, so that numpy's library chooses
its own kernels; its threads are as many as the cores that this process may use.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path


def parsed():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in {
        "rows": 100_000, "dimension": 4096, "blocks": 4, "queries": 64, "k": 100, "shard_rows": 1024, "threads": 2,
        "rounds": 5,
    }.items():  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--directory", default=None, help="where the store is made; the system's temporary one if none")
    parser.add_argument("--keys", default="", help="comma-separated; all when empty")
    return parser.parse_args()


def dropped_from_cache(path):
    """Flushes every file below a directory and asks the kernel to forget its pages."""
    for file in Path(path).rglob("*"):
        if file.is_file():
            handle = os.open(file, os.O_RDONLY)
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def written(path, o, values, shard_of):
    """An encodings artifact of `o.rows` rows."""
    from jax_tda.artifacts import encodings as schema
    from jax_tda.artifacts.artifact import begin

    side = round((o.dimension // o.blocks) ** 0.5)
    assert o.blocks * side * side == o.dimension, "the dimension must be blocks × a square"
    writer = begin(path, schema.KIND, {}, {})
    array = writer.array("encodings", (values, o.blocks, side, side), "float32", o.shard_rows)
    status = writer.array("status", (values,), "int8", o.shard_rows)
    for start in range(0, values, o.shard_rows):
        rows = shard_of(start, min(start + o.shard_rows, values))
        array.write_shard(start, rows.reshape(-1, o.blocks, side, side))
        status.write_shard(start, rows[:, 0].astype("int8") * 0)
    writer.write_lines("ids.jsonl", ({"id": str(row)} for row in range(values)))
    facts = {"blocks": [str(block) for block in range(o.blocks)], "projected_size": side, "left_out": {}}
    writer.finish(facts)
    return schema.open_encodings(path)


def rounds_of(programs, rounds):
    """Seconds of each program, in turn in each round, so that a change of the machine's speed hits all alike."""
    seconds = {name: [] for name in programs}
    for prepare, program in programs.values():
        prepare()
        program()  # Compiles.
    for _ in range(rounds):
        for name, (prepare, program) in programs.items():
            prepare()
            start = time.perf_counter()
            program()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def main():
    o = parsed()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: o.threads])
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        os.environ.pop(name, None)
    with tempfile.TemporaryDirectory(dir=o.directory) as place:
        print(json.dumps(measured(o, place)))


def measured(o, place):
    import jax
    import jax.numpy as jnp
    import numpy as np

    from jax_tda.attribution import comparison, run, scan
    from jax_tda.attribution.top_k import Best

    generator = np.random.default_rng(0)
    # A device's own memory, and the view of it that numpy works on: neither side pays for a copy.
    device_rows = jax.random.normal(jax.random.key(0), (o.rows, o.dimension), jnp.float32)
    rows = np.asarray(device_rows)
    assert rows.ctypes.data == device_rows.unsafe_buffer_pointer()
    train = written(f"{place}/train", o, o.rows, lambda start, stop: rows[start:stop])
    asked = generator.standard_normal((o.queries, o.dimension), np.float32)
    query = written(f"{place}/query", o, o.queries, lambda start, stop: asked[start:stop])
    norms = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    sides = comparison.query_sides(query, None, True, 1 << 20)
    compared = comparison.Comparison(sides, scan.stored_norms(norms))
    side = np.asarray(sides[0])

    def stored():
        return run.rank_store(train, compared, o.k)[0]

    def discard():
        for _ in train.shards():
            pass

    in_memory = scan.shard_of(0, rows.reshape(o.rows, o.blocks, -1), np.ones(o.rows, bool), o.rows)

    def memory():
        best = Best(o.queries, o.k)
        best.update(compared.scores(in_memory)[0], 0)
        return best.ends()

    def numpy():
        scores = np.matmul(side, rows.T)
        return np.argpartition(scores, o.rows - o.k, axis=1)[:, -o.k :], np.argpartition(scores, o.k, axis=1)[:, : o.k]

    check(stored(), memory(), side @ rows.T / norms, o.k)

    def warmed():
        discard()

    def cold():
        dropped_from_cache(train.reader.path)

    programs = {
        "cold": (cold, stored), "cold_discard": (cold, discard), "warm": (warmed, stored),
        "warm_discard": (warmed, discard), "memory": (int, memory), "numpy": (int, numpy),
    }  # fmt: skip
    wanted = [key for key in o.keys.split(",") if key]
    seconds = rounds_of({n: p for n, p in programs.items() if not wanted or n in wanted}, o.rounds)
    return summary(o, seconds)


def check(stored, memory, scores, k):
    """Both roads found the same ends as sorting everything, up to rounding."""
    import numpy as np

    for ends in (stored, memory):
        for (places, found), ordered in zip(ends, (-np.sort(-scores, axis=1), np.sort(scores, axis=1)), strict=True):
            np.testing.assert_allclose(found, ordered[:, :k], rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(np.take_along_axis(scores, places, axis=1), found, rtol=1e-4, atol=1e-6)


def summary(o, seconds):
    """Medians, spreads, and how much of the limit each road reaches: seconds of the limit / seconds of the road."""
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    result = {"options": vars(o), "gigabytes": o.rows * o.dimension * 4 / 1e9}
    for name, values in seconds.items():
        result[name] = round(medians[name], 4)
        result[f"{name}_spread"] = [round(min(values), 4), round(max(values), 4)]
    for road, limit in (("cold", "cold_discard"), ("warm", "warm_discard"), ("memory", "numpy")):
        if {road, limit} <= set(medians):
            result[f"{road}_share"] = round(medians[limit] / medians[road], 3)
            pairs = [b / a for a, b in zip(seconds[road], seconds[limit], strict=True)]
            result[f"{road}_share_spread"] = [round(min(pairs), 3), round(max(pairs), 3)]
    return result


if __name__ == "__main__":
    main()
