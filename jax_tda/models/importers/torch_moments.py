"""The second moments in a Hugging Face Trainer's optimizer.pt, by our parameters.

The file is a pickle; torch reads it with `weights_only`, which makes tensors and plain containers and nothing else. It
numbers parameters instead of naming them: first those that decay (matrices), then those that do not (biases and norms),
each in the order of the model; or all in one group. Every shape is compared, so that another order is noticed.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jax_tda.core.errors import InputError
from jax_tda.models.decoder_config import DecoderConfig
from jax_tda.models.importers import names
from jax_tda.models.importers.origins import LAYER, Origin, Shape
from jax_tda.models.importers.source import needed


def read(path: str, family: str, config: DecoderConfig, shapes: Mapping[str, Shape]) -> tuple[dict[str, Any], float]:
    """V̂ = exp_avg_sq / (1 − b2^step) of every parameter, and the optimizer's ε.

    Args:
      path: the optimizer.pt of a torch Adam or AdamW.
      family: the architecture of the model that it trained.
      config: our decoder.
      shapes: our parameters and their shapes.

    Raises:
      InputError: the file is damaged, of another optimizer, or of another model.
    """
    torch = needed("torch")
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
        states, groups = held["state"], held["param_groups"]
    except Exception as problem:  # Whatever a damaged pickle makes torch say.
        raise InputError(
            f"{path} cannot be read as a torch optimizer's state",
            got=str(problem).splitlines()[0],
            expected="a file of tensors and plain containers with `state` and `param_groups`",
            remedy="give the optimizer.pt that the Trainer wrote beside the model",
        ) from problem
    origins = names.huggingface(family, config, shapes)
    wanted = _foreign_shapes(origins, shapes, config.layers)
    numbers = _numbered(path, groups, names.torch_order(family, config, shapes), wanted)
    epsilon, found = float(groups[0].get("eps", 1e-8)), {}
    for name, (number, group) in numbers.items():
        state = states.get(number, {})
        moments = state.get("exp_avg_sq")
        if moments is None or tuple(moments.shape) != wanted[name]:
            raise InputError(
                f"{path} does not belong to this model: {name}",
                got="no second moments" if moments is None else f"shape {tuple(moments.shape)} as parameter {number}",
                expected=f"exp_avg_sq of shape {wanted[name]}",
                remedy="give the optimizer.pt of this very checkpoint, or estimate from batches",
            )
        found[name] = moments.float().numpy() / (1 - group["betas"][1] ** float(state["step"]))
    return {path: _ours(origin, shapes[path], found, config.layers) for path, origin in origins.items()}, epsilon


def _foreign_shapes(origins: Mapping[str, Origin], shapes: Mapping[str, Shape], layers: int) -> dict[str, Shape]:
    found = {}
    for path, origin in origins.items():
        stacked = LAYER in origin.name
        shape = origin.shape(shapes[path][1:] if stacked else shapes[path])
        for layer in range(layers if stacked else 1):
            found[origin.name.replace(LAYER, str(layer))] = shape
    return found


def _numbered(
    path: str, groups: list[dict[str, Any]], order: list[str], shapes: Mapping[str, Shape]
) -> dict[str, tuple[int, dict[str, Any]]]:
    """Each parameter's number, and the group that it is in."""
    matrices = [name for name in order if len(shapes[name]) > 1]
    parts = [order] if len(groups) == 1 else [matrices, [name for name in order if len(shapes[name]) == 1]]
    counts = [len(group["params"]) for group in groups]
    if counts != [len(part) for part in parts]:
        raise InputError(
            f"{path} does not belong to this model",
            got=f"groups of {counts} parameters",
            expected=f"{len(order)} parameters, or {len(parts[0])} matrices and {len(parts[-1])} biases and norms",
            remedy="give the optimizer.pt of this very checkpoint, or estimate from batches",
        )
    return {
        name: (number, group)
        for part, group in zip(parts, groups, strict=True)
        for name, number in zip(part, group["params"], strict=True)
    }


def _ours(origin: Origin, shape: Shape, found: Mapping[str, np.ndarray], layers: int) -> np.ndarray:
    if LAYER not in origin.name:
        return np.ascontiguousarray(origin.view(found[origin.name]))
    whole = np.empty(shape, np.float32)
    for layer in range(layers):
        whole[layer] = origin.view(found[origin.name.replace(LAYER, str(layer))])
    return whole
