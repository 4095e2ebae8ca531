"""The scalings of rotary positions by which families reach longer contexts, as factors of each wavelength.

All of them are fixed once the model is: `linear`, `llama3` and `yarn` (arXiv 2309.00071). Those that change with the
length of the example (`dynamic`, `longrope`) are refused, because an encoding must not depend on padding.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from jax_tda.core.errors import InputError

KINDS = ("default", "linear", "llama3", "yarn")


def factors(settings: Mapping[str, Any], theta: float, size: int, where: str) -> tuple[tuple[float, ...], float]:
    """What every turned pair's wavelength is multiplied by, and what scores are multiplied by.

    Args:
      settings: `rope_type` and its parameters, as Hugging Face's config.json names them.
      theta: the base of the wavelengths.
      size: the number of turned dimensions.
      where: the file, for errors.

    Returns:
      The factors, none when all are 1, and the scores' multiplier.

    Raises:
      InputError: the kind is unknown, or one of its parameters is missing.
    """
    kind = settings.get("rope_type", settings.get("type", "default"))
    makers = {"default": _plain, "linear": _linear, "llama3": _llama3, "yarn": _yarn}
    if kind not in makers:
        raise InputError(
            f"{where}: rotary positions are scaled in a way that is not known",
            got=kind,
            expected=" or ".join(KINDS),
            remedy="import a checkpoint without this scaling; within the original context it has little effect",
        )
    wavelengths = 2 * math.pi * theta ** (np.arange(0, size, 2, dtype=np.float64) / size)
    try:
        found, scores = makers[kind](settings, wavelengths, theta, size)
    except KeyError as missing:
        raise InputError(
            f"{where}: the rotary scaling {kind} lacks a parameter",
            got=", ".join(sorted(settings)),
            expected=missing.args[0],
            remedy="take config.json from the model's own page",
        ) from None
    return tuple(float(factor) for factor in found), scores


_Made = tuple[np.ndarray, float]


def _plain(settings: Mapping[str, Any], wavelengths: np.ndarray, theta: float, size: int) -> _Made:
    return np.empty(0), 1.0


def _linear(settings: Mapping[str, Any], wavelengths: np.ndarray, theta: float, size: int) -> _Made:
    return np.array([settings["factor"]], np.float64), 1.0


def _llama3(settings: Mapping[str, Any], wavelengths: np.ndarray, theta: float, size: int) -> _Made:
    """Long wavelengths by the factor, short ones not at all, those between by a mixture of frequencies."""
    factor, context = settings["factor"], settings["original_max_position_embeddings"]
    low, high = settings["low_freq_factor"], settings["high_freq_factor"]
    share = np.clip((context / wavelengths - low) / (high - low), 0, 1)
    return 1 / ((1 - share) / factor + share), 1.0


def _yarn(settings: Mapping[str, Any], wavelengths: np.ndarray, theta: float, size: int) -> _Made:
    """Pairs that turn often in the original context stay, those that turn less than once are slowed by the factor."""
    factor, context = settings["factor"], settings["original_max_position_embeddings"]

    def pair_that_turns(times: float) -> float:
        return size * math.log(context / (times * 2 * math.pi)) / (2 * math.log(theta))

    first, last = pair_that_turns(settings.get("beta_fast") or 32), pair_that_turns(settings.get("beta_slow") or 1)
    if settings.get("truncate", True):
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, size - 1)
    slowed = np.clip((np.arange(size // 2) - first) / (last - first or 0.001), 0, 1)
    return 1 / (slowed / factor + (1 - slowed)), _yarn_temperature(settings, factor) ** 2


def _yarn_temperature(settings: Mapping[str, Any], factor: float) -> float:
    """What queries and keys are each multiplied by."""

    def scale(strength: float) -> float:
        return 0.1 * strength * math.log(factor) + 1 if factor > 1 else 1.0

    if settings.get("attention_factor") is not None:
        return float(settings["attention_factor"])
    if settings.get("mscale") and settings.get("mscale_all_dim"):
        return scale(settings["mscale"]) / scale(settings["mscale_all_dim"])
    return scale(1)
