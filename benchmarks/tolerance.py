"""How far an encoding moves when nothing but the machine's way of computing it changes.

    JAX_PLATFORMS=cpu python benchmarks/tolerance.py [--dtype bfloat16] [--width 96 …] [--json]

Hardware: anything; about a minute on two CPU cores. Expected: every line at most 1e-5 in float32 (docs/precision.md). A
tiny decoder takes a few steps of Adam; each line is the largest ‖a − b‖ / ‖b‖ over blocks, over all examples together.
"""

import argparse
import json
import os

# XLA reads this when JAX is imported; a machine with real devices ignores it.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8".strip()

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jax_tda
from jax_tda.core import mesh as meshes
from jax_tda.core import trees
from jax_tda.models import likelihood
from jax_tda.models.batch_gradient import mean_loss
from jax_tda.models.decoder import Decoder, DecoderConfig

LIMITS = {"float32": 1e-5}
_EXAMPLES, _LENGTH, _BUCKET, _VOCABULARY = 16, 24, 40, 64
_MESHES = ((8, 1), (4, 2), (2, 4))


def distance(got, expected):
    """The largest ‖a − b‖ / ‖b‖ over blocks, in float64."""
    assert set(got) == set(expected)
    pairs = [(np.asarray(got[block], np.float64), np.asarray(expected[block], np.float64)) for block in expected]
    return max(float(np.linalg.norm(a - b) / np.linalg.norm(b)) for a, b in pairs)


def batch(seed=0):
    """Random tokens of uneven lengths, padded with 0 and weight 0."""
    generator = np.random.default_rng(seed)
    real = np.arange(_LENGTH) < generator.integers(_LENGTH // 2, _LENGTH + 1, _EXAMPLES)[:, None]
    tokens = generator.integers(1, _VOCABULARY, (_EXAMPLES, _LENGTH))
    return {"tokens": np.where(real, tokens, 0).astype(np.int32), "loss_weights": real.astype(np.float32)}


def trained(model, steps=5):
    """Parameters and Adam's state after a few steps, so that the second moments are real ones."""
    params = model.init(jax.random.key(1), jnp.zeros((1, 2), jnp.int32))["params"]
    optimizer = optax.adam(1e-2, b2=0.98)
    state = optimizer.init(params)
    gradient = jax.jit(jax.grad(lambda p, b: mean_loss(model, p, b["tokens"], b["loss_weights"])))
    for step in range(steps):
        updates, state = jax.jit(optimizer.update)(gradient(params, batch(step + 1)), state, params)
        params = optax.apply_updates(params, updates)
    return params, state[0]


def naive(encoder, model, params, moments, examples, exact):
    """Whole gradients, one example at a time; over √V, projected and summed per block in float64."""

    @jax.jit
    def gradient(tokens, weights):
        return jax.grad(lambda p: likelihood.loss(model.apply({"params": p}, tokens), tokens, weights))(params)

    encoded = {block: 0.0 for block in encoder.plan.blocks}
    whole = [trees.flatten(gradient(*one)) for one in zip(examples["tokens"], examples["loss_weights"], strict=True)]
    for matrix in encoder.plan.matrices:
        v = moments.full(matrix.path, matrix.shape)
        row, column, mean = v.mean(-1, keepdims=True), v.mean(-2, keepdims=True), v.mean((-2, -1), keepdims=True)
        root = np.sqrt(v) + moments.epsilon if exact else np.sqrt(row * column / mean)
        left, right = (np.asarray(side, np.float64) for side in encoder.projections(matrix.path))
        corrected = np.stack([np.asarray(g[matrix.path], np.float64) for g in whole]) / root
        projected = np.einsum("lpi,blio,lqo->blpq", left, corrected, right, optimize=True)
        for layer, block in enumerate(matrix.blocks):
            encoded[block] = encoded[block] + projected[:, layer]
    return encoded


def measure(config, projected_size):
    """Every deviation by name."""
    model, examples = Decoder(config), batch()
    params, state = trained(model)
    moments = jax_tda.second_moments_from(state, b2=0.98)

    def encoder(**options):
        return jax_tda.Encoder(model, params, moments, "groups", projected_size, **options)

    def from_naive(made, exact):
        return distance(made.encode(examples), naive(made, model, params, moments, examples, exact))

    plain = encoder()
    expected = plain.encode(examples)

    def rows(*parts):
        """The examples encoded part by part, each cut to a length that holds it."""
        found = [plain.encode({n: a[part, :length] for n, a in examples.items()}) for part, length in parts]
        order = np.argsort(np.concatenate([part for part, _ in parts]))
        return {block: np.concatenate([one[block] for one in found])[order] for block in expected}

    lengths = (examples["loss_weights"] > 0).sum(1)
    longest = int(lengths.max())
    short = lengths <= int(np.median(lengths))
    padded = {name: np.pad(array, ((0, 0), (0, _BUCKET - _LENGTH))) for name, array in examples.items()}
    return {
        "alone instead of in a batch": distance(rows(*((np.array([i]), _LENGTH) for i in range(_EXAMPLES))), expected),
        "padded to a longer length": distance(plain.encode(padded), expected),
        "in two length buckets": distance(
            rows((np.flatnonzero(short), int(lengths[short].max())), (np.flatnonzero(~short), longest)), expected
        ),
        f"on {len(jax.devices())} devices instead of 1": distance(
            encoder(mesh=meshes.make_mesh()).encode(examples), expected
        ),
        **{
            f"weights divided over {data} × {model}": distance(
                encoder(mesh=meshes.make_mesh(meshes.MeshConfig(data, model)), weights="sharded").encode(examples),
                expected,
            )
            for data, model in _MESHES
            if data * model == len(jax.devices())
        },
        "layers scanned instead of unrolled": distance(encoder(unroll_layers=False).encode(examples), expected),
        "probe against naive, V of rank one": from_naive(plain, exact=False),
        "probe against naive, V exact": from_naive(encoder(reduction="exact"), exact=True),
    }


def main():
    """Prints the deviations, and fails where one is beyond the promised limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in {"layers": 3, "width": 32, "heads": 4, "mlp-width": 48, "projected-size": 8}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    given = parser.parse_args()
    shape = {"layers": given.layers, "width": given.width, "mlp_width": given.mlp_width, "dtype": given.dtype}
    config = DecoderConfig(vocabulary_size=_VOCABULARY, heads=given.heads, kv_heads=given.heads, **shape)
    found, limit = measure(config, given.projected_size), LIMITS.get(given.dtype)
    if given.json:
        print(json.dumps({"backend": jax.default_backend(), **shape, "limit": limit, "deviations": found}, indent=1))
    else:
        promised = f"promised ≤ {limit:g}" if limit else "no promise"
        print(f"{jax.default_backend()}, {given.layers} layers of width {given.width}, {given.dtype}: {promised}")
        for name, value in found.items():
            print(f"  {name:40}{value:.1e}")
    if limit and max(found.values()) > limit:
        raise SystemExit("A deviation is beyond the limit.")


if __name__ == "__main__":
    main()
