"""The sampled estimator beside the exact density."""

import numpy as np
import pytest

from jax_tda.core import seeds
from jax_tda.core.errors import InputError
from jax_tda.studies.density import kde, kernels
from jax_tda.studies.density.sampled import sampled_log_density

RANDOM = np.random.default_rng(0)
ROWS, QUERIES = RANDOM.normal(size=(120, 4)), RANDOM.normal(size=(6, 4))


def drawn(kernel, near, sample, seed, h=0.8):
    return sampled_log_density(QUERIES, lambda rows: ROWS[rows], len(ROWS), h, kernel, near, sample, seed)


@pytest.mark.parametrize("kernel", kernels.KERNELS)
def test_over_seeds_the_sampled_density_has_the_exact_one_as_its_mean_and_its_error_bar_as_its_spread(kernel):
    """Law: the mean of 600 draws lies within four standard errors; the bar is the spread up to a fifth."""
    exact = np.exp(kde.log_density(QUERIES, ROWS, np.array([0.8]), kernel)[0])
    near, _ = kde.nearest(QUERIES, ROWS, 3, kernel)
    draws = [drawn(kernel, near, 40, seed) for seed in range(600)]
    values = np.exp([one.log_density for one in draws])
    spread = values.std(0, ddof=1)
    assert np.all(np.abs(values.mean(0) - exact) < 4 * spread / np.sqrt(len(draws)) + 1e-5 * exact)
    bars = np.sqrt(np.mean([(np.exp(one.log_density) * one.relative_error) ** 2 for one in draws], axis=0))
    np.testing.assert_allclose(bars, spread, rtol=0.2)


def test_it_is_unbiased_whatever_rows_are_called_near():
    """Law: an approximate search may be wrong; rows that are far only widen the spread."""
    exact = np.exp(kde.log_density(QUERIES, ROWS, np.array([0.8]), "gaussian")[0])
    wrong = np.tile(np.arange(5), (len(QUERIES), 1))
    values = np.exp([drawn("gaussian", wrong, 40, seed).log_density for seed in range(600)])
    assert np.all(np.abs(values.mean(0) - exact) < 4 * values.std(0, ddof=1) / np.sqrt(600) + 1e-5 * exact)


def test_a_sample_of_everything_is_the_exact_density_without_error():
    """Law: nothing is left to chance."""
    near, _ = kde.nearest(QUERIES, ROWS, 3)
    found = drawn("gaussian", near, len(ROWS), 0)
    np.testing.assert_allclose(
        found.log_density, kde.log_density(QUERIES, ROWS, np.array([0.8]), "gaussian")[0], rtol=1e-5
    )
    np.testing.assert_array_equal(found.relative_error, 0)


def test_rows_that_are_neither_near_nor_drawn_are_never_read():
    """Law: a corpus too large to scan is not scanned."""
    read = set()

    def rows(places):
        read.update(places.tolist())
        return ROWS[places]

    none = np.zeros((len(QUERIES), 0), int)
    sampled_log_density(QUERIES, rows, len(ROWS), 0.8, "gaussian", none, 10, 0)
    assert len(read) == 10


def test_a_sample_that_cannot_stand_for_the_rest_is_refused():
    """Law: more than the neighbours and one, at most the corpus; and no bandwidth of 0."""
    near, _ = kde.nearest(QUERIES, ROWS, 3)
    for sample in (4, 121):
        with pytest.raises(InputError, match="sample"):
            drawn("gaussian", near, sample, 0)
    with pytest.raises(InputError, match="bandwidth"):
        drawn("gaussian", near, 40, 0, h=0.0)


@pytest.mark.parametrize(
    "near",
    [
        np.full((len(QUERIES), 1), 777),
        np.full((len(QUERIES), 1), -1),
        np.full((len(QUERIES), 2), 4),
        np.zeros((2, 1), int),
    ],
)
def test_neighbours_that_are_none_are_refused(near):
    """Law: out of range, one row twice, or not a line for each query."""
    with pytest.raises(InputError, match="no neighbours"):
        drawn("gaussian", near, 40, 0)


def test_points_that_have_no_density_have_no_sampled_one():
    """Law: NaN in a query, in a sampled row or in a neighbour, and other dimensions."""
    none, holed = np.zeros((len(QUERIES), 0), int), ROWS.copy()
    holed[7] = np.nan
    near = np.full((len(QUERIES), 1), 7)
    without = next(s for s in range(99) if not np.isnan(sampled_rows(holed, s)).any())
    for queries, rows, neighbours, seed in (
        (QUERIES * np.nan, ROWS, none, 0),
        (QUERIES[:, :2], ROWS, none, 0),
        (QUERIES, ROWS * np.nan, none, 0),
        (QUERIES, holed, near, without),
    ):
        with pytest.raises(InputError, match="cannot be computed"):
            sampled_log_density(queries, lambda p, rows=rows: rows[p], 120, 0.8, "gaussian", neighbours, 10, seed)


def sampled_rows(rows, seed):
    """The rows that a sample of ten draws, by the same name."""
    return rows[seeds.generator(seed, "density", "sample").choice(len(rows), 10, replace=False)]
