"""Exact densities beside a loop in numpy, on one device and on eight, in chunks that do not divide anything."""

import itertools
import math

import jax
import numpy as np
import pytest

from jax_tda.core import mesh as meshes
from jax_tda.core.errors import InputError
from jax_tda.studies.density import bandwidth, kde, kernels


def looped(queries, rows, h, kernel):
    """The definition, one pair at a time in double precision, with its integral taken from `constants`."""
    d = queries.shape[1]
    found = []
    for query in np.asarray(queries, np.float64):
        total = 0.0
        for row in np.asarray(rows, np.float64):
            difference = query - row
            if kernel == "gaussian":
                total += math.exp(-(difference @ difference) / (2 * h * h)) / math.sqrt(2 * math.pi) ** d / h**d
            elif kernel == "exponential":
                surface = 2 * math.pi ** (d / 2) / math.gamma(d / 2)
                total += math.exp(-math.sqrt(difference @ difference) / h) / (surface * math.factorial(d - 1) * h**d)
            else:
                total += math.exp(-np.abs(difference).sum() / h) / (2 * h) ** d
        found.append(math.log(total / len(rows)))
    return found


@pytest.mark.parametrize("kernel", kernels.KERNELS)
@pytest.mark.parametrize("devices", [1, 8])
def test_the_chunked_density_is_that_of_a_double_loop(kernel, devices):
    """Law: log (1/N) Σ_i K_h(x − y_i), whatever the chunks and however many devices hold the rows."""
    random = np.random.default_rng(0)
    queries, rows, h = random.normal(size=(7, 5)), random.normal(size=(101, 5)), np.array([0.4, 1.1])
    mesh = meshes.make_mesh(devices=jax.devices()[:devices])
    found = kde.log_density(queries, rows, h, kernel, rows_at_once=9, queries_at_once=4, mesh=mesh)
    expected = np.array([looped(queries, rows, one, kernel) for one in h])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kernel", kernels.KERNELS)
