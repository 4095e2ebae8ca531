"""How many damaged files of each kind are tried: some in `make check`, ten times as many in `make nightly`."""

import numpy as np
import pytest

FEW, MANY = 25, 250
# The seed of the damage; the nightly ones are others.
COUNTS = [pytest.param(0, FEW, id="few"), pytest.param(1, MANY, id="many", marks=pytest.mark.nightly)]


def randoms(seed, count):
    """A generator of its own for each try, so that a failure is repeated by its number."""
    return [(number, np.random.default_rng((seed, number))) for number in range(count)]


class Shares:
    """How many of the tries were read, and how many refused: neither may be all, where there were many."""

    def __init__(self):
        self.read, self.refused = 0, 0

    def count(self, refusal):
        self.read, self.refused = self.read + (refusal is None), self.refused + (refusal is not None)

    def check(self, read=True):
        assert self.refused and (self.read or not read or self.refused < MANY), vars(self)


def verdict(attempt, number):
    """What an attempt gives, or the refusal; anything else fails with the number of the try."""
    from jax_tda.core.errors import InputError
    from tests.fuzz.mutations import bounded

    try:
        with bounded():
            return attempt(), None
    except InputError as refusal:
        # Four parts, each of them said.
        assert all(str(part).strip() for part in (refusal.what, refusal.got, refusal.expected, refusal.remedy)), number
        return None, refusal
    except Exception as error:
        raise AssertionError(f"try {number}: {type(error).__name__}: {error}") from error
