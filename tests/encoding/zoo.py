"""Flax layers of every kind, each in loops over every axis, and how their kernels are matrices, written out by hand.

Every size is four and every loop has four steps, so that no shape tells one axis from another.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

WIDTH, LENGTH = 4, 8
# Flax asks what the axis of a loop is called where parameters are in boxes that name axes.
NAMED = {nn.PARTITION_NAME: "layers"}


class Layer(nn.Module):
    """[B, T, 4] → [B, T, 4] by one of `KINDS`; also the body of a scan."""

    kind: str

    @nn.compact
    def __call__(self, x, _=None):
        # Sixteen layers deep, a stream that grows by more leaves attention nothing to tell positions apart by.
        return x + 0.3 * jnp.tanh(KINDS[self.kind][0](x)), None


class Stack(nn.Module):
    """Tokens through a table, layers in loops as `LOOPS` says, and a head."""

    kind: str
    loop: str

    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(31, WIDTH, name="table")(tokens)
        module = functools.reduce(lambda inner, wrap: wrap(inner), reversed(LOOPS[self.loop][1]), Layer)
        y, _ = module(self.kind, name="deep")(x, None)
        y = y.reshape(-1, *x.shape).sum(0) if y.ndim > x.ndim else y
        return nn.Dense(31, name="out")(x + y)


def scan(axis, module):
    return nn.scan(
        module, variable_axes={"params": axis}, split_rngs={"params": True}, length=WIDTH, metadata_params=NAMED
    )


def vmap(axis, module):
    return nn.vmap(
        module, variable_axes={"params": axis}, split_rngs={"params": True}, in_axes=(None, None), out_axes=(0, None),
        axis_size=WIDTH,
        metadata_params=NAMED,
    )  # fmt: skip


def loop(*steps):
    return [axis for _, axis in steps], [functools.partial(kind, axis) for kind, axis in steps]


# Axes that count layers, outermost first, as whoever wraps counts them; and the wrappers.
LOOPS = {
    "alone": ([], []),
    "remat": ([], [nn.remat]),
    "jit": ([], [nn.jit]),
    "scan 0": loop((scan, 0)),
    "scan 1": loop((scan, 1)),
    "scan -1": loop((scan, -1)),
    "scan 0, remat": ([0], [functools.partial(scan, 0), nn.remat]),
    "vmap 0": loop((vmap, 0)),
    "vmap 1": loop((vmap, 1)),
    "vmap -1": loop((vmap, -1)),
    "scan 0 of scan 0": loop((scan, 0), (scan, 0)),
    "scan 1 of scan -1": loop((scan, 1), (scan, -1)),
    "scan 0 of vmap 1": loop((scan, 0), (vmap, 1)),
}


def heads(x):
    return x.reshape(*x.shape[:-1], 2, 2)


def whole(x, like):
    return x.reshape(like.shape)


def batched(x):
    rows = jnp.moveaxis(heads(x).reshape(-1, 2, 2), 1, 0)
    return whole(jnp.moveaxis(nn.DenseGeneral(2, batch_dims=0, name="it")(rows), 0, 1), x)


def low_rank(x):
    rank = Held((WIDTH, 2), (2, WIDTH), name="lora")(x)
    return nn.Dense(WIDTH, name="it")(x) + rank


class Held(nn.Module):
    """Two matrices held by hand."""

    first: tuple[int, int]
    second: tuple[int, int]

    @nn.compact
    def __call__(self, x):
        a = self.param("a", nn.initializers.normal(1.0), self.first)
        b = self.param("b", nn.initializers.normal(1.0), self.second)
        return x @ a @ b


def own_gradient(x):
    def backward(pull, gradient):
        of_params, *others = pull(gradient)
        return jax.tree.map(lambda leaf: 3 * leaf, of_params), *others

    own = nn.custom_vjp(lambda m, x: m(x), lambda m, x: nn.vjp(lambda m, y: m(y), m, x), backward)
    return own(nn.Dense(WIDTH, name="it"), x)


def twice(x):
    it = nn.Dense(WIDTH, name="it")
    return it(jnp.sin(it(x)))


def doubled(x):
    change = functools.partial(jax.tree.map, lambda leaf: 2 * leaf)
    return nn.map_variables(nn.Dense, "params", trans_in_fn=change, init=True)(WIDTH, name="it")(x)


class OneOfTwo(nn.Module):
    """Two layers, of which the input's sign takes one."""

    def setup(self):
        self.it, self.other = nn.Dense(WIDTH), nn.Dense(WIDTH)

    def __call__(self, x):
        if self.is_initializing():
            return self.it(x) + self.other(x)
        return nn.cond(x.sum() > 0, lambda m, x: m.it(x), lambda m, x: m.other(x), self, x)