def test_a_point_that_is_in_the_corpus_keeps_its_digits(kernel):
    """Law: copies of a query lie at distance 0, however narrow the kernel; a product alone loses half the digits."""
    random = np.random.default_rng(1)
    rows = random.normal(size=(40, 64)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[:3] = rows[3]
    found = kde.log_density(rows[3:4], rows, np.array([1e-4]), kernel, normalised=False)
    np.testing.assert_allclose(found[0], [math.log(4 / 40)], atol=1e-5)


def test_every_kernel_with_its_normaliser_integrates_to_one():
    """Law: Σ exp(log_normaliser) · kernel · cell over a fine grid is 1, in one dimension and in two."""
    axis = np.arange(-12, 12, 0.02)
    for kernel, d in itertools.product(kernels.KERNELS, (1, 2)):
        grid = np.stack(np.meshgrid(*[axis] * d), -1).reshape(-1, d)
        distance = np.abs(grid).sum(1) if kernel == "laplacian" else np.sqrt((grid**2).sum(1))
        distance = distance**2 if kernel == "gaussian" else distance
        h = np.array([0.7])
        values = np.exp(kernels.log_normaliser(kernel, d, h)[0] - kernels.scales(kernel, h)[0] * distance)
        assert values.sum() * 0.02**d == pytest.approx(1, abs=2e-3), (kernel, d)


@pytest.mark.parametrize("kernel", kernels.KERNELS)
def test_the_nearest_rows_are_those_of_a_full_sort(kernel):
    """Law: as many as there are, nearest first."""
    random = np.random.default_rng(2)
    queries, rows = random.normal(size=(5, 3)), random.normal(size=(30, 3))
    places, distances = kde.nearest(queries, rows, 4, kernel, queries_at_once=2)
    order = 1 if kernel == "laplacian" else 2
    exact = np.linalg.norm(queries[:, None] - rows[None], ord=order, axis=-1)
    np.testing.assert_array_equal(places, np.argsort(exact, axis=1)[:, :4])
    np.testing.assert_allclose(
        distances, np.sort(exact, axis=1)[:, :4] ** (2 if kernel == "gaussian" else 1), rtol=1e-5
    )


def test_the_bandwidth_is_the_one_under_which_held_out_rows_are_likeliest():
    """Law: the sweep's likelihoods are those of a loop over held-out rows; equal rows are left out and counted."""
    random = np.random.default_rng(3)
    rows = random.normal(size=(60, 2)).astype(np.float32)
    rows[30:] += 4
    rows[1] = rows[0]
    swept = bandwidth.sweep(rows, "gaussian", (4.0, 0.25, 1.0), 59, seed=5)
    kept = ~swept_out(rows, 59, 5)
    held = [row for row in rows[~kept] if not (rows[kept] == row).all(1).any()]
    assert swept.coinciding == 59 - len(held) and list(swept.bandwidths) == sorted(swept.bandwidths)
    expected = [np.mean(looped(np.array(held), rows[kept], h, "gaussian")) for h in swept.bandwidths]
    np.testing.assert_allclose(swept.held_out, expected, rtol=1e-4)
    assert swept.best == int(np.argmax(expected)) and swept.at_edge == (swept.best != 1)


def swept_out(rows, count, seed):
    """The rows that the sweep holds out, drawn by the same name."""
    from jax_tda.core import seeds

    chosen = np.zeros(len(rows), bool)
    chosen[seeds.generator(seed, "density", "held out").choice(len(rows), count, replace=False)] = True
    return chosen


@pytest.mark.parametrize("h", [0.0, -1.0, math.nan, math.inf])
def test_a_bandwidth_that_is_no_positive_number_is_refused(h):
    """Law: bandwidth 0 makes no density."""
    with pytest.raises(InputError, match="bandwidth"):
        kde.log_density(np.zeros((1, 2)), np.zeros((3, 2)), np.array([h]), "gaussian")


def test_points_that_have_no_density_are_refused():
    """Law: no rows, other dimensions, NaN, all rows in one place, nothing to hold out: an InputError each."""
    good = np.ones((3, 2))
    for queries, rows in ((good, np.zeros((0, 2))), (good, np.ones((3, 4))), (good * np.nan, good)):
        with pytest.raises(InputError, match="cannot be computed"):
            kde.log_density(queries, rows, np.array([1.0]), "gaussian")
    with pytest.raises(InputError, match="no such kernel"):
        kde.log_density(good, good, np.array([1.0]), "box")
    with pytest.raises(InputError, match="bandwidth"):
        bandwidth.sweep(good, "gaussian", (1.0,), 1, 0)
    with pytest.raises(InputError, match="held-out"):
        bandwidth.sweep(good, "gaussian", (1.0,), 3, 0)


def loop_of_logarithms(queries, rows, h, kernel):
    """log (1/N) Σ_i exp(−distance / scale) in double precision, without a normaliser, one query at a time."""
    found = []
    for query in queries:
        differences = rows - query
        squared = (differences**2).sum(1)
        exponents = {
            "gaussian": -squared / (2 * h * h),
            "exponential": -np.sqrt(squared) / h,
            "laplacian": -np.abs(differences).sum(1) / h,
        }[kernel]
        found.append(np.logaddexp.reduce(exponents) - math.log(len(rows)))
    return found


@pytest.mark.parametrize("kernel", kernels.KERNELS)
def test_a_density_does_not_hang_on_where_the_origin_is(kernel):
    """Law: points that lie around 1000 have the densities and the neighbours of a loop in double precision."""
    random = np.random.default_rng(4)
    queries, rows = random.normal(size=(9, 7)) + 1000, random.normal(size=(300, 7)) + 1000
    found = kde.log_density(queries, rows, np.array([0.3]), kernel, normalised=False)
    np.testing.assert_allclose(found[0], loop_of_logarithms(queries, rows, 0.3, kernel), atol=1e-4)
    places, _ = kde.nearest(queries, rows, 5, kernel)
    exact = np.linalg.norm(queries[:, None] - rows[None], ord=1 if kernel == "laplacian" else 2, axis=-1)
    np.testing.assert_array_equal(places, np.argsort(exact, axis=1)[:, :5])


@pytest.mark.parametrize("kernel", kernels.KERNELS)
@pytest.mark.parametrize("h", [1e-3, 1e-4])
def test_many_copies_keep_their_digits_as_few_do(kernel, h):
    """Law: forty copies, and forty that are nearly so, have the densities of a loop in double precision."""
    random = np.random.default_rng(5)
    rows = random.normal(size=(120, 384))
    rows[:40] = rows[0]
    rows[40:80] = rows[40] + 1e-4 * random.normal(size=(40, 384))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32).astype(np.float64)
    queries = rows[[0, 40, 100]]
    found = kde.log_density(queries, rows, np.array([h]), kernel, normalised=False)
    np.testing.assert_allclose(found[0], loop_of_logarithms(queries, rows, h, kernel), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kernel", kernels.KERNELS)
def test_a_density_does_not_hang_on_the_unit_of_length(kernel):
    """Law: points and bandwidth times 1e20 or 1e-20 have the same density but for d · log of it."""
    random = np.random.default_rng(6)
    queries, rows = random.normal(size=(3, 3)), random.normal(size=(20, 3))
    plain = kde.log_density(queries, rows, np.array([0.5]), kernel)
    for unit in (1e20, 1e-20):
        found = kde.log_density(queries * unit, rows * unit, np.array([0.5 * unit]), kernel)
        np.testing.assert_allclose(found, plain - 3 * math.log(unit), rtol=1e-6)


@pytest.mark.parametrize("kernel", kernels.KERNELS)
@pytest.mark.parametrize("h", [1e-20, 1e-200])
def test_of_the_narrowest_kernels_a_copy_is_all_that_is_left(kernel, h):
    """Law: log (copies / rows)."""
    rows = np.random.default_rng(7).normal(size=(8, 3))
    rows[1] = rows[0]
    found = kde.log_density(rows[:1], rows, np.array([h]), kernel, normalised=False)
    np.testing.assert_allclose(found, [[math.log(2 / 8)]])


def test_a_density_that_no_number_holds_is_refused():
    """Law: an exponent beyond double precision is an InputError, no infinity."""
    with pytest.raises(InputError, match="beyond what numbers hold"):
        kde.log_density(np.zeros((1, 2)), np.ones((3, 2)), np.array([1e-200]), "gaussian")


@pytest.mark.parametrize("count", [-1, 0, 4])
def test_more_neighbours_than_rows_or_none_are_refused(count):
    """Law: as many as were asked for, or an InputError."""
    with pytest.raises(InputError, match="nearest rows"):
        kde.nearest(np.zeros((1, 2)), np.ones((3, 2)), count)
