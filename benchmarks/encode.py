"""Tokens per second of encoding, beside what no encoder can avoid, in interleaved rounds of one run.

    python benchmarks/encode.py [--layers 4 --width 256 … --threads 1]

Prints one JSON line: for each key the median rate and its spread over the rounds, the FLOPs counted, and the share of
the limit that FLOPs set: rate / (forward × FLOPs of forward / FLOPs that the method cannot avoid).

    forward          the loss of all tokens without gradient; the fastest of its variants
    frozen           forward + activation backward down to the embeddings, no weight gradient
    train_step       an ordinary AdamW step on the same batch
    encode_none      no second moments; encode_rank_one: Adam reduced; encode_exact: Adam element-wise
    naive            vmapped whole gradients, divided and projected afterwards
"""

import argparse
import functools
import json
import os
import statistics
import time


def parsed():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in {
        "layers": 4, "width": 256, "mlp_width": 1024, "heads": 4, "kv_heads": 4, "context": 256,
        "vocabulary": 8192, "batch": 16, "projected_size": 16, "threads": 2, "rounds": 5,
    }.items():  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--optimizer", choices=("adamw", "adafactor"), default="adamw")
    parser.add_argument("--keys", default="", help="comma-separated; all when empty")
    return parser.parse_args()


def flops(o):
    """Floating-point operations per token that each method cannot avoid; a product of m×k and k×n counts 2mkn."""
    head_size = o.width // o.heads
    kv = o.kv_heads * head_size
    sides = [(o.width, o.width), (o.width, kv), (o.width, kv), (o.width, o.width)]
    sides += [(o.width, o.mlp_width), (o.width, o.mlp_width), (o.mlp_width, o.width)]
    matrices = o.layers * sum(2 * m * n for m, n in sides)
    # Causal attention needs half of the T × T products; counted whole, because that is what every rival computes.
    attention = o.layers * 2 * 2 * o.context * o.width
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
    for program in programs.values():
        program()  # Compiles.
    for _ in range(rounds):
        for name, program in programs.items():
            start = time.perf_counter()
            program()
            rates[name].append(tokens / (time.perf_counter() - start))
    return rates


