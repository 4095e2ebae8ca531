"""Every test sees eight CPU devices; an array never gains axes unasked; equal programs are compiled once.

A file of tests whose packages are not installed is skipped, and says how to get them.
"""

import os

os.environ["JAX_PLATFORMS"] = "cpu"
EIGHT_DEVICES = "--xla_force_host_platform_device_count=8"
if EIGHT_DEVICES not in os.environ.get("XLA_FLAGS", ""):  # It is there already where one pytest starts another.
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {EIGHT_DEVICES}".strip()

import jax
import pytest

from jax_tda import Encoder
from tests.missing import pytest_pycollect_makemodule  # noqa: F401 - a hook of pytest's.
from tests.slow import pytest_collection_modifyitems  # noqa: F401 - a hook of pytest's.

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@pytest.fixture(scope="session", autouse=True)
def encoders_unchecked():
    """Tests compare encodings with plain gradients for themselves: an Encoder checks itself only where asked to.

    The encode job does so in tests as everywhere.
    """
    own = Encoder.__init__

    def quiet(self, *arguments, self_check=0, **options):
        own(self, *arguments, self_check=self_check, **options)

    Encoder.__init__ = quiet
    yield
    Encoder.__init__ = own


@pytest.fixture(scope="session", autouse=True)
def compile_once(tmp_path_factory):
    """Tiny programs take seconds to compile and nothing to run, and tests make the same ones again and again."""
    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("compiled")))


@pytest.fixture(scope="module", autouse=True)
def programs_freed():
    """A file's compiled programs are let go with it: those of the whole suite would fill the memory."""
    yield
    jax.clear_caches()