def boxed(x):
    init = nn.with_partitioning(nn.initializers.normal(1.0), ("in", "out"))
    return nn.Dense(WIDTH, kernel_init=init, name="it")(x)


def rows(k):
    return k.reshape(-1, k.shape[-1])


def first_two(k):
    return k.reshape(k.shape[0] * k.shape[1], -1)


# What maps [B, T, 4] to itself, and of each kernel that is no matrix as it stands how it is one.
KINDS = {
    "Dense": (lambda x: nn.Dense(WIDTH, name="it")(x), {}),
    "Dense without bias": (lambda x: nn.Dense(WIDTH, use_bias=False, name="it")(x), {}),
    "a product of one's own": (
        lambda x: nn.Dense(WIDTH, dot_general=lambda *a, **k: 2 * jax.lax.dot_general(*a, **k), name="it")(x),
        {},
    ),
    "heads out": (
        lambda x: whole(nn.DenseGeneral((2, 2), name="it")(x), x),
        {"it/kernel": lambda k: k.reshape(4, 4), "it/bias": lambda b: b},
    ),
    "two axes": (lambda x: nn.DenseGeneral(WIDTH, axis=(-2, -1), name="it")(heads(x)), {"it/kernel": first_two}),
    "two axes, turned": (
        lambda x: nn.DenseGeneral(WIDTH, axis=(-1, -2), name="it")(heads(x)),
        {"it/kernel": first_two},
    ),
    "axes from both ends": (
        lambda x: nn.DenseGeneral(WIDTH, axis=(-1, 2), name="it")(heads(x)),
        {"it/kernel": first_two},
    ),
    "an axis in the middle": (lambda x: whole(nn.DenseGeneral(2, axis=-2, name="it")(heads(x)), x), {}),
    "batch of DenseGeneral": (batched, {"it/kernel": lambda k: k, "it/bias": lambda b: b}),
    "Einsum": (lambda x: nn.Einsum((4, 4), "...d,de->...e", name="it")(x), {}),
    "Einsum, kernel turned": (lambda x: nn.Einsum((4, 4), "btd,ed->bte", name="it")(x), {"it/kernel": lambda k: k.T}),
    "Einsum, output turned": (
        lambda x: whole(jnp.moveaxis(nn.Einsum((2, 4, 2), "btd,hdk->bhtk", use_bias=False, name="it")(x), 1, 2), x),
        {"it/kernel": lambda k: k.transpose(1, 0, 2).reshape(4, 4)},
    ),
    "Einsum, two in": (
        lambda x: nn.Einsum((2, 4, 2), "bthk,keh->bte", use_bias=False, name="it")(heads(x)),
        {"it/kernel": lambda k: k.transpose(0, 2, 1).reshape(4, 4)},
    ),
    "Einsum with a batch": (
        lambda x: whole(nn.Einsum((2, 2, 2), "...hd,hdk->...hk", use_bias=False, name="it")(heads(x)), x),
        {"it/kernel": lambda k: k},
    ),
    "Einsum, two ellipses": (
        lambda x: whole(nn.Einsum((2, 2, 2), "bt...d,...dk->bt...k", use_bias=False, name="it")(heads(x)), x),
        {"it/kernel": lambda k: k},
    ),
    "Einsum that sums its input": (lambda x: x + nn.Einsum((4, 4), "btd,de->be", name="it")(x)[:, None], {}),
    "attention": (
        lambda x: nn.MultiHeadDotProductAttention(2, name="it")(x, mask=nn.make_causal_mask(x[..., 0])),
        {
            "(query|key|value)/kernel": lambda k: k.reshape(4, 4),
            "(it|deep)/out/kernel": first_two,
            "(query|key|value)/bias": lambda b: b,
        },
    ),
    "attention, normalised": (
        lambda x: nn.MultiHeadAttention(2, qkv_features=8, use_bias=False, normalize_qk=True, name="it")(
            x, mask=nn.make_causal_mask(x[..., 0])
        ),
        {"(query|key|value)/kernel": lambda k: k.reshape(4, 8), "(it|deep)/out/kernel": first_two},
    ),
    "Conv": (lambda x: nn.Conv(WIDTH, (3,), padding="CAUSAL", name="it")(x), {"it/kernel": rows}),
    "Conv in groups": (
        lambda x: nn.Conv(WIDTH, (3,), feature_group_count=2, padding="CAUSAL", name="it")(x),
        {"it/kernel": rows},
    ),
    "ConvTranspose": (lambda x: nn.ConvTranspose(WIDTH, (3,), name="it")(x), {"it/kernel": rows}),
    "ConvTranspose, kernel turned": (
        lambda x: nn.ConvTranspose(WIDTH, (3,), transpose_kernel=True, name="it")(x),
        {"it/kernel": lambda k: rows(k.transpose(0, 2, 1))},
    ),
    "ConvLocal": (lambda x: nn.ConvLocal(WIDTH, (3,), use_bias=False, name="it")(x), {"it/kernel": lambda k: k}),
    "a table of positions": (lambda x: x + nn.Embed(LENGTH, WIDTH, name="it")(jnp.arange(x.shape[-2])), {}),
    "LoRA": (low_rank, {}),
    "WeightNorm": (lambda x: nn.WeightNorm(nn.Dense(WIDTH, name="it"))(x), {}),
    "WeightNorm of heads": (
        lambda x: whole(nn.WeightNorm(nn.DenseGeneral((2, 2), name="it"))(x), x),
        {"it/kernel": lambda k: k.reshape(4, 4), "it/bias": lambda b: b},
    ),
    "its own gradient": (own_gradient, {}),
    "one layer twice": (twice, {}),
    "a kernel doubled": (doubled, {}),
    "one of two": (lambda x: OneOfTwo(name="it")(x), {}),
    "in boxes": (boxed, {}),
    "norms": (lambda x: nn.RMSNorm(name="rms")(nn.GroupNorm(2, name="group")(nn.LayerNorm(name="layer")(x))), {}),
    "a slope": (lambda x: nn.PReLU(name="it")(x), {}),
    "GRU": (lambda x: nn.RNN(nn.GRUCell(WIDTH), name="it")(x), {}),
    "LSTM": (lambda x: nn.RNN(nn.LSTMCell(WIDTH), name="it")(x), {}),
    "optimised LSTM": (lambda x: nn.RNN(nn.OptimizedLSTMCell(WIDTH), name="it")(x), {}),
    "simple cell, both ways": (
        lambda x: nn.Bidirectional(nn.RNN(nn.SimpleCell(2)), nn.RNN(nn.SimpleCell(2)), name="it")(x),
        {},
    ),
    "a sequence": (lambda x: nn.Sequential([nn.Dense(WIDTH), nn.gelu, nn.Dense(WIDTH)], name="it")(x), {}),
    "an inner loop": (
        lambda x: vmap(0, Plain)(name="it")(x, None)[0].sum(0),
        {"it/inner/kernel": lambda k: k, "it/inner/bias": lambda b: b[:, None]},
    ),
}


