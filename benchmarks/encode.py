"""Tokens per second of encoding, beside what no encoder can avoid, in interleaved rounds of one run.

    python benchmarks/encode.py [--layers 4 --width 256 … --threads 1]
    python benchmarks/encode.py --checkpoint DIR [--context 128 --batch 4]

Prints one JSON line: for each key the median rate and its spread over the rounds, the FLOPs counted, and the share of
the limit that FLOPs set: rate / (forward × FLOPs of forward / FLOPs that the method cannot avoid).

    forward          the loss of all tokens without gradient
    frozen           forward + activation backward down to the embeddings, no weight gradient
    train_step       an ordinary AdamW step on the same batch
    encode_none      no second moments; encode_rank_one: Adam reduced; encode_exact: Adam element-wise
    naive            vmapped whole gradients, divided and projected afterwards

With --checkpoint, a model that was trained or imported, of whatever family, is measured with its own parameters and the
second moments of two Adam steps, without `encode_exact` and `naive` unless --keys names them; `routes` then counts the
matrices that are encoded, layer by layer, and the path that each takes.

Each key is the fastest of its variants: layers scanned or unrolled, examples batched or one at a time, with several
threads also divided over one CPU device per thread, and for the forward pass three ways to the loss. Two rounds over
all of them (`variants`) choose it, the others measure it.
"""

import argparse
import functools
import json
import statistics
import time

import subject


def parsed():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    subject.add_options(parser, threads=2, rounds=9)
    parser.add_argument("--optimizer", choices=("adamw", "adafactor"), default="adamw")
    parser.add_argument("--keys", default="", help="comma-separated; all when empty")
    parser.add_argument("--checkpoint", default="", help="a checkpoint artifact, whose shape replaces the options'")
    return parser.parse_args()


KEYS = ("forward", "frozen", "train_step", "encode_none", "encode_rank_one", "encode_exact", "naive")


def wanted(o):
    """The keys that are measured; those that need a gradient per example only of the small default model."""
    return tuple(key for key in o.keys.split(",") if key) or (KEYS[:5] if o.checkpoint else KEYS)


