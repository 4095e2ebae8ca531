"""How an encoding lies on disk: whole or as factors, in floats or in scaled integers. Encode and decode in plain NumPy.

A row of numbers is what shares a scale: the p × p matrix of one example's block, or one side of its factors.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

import jax.numpy as jnp
import numpy as np

from jax_tda.core import seeds
from jax_tda.core.bounds import Bound
from jax_tda.core.declared import declared, demand
from jax_tda.core.errors import InputError

# The greatest code of each integer type; the scale is such that no code is beyond it.
_GREATEST = {"int8": 127, "int4": 7}
# From here on a block's numbers, none larger than their root mean square, could all become 0.
_COARSEST = 2.0
_FLOATS = {"float32": np.dtype(np.float32), "bfloat16": np.dtype(jnp.bfloat16)}
Type = Literal["float32", "bfloat16", "int8", "int4"]
TYPES: tuple[Type, ...] = get_args(Type)
_LARGEST = np.finfo(np.float32).max
# Of the subspace iteration: directions beyond the rank, and products with M Mᵀ. On the demo's encodings they leave 1 %
# more energy behind than the best factors do, in less than half the time of a full decomposition.
_SPARE, _ITERATIONS = 4, 2


@dataclasses.dataclass(frozen=True)
class Part:
    """One array of a format: the shape of a row, the zarr3 type, and how its chunks are compressed."""

    shape: tuple[int, ...]
    dtype: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Of one row, before compression."""
        return math.prod(self.shape) * {"float32": 4, "bfloat16": 2, "int8": 1}[self.dtype]


