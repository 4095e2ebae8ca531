"""Parameter trees by name: '/'-joined paths to leaves and back."""

from collections.abc import Mapping
from typing import Any

import jax


def path_of(keys: tuple[Any, ...]) -> str:
    """The '/'-joined spelling of a JAX key path, whatever kinds of containers it goes through."""
    return "/".join(str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in keys)


def unboxed(tree: Any) -> Any:
    """The tree without the boxes that Flax puts around arrays to say what their axes mean (`nn.Partitioned`)."""

    def is_box(node: Any) -> bool:
        return hasattr(node, "unbox") and hasattr(node, "replace_boxed")

    return jax.tree.map(lambda node: jax.tree.leaves(node)[0] if is_box(node) else node, tree, is_leaf=is_box)


def flatten(tree: Any) -> dict[str, Any]:
    """Leaves by '/'-joined path, unboxed; a single outer `params` collection is looked through."""
    if isinstance(tree, Mapping) and set(tree) == {"params"}:
        tree = tree["params"]
    return {path_of(keys): leaf for keys, leaf in jax.tree_util.tree_flatten_with_path(unboxed(tree))[0]}


def unflatten(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dictionaries from '/'-joined paths."""
    tree: dict[str, Any] = {}
    for path, leaf in leaves.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    return tree


def grafted(tree: Any, leaves: Mapping[str, Any]) -> dict[str, Any]:
    """The nested dictionaries of a tree with leaves set at '/'-joined paths; names that hold a '/' stay as they are."""
    if isinstance(tree, Mapping) and set(tree) == {"params"}:
        tree = tree["params"]
    grown = dict(tree)
    below: dict[str, dict[str, Any]] = {}
    for path, leaf in leaves.items():
        name, _, rest = path.partition("/")
        if rest:
            below.setdefault(name, {})[rest] = leaf
        else:
            grown[name] = leaf
    return grown | {name: grafted(tree.get(name, {}), inner) for name, inner in below.items()}
