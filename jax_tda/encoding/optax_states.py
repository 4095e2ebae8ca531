"""The states that hold second moments, found in whatever nest of optax wrappers, or in what orbax restored of one.

What a state means is not told by its shape: AdaBelief, NovoGrad and Sophia keep something else under the names of
Adam's state, and Adamax keeps something else in Adam's very type. So a type must be one that is known, plain containers
with Adam's names need the optimizer's name, and Adam's type is taken for Adam's where Adamax cannot have left it.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_tda.core.errors import InputError

# By optax's names: those that divide by the root of nu / (1 − b2^count), and those that divide otherwise.
KINDS = dict.fromkeys(("adam", "adamw", "nadam", "nadamw", "radam", "lamb", "yogi"), "adam") | {
    "adamax": "adamax",
    "adamaxw": "adamax",
    "amsgrad": "amsgrad",
    "adafactor": "adafactor",
}
# What each type may be, and the names in it.
_TYPES = {
    "ScaleByAdamState": (("adam", "adamax"), {"count", "mu", "nu"}),
    "ScaleByAmsgradState": (("amsgrad",), {"count", "mu", "nu", "nu_max"}),
    "FactoredState": (("adafactor",), {"count", "v_row", "v_col", "v"}),
}
# With b1 ≤ b2 every |mu| of Adamax is at most (1 − b1) / (1 − b1/b2) of nu, a running maximum of |gradient|: 1.01 with
# optax's own decays, 1.9 with .9 and .95.
_ADAMAX_BOUND = 2.0


@dataclasses.dataclass(frozen=True)
class Held:
    """One state with second moments.

    Args:
      kind: `adam`, `adamax`, `amsgrad` or `adafactor`.
      count: the number of steps that it has seen.
      fields: what it holds, by name.
      injected: the hyperparameters that the nearest `optax.inject_hyperparams` around it put into the state.
    """

    kind: str
    count: int
    fields: dict[str, Any]
    injected: dict[str, float]


def find(state: Any, optimizer: str | None) -> list[Held]:
    """Every state with second moments.

    Args:
      state: of an optimizer, in its own types or as plain containers.
      optimizer: optax's name of what made it; None where its types say enough.

    Raises:
      InputError: the name is unknown, contradicts the state, or is needed; or a state holds something else.
    """
    if optimizer is not None and optimizer not in KINDS:
        raise InputError(
            f"second moments of the optimizer {optimizer!r} cannot be read",
            got=repr(optimizer),
            expected=", ".join(KINDS),
            remedy="estimate second moments from batches, or encode without them",
        )
    found = list(_walk(state, {}, optimizer))
    if not found:
        raise InputError(
            "second moments could not be read from the optimizer state",
            got=f"a {type(state).__name__} without any{_seen(state)}",
            expected="the state of optax Adam(W) (`nu`) or Adafactor (`v_row`, `v_col`, `v`), or one like them: "
            + ", ".join(KINDS),
            remedy="give the state of the optimizer that trained the model, or encode without second moments",
        )
    return found


def _walk(node: Any, injected: dict[str, float], optimizer: str | None) -> Iterator[Held]:
    fields = _fields(node)
    if hyper := _fields(fields.get("hyperparams")):
        injected = {name: _number(value) for name, value in hyper.items() if np.size(value) == 1}
    names = set(fields)
    if {"base_optimizer_state", "projector"} <= names:
        raise _other("GaLore's state, whose moments are of projected gradients")
    typed = hasattr(node, "_fields")
    if typed and type(node).__name__ in _TYPES:
        kinds, _ = _TYPES[type(node).__name__]
    elif {"count", "nu"} <= names or {"mu", "nu"} <= names or {"count", "v_row", "v_col"} <= names:
        kinds = () if typed else next((kinds for kinds, held in _TYPES.values() if held == names), ())
        if not kinds or (typed and names == {"nu"}):
            raise _other(f"a {type(node).__name__} with {', '.join(sorted(names))}")
    else:
        children = list(fields.values()) if fields else list(node) if isinstance(node, (list, tuple)) else []
        for child in children:
            yield from _walk(child, injected, optimizer)
        return
    count = _count(fields)  # Asked first: where it is 0, the state says nothing.
    yield Held(_kind(kinds, typed, fields, injected, optimizer), count, fields, injected)


def _count(fields: dict[str, Any]) -> int:
    counts = np.unique(np.asarray(jax.device_get(fields["count"])))
    if counts.size != 1 or not counts[0] >= 1:
        raise InputError(
            "the optimizer state has seen no step" if counts.size == 1 else "the states of several models are mixed",
            got=f"count {', '.join(map(str, counts[:4]))}, so that second moments are 0 or not of one age",
            expected="the state of one model after training",
            remedy="give the state of a trained checkpoint, or encode without second moments",
        )
    return int(counts[0])


def _kind(
    kinds: tuple[str, ...], typed: bool, fields: dict[str, Any], injected: dict[str, float], optimizer: str | None
) -> str:
    if optimizer is not None:
        if KINDS[optimizer] not in kinds:
            raise InputError(
                f"the optimizer state is not that of {optimizer}",
                got=f"a state with {', '.join(sorted(fields))}, as {' or '.join(kinds)} keeps it",
                expected=f"the state of {KINDS[optimizer]}",
                remedy="name the optimizer that made the state",
            )
        return KINDS[optimizer]
    # Adamax has no ε under the root, and so no such hyperparameter.
    if len(kinds) == 1 or (typed and ("eps_root" in injected or not _may_be_adamax(fields))):
        return kinds[0]
    looks = "Adamax and Adam with large gradients" if typed else "Adam, Adamax, AdaBelief, NovoGrad and others"
    raise InputError(
        "the optimizer state does not say which optimizer made it",
        got=f"a state with {', '.join(sorted(fields))}, which {looks} leave behind alike",
        expected="its name beside it",
        remedy="name it: optimizer='adam' (estimate_second_moments.optimizer), or one of " + ", ".join(KINDS),
    )


def _may_be_adamax(fields: dict[str, Any]) -> bool:
    pairs = zip(jax.tree.leaves(fields["mu"]), jax.tree.leaves(fields["nu"]), strict=True)
    wide = ((jnp.asarray(mu).astype(jnp.float32), jnp.asarray(nu).astype(jnp.float32)) for mu, nu in pairs)
    return not any(bool(jnp.any(jnp.abs(mu) > _ADAMAX_BOUND * nu)) for mu, nu in wide)


def _other(got: str) -> InputError:
    # AdaBelief keeps a variance under `nu`, RMSProp divides without a correction, NovoGrad keeps one number a matrix.
    return InputError(
        "these second moments are not Adam's",
        got=got,
        expected=f"one of {', '.join(_TYPES)}",
        remedy="estimate second moments from batches, or encode without them",
    )


def _number(value: Any) -> float:
    # As it was written: 0.999 in float32 is 0.99900001.
    return float(f"{float(np.asarray(jax.device_get(value)).reshape(())):.7g}")


def _fields(node: Any) -> dict[str, Any]:
    if isinstance(node, Mapping):
        return dict(node)
    if hasattr(node, "_fields"):
        return {name: getattr(node, name) for name in node._fields}
    if dataclasses.is_dataclass(node) and not isinstance(node, type):
        return {field.name: getattr(node, field.name) for field in dataclasses.fields(node)}
    return {}


def _seen(node: Any) -> str:
    """The types in a nest that hold something, for the message."""
    types: dict[str, None] = {}

    def look(node: Any) -> None:
        fields = _fields(node)
        if hasattr(node, "_fields") and fields:
            types[type(node).__name__] = None
        for child in fields.values() if fields else node if isinstance(node, (list, tuple)) else ():
            look(child)

    look(node)
    return f": {', '.join(types)}" if types else ""
