"""Laws of batching: every row exactly once, in a bucket that holds it, as a pure function of the step."""

import numpy as np
import pytest

from jax_tda.data.batches import Epochs, assign, bucket_lengths, sweep

CASES = [
    np.array([5]),
    np.array([7, 7, 7]),
    np.arange(2, 66),
    np.random.default_rng(0).integers(2, 64, size=200),
    np.array([2] * 50 + [300]),
]


@pytest.mark.parametrize("buckets", [1, 2, 3, 8])
@pytest.mark.parametrize("lengths", CASES, ids=["one", "equal", "ramp", "random", "outlier"])
def test_buckets_are_few_ascending_and_end_at_the_longest_example(lengths, buckets):
    """None beyond the longest; all others multiples of eight; each length gets the least that holds it."""
    made = bucket_lengths(lengths, buckets)
    assert 1 <= len(made) <= buckets and list(made) == sorted(set(made)) and made[-1] == lengths.max()
    assert all(length % 8 == 0 for length in made[:-1])
    which = assign(lengths, made)
    for length, index in zip(lengths, which, strict=True):
        assert made[index] == min(bucket for bucket in made if bucket >= length)


@pytest.mark.parametrize("tokens_per_batch", [1, 64, 500, 10**6])
@pytest.mark.parametrize("lengths", CASES, ids=["one", "equal", "ramp", "random", "outlier"])
def test_a_sweep_visits_every_row_once_and_no_batch_is_too_large(lengths, tokens_per_batch):
    """Padded tokens stay within the limit unless one example alone exceeds it; a bucket has one batch size."""
    rows = np.arange(len(lengths)) + 1000
    buckets = bucket_lengths(lengths, 3)
    batches = list(sweep(rows, lengths, buckets, tokens_per_batch))
    assert sorted(np.concatenate([members for members, _, _ in batches])) == list(rows)
    for members, length, size in batches:
        assert 1 <= len(members) <= size and (size * length <= tokens_per_batch or size == 1)
        assert (lengths[members - 1000] <= length).all()
    assert len({(length, size) for _, length, size in batches}) <= len(buckets)


@pytest.mark.parametrize("lengths", CASES, ids=["one", "equal", "ramp", "random", "outlier"])
def test_every_epoch_holds_every_row_exactly_once(lengths):
    """Step after step, epoch after epoch."""
    epochs = Epochs(lengths, bucket_lengths(lengths, 3), 128, seed=0)
    steps = epochs.steps_per_epoch
    for epoch in range(3):
        rows = np.concatenate([epochs.batch(step)[0] for step in range(epoch * steps, (epoch + 1) * steps)])
        assert sorted(rows) == list(range(len(lengths)))


def test_a_batch_is_a_pure_function_of_seed_and_step():
    """Asked in any order, by a fresh object or an old one, a step has its one batch."""
    lengths = CASES[3]
    buckets = bucket_lengths(lengths, 3)
    epochs = Epochs(lengths, buckets, 128, seed=0)
    steps = 3 * epochs.steps_per_epoch
    forward = [epochs.batch(step) for step in range(steps)]
    for step in np.random.default_rng(1).permutation(steps)[:40]:
        for source in (epochs, Epochs(lengths, buckets, 128, seed=0)):
            rows, length, size = source.batch(int(step))
            np.testing.assert_array_equal(rows, forward[step][0])
            assert (length, size) == forward[step][1:]


def test_epochs_and_seeds_differ_in_order():
    """Rows meet other rows in other epochs, and buckets are not visited one after another."""
    lengths = CASES[3]
    buckets = bucket_lengths(lengths, 3)
    orders = []
    for seed, epoch in ((0, 0), (0, 1), (1, 0)):
        epochs = Epochs(lengths, buckets, 128, seed)
        start = epoch * epochs.steps_per_epoch
        batches = [epochs.batch(start + step) for step in range(epochs.steps_per_epoch)]
        visited = [length for _, length, _ in batches]
        assert visited != sorted(visited) and len(set(visited)) > 1
        orders.append(np.concatenate([rows for rows, _, _ in batches]).tolist())
    assert orders[0] != orders[1] and orders[0] != orders[2]
