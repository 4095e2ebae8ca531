"""Training-data attribution in JAX: which training examples made a language model say what it says.

The public names load on first use, so that `import jax_tda` imports nothing else (PEP 562).
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jax_tda.attribution.rank import rank
    from jax_tda.encoding.encoder import Encoder
    from jax_tda.encoding.second_moments import second_moments_from

__version__ = "0.1.0"
__all__ = ["Encoder", "__version__", "rank", "second_moments_from"]

_EXPORTS = {
    "Encoder": "jax_tda.encoding.encoder",
    "second_moments_from": "jax_tda.encoding.second_moments",
    "rank": "jax_tda.attribution.rank",
}


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'jax_tda' has no attribute {name!r}")
    return getattr(importlib.import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
