"""Laws of the formats of stored encodings, over all of them: a new format is a row of the table."""

import ml_dtypes
import numpy as np
import pytest

from jax_tda.artifacts import arrays
from jax_tda.artifacts.formats import StoreConfig
from jax_tda.core.errors import InputError

FORMATS = {
    "float32": StoreConfig(),
    "bfloat16": StoreConfig("bfloat16"),
    "int8": StoreConfig("int8"),
    "int8, coarse": StoreConfig("int8", step=0.3),
    "int4": StoreConfig("int4"),
    "int4, coarse": StoreConfig("int4", step=1.5),
    "rank 2": StoreConfig(rank=2),
    "rank 2, bfloat16": StoreConfig("bfloat16", rank=2),
    "rank 2, int8": StoreConfig("int8", rank=2),
    "rank 2, int4, coarse": StoreConfig("int4", rank=2, step=0.5),
}
LOW_RANK = {name: store for name, store in FORMATS.items() if store.rank}
WHOLE = {name: store for name, store in FORMATS.items() if not store.rank}
P = 7


def matrices(count=12, blocks=3, p=P, rank=None):
    """[count, blocks, p, p] whose sizes differ by orders of magnitude between examples and blocks."""
    random = np.random.default_rng(0)
    left = random.normal(size=(count, blocks, p, rank or p))
    values = left @ random.normal(size=(count, blocks, rank or p, p))
    return (values * 10.0 ** random.uniform(-8, 8, (count, blocks, 1, 1))).astype(np.float32)


def whole(request_or_values):
    return np.linalg.norm(request_or_values.astype(np.float64), axis=(-1, -2))


@pytest.fixture(params=FORMATS)
def store(request):
    return FORMATS[request.param]


def test_what_is_encoded_has_the_announced_shapes_and_types(store):
    """An array for each part, rows first, in a type that the disk knows; bytes of a row as announced."""
    values = matrices()
    parts, encoded = store.parts(3, P), store.encode(values)
    assert parts.keys() == encoded.keys()
    for name, part in parts.items():
        assert encoded[name].shape == (12, *part.shape) and encoded[name].dtype.name == part.dtype
        assert encoded[name][0].nbytes == part.bytes
    decoded = store.decode(encoded, P)
    assert decoded.shape == values.shape and decoded.dtype == np.float32


def test_a_row_depends_on_nothing_but_itself(store):
    """One at a time, in another order, or together: the same bytes; so batches and shards do not matter."""
    values = matrices()
    together = store.encode(values)
    order = np.random.default_rng(1).permutation(len(values))
    for name, rows in store.encode(values[order]).items():
        assert rows.tobytes() == together[name][order].tobytes()
    for row in range(len(values)):
        for name, alone in store.encode(values[row : row + 1]).items():
            assert alone.tobytes() == together[name][row : row + 1].tobytes()


def test_what_comes_back_is_stable_under_the_disk(store, tmp_path):
    """Written in shards and read in any rows, every part gives the bytes that were encoded."""
    encoded = store.encode(matrices())
    back = {}
    for name, part in store.parts(3, P).items():
        array = arrays.create(str(tmp_path / name), (12, *part.shape), part.dtype, 5, **part.options)
        for start in (0, 5, 10):
            array.write_shard(start, encoded[name][start : start + 5])
        back[name] = arrays.open_array(str(tmp_path / name)).read(0, 12)
        assert back[name].tobytes() == encoded[name].tobytes()
    np.testing.assert_array_equal(store.decode(back, P), store.decode(encoded, P))


def test_zero_comes_back_as_zero_and_nan_as_nan(store):
    """A zero gradient and one that is not finite, beside rows that are neither."""
    values = matrices()
    values[3], values[5], values[6, 1] = 0, np.nan, 0
    back = store.round_trip(values)
    assert not back[3].any() and not back[6, 1].any() and np.isnan(back[5]).all()
    rest = np.delete(np.arange(12), [3, 5, 6])
    np.testing.assert_array_equal(back[rest], store.round_trip(matrices())[rest])