class Plain(nn.Module):
    """One Dense, to be looped over."""

    @nn.compact
    def __call__(self, x, _):
        return nn.Dense(WIDTH, name="inner")(x), None


class OfNnx(nnx.Module):
    """The same in nnx: a table, one part of `NNX` in a loop over some axis, and a head."""

    def __init__(self, kind, loop, axis, rngs):
        self.loop, self.axis = loop, axis
        self.table = nnx.Embed(31, WIDTH, rngs=rngs)
        make = NNX[kind][0]
        if loop:
            states = nnx.StateAxes({nnx.Param: axis, ...: 0})
            make = nnx.split_rngs(splits=WIDTH)(nnx.vmap(make, in_axes=0, out_axes=states))
        self.deep = make(rngs)
        self.call = NNX[kind][1]
        self.out = nnx.Linear(WIDTH, 31, rngs=rngs)

    def __call__(self, tokens):
        x = self.table(tokens)
        if not self.loop:
            return self.out(x + jnp.tanh(self.call(self.deep, x)))
        states = nnx.StateAxes({nnx.Param: self.axis, ...: 0})
        if self.loop == "vmap":
            y = nnx.vmap(lambda part, x: self.call(part, x), in_axes=(states, None))(self.deep, x).sum(0)
        else:
            step = nnx.scan(
                lambda x, part: x + jnp.tanh(self.call(part, x)), in_axes=(nnx.Carry, states), out_axes=nnx.Carry
            )
            y = step(x, self.deep)
        return self.out(x + y)


