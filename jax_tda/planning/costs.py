"""What a corpus costs: chip-hours, bytes and minutes, from FLOPs and bytes per example and a few stated rates."""

from collections.abc import Mapping
from typing import Any

from jax_tda.artifacts.formats import StoreConfig
from jax_tda.planning.chips import FULL_PRECISION_PASSES, Topology

# What docs/store.md compares, as far as its size needs no data. Compressed codes depend on the numbers.
FORMATS = (
    StoreConfig("float32"),
    StoreConfig("bfloat16"),
    StoreConfig("int8"),
    StoreConfig("int4"),
    StoreConfig("bfloat16", rank=8),
    StoreConfig("int8", rank=8),
)
# Of a passage besides its encoding, in every format: int8 status, float32 norm under R.
_STATUS, _NORM = 1, 4


def name_of(store: StoreConfig) -> str:
    """`int8`, `bfloat16, rank 8`."""
    return store.type + (f", rank {store.rank}" if store.rank else "")


def bytes_per_example(store: StoreConfig, blocks: int, projected_size: int) -> int:
    """What one encoding takes on disk, before compression."""
    return sum(part.bytes for part in store.parts(blocks, projected_size).values())


def chip_hours(flops: float, slice_of: Topology, utilisation: float) -> float:
    """FLOPs / (peak × utilisation), in hours of one chip."""
    return flops / (slice_of.chip.peak * utilisation) / 3600


def corpus_hours(
    flops: Mapping[str, int], length: int, tokens: float, slice_of: Topology, utilisation: float
) -> dict[str, float]:
    """Chip-hours of training on, and encoding, so many tokens in examples of full length.

    A token costs what it costs in a full context: attention is counted too high for shorter documents, and padding is
    not counted.
    """
    names = ("training step", "encode, rank one", "encode, exact")
    return {name: chip_hours(flops[name] / length * tokens, slice_of, utilisation) for name in names}


def minutes_to_score(
    flops: Mapping[str, int],
    size: int,
    documents: int,
    queries: int,
    slice_of: Topology,
    utilisation: float,
    host_bandwidth: float,
) -> dict[str, float]:
    """Minutes of one pass over the store: reading on all hosts, norms under R, and every query with every passage.

    Args:
      flops: per example, of `norm under R` and `score, one query`.
      size: bytes of an encoding.
      documents: passages.
      queries: Q.
      slice_of: the chips.
      utilisation: of their peak.
      host_bandwidth: bytes per second that a host reads.
    """
    # Scores and norms are products of float32 numbers at full precision.
    rate = slice_of.chip.peak * slice_of.chips * utilisation / FULL_PRECISION_PASSES
    return {
        "read": documents * size / (host_bandwidth * slice_of.hosts) / 60,
        "norms under R": documents * flops["norm under R"] / rate / 60,
        "scores": documents * queries * flops["score, one query"] / rate / 60,
    }


def kept(documents: int, queries: int, top_k: int, blocks: int, size: int) -> dict[str, Any]:
    """Bytes of what stands beside the encodings, some of it for every document, all of it held at once."""
    return {
        "status and norms of documents": documents * (_STATUS + _NORM),
        "R and R^(-1/2), float64": 2 * blocks * size * size * 8,
        "queries' encodings, float32": queries * blocks * size * 4,
        "best and worst so far": queries * top_k * 2 * (4 + 4),
    }
