"""What `make test` leaves to `make check`: files of tests that take more than seconds, in one list."""

import pytest

# Folders and files below tests/; by CPU time, from a whole run.
SLOW = (
    "artifacts/test_damage.py",
    "attribution/test_fused.py",
    "encoding/test_abstract.py",
    "encoding/test_coverage.py",
    "encoding/test_directed.py",
    "encoding/test_embed.py",
    "encoding/test_families.py",
    "encoding/test_self_check.py",
    "encoding/test_sharded.py",
    "encoding/test_zoo.py",
    "evaluation/test_evaluate.py",
    "fuzz/",
    "house/test_colabs.py",
    "jobs/test_faults.py",
    "jobs/test_meshes.py",
    "jobs/test_store.py",
    "planning/test_compiled.py",
    "processes/",
    "rescoring/",
    "retraining/",
    "road/",
    "stores/",
    "studies/",
    "training/test_continued.py",
    "training/test_divided.py",
    "training/test_import_checkpoint.py",
    "training/test_loop.py",
    "viewer/test_browser.py",
)


def pytest_collection_modifyitems(items):
    """Marks them."""
    for item in items:
        place = item.path.as_posix().rpartition("/tests/")[2]
        if place.startswith(SLOW):
            item.add_marker(pytest.mark.slow)
