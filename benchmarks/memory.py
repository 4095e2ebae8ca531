"""Peak memory per example: how much one pass over a batch adds to what the process already holds.

    python benchmarks/memory.py [--batch 16 --smaller_batch 4 … and the options of encode.py]

Hardware: CPU cores under Linux. Every measurement is a fresh process: it runs the pass once to compile, gives freed
pages back, resets the system's high-water mark and runs again; the mark minus what was resident before is the peak.
Prints one JSON line. For each key, `bytes_per_example` is the slope between the two batch sizes with all examples at
once, and `peak_bytes` the peak at the larger; `one_at_a_time_peak_bytes` is the peak with one example in flight;
`process_peak_bytes` is the greatest size of the whole process, with libraries, parameters and compilation. `xla` holds
the same from XLA's own account of temporary buffers, which knows no repeats. Keys:

    forward          the loss of all tokens without gradient
    train_step       an ordinary AdamW step
    encode_none      no second moments; encode_rank_one: Adam reduced; encode_exact: Adam element-wise
    naive            vmapped whole gradients, divided and projected afterwards
"""

import argparse
import ctypes
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import peers
import subject

KEYS = ("forward", "train_step", "encode_none", "encode_rank_one", "encode_exact", "naive")
BATCHED_ALONE = ("train_step", "naive")


def parsed():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    subject.add_options(parser, rounds=3, smaller_batch=4)
    parser.add_argument("--blocks", choices=("matrices", "groups"), default="groups")
    parser.add_argument("--layers_as", choices=("scanned", "unrolled"), default="unrolled")
    parser.add_argument("--keys", default="", help="comma-separated; all when empty")
    parser.add_argument("--only", default="", help="KEY/EXAMPLES_AT_ONCE: what one fresh process measures")
    return parser.parse_args()


def naive(made, o):
    """Whole gradients of every example, divided by √V + ε and projected afterwards."""
    import jax
    import jax.numpy as jnp

    from jax_tda.core import trees
    from jax_tda.models import likelihood

    moments = made.moments("adamw")
    reference = peers.encoder(made, "encode_none", "scanned", 0, o.blocks, o.projected_size)
    sides = {m.path: reference.projections(m.path) for m in reference.plan.matrices}
    leaves = trees.flatten(made.params)
    roots = {
        path: jnp.asarray(1 / (moments.full(path, leaves[path].shape) ** 0.5 + 1e-8), jnp.float32) for path in sides
    }

    def one(params, example):
        def loss(params):
            logits = made.scanned.apply({"params": params}, example["tokens"])
            return likelihood.loss(logits, example["tokens"], example["loss_weights"])

        gradient = trees.flatten(jax.grad(loss)(params))
        return {path: left @ (gradient[path] * roots[path]) @ right.mT for path, (left, right) in sides.items()}

    return jax.jit(jax.vmap(one, (None, 0)))


def pass_over(o, key, at_once):
    """A function without arguments that finishes one pass over the batch."""
    import jax

    # Two steps on one example make real second moments at the least memory.
    made = subject.build(argparse.Namespace(**{**vars(o), "batch": 1}))
    if key == "naive" or peers.OURS.get(key, (None,))[0]:
        made.moments("adamw")
    if key == "train_step":
        train, state = made.trained("adamw")
    made.batch = subject.build(o).batch
    if key == "train_step":
        return lambda: jax.block_until_ready(train(state, made.batch))
    if key == "naive":
        function = naive(made, o)
        return lambda: jax.block_until_ready(function(made.params, made.batch))
    return peers.program(made, key, o.layers_as, at_once, o)


def status(name):
    """A line of this process's status, in bytes."""
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def measure(o, key, at_once):
    """One fresh process's answer."""
    import jax

    run = pass_over(o, key, at_once)
    before = {id(program) for program in jax.devices()[0].client.live_executables()}
    run()
    programs = [p for p in jax.devices()[0].client.live_executables() if id(p) not in before]
    temporary = max((p.get_compiled_memory_stats().temp_size_in_bytes for p in programs), default=0)
    del programs
    gc.collect()
    time.sleep(0.5)  # Buffers of the last pass are let go by XLA's own threads.
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w", encoding="ascii") as marks:
        marks.write("5")
    resident = status("VmRSS")
    run()
    return {
        "added": status("VmHWM") - resident,
        "resident": resident,
        "process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "temporary": temporary,
    }


def fresh(o, key, at_once, batch):
    """The same program in a new process."""
    options = {**vars(o), "batch": batch, "only": f"{key}/{at_once}"}
    command = [
        sys.executable,
        __file__,
        *(part for name, value in options.items() for part in (f"--{name}", str(value))),
    ]
    # A fixed threshold gives every large buffer its own pages, which return to the system as soon as it is let go.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    finished = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(finished.stdout.splitlines()[-1])


def middle(values):
    return {"median": round(statistics.median(values)), "spread": [round(min(values)), round(max(values))]}


def main():
    o = parsed()
    subject.pin(o.threads)
    if o.only:
        key, at_once = o.only.split("/")
        print(json.dumps(measure(o, key, int(at_once))))
        return
    wanted = [key for key in o.keys.split(",") if key] or KEYS
    if not set(wanted) <= set(KEYS) or not 0 < o.smaller_batch < o.batch:
        raise SystemExit(f"keys are {', '.join(KEYS)}; smaller_batch lies below batch")
    result = {"options": vars(o), "cpu": subject.cpu_model()}
    with tempfile.TemporaryDirectory() as cache:
        # Repeats load what the first process compiled.
        os.environ |= {"JAX_COMPILATION_CACHE_DIR": cache, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        seen = {}
        for _ in range(o.rounds):
            for key in wanted:
                cases = [(0, o.smaller_batch), (0, o.batch)] + ([] if key in BATCHED_ALONE else [(1, o.batch)])
                for case in cases:
                    seen.setdefault((key, *case), []).append(fresh(o, key, *case))
    for key in wanted:
        small, large = seen[key, 0, o.smaller_batch], seen[key, 0, o.batch]
        extra = o.batch - o.smaller_batch
        found = {
            "bytes_per_example": middle([(b["added"] - a["added"]) / extra for a, b in zip(small, large, strict=True)]),
            "peak_bytes": middle([one["added"] for one in large]),
            "process_peak_bytes": middle([one["process"] for one in large]),
            "xla": {
                "bytes_per_example": round((large[0]["temporary"] - small[0]["temporary"]) / extra),
                "temporary_bytes": {o.smaller_batch: small[0]["temporary"], o.batch: large[0]["temporary"]},
            },
        }
        if (key, 1, o.batch) in seen:
            alone = seen[key, 1, o.batch]
            found["one_at_a_time_peak_bytes"] = middle([one["added"] for one in alone])
            found["xla"]["one_at_a_time_temporary_bytes"] = alone[0]["temporary"]
        result[key] = found
    print(json.dumps(result))


if __name__ == "__main__":
    main()