def main():
    o = parsed()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: o.threads])
    os.environ.setdefault("JAX_PLATFORMS", "cpu")

    import jax
    import jax.numpy as jnp
    import numpy as np

    from jax_tda import Encoder, second_moments_from
    from jax_tda.models import likelihood
    from jax_tda.models.decoder import Decoder, DecoderConfig
    from jax_tda.training import optimizers, step

    config = DecoderConfig(
        vocabulary_size=o.vocabulary, layers=o.layers, width=o.width, heads=o.heads, kv_heads=o.kv_heads,
        mlp_width=o.mlp_width, tied=True,
    )  # fmt: skip
    import dataclasses

    scanned, unrolled = Decoder(config), Decoder(dataclasses.replace(config, scan_unroll=o.layers))
    params = jax.jit(lambda: scanned.init(jax.random.key(0), jnp.zeros((1, 2), jnp.int32))["params"])()
    generator = np.random.default_rng(0)
    tokens = jnp.asarray(generator.integers(1, o.vocabulary, (o.batch, o.context)), jnp.int32)
    batch = {"tokens": tokens, "loss_weights": jnp.ones(tokens.shape, jnp.float32)}
    optimizer = optimizers.make(optimizers.OptimizerConfig(name=o.optimizer), 1000)
    state = step.TrainState(jnp.int32(0), params, optimizer.init(params))
    train = jax.jit(functools.partial(step.train_step, scanned, optimizer))
    for _ in range(2):
        state, _ = train(state, batch)
    moments = second_moments_from(state.opt_state, b2=0.98)

    def plain(model, params, tokens, weights):
        return likelihood.loss(model.apply({"params": params}, tokens), tokens, weights)

    def fused(model, params, tokens, weights):
        hidden = model.apply({"params": params}, tokens, method="hidden")
        return likelihood.head_loss(hidden, params["embedding"]["embedding"], tokens, weights)

    def value_only(model, params, tokens, weights):
        """The fused loss without its gradient: logits, their largest, and the sum of powers."""
        hidden = model.apply({"params": params}, tokens, method="hidden")
        logits = hidden[:-1] @ params["embedding"]["embedding"].T
        chosen = jnp.take_along_axis(logits, tokens[1:, None], axis=-1)[:, 0]
        return jnp.sum(weights[1:] * (jax.nn.logsumexp(logits, axis=-1) - chosen))

    def lifted(function, at_once):
        def run(params, batch):
            def one(example):
                return function(params, example["tokens"], example["loss_weights"])

            return jax.vmap(one)(batch) if at_once == 0 else jax.lax.map(one, batch)

        return jax.jit(run)

    def frozen(model, loss, params, tokens, weights):
        # A zero added to the embeddings receives the gradient of the lowest activation.
        def perturbed(zero):
            table = params["embedding"]["embedding"]
            shifted = {**params, "embedding": {"embedding": table}}
            return loss(model, shifted, tokens, weights, zero)

        return jax.grad(perturbed)(jnp.zeros((tokens.shape[0], o.width)))

    def loss_from(model, params, tokens, weights, zero):
        import flax.linen as nn

        def shift(next_function, arguments, keywords, context):
            output = next_function(*arguments, **keywords)
            return (
                output + zero if isinstance(context.module, nn.Embed) and context.method_name == "__call__" else output
            )

        with nn.intercept_methods(shift):
            return fused(model, params, tokens, weights)

    def timed(function, *arguments):
        return lambda: jax.block_until_ready(function(*arguments))

    programs = {}
    for name, model in {"scanned": scanned, "unrolled": unrolled}.items():
        for way, at_once in {"batched": 0, "single": 1}.items():
            for loss_name, loss in {"plain": plain, "value": value_only}.items():
                programs[f"forward/{name}/{way}/{loss_name}"] = timed(
                    lifted(functools.partial(loss, model), at_once), params, batch
                )
            programs[f"frozen/{name}/{way}"] = timed(
                lifted(functools.partial(frozen, model, loss_from), at_once), params, batch
            )
    programs["train_step"] = timed(train, state, batch)
    for key, (seconds, reduction) in {
        "encode_none": (None, "rank_one"),
        "encode_rank_one": (moments, "rank_one"),
        "encode_exact": (moments, "exact"),
    }.items():
        for name, model in {"scanned": scanned, "unrolled": unrolled}.items():
            for way, at_once in {"batched": 0, "single": 1}.items():
                encoder = Encoder(
                    model, params, seconds, "groups", o.projected_size, reduction=reduction, examples_at_once=at_once
                )
                programs[f"{key}/{name}/{way}"] = timed(encoder.encode, batch)
    roots = {path: jnp.float32(1.0) / (jnp.sqrt(jnp.asarray(moments.full(path, leaf.shape), jnp.float32)) + 1e-8)
             for path, leaf in _flat(params).items()}  # fmt: skip
    reference = Encoder(scanned, params, None, "groups", o.projected_size)
    sides = {m.path: reference.projections(m.path) for m in reference.plan.matrices}

    def naive(params, tokens, weights):
        gradient = _flat(jax.grad(lambda p: plain(scanned, p, tokens, weights))(params))
        return {path: left @ (gradient[path] * roots[path]) @ right.mT for path, (left, right) in sides.items()}

    programs["naive"] = timed(lifted(naive, 0), params, batch)
    wanted = [key for key in o.keys.split(",") if key]
    programs = {n: p for n, p in programs.items() if not wanted or n.split("/")[0] in wanted}
    rates = rounds_of(programs, o.batch * o.context, o.rounds)
    print(json.dumps(summary(o, rates)))


def _flat(params):
    from jax_tda.core import trees

    return trees.flatten(params)


def summary(o, rates):
    """Per key the fastest variant's median, minimum and maximum, and the shares of the limits."""
    counted = flops(o)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    keys = dict.fromkeys(name.split("/")[0] for name in rates)
    best = {key: max((n for n in rates if n.split("/")[0] == key), key=medians.get) for key in keys}
    result = {"options": vars(o), "flops_per_token": counted}
    for key, name in best.items():
        values = rates[name]
        result[key] = round(medians[name], 1)
        result[f"{key}_spread"] = [round(min(values), 1), round(max(values), 1)]
        result[f"{key}_variant"] = name.partition("/")[2]
    result["variants"] = {name: round(value, 1) for name, value in medians.items()}
    for key in ("encode_rank_one", "encode_exact"):
        if key in result and "forward" in result:
            limit = result["forward"] * counted["forward"] / counted[key]
            result[f"share_of_limit_{key.removeprefix('encode_')}"] = round(result[key] / limit, 3)
    return result


if __name__ == "__main__":
    main()