@dataclasses.dataclass(frozen=True)
@declared("store")
class StoreConfig:
    """The format of stored encodings.

    Args:
      type: of the stored numbers: `float32`, `bfloat16`, `int8`, or `int4`, two a byte. Integers are x / s rounded,
        with a float32 scale s per row.
      rank: c of the factors LᵀR that stand for each p × p matrix, the best c singular directions with the root of the
        singular value on both sides, as in LoRIF; 0 stores the matrices whole.
      step: s in units of the row's root mean square. Codes are then few and far from equally likely, and their chunks
        are compressed. 0 takes the finest scale that the type has room for, and compresses nothing.
    """

    type: Type = "float32"
    rank: Annotated[int, Bound(0, 2**14, meaning="0 for whole matrices")] = 0
    step: Annotated[float, Bound(at_least=0, below=_COARSEST)] = 0.0

    def __post_init__(self) -> None:
        whole = self.type in _FLOATS
        demand(self, not (self.step and whole), "step", "0 for floats; docs/store.md compares formats")

    def parts(self, blocks: int, p: int, rows: int = 0) -> dict[str, Part]:
        """The arrays that hold rows of `blocks` matrices of p × p, or of `rows` × p, by name.

        Raises:
          InputError: factors of this rank are no smaller than the matrix.
        """
        if self.rank and 2 * self.rank >= p:
            raise InputError(
                "factors of this rank save nothing",
                got=f"store.rank {self.rank} for matrices of {p} × {p}",
                expected=f"less than half of projected_size, {p / 2:g}",
                remedy="set store.rank to less, or to 0 for whole matrices",
            )
        shape = (blocks, 2, self.rank, p) if self.rank else (blocks, rows or p, p)
        if self.type in _FLOATS:
            return {"encodings": Part(shape, self.type)}
        if self.type == "int4":
            shape = (*shape[:-1], -(-p // 2))
        # Higher levels look for repetitions, which codes of noise have only by chance, and come out larger.
        options = {"compressed": True, "level": 1} if self.step else {}
        return {"encodings": Part(shape, "int8", options), "scales": Part(shape[: 2 if self.rank else 1], "float32")}

    def encode(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """The rows of each part for float32 [n, blocks, p, p]. A matrix of NaN comes back as NaN.

        A row depends on nothing but its own numbers. Errors of a whole matrix x, entry by entry: bfloat16
        |x̂ − x| ≤ 2⁻⁸ |x|; integers |x̂ − x| ≤ s/2 with s = max(step · rms(x), max|x| / 127), for int4 / 7.
        """
        numbers = _factors(values, self.rank) if self.rank else values
        if self.type in _FLOATS:
            return {"encodings": numbers.astype(_FLOATS[self.type])}
        scales = _scales(numbers, _GREATEST[self.type], self.step)
        with np.errstate(invalid="ignore"):
            codes = np.rint(numbers / np.where(scales > 0, scales, 1)[..., None, None])
        greatest = _GREATEST[self.type]
        codes = np.clip(np.where(np.isfinite(codes), codes, 0), -greatest, greatest).astype(np.int8)
        return {"encodings": _packed(codes) if self.type == "int4" else codes, "scales": scales}

    def decode(self, parts: Mapping[str, np.ndarray], p: int) -> np.ndarray:
        """float32 [n, blocks, p, p] of what `encode` gave, or was read back."""
        numbers = parts["encodings"]
        if self.type == "bfloat16":
            numbers = (numbers.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        elif self.type in _GREATEST:
            codes = _unpacked(numbers, p) if self.type == "int4" else numbers
            with np.errstate(over="ignore"):
                numbers = np.multiply(codes, parts["scales"][..., None, None], dtype=np.float32)
            if np.any(parts["scales"] > 0.99 * _LARGEST / _GREATEST[self.type]):
                # A code may stand for a little more than a float32 holds.
                numbers = np.clip(numbers, -_LARGEST, _LARGEST)
        if not self.rank:
            return numbers
        return np.matmul(np.swapaxes(numbers[:, :, 0], -1, -2), numbers[:, :, 1])

    def round_trip(self, values: np.ndarray) -> np.ndarray:
        """What a store of this format gives back for float32 [n, blocks, p, p]."""
        return self.decode(self.encode(values), values.shape[-1])


def _scales(numbers: np.ndarray, greatest: int, step: float) -> np.ndarray:
    """One scale for each row, that is for the last two axes; NaN where one of its numbers is."""
    largest = np.abs(numbers).max(axis=(-1, -2))
    scales = largest / np.float32(greatest)
    # Below the normal numbers a quotient is coarse: then the next larger one, of which no code is too great.
    small = (scales < np.finfo(np.float32).tiny) & (scales.astype(np.float64) * greatest < largest)
    scales = np.where(small, np.nextafter(scales, np.float32(np.inf)), scales)
    if step:
        size = _powers(largest)
        with np.errstate(over="ignore"):
            roots = np.sqrt(np.mean(np.square(numbers / size[..., None, None]), axis=(-1, -2))) * size
            scales = np.maximum(scales, np.minimum(np.float32(step) * roots, _LARGEST))
    return scales.astype(np.float32)


def _powers(largest: np.ndarray) -> np.ndarray:
    """Powers of four about as large as these numbers: a division by them changes no digit, and no square overflows."""
    exponents = np.frexp(np.where(np.isfinite(largest), largest, 0))[1]
    return np.ldexp(np.float32(1), np.clip(exponents // 2 * 2, -124, 126))


def _packed(codes: np.ndarray) -> np.ndarray:
    """Two codes of −7 to 7 a byte along the last axis, padded with 0 when it is odd."""
    padded = np.pad(codes, [(0, 0)] * (codes.ndim - 1) + [(0, codes.shape[-1] % 2)])
    shifted = (padded + 8).astype(np.uint8)
    return (shifted[..., ::2] | shifted[..., 1::2] << 4).view(np.int8)


def _unpacked(packed: np.ndarray, p: int) -> np.ndarray:
    data = packed.view(np.uint8)
    codes = np.empty((*data.shape[:-1], 2 * data.shape[-1]), np.int8)
    codes[..., ::2], codes[..., 1::2] = data & 15, data >> 4
    codes -= 8
    return codes[..., :p]


def _factors(values: np.ndarray, rank: int) -> np.ndarray:
    """L and R as [n, blocks, 2, rank, p] with M ≈ LᵀR, by subspace iteration from a fixed start.

    Q ← orth(M Mᵀ Q) with some directions to spare, rotated to the principal ones of QᵀM and cut; with σₖ = |qₖᵀM|, row
    k of L is √σₖ qₖ and row k of R is qₖᵀM / √σₖ. LAPACK works matrix by matrix, so a row depends on no other.
    """
    finite = np.isfinite(values).all(axis=(-1, -2), keepdims=True)
    matrices = np.where(finite, values, 0).astype(np.float32)
    # So that squares neither overflow nor vanish.
    size = np.abs(matrices).max(axis=(-1, -2), keepdims=True)
    scaled = matrices / np.where(size > 0, size, 1)
    gram = np.matmul(scaled, np.swapaxes(scaled, -1, -2))
    columns = min(rank + _SPARE, values.shape[-1])
    start = seeds.generator(0, "store", "factors").standard_normal((values.shape[-1], columns)).astype(np.float32)
    basis = np.broadcast_to(start, (*gram.shape[:-1], columns))
    for _ in range(_ITERATIONS):
        basis = np.linalg.qr(np.matmul(gram, basis)).Q
    seen = np.matmul(np.swapaxes(basis, -1, -2), scaled)
    rotation = np.linalg.eigh(np.matmul(seen, np.swapaxes(seen, -1, -2))).eigenvectors[..., : -rank - 1 : -1]
    directions = np.swapaxes(np.matmul(basis, rotation), -1, -2)
    power = _powers(size)
    right = np.matmul(directions, matrices / power)
    # The root of a power of four is exact.
    root, half = np.sqrt(np.linalg.norm(right, axis=-1, keepdims=True)), np.sqrt(power)
    pair = np.stack([directions * root * half, right / np.where(root > 0, root, 1) * half], axis=-3)
    return np.where(finite[..., None], pair, np.nan).astype(np.float32)
