"""How many FLOPs an example costs in each program, counted from the shapes: the matrix products alone.

A product [n, i] · [i, o] counts 2 n i o. Norms, softmax, rotations, the gate and the optimizer are left out: they grow
with the width, not with its square (one layer of the 8B decoder: below 1 %). T is the number of tokens, W the elements
of a layer's kernels, A what attention costs forward, D the width, V the vocabulary, L the layers, p the projected size,
B the blocks and K = p² the size of each.

    forward          L (2 T W + A) + 2 T D V
    training step    3 × forward, and with remat once more what is recomputed
    encode           forward, the activations' gradient L (2 T W + 2 A), the head's 2 (T − 1) D V, what is recomputed,
                     and for every kernel (i, o) one of
      rank one         2 T p (i + o) + 2 T p²
      exact            2 T i o + 2 p i o + 2 p² min(i, o)
    curvature        2 B K²
    norm under R     2 B K²
    score            2 B K for one query
"""

from collections.abc import Mapping

from jax_tda.models.attention import runs
from jax_tda.models.decoder_config import DecoderConfig


def kernels(decoder: DecoderConfig) -> dict[str, tuple[int, int]]:
    """(in, out) of each kernel of a layer."""
    c = decoder
    heads, shared = c.heads * c.size_of_head, c.kv_heads * c.size_of_head
    found = {
        "query": (c.width, heads),
        "key": (c.width, shared),
        "value": (c.width, shared),
        "output": (heads, c.width),
    }
    if c.gated:
        found["gate"] = (c.width, c.mlp_width)
    return found | {"up": (c.width, c.mlp_width), "down": (c.mlp_width, c.width)}


def parameters(decoder: DecoderConfig) -> int:
    """Elements of the kernels, the embedding and the head; norms and biases are left out."""
    tables = decoder.vocabulary_size * decoder.width * (1 if decoder.tied else 2)
    return decoder.layers * _elements(decoder) + tables


def blocks(decoder: DecoderConfig, layout: str) -> int:
    """B of a layout: `groups` of attention and of MLP, or `matrices`."""
    return decoder.layers * len(kernels(decoder)) if layout == "matrices" else 2 * min(8, decoder.layers)


def forward(decoder: DecoderConfig, length: int) -> int:
    """Logits at every position of one example."""
    return decoder.layers * _layer(decoder, length) + _head(decoder, length)


def training_step(decoder: DecoderConfig, length: int) -> int:
    """One example's share of a training step: the backward pass forms two products for each of the forward pass."""
    return 3 * forward(decoder, length) + decoder.layers * _recomputed(decoder, length)


def encode(decoder: DecoderConfig, length: int, projected_size: int, reduction: str) -> int:
    """One example's encoding; the loss's forward pass forms its own gradient, so that the head is read twice.

    Args:
      decoder: the model.
      length: T.
      projected_size: p.
      reduction: `rank_one` or `exact`.
    """
    p, probes = projected_size, 0
    for rows, columns in kernels(decoder).values():
        if reduction == "exact":
            probes += 2 * length * rows * columns + 2 * p * rows * columns + 2 * p * p * min(rows, columns)
        else:
            probes += 2 * length * p * (rows + columns) + 2 * length * p * p
    backward = 2 * length * _elements(decoder) + 2 * _attention(decoder, length)
    layer = _layer(decoder, length) + backward + _recomputed(decoder, length) + probes
    return decoder.layers * layer + 2 * _head(decoder, length - 1)


def per_example(
    decoder: DecoderConfig, encoded: DecoderConfig, length: int, projected_size: int, blocks: int
) -> Mapping[str, int]:
    """All of them, by the name of the program.

    Args:
      decoder: the model as it is trained.
      encoded: the model as the encoder runs it.
      length: T.
      projected_size: p.
      blocks: B.
    """
    size = projected_size**2
    return {
        "forward": forward(decoder, length),
        "training step": training_step(decoder, length),
        "encode, rank one": encode(encoded, length, projected_size, "rank_one"),
        "encode, exact": encode(encoded, length, projected_size, "exact"),
        "curvature": 2 * blocks * size * size,
        "norm under R": 2 * blocks * size * size,
        "score, one query": 2 * blocks * size,
    }


def _elements(decoder: DecoderConfig) -> int:
    return sum(rows * columns for rows, columns in kernels(decoder).values())


def _attention(decoder: DecoderConfig, length: int) -> int:
    """Scores and their product with the values: of each run of queries with the keys up to its end."""
    whole = decoder.window or decoder.attention_softcap
    pairs = length * length if whole else sum((stop - start) * stop for start, stop in runs(length))
    return 4 * decoder.heads * decoder.size_of_head * pairs


def _layer(decoder: DecoderConfig, length: int) -> int:
    return 2 * length * _elements(decoder) + _attention(decoder, length)


def _recomputed(decoder: DecoderConfig, length: int) -> int:
    """A layer's forward pass again, without its last products, whose results no derivative reads."""
    if not decoder.remat:
        return 0
    last = ("down", "output") if decoder.parallel else ("down",)
    unread = sum(kernels(decoder)[name][0] * kernels(decoder)[name][1] for name in last)
    return _layer(decoder, length) - (2 * length * unread if decoder.norm_place == "before" else 0)


def _head(decoder: DecoderConfig, positions: int) -> int:
    return 2 * positions * decoder.width * decoder.vocabulary_size