def applied(part, x):
    return part(x)


NNX = {
    "Linear": (lambda r: nnx.Linear(4, 4, rngs=r), applied, {}),
    "heads out": (
        lambda r: nnx.LinearGeneral(4, (2, 2), rngs=r),
        lambda m, x: whole(m(x), x),
        {"deep/kernel": lambda k: k.reshape(4, 4), "deep/bias": lambda b: b},
    ),
    "two axes, turned": (
        lambda r: nnx.LinearGeneral((2, 2), 4, axis=(-1, -2), rngs=r),
        lambda m, x: m(heads(x)),
        {"deep/kernel": first_two},
    ),
    "Einsum": (
        lambda r: nnx.Einsum("btd,hdk->bthk", (2, 4, 2), rngs=r),
        lambda m, x: whole(m(x), x),
        {"deep/kernel": lambda k: k.transpose(1, 0, 2).reshape(4, 4)},
    ),
    "Einsum with a batch": (
        lambda r: nnx.Einsum("...hd,hdk->...hk", (2, 2, 2), rngs=r),
        lambda m, x: whole(m(heads(x)), x),
        {"deep/kernel": lambda k: k},
    ),
    "attention": (
        lambda r: nnx.MultiHeadAttention(2, 4, decode=False, rngs=r),
        lambda m, x: m(x, mask=nnx.make_causal_mask(x[..., 0])),
        {
            "(query|key|value)/kernel": lambda k: k.reshape(4, 4),
            "(it|deep)/out/kernel": first_two,
            "(query|key|value)/bias": lambda b: b,
        },
    ),
    "Conv": (lambda r: nnx.Conv(4, 4, (3,), padding="CAUSAL", rngs=r), applied, {"deep/kernel": rows}),
    "ConvTranspose, kernel turned": (
        lambda r: nnx.ConvTranspose(4, 4, (3,), transpose_kernel=True, rngs=r),
        applied,
        {"deep/kernel": lambda k: rows(k.transpose(0, 2, 1))},
    ),
    "LoRA": (lambda r: nnx.LoRALinear(4, 4, lora_rank=2, rngs=r), applied, {}),
    "norm": (lambda r: nnx.LayerNorm(4, rngs=r), applied, {}),
    "GRU": (lambda r: nnx.RNN(nnx.GRUCell(4, 4, rngs=r), rngs=r), applied, {}),
}
NNX_LOOPS = {
    "alone": ("", 0),
    "vmap 0": ("vmap", 0),
    "vmap 1": ("vmap", 1),
    "scan 0": ("scan", 0),
    "scan -1": ("scan", -1),
}


def matrices(gradient, axes, view):
    """[matrices, in, out] of a gradient: loop by loop off its axis, and by hand below."""
    if axes:
        layers = [matrices(part, axes[1:], view) for part in np.moveaxis(gradient, axes[0], 0)]
        return np.concatenate(layers)
    if view is None:
        return gradient.reshape(1, *((1, -1) if gradient.ndim < 2 else gradient.shape))
    found = view(gradient)
    return found.reshape(-1, *found.shape[-2:])
