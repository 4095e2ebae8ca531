"""The second moments in a Hugging Face Trainer's optimizer.pt, by our parameters.

The file is a pickle; torch reads it with `weights_only`, which makes tensors and plain containers and nothing else. It
numbers parameters instead of naming them: first those that decay (matrices), then those that do not (biases and norms),
each in the order of the model; or all in one group. Every shape is compared, so that another order is noticed. Other
optimizers keep something else under Adam's names, so a state must hold what torch's Adam holds, and nothing more.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jax_tda.core.errors import InputError
from jax_tda.models import narrow
from jax_tda.models.decoder_config import DecoderConfig
from jax_tda.models.importers import names
from jax_tda.models.importers.origins import LAYER, Origin, Shape
from jax_tda.models.importers.source import needed


def read(
    path: str, family: str, config: DecoderConfig, shapes: Mapping[str, Shape]
) -> tuple[dict[str, Any], float, str]:
    """V̂ = exp_avg_sq / (1 − b2^step) of every parameter, and the optimizer's ε, and what to call them in a manifest.

    Args:
      path: the optimizer.pt of a torch Adam or AdamW.
      family: the architecture of the model that it trained.
      config: our decoder.
      shapes: our parameters and their shapes.

    Raises:
      InputError: the file is damaged, of another optimizer or of another model, or its moments are no mean of squares.
    """
    states, groups = _held(path)
    origins = names.huggingface(family, config, shapes)
    wanted = _foreign_shapes(origins, shapes, config.layers)
    numbers = _numbered(path, groups, names.torch_order(family, config, shapes), wanted)
    epsilons = [group.get("eps", 1e-8) for group in groups]
    if not all(_is_number(epsilon, 0, math.inf) and epsilon == epsilons[0] for epsilon in epsilons):
        raise _refusal(path, f"eps {', '.join(map(str, epsilons))}", "one eps ≥ 0 of all groups")
    found = {
        name: _corrected(path, name, states.get(number, {}), group, wanted[name])
        for name, (number, group) in numbers.items()
    }
    ours = {path: _ours(origin, shapes[path], found, config.layers) for path, origin in origins.items()}
    kept = [state["exp_avg_sq"] for state in states.values() if "exp_avg_sq" in state]
    types = {str(moments.dtype).removeprefix("torch.") for moments in kept}
    return ours, float(epsilons[0]), "adam" + narrow.named(types & {"bfloat16", "float16"})


_STATE = {"step", "exp_avg", "exp_avg_sq"}
# What torch's Adam and AdamW say of a group, and what schedulers add; more than that is another optimizer's.
_GROUP = {
    "params", "lr", "betas", "eps", "weight_decay", "amsgrad", "maximize", "foreach", "capturable", "differentiable",
    "fused", "decoupled_weight_decay", "initial_lr", "param_names",
}  # fmt: skip


def _held(path: str) -> tuple[Mapping[int, Any], list[dict[str, Any]]]:
    """The file's states by number, and its groups."""
    torch = needed("torch")
    problem = "other containers"
    states: Any = None
    groups: Any = None
    try:
        if not Path(path).is_file():
            raise OSError("no such file")
        held = torch.load(path, map_location="cpu", weights_only=True)
        states, groups = held["state"], held["param_groups"]
    except Exception as error:  # Whatever a damaged pickle makes torch say.
        said = "".join(c for c in str(error).partition("\n")[0] if c.isprintable())
        problem = f"{type(error).__name__}: {said[:200]}"
    well = isinstance(states, dict) and all(isinstance(state, dict) for state in states.values())
    well = well and isinstance(groups, list) and bool(groups) and all(isinstance(group, dict) for group in groups)
    if not well or not all(_is_list_of_numbers(group.get("params")) for group in groups):
        raise InputError(
            f"{path} cannot be read as a torch optimizer's state",
            got=problem,
            expected="a file of tensors and plain containers with `state` and `param_groups`",
            remedy="give the optimizer.pt that the Trainer wrote beside the model",
        )
    return states, groups


def _corrected(path: str, name: str, state: dict[str, Any], group: dict[str, Any], shape: Shape) -> np.ndarray:
    """V̂ of one parameter: exp_avg_sq, or AMSGrad's largest, over 1 − b2^step."""
    largest = bool(group.get("amsgrad"))
    wanted = _STATE | ({"max_exp_avg_sq"} if largest else set())
    more = (set(map(str, state)) ^ wanted) if state else set()
    if more or (unknown := sorted(set(map(str, group)) - _GROUP)):
        got = f"{', '.join(sorted(more))} of {name}, in one and not in the other" if more else ", ".join(unknown)
        raise _refusal(path, got, f"the state of torch's Adam or AdamW: {', '.join(sorted(wanted))}")
    moments: Any = state.get("max_exp_avg_sq" if largest else "exp_avg_sq")
    if getattr(moments, "shape", None) is None or tuple(moments.shape) != shape:
        raise InputError(
            f"{path} does not belong to this model: {name}",
            got="no second moments" if moments is None else f"shape {tuple(getattr(moments, 'shape', ()))}",
            expected=f"exp_avg_sq of shape {shape}",
            remedy="give the optimizer.pt of this very checkpoint, or estimate from batches",
        )
    betas, step = group.get("betas"), state["step"]
    if not isinstance(betas, (tuple, list)) or len(betas) != 2 or not _is_number(betas[1], 0, 1):
        raise _refusal(path, f"betas {betas!r}", "two numbers, the second ≥ 0 and below 1")
    if not _is_number(step, 1, math.inf):
        raise _refusal(path, f"step {step} of {name}", "at least one step")
    values: np.ndarray = moments.double().numpy()
    if wrong := int((~(np.isfinite(values) & (values >= 0))).sum()):
        raise _refusal(path, f"{wrong} second moments of {name} negative or not finite", "finite numbers ≥ 0")
    return (values / (1 - float(betas[1]) ** float(step))).astype(np.float32)


def _is_number(value: Any, least: float, below: float) -> bool:
    if isinstance(value, bool) or not hasattr(value, "__float__") or getattr(value, "shape", ()) not in ((), (1,)):
        return False
    return least <= float(value) < below


def _is_list_of_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(number, int) for number in value)


def _refusal(path: str, got: str, expected: str) -> InputError:
    return InputError(
        f"{path} holds no second moments that can be used",
        got=got,
        expected=expected,
        remedy="give the optimizer.pt of a torch Adam or AdamW that trained this model, or estimate from batches",
    )


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
