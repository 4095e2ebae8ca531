"""Where each of our parameters lies in a foreign checkpoint: the tensor's name, its shape, and our view of it."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

Shape = tuple[int, ...]
LAYER = "{layer}"


@dataclasses.dataclass(frozen=True)
class Origin:
    """One foreign tensor.

    Args:
      name: its name; `{layer}` stands for the layer's number.
      shape: the shape it must have, given that of our parameter (without the layer axis).
      view: our parameter out of it: a transposition, a part, another order; nothing that would change a value's square
        otherwise than it changes the value, so that second moments are viewed alike.
      shift: added to every value after the view.
    """

    name: str
    shape: Callable[[Shape], Shape]
    view: Callable[[np.ndarray], np.ndarray]
    shift: float = 0.0


def same(name: str, shift: float = 0.0) -> Origin:
    """A tensor that is stored as we store it."""
    return Origin(name, lambda shape: shape, lambda array: array, shift)


def transposed(name: str) -> Origin:
    """A linear map stored as (out, in)."""
    return Origin(name, lambda shape: shape[::-1], lambda array: array.T)


def third(name: str, index: int, linear: bool) -> Origin:
    """One of three equal parts, one behind the other, of an output axis: the last, or the first of a linear map."""
    axis = 0 if linear else -1

    def shape(ours: Shape) -> Shape:
        whole = (*ours[:-1], 3 * ours[-1])
        return whole[::-1] if linear else whole

    def view(array: np.ndarray) -> np.ndarray:
        return np.split(array, 3, axis=axis)[index].T if linear else np.split(array, 3, axis=axis)[index]

    return Origin(name, shape, view)


def third_of_heads(name: str, index: int, heads: int) -> Origin:
    """One of query, key and value where each head's three follow each other."""

    def view(array: np.ndarray) -> np.ndarray:
        part = array.reshape(heads, 3, -1, *array.shape[1:])[:, index]
        return part.reshape(-1, *array.shape[1:]).T

    return Origin(name, lambda ours: (*ours[:-1], 3 * ours[-1])[::-1], view)


def pairs_apart(name: str, heads: int) -> Origin:
    """A query or key whose turned pairs lie side by side, as (x0, x1), (x2, x3), …; ours lie half a head apart."""

    def view(array: np.ndarray) -> np.ndarray:
        paired = array.reshape(heads, -1, 2, *array.shape[1:])
        return paired.swapaxes(1, 2).reshape(array.shape).T

    return Origin(name, lambda ours: ours[::-1], view)


LEAVES = {"kernel": "weight", "embedding": "weight", "scale": "weight", "bias": "bias"}


def from_modules(modules: Mapping[str, str], paths: Mapping[str, Shape]) -> dict[str, Origin]:
    """The origins of parameters whose foreign module is a torch Linear, Embedding or norm, from our modules' names."""
    found = {}
    for path in paths:
        module, leaf = path.rsplit("/", 1)
        if module in modules:
            name = f"{modules[module]}.{LEAVES[leaf]}"
            found[path] = transposed(name) if leaf == "kernel" else same(name)
    return found
