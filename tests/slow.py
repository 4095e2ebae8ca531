"""What `make test` leaves to `make check`: files of tests that take more than seconds, in one list."""

import pytest

# Folders and files below tests/; by CPU time, from a whole run.
SLOW = (
    "attribution/test_fused.py",
    "encoding/test_abstract.py",
    "encoding/test_coverage.py",
    "encoding/test_embed.py",
    "fuzz/",
    "house/test_colabs.py",
    "jobs/test_meshes.py",
    "planning/test_compiled.py",
    "retraining/test_bank.py",
    "processes/",
    "road/",
    "stores/",
    "studies/",
)


def pytest_collection_modifyitems(items):
    """Marks them."""
    for item in items:
        place = item.path.as_posix().rpartition("/tests/")[2]
        if place.startswith(SLOW):
            item.add_marker(pytest.mark.slow)