def test_a_format_is_blind_to_size(store):
    """Multiplied by a power of two, an encoding comes back multiplied by it: cosines see the same error."""
    values = matrices()
    np.testing.assert_array_equal(store.round_trip(values * 2.0**12), store.round_trip(values) * 2.0**12)


@pytest.mark.parametrize("name", WHOLE)
def test_whole_matrices_err_within_the_stated_bound(name):
    """Entry by entry: 0, 2⁻⁸ |x|, or half of max(step · rms, max / greatest code), in float64 by hand."""
    store, values = WHOLE[name], matrices(40)
    x = values.astype(np.float64)
    error = np.abs(store.round_trip(values) - x)
    if store.type == "float32":
        bound = np.zeros_like(x)
    elif store.type == "bfloat16":
        bound = 2.0**-8 * np.abs(x)
    else:
        finest = np.abs(x).max((-1, -2), keepdims=True) / {"int8": 127, "int4": 7}[store.type]
        bound = np.maximum(store.step * np.sqrt(np.mean(x**2, (-1, -2), keepdims=True)), finest) / 2
        # The scale itself is float32, and so is the product with a code of at most 127.
        bound *= 1 + 127 * 2.0**-22
        assert error.max() > 0 and (error > 0.9 * bound).any(), "a bound that is never neared says nothing"
    assert (error <= bound).all()


@pytest.mark.parametrize("name", LOW_RANK)
def test_factors_are_nearly_the_best_of_their_rank(name):
    """Eckart and Young: what is lost is at least Σ σ² beyond the rank; at most a tenth more, and the codes' error."""
    store, values = LOW_RANK[name], matrices(40, p=24)
    x = values.astype(np.float64)
    spectrum = np.linalg.svd(x, compute_uv=False)
    total, best = np.sum(spectrum**2, -1), np.sum(spectrum[..., store.rank :] ** 2, -1)
    lost = whole(store.round_trip(values) - x) ** 2
    own = {"float32": 0, "bfloat16": 1e-4, "int8": 1e-3, "int4": 0.05}[store.type]
    assert (lost >= best * (1 - 1e-5)).all()
    assert (lost <= 1.1 * best + own * total).all()
    assert np.mean(lost / total) <= 1.03 * np.mean(best / total) + own


@pytest.mark.parametrize(("rank", "kept"), [(1, 2), (2, 2), (3, 3)])
def test_a_matrix_of_no_higher_rank_comes_back_whole(rank, kept):
    """To the rounding of float32, also where the rank is lower than that of the factors."""
    values = matrices(rank=rank)
    error = whole(StoreConfig(rank=kept).round_trip(values) - values.astype(np.float64))
    assert (error <= 1e-6 * whole(values)).all()


def test_both_sides_of_the_factors_have_the_same_size():
    """The root of the singular value stands on either side, in descending order, orthogonal within each side."""
    values = matrices(p=24)
    sides = StoreConfig(rank=3).encode(values)["encodings"].astype(np.float64)
    lengths = np.linalg.norm(sides, axis=-1)
    np.testing.assert_allclose(lengths[:, :, 0], lengths[:, :, 1], rtol=1e-5)
    grams = np.einsum("nbkp,nblp->nbkl", sides[:, :, 0], sides[:, :, 0])
    off = grams * (1 - np.eye(3))
    assert (np.abs(off).max((-1, -2)) <= 1e-5 * np.abs(grams).max((-1, -2))).all()


def test_bfloat16_rounds_to_the_nearest():
    """As ml_dtypes rounds and reads, which is not how ours reads."""
    values = matrices()
    expected = values.astype(ml_dtypes.bfloat16).astype(np.float32)
    np.testing.assert_array_equal(StoreConfig("bfloat16").round_trip(values), expected)


def test_every_code_of_four_bits_survives_packing():
    """All pairs of −7 to 7, and an odd side, whose last code has no partner."""
    side = np.arange(-7, 8, dtype=np.float32)
    values = np.stack([np.stack([np.roll(side, shift) for shift in range(15)])])[None]
    np.testing.assert_array_equal(StoreConfig("int4").round_trip(values), values)