def flops(o):
    """Floating-point operations per token that each method cannot avoid; a product of m×k and k×n counts 2mkn."""
    head_size = getattr(o, "head_size", o.width // o.heads)
    queries, kv = o.heads * head_size, o.kv_heads * head_size
    sides = [(o.width, queries), (o.width, kv), (o.width, kv), (queries, o.width)]
    sides += [(o.width, o.mlp_width)] * (1 + getattr(o, "gated", True)) + [(o.mlp_width, o.width)]
    matrices = o.layers * sum(2 * m * n for m, n in sides)
    # Causal attention needs half of the T × T products; counted whole, because that is what every rival computes.
    attention = o.layers * 2 * 2 * o.context * queries
    head = 2 * o.width * o.vocabulary
    forward = matrices + attention + head
    # Nothing below the lowest probes: no gradient of the first layer's input through query, key and value.
    bottom = sum(2 * m * n for m, n in sides[:3])
    backward = matrices - bottom + 2 * attention + head
    p = o.projected_size
    rank_one = o.layers * sum(2 * p * (m + n) + 2 * p * p for m, n in sides)
    # The weight gradient costs as much per token as the forward product; its projection is shared by T tokens.
    projection = o.layers * sum(2 * p * m * n + 2 * p * p * max(m, n) for m, n in sides) / o.context
    return {
        "forward": forward,
        "frozen": forward + backward + bottom,
        "encode_rank_one": forward + backward + rank_one,
        "encode_exact": forward + backward + matrices + projection,
    }


def rounds_of(programs, tokens, rounds):
    """Rates of each program, in turn in each round, so that a change of the machine's speed hits all alike."""
    rates = {name: [] for name in programs}
    for _ in range(rounds):
        for name, program in programs.items():
            start = time.perf_counter()
            program()
            rates[name].append(tokens / (time.perf_counter() - start))
    return rates


def fastest(rates):
    """The variant of each key with the greatest median."""
    medians = {name: statistics.median(values) for name, values in rates.items()}
    keys = dict.fromkeys(name.split("/")[0] for name in rates)
    return {key: max((n for n in rates if n.split("/")[0] == key), key=medians.get) for key in keys}


def programs_of(o):
    """Every variant of every key, as functions without arguments that finish one pass over the batch."""
    import flax.linen as nn
    import jax
    import jax.numpy as jnp
    from jax.sharding import PartitionSpec

    from jax_tda import Encoder
    from jax_tda.core import mesh as meshes
    from jax_tda.core import trees
    from jax_tda.models import likelihood

    made, keys = subject.build(o), wanted(o)
    moments, batch = made.moments(o.optimizer), jax.tree.map(jnp.asarray, made.batch)
    several = meshes.make_mesh() if len(jax.devices()) > 1 else None

    def plain(model, params, tokens, weights):
        return likelihood.loss(model.apply({"params": params}, tokens), tokens, weights)

    def fused(model, params, tokens, weights):
        """The encoder's own loss, a piece of the vocabulary at a time; without a gradient only its value is formed."""
        hidden = model.apply({"params": params}, tokens, method="hidden")
        return likelihood.head_loss(hidden[:-1], head(model, params), tokens[1:], weights[1:])

    def head(model, params):
        """The rows [V, D] that hidden states are multiplied by."""
        path = model.head_path()
        leaf = trees.flatten(params)[path]
        return leaf.T if path.endswith("kernel") else leaf

    def value_only(model, params, tokens, weights):
        """Whole logits, their largest, and the sum of powers, with as few passes over them as a loss can have."""
        hidden = model.apply({"params": params}, tokens, method="hidden")
        logits = hidden[:-1] @ head(model, params).T
        chosen = jnp.take_along_axis(logits, tokens[1:, None], axis=-1)[:, 0]
        return jnp.sum(weights[1:] * (jax.nn.logsumexp(logits, axis=-1) - chosen))

    def lifted(function, at_once, mesh=None):
        def run(params, batch):
            def one(example):
                return function(params, example["tokens"], example["loss_weights"])

            return jax.vmap(one)(batch) if at_once == 0 else jax.lax.map(one, batch)

        if mesh is None:
            return jax.jit(run)
        whole, split = PartitionSpec(), PartitionSpec(meshes.DATA)
        return jax.jit(jax.shard_map(run, mesh=mesh, in_specs=(whole, split), out_specs=split, check_vma=False))

    def frozen(model, params, tokens, weights):
        # A zero added to the embeddings receives the gradient of the lowest activation.
        def perturbed(zero):
            def shift(next_function, arguments, keywords, context):
                output = next_function(*arguments, **keywords)
                embeds = isinstance(context.module, nn.Embed) and context.method_name == "__call__"
                return output + zero if embeds else output

            with nn.intercept_methods(shift):
                return fused(model, params, tokens, weights)

        return jax.grad(perturbed)(jnp.zeros((tokens.shape[0], o.width)))

    def timed(function, *arguments):
        return lambda: jax.block_until_ready(function(*arguments))

    programs = {}
    ways = {"batched": 0, "single": 1}
    # A model that caps its logits has no loss but the plain one.
    losses = {"plain": plain, "value": value_only, "fused": fused} if made.scanned.head_path() else {"plain": plain}
    for name, (model, own) in made.models.items():
        for way, at_once in ways.items() if "forward" in keys else ():
            for loss_name, loss in losses.items():
                programs[f"forward/{name}/{way}/{loss_name}"] = timed(
                    lifted(functools.partial(loss, model), at_once), own, batch
                )
                if several is not None and at_once:
                    shared = jax.device_put(own, meshes.replicated(several))
                    split = jax.device_put(batch, meshes.batch_sharding(several))
                    programs[f"forward/{name}/{way}/{loss_name}/devices"] = timed(
                        lifted(functools.partial(loss, model), at_once, several), shared, split
                    )
        for way, at_once in ways.items() if "frozen" in keys and "fused" in losses else ():
            programs[f"frozen/{name}/{way}"] = timed(lifted(functools.partial(frozen, model), at_once), own, batch)
        if "train_step" in keys:
            train, state = made.trained(o.optimizer, name)
            programs[f"train_step/{name}"] = timed(train, state, batch)
    for key, (seconds, reduction) in {
        "encode_none": (None, "rank_one"),
        "encode_rank_one": (moments, "rank_one"),
        "encode_exact": (moments, "exact"),
    }.items():
        for name in made.models if key in keys else ():
            for way, at_once in ways.items():
                for place, mesh in {"": None, "/devices": several}.items():
                    if place and (mesh is None or not at_once):
                        continue
                    encoder = Encoder(
                        made.scanned, made.params, seconds, "groups", o.projected_size, mesh=mesh,
                        reduction=reduction, examples_at_once=at_once, unroll_layers=name == "unrolled",
                        self_check=0,
                    )  # fmt: skip
                    programs[f"{key}/{name}/{way}{place}"] = timed(encoder.encode, batch)
                    o.routes = routes(encoder.plan)
    if "naive" not in keys:
        return programs
    reference = Encoder(made.scanned, made.params, None, "groups", o.projected_size)
    sides = {m.path: reference.projections(m.path) for m in reference.plan.matrices}
    leaves = trees.flatten(made.params)
    roots = {
        path: jnp.asarray(1 / (moments.full(path, leaves[path].shape) ** 0.5 + 1e-8), jnp.float32) for path in sides
    }

    def naive(params, tokens, weights):
        gradient = trees.flatten(jax.grad(lambda p: plain(made.scanned, p, tokens, weights))(params))
        return {path: left @ (gradient[path] * roots[path]) @ right.mT for path, (left, right) in sides.items()}

    programs["naive"] = timed(lifted(naive, 0), made.params, batch)
    return programs


def routes(plan):
    """How many matrices are encoded by each path; a scanned parameter holds one for each layer."""
    counts = {}
    for matrix in plan.matrices:
        counts[matrix.route] = counts.get(matrix.route, 0) + max(1, matrix.layers)
    return counts


def main():
    o = parsed()
    subject.pin(o.threads)
    programs = programs_of(o)
    for program in programs.values():
        program()  # Compiles.
    tokens = o.batch * o.context
    tried = rounds_of(programs, tokens, 2)
    # Only the fastest variants are measured: batches in flight as a whole would turn the others' caches over.
    rates = rounds_of({name: programs[name] for name in fastest(tried).values()}, tokens, o.rounds)
    print(json.dumps(summary(o, rates, tried)))


def summary(o, rates, tried):
    """Per key median, minimum and maximum of its fastest variant, and the shares of the limits."""
    counted = flops(o)
    options = {name: value for name, value in vars(o).items() if name != "routes"}
    result = {"options": options, "cpu": subject.cpu_model(), "flops_per_token": counted}
    result["routes"] = getattr(o, "routes", None)
    for name, values in rates.items():
        key = name.split("/")[0]
        result[key] = round(statistics.median(values), 1)
        result[f"{key}_spread"] = [round(min(values), 1), round(max(values), 1)]
        result[f"{key}_variant"] = name.partition("/")[2]
    result["variants"] = {name: round(statistics.median(values), 1) for name, values in tried.items()}
    for key in ("encode_rank_one", "encode_exact"):
        if key in result and "forward" in result:
            limit = result["forward"] * counted["forward"] / counted[key]
            result[f"share_of_limit_{key.removeprefix('encode_')}"] = round(result[key] / limit, 3)
    return result


if __name__ == "__main__":
    main()
