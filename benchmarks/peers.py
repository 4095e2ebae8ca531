"""Encoding beside other libraries: the same weights, tokens, second moments and projections, in rounds of one run.

    python benchmarks/peers.py --peer_python PYTHON [--threads 1 --keys … and the options of encode.py]

PYTHON is an interpreter that has torch, transformers and bergson (and dattri-llm with dattri) installed; it runs
peers_worker.py. Hardware: CPU cores, one unless asked otherwise; both processes are pinned to the same ones and take
turns, so that one computes at a time. Before anything is timed, losses and, matrix by matrix, bergson's encodings must
agree with ours; otherwise the run stops. Prints one JSON line: for each key the median tokens/s by wall clock and by
CPU seconds, the range over the rounds, the variant that was fastest when tried, and our rates divided by bergson's.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import subject

# Ours / theirs, and what we aim at.
BARS = {
    "adafactor": ("encode_adafactor", "bergson_adafactor", 1.3),
    "adam_exact": ("encode_exact", "bergson_adamw", 1.0),
    "adam_reduced": ("encode_rank_one", "bergson_adamw", 1.4),
}
# Key: the optimizer whose second moments divide, and how they are reduced.
OURS = {
    "encode_none": (None, "rank_one"),
    "encode_rank_one": ("adamw", "rank_one"),
    "encode_exact": ("adamw", "exact"),
    "encode_adafactor": ("adafactor", "rank_one"),
}
CHECKED = {
    "bergson_none": "encode_none",
    "bergson_adafactor": "encode_adafactor",
    "bergson_adamw": "encode_exact",
    "bergson_adamw_reduced": "encode_rank_one",
}
LOSS_TOLERANCE = 1e-4
# Float32 through another library's kernels: a mistake in a projection or a moment is of the order of 1.
ENCODING_TOLERANCE = 1e-3
NAMES = {
    "attention/query": "self_attn.q_proj",
    "attention/key": "self_attn.k_proj",
    "attention/value": "self_attn.v_proj",
    "attention/output": "self_attn.o_proj",
    "mlp/gate": "mlp.gate_proj",
    "mlp/up": "mlp.up_proj",
    "mlp/down": "mlp.down_proj",
}


def parsed():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    subject.add_options(parser)
    parser.add_argument("--peer_python", required=True, help="an interpreter with torch, transformers and the peers")
    parser.add_argument("--blocks", choices=("matrices", "groups"), default="matrices", help="as bergson: matrices")
    parser.add_argument("--keys", default="", help="comma-separated; all when empty")
    return parser.parse_args()


def variants(made):
    """The ways that are tried, the fastest of which is measured: (name, layers, examples at once)."""
    del made
    return [("unrolled/single", "unrolled", 1), ("unrolled/batched", "unrolled", 0)]


def encoder(made, key, layers, at_once, blocks, projected_size):
    from jax_tda import Encoder

    optimizer, reduction = OURS[key]
    moments = made.moments(optimizer) if optimizer else None
    return Encoder(
        made.scanned, made.params, moments, blocks, projected_size,
        reduction=reduction, examples_at_once=at_once, unroll_layers=layers == "unrolled", self_check=0,
    )  # fmt: skip


def program(made, key, layers, at_once, o):
    """A function without arguments that finishes one pass over the batch."""
    import jax

    from jax_tda.models import likelihood

    if key in OURS:
        encode = encoder(made, key, layers, at_once, o.blocks, o.projected_size).encode
        return lambda: jax.block_until_ready(encode(made.batch))

    model, own = made.models[layers]

    def loss(params, example):
        logits = model.apply({"params": params}, example["tokens"])
        return likelihood.loss(logits, example["tokens"], example["loss_weights"])

    def losses(params, batch):
        one = lambda example: loss(params, example)  # noqa: E731
        return jax.lax.map(one, batch) if at_once == 1 else jax.vmap(one)(batch)

    lifted = jax.jit(losses)
    return lambda: jax.block_until_ready(lifted(own, made.batch))


def timed(function):
    start, cpu = time.perf_counter(), time.process_time()
    function()
    return {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}


def tuned(made, key, o):
    """The fastest variant of a key, and its name: one pass to compile, the better of two."""
    tried = {}
    for name, layers, at_once in variants(made):
        function = program(made, key, layers, at_once, o)
        function()
        tried[name] = min(timed(function)["seconds"] for _ in range(2)), function
    best = min(tried, key=lambda name: tried[name][0])
    return tried[best][1], best


def handed_over(made, o):
    """Weights, projections and second moments by the names and in the orientation (out, in) of LlamaForCausalLM."""
    import numpy as np

    from jax_tda.core import trees

    leaves = {path: np.asarray(leaf) for path, leaf in trees.flatten(made.params).items()}
    given = {"tokens": made.batch["tokens"]}
    given["w/model.embed_tokens.weight"] = leaves["embedding/embedding"]
    given["w/model.norm.weight"] = leaves["final_norm/scale"]
    reference = encoder(made, "encode_none", "scanned", 0, "matrices", o.projected_size)
    for layer in range(o.layers):
        for own, theirs in {"attention_norm": "input_layernorm", "mlp_norm": "post_attention_layernorm"}.items():
            given[f"w/model.layers.{layer}.{theirs}.weight"] = leaves[f"layers/{own}/scale"][layer]
        for own, theirs in NAMES.items():
            path, name = f"layers/{own}/kernel", f"layers.{layer}.{theirs}"
            given[f"w/model.{name}.weight"] = leaves[path][layer].T
            # Their left side is the output.
            right, left = reference.projections(path)
            given[f"left/{name}"], given[f"right/{name}"] = left[layer], right[layer]
            for optimizer, kind in {"adamw": "adamw_reduced", "adafactor": "adafactor"}.items():
                v = made.moments(optimizer).full(path, leaves[path].shape)[layer].T
                given[f"{kind}_row/{name}"], given[f"{kind}_column/{name}"] = v.mean(1), v.mean(0)
                if optimizer == "adamw":
                    given[f"adamw/{name}"] = v
    return {
        name: np.ascontiguousarray(value, value.dtype if name == "tokens" else np.float32)
        for name, value in ((name, np.asarray(value)) for name, value in given.items())
    }


class Peer:
    """The other process: one JSON line asks, one answers."""

    def __init__(self, python, folder):
        worker = Path(__file__).with_name("peers_worker.py")
        self.process = subprocess.Popen(
            [python, str(worker), str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.folder = folder
        self.about = self._answer()

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("The peer's process ended; what it said stands above.")
        return json.loads(line)

    def ask(self, command, key=""):
        self.process.stdin.write(json.dumps({"command": command, "key": key}) + "\n")
        answer = self._answer()
        if "failed" in answer and command != "tune":
            raise SystemExit(f"The peer failed at {command} {key}: {answer['failed']}")
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def compared(made, peer, o):
    """The largest relative differences of losses and encodings; leaves the program where they are no rounding."""
    import jax
    import numpy as np

    from jax_tda.models import likelihood

    logits = jax.jit(lambda tokens: made.scanned.apply({"params": made.params}, tokens))
    ours = np.concatenate(
        [likelihood.loss(logits(t[None]), t[None], w[None]) for t, w in zip(*made.batch.values(), strict=True)]
    )
    found = {
        f"loss, {attention}": float(np.max(np.abs(np.array(theirs) - ours) / ours))
        for attention, theirs in peer.ask("loss")["losses"].items()
    }
    keys = [key for key in CHECKED if "bergson_none" in peer.about["keys"]]
    for key in keys:
        peer.ask("encode", key)
        theirs = np.load(peer.folder / "encodings.npz")
        encoded = encoder(made, CHECKED[key], "scanned", 1, "matrices", o.projected_size).encode(made.batch)
        distances = []
        for layer in range(o.layers):
            for own, name in NAMES.items():
                a = np.asarray(encoded[f"layers/{own}/kernel/{layer}"], np.float64).swapaxes(1, 2)
                b = theirs[f"layers.{layer}.{name}"].astype(np.float64)
                distances.append(np.linalg.norm(a - b) / np.linalg.norm(b))
        found[f"{key} = {CHECKED[key]}"] = float(max(distances))
    print(json.dumps({"relative_differences": found}), file=sys.stderr)
    beyond = {
        name: value
        for name, value in found.items()
        if not value <= (LOSS_TOLERANCE if name.startswith("loss") else ENCODING_TOLERANCE)
    }
    if beyond:
        raise SystemExit(f"The two do not compute the same: {beyond}; rates would compare nothing.")
    return found


def summary(o, peer, measured, variant, differences):
    import jax
    import jaxlib

    import jax_tda

    tokens, result = o.batch * o.context, {"options": {k: v for k, v in vars(o).items() if k != "peer_python"}}
    versions = {"jax_tda": jax_tda.__version__, "jax": jax.__version__, "jaxlib": jaxlib.__version__}
    result |= {"cpu": subject.cpu_model(), "versions": versions, "peer_versions": peer.about["versions"]}
    result |= {"relative_differences": differences, "missing": peer.about["missing"]}
    for key, times in measured.items():
        rates = [tokens / one["seconds"] for one in times]
        result[key] = round(statistics.median(rates), 1)
        result[f"{key}_spread"] = [round(min(rates), 1), round(max(rates), 1)]
        result[f"{key}_per_cpu_second"] = round(statistics.median(tokens / one["cpu_seconds"] for one in times), 1)
        result[f"{key}_variant"] = variant[key]
    result["ratios"] = {}
    for name, (ours, theirs, aim) in BARS.items():
        if ours in measured and theirs in measured:
            # Within a round both saw the same machine.
            each = [b["seconds"] / a["seconds"] for a, b in zip(measured[ours], measured[theirs], strict=True)]
            result["ratios"][name] = {
                "what": f"{ours} / {theirs}",
                "wall": round(statistics.median(each), 3),
                "spread": [round(min(each), 3), round(max(each), 3)],
                "cpu": round(result[f"{ours}_per_cpu_second"] / result[f"{theirs}_per_cpu_second"], 3),
                "aim": aim,
            }
    return result


def main():
    o = parsed()
    subject.pin(o.threads)
    import numpy as np

    made = subject.build(o)
    wanted = [key for key in o.keys.split(",") if key]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "model.npz", **handed_over(made, o))
        config = made.scanned.config
        given = {**vars(o), "norm_epsilon": config.norm_epsilon, "rope_theta": config.rope_theta}
        (folder / "options.json").write_text(json.dumps(given), "utf-8")
        peer = Peer(o.peer_python, folder)
        differences = compared(made, peer, o)
        own = [key for key in ("forward", *OURS) if not wanted or key in wanted]
        others = [key for key in peer.about["keys"] if not wanted or key in wanted]
        known = {"forward", *OURS, *peer.about["keys"], *peer.about["missing"]}
        if set(wanted) - known:
            raise SystemExit(f"unknown keys {sorted(set(wanted) - known)}; there are {sorted(known)}")
        programs, variant = {}, {}
        for key in own:
            programs[key], variant[key] = tuned(made, key, o)
        for key in tuple(others):
            answer = peer.ask("tune", key)
            if "failed" in answer:
                peer.about["missing"][key] = answer["failed"]
                others.remove(key)
            else:
                variant[key] = answer["variant"]
        measured = {key: [] for key in own + others}
        for number in range(o.rounds):
            # Ours and theirs in turn, each round from the other end, so that none always follows the same one.
            order = [key for pair in _zipped(own, others) for key in pair]
            for key in order if number % 2 == 0 else reversed(order):
                measured[key].append(timed(programs[key]) if key in programs else peer.ask("run", key))
        print(json.dumps(summary(o, peer, measured, variant, differences)))
        peer.close()


def _zipped(one, other):
    """One of each in turn, then the rest of the longer."""
    longer = max(len(one), len(other))
    return [[keys[i] for keys in (one, other) if i < len(keys)] for i in range(longer)]


if __name__ == "__main__":
    main()
