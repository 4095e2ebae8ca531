"""How rotary positions turn: wavelengths, the factors by which families reach longer contexts, and yarn's magnitude.

All scalings are fixed once the model is: `linear`, `llama3` and `yarn` (arXiv 2309.00071). Those that change with the
length of the example (`dynamic`, `longrope`) are refused, because an encoding must not depend on padding.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from jax_tda.core.errors import InputError
from jax_tda.models.importers import foreign_fields
from jax_tda.models.importers.foreign_fields import Field, Settings

# The entries of `rope_parameters` and `rope_scaling`.
ENTRIES: Mapping[str, Field] = {
    "rope_type": Field("text"),
    "type": Field("text", own=False),
    "rope_theta": Field("positive"),
    "partial_rotary_factor": Field("share"),
    "factor": Field("positive", null=True),
    "original_max_position_embeddings": Field("positive"),
    "attention_factor": Field("positive", null=True),
    "beta_fast": Field("not negative", null=True),
    "beta_slow": Field("not negative", null=True),
    "short_factor": Field("anything", null=True),
    "long_factor": Field("anything", null=True),
    "low_freq_factor": Field("positive"),
    "high_freq_factor": Field("positive"),
    "mscale": Field("not negative", null=True),
    "mscale_all_dim": Field("not negative", null=True),
    "truncate": Field("switch"),
    "mrope_section": Field("anything", null=True, only=(None,), asks="positions of several axes"),
}
# What each kind reads, beside what all of them do; and of that, what must be there and a number.
_ALL = {"rope_type", "type", "rope_theta", "partial_rotary_factor", "mrope_section"}
_ORIGINAL = "original_max_position_embeddings"
_READ: Mapping[str, set[str]] = {
    "default": set(),
    "linear": {"factor"},
    "llama3": {"factor", _ORIGINAL, "low_freq_factor", "high_freq_factor"},
    "yarn": {
        "factor", _ORIGINAL, "attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate",
    },
}  # fmt: skip
_NEEDED = {"linear": ("factor",), "llama3": ("factor", "low_freq_factor", "high_freq_factor"), "yarn": ()}
KINDS = tuple(_READ)


@dataclasses.dataclass(frozen=True)
class Turning:
    """How the heads of some layers are turned.

    Args:
      theta: the base of the wavelengths.
      fraction: the share of a head that is turned.
      factors: what every turned pair's wavelength is multiplied by; one for all, or none when all are 1.
      magnitude: what cosines and sines are multiplied by.
    """

    theta: float
    fraction: float
    factors: tuple[float, ...]
    magnitude: float


def turning(
    settings: Settings, name: str, given: Mapping[str, Any], head_size: int, theta: float, fraction: float = 1.0
) -> Turning:
    """What a dictionary of rope parameters means.

    Args:
      settings: the config.json around it, which receives the entries that are not read.
      name: the dictionary's own name.
      given: its entries.
      head_size: the size of a head.
      theta: the base, where the dictionary does not say it.
      fraction: the share of a head that is turned, likewise.

    Raises:
      InputError: an entry cannot be used or is missing, or the kind of scaling is not known.
    """
    read = foreign_fields.read(ENTRIES, given, f"{settings.where}: {name}")
    for entry, value in read.unknown.items():
        if isinstance(value, dict):
            raise settings.contradiction(f"{name}.{entry}", f"{name} without parameters for single kinds of layers")
        settings.unknown[f"{name}.{entry}"] = value
    kind = read.get("rope_type", read.get("type", "default"))
    if kind not in _READ:
        raise InputError(
            f"{settings.where}: rotary positions are scaled in a way that is not known",
            got=foreign_fields.shown(kind),
            expected=" or ".join(KINDS),
            remedy="import a checkpoint without this scaling; within the original context it has little effect",
        )
    if not {"rope_type", "type"} & read.values.keys() and read.get("factor", 1) not in (None, 1):
        raise settings.contradiction(f"{name} with a factor and no rope_type", "a rope_type: " + " or ".join(KINDS))
    for entry in _NEEDED.get(kind, ()):
        _demand(settings, kind, entry, read.get(entry))
    settings.idle.extend(f"{name}.{entry}" for entry in read.values if entry not in _READ[kind] | _ALL)
    theta, fraction = float(read.get("rope_theta", theta)), float(read.get("partial_rotary_factor", fraction))
    size = int(head_size * fraction)
    if kind in ("llama3", "yarn"):
        read.values.setdefault(_ORIGINAL, settings["max_position_embeddings"])
    try:
        with np.errstate(all="ignore"):
            wavelengths = 2 * math.pi * theta ** (np.arange(0, size, 2, dtype=np.float64) / max(size, 1))
            factors, magnitude = _MADE[kind](settings, read.values, wavelengths, theta)
        fit = np.isfinite(wavelengths).all() and np.isfinite(factors).all() and (factors > 0).all()
    except (OverflowError, ValueError, ZeroDivisionError) as problem:
        if isinstance(problem, InputError):
            raise
        fit = False
    if not fit or not 0 < magnitude < math.inf:
        raise settings.refusal(foreign_fields.shown(dict(given)), "finite wavelengths", "such positions")
    return Turning(theta, fraction, tuple(float(factor) for factor in factors), magnitude)


def _demand(settings: Settings, kind: str, entry: str, value: Any) -> None:
    if value is None:
        raise InputError(
            f"{settings.where}: the rotary scaling {kind} lacks a parameter",
            got="nothing, or null",
            expected=f"{entry}: {ENTRIES[entry].words}",
            remedy="take config.json from the model's own page",
        )


_Made = tuple[np.ndarray, float]


def _plain(settings: Settings, given: Mapping[str, Any], wavelengths: np.ndarray, theta: float) -> _Made:
    return np.empty(0), 1.0


def _linear(settings: Settings, given: Mapping[str, Any], wavelengths: np.ndarray, theta: float) -> _Made:
    return np.array([given["factor"]], np.float64), 1.0


def _llama3(settings: Settings, given: Mapping[str, Any], wavelengths: np.ndarray, theta: float) -> _Made:
    """Long wavelengths by the factor, short ones not at all, those between by a mixture of frequencies."""
    low, high = given["low_freq_factor"], given["high_freq_factor"]
    if high <= low:
        raise settings.contradiction(f"low_freq_factor {low}, high_freq_factor {high}", "the high one above the low")
    share = np.clip((given[_ORIGINAL] / wavelengths - low) / (high - low), 0, 1)
    return 1 / ((1 - share) / given["factor"] + share), 1.0


def _yarn(settings: Settings, given: Mapping[str, Any], wavelengths: np.ndarray, theta: float) -> _Made:
    """Pairs that turn often in the original context stay, those that turn less than once are slowed by the factor."""
    if "factor" not in given:  # null has a meaning.
        _demand(settings, "yarn", "factor", None)
    context, size = given[_ORIGINAL], 2 * len(wavelengths)
    factor = given["factor"] or settings["max_position_embeddings"] / context
    if theta == 1:
        raise settings.contradiction("rope_theta 1 with yarn", "a base other than 1")

    def pair_that_turns(times: float) -> float:
        return size * math.log(context / (times * 2 * math.pi)) / (2 * math.log(theta))

    first, last = pair_that_turns(given.get("beta_fast") or 32), pair_that_turns(given.get("beta_slow") or 1)
    if given.get("truncate", True):
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, size - 1)
    slowed = np.clip((np.arange(size // 2) - first) / (last - first or 0.001), 0, 1)
    return 1 / (slowed / factor + (1 - slowed)), _yarn_magnitude(given, factor)


def yarn_magnitude(factor: float, strength: float = 1.0) -> float:
    """What cosines and sines are multiplied by where nothing else is said: 0.1 · strength · ln(factor) + 1."""
    return 0.1 * strength * math.log(factor) + 1 if factor > 1 else 1.0


def _yarn_magnitude(given: Mapping[str, Any], factor: float) -> float:
    if given.get("attention_factor") is not None:
        return float(given["attention_factor"])
    if given.get("mscale") and given.get("mscale_all_dim"):
        return yarn_magnitude(factor, given["mscale"]) / yarn_magnitude(factor, given["mscale_all_dim"])
    return yarn_magnitude(factor)


_MADE = {"default": _plain, "linear": _linear, "llama3": _llama3, "yarn": _yarn}
