"""Random numbers have names: a root seed and a path of words give one generator, wherever it is asked for."""

import hashlib

import jax
import numpy as np


def _number(root: int, names: tuple[object, ...]) -> int:
    text = "\x1f".join([str(int(root)), *(str(name) for name in names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def named(root: int, *names: object) -> jax.Array:
    """A JAX key that depends on the root seed and the names alone, equal in every process and on every host."""
    number = _number(root, names)
    return jax.random.fold_in(jax.random.key(number >> 32), number & 0xFFFFFFFF)


def generator(root: int, *names: object) -> np.random.Generator:
    """A NumPy generator that depends on the root seed and the names alone."""
    return np.random.default_rng(_number(root, names))