def test_a_coarser_step_takes_fewer_bytes(tmp_path):
    """On disk, of the same numbers; and the finest of four bits takes half of eight."""
    values, sizes = np.random.default_rng(0).normal(size=(64, 2, 16, 16)).astype(np.float32), {}
    for store in [StoreConfig(kind, step=step) for kind in ("int8", "int4") for step in (0.0, 0.7, 1.4)]:
        place = tmp_path / f"{store.type}_{store.step}"
        part = store.parts(2, 16)["encodings"]
        arrays.create(str(place), (64, *part.shape), part.dtype, 64, **part.options).write_shard(
            0, store.encode(values)["encodings"]
        )
        sizes[store.type, store.step] = sum(path.stat().st_size for path in place.rglob("c/**/*") if path.is_file())
    # Each file ends in an index: place and size of a chunk, and two checksums.
    assert sizes["int8", 0.0] - 24 == 2 * (sizes["int4", 0.0] - 24) == 64 * 2 * 16 * 16
    for kind in ("int8", "int4"):
        assert sizes[kind, 0.0] > sizes[kind, 0.7] > sizes[kind, 1.4]


@pytest.mark.parametrize(
    "given",
    [
        {"type": "float16"},
        {"rank": -1},
        {"step": -0.1},
        {"type": "int8", "step": float("nan")},
        {"step": 0.5},
        {"type": "int8", "step": 2.0},
    ],
)
def test_a_format_that_is_not_there_is_refused(given):
    """With the four parts, before anything is computed."""
    with pytest.raises(InputError, match=r"(?s)store\.(type|rank|step) is not possible.*got:.*expected:.*remedy:"):
        StoreConfig(**given)


def test_factors_that_save_nothing_are_refused():
    """Two sides of p × c are as many numbers as p × p when c is half of p."""
    StoreConfig(rank=3).parts(1, 7)
    with pytest.raises(InputError, match=r"(?s)save nothing.*store.rank"):
        StoreConfig(rank=4).parts(1, 8)


@pytest.mark.parametrize("kind", [("int8", 0.0), ("int8", 0.3), ("int4", 0.0), ("int4", 1.9)], ids=str)
@pytest.mark.parametrize("size", [1e-45, 1e-40, 1e-38, 1e-20, 1.0, 1e15, 1e19, 1e25, 1e38])
def test_numbers_of_any_size_that_float32_holds_keep_to_the_bound(kind, size):
    """Law: |x̂ − x| ≤ s/2, and s is what its definition says in float64, at both ends of float32 too."""
    store, limit = StoreConfig(kind[0], step=kind[1]), float(np.finfo(np.float32).max)
    values = np.clip(np.random.default_rng(0).normal(size=(40, 2, 6, 6)) * size, -limit, limit).astype(np.float32)
    parts = store.encode(values)
    wide, scales = values.astype(np.float64), parts["scales"].astype(np.float64)
    error = np.abs(store.decode(parts, 6) - wide)
    assert (error <= 0.5 * scales[..., None, None] * (1 + 1e-3)).all()
    rms, largest = np.sqrt(np.square(wide).mean(axis=(-1, -2))), np.abs(wide).max(axis=(-1, -2))
    wanted = np.minimum(np.maximum(kind[1] * rms, largest / (127 if kind[0] == "int8" else 7)), limit)
    # No finer than two roundings to float32's own smallest steps.
    assert (np.abs(scales - wanted) <= 1e-6 * wanted + 3e-45).all()


@pytest.mark.parametrize("size", [1e-30, 1e-19, 1.0, 1e19, 1e30])
def test_factors_of_numbers_of_any_size_are_those_of_the_numbers_beside_one(size):
    """Law: a factor of 4ⁿ changes no digit."""
    values = np.random.default_rng(0).normal(size=(10, 2, 6, 6)).astype(np.float32)
    factor = np.float32(4.0 ** round(np.log(size) / np.log(4)))
    store = StoreConfig("float32", rank=2)
    np.testing.assert_array_equal(store.round_trip(values * factor), store.round_trip(values) * factor)
