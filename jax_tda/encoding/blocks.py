"""Which parameters are encoded, by which path, and into which block.

A block is one p×p matrix of the encoding. Within a block the projected gradients of several parameters are summed;
across blocks they are concatenated. Layout `groups`: min(8, layers) contiguous layer groups × {attention, mlp}
(TrackStar, arXiv 2410.17413). Layout `matrices`: every matrix of every layer for itself.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from jax_tda.core.errors import InputError
from jax_tda.encoding.sites import Site, flat, plain

LAYOUTS = ("groups", "matrices")
# The paper attributes to attention and MLP matrices; embeddings, head, norms and biases are left out unless asked for.
DEFAULT_EXCLUDE = (
    r"(?i)(^|/)((\w+_)?embed\w*|wte|wpe)(/|$)",
    r"(?i)(^|/)(head|lm_head|unembed\w*|logits\w*)(/|$)",
    r"(?i)(^|/)\w*norm\w*(/|$)",
    r"(^|/)ln_?\w*(/|$)",
    r"/?(bias|scale)$",
)
_KINDS = {
    "attention": re.compile(r"(^|/)\w*att(entio)?n\w*(/|$)", re.I),
    "mlp": re.compile(r"(^|/)\w*(mlp|ffn|feed_?forward)\w*(/|$)", re.I),
}
_NUMBERED = re.compile(r"(?:^|/)\w*?(\d+)(?=/|$)")


@dataclasses.dataclass(frozen=True)
class Matrix:
    """One encoded parameter.

    Args:
      path: '/'-joined parameter path.
      shape: the parameter's shape.
      layers: length of its leading layer axis; 0 when it has none.
      rows: size of its input side.
      columns: size of its output side.
      route: `probe` (activations and output gradients) or `weight` (the weight itself is perturbed).
      blocks: its block, for each layer.
      site: which of its axes are inputs, outputs and layers.
    """

    path: str
    shape: tuple[int, ...]
    layers: int
    rows: int
    columns: int
    route: str
    blocks: tuple[str, ...]
    site: Site

    def view(self, array: Any) -> Any:
        """[layers, in, out], or [in, out], of an array of the parameter's shape."""
        return self.site.matrix(array)


@dataclasses.dataclass(frozen=True)
class Plan:
    """Every parameter of the model, accounted for.

    Args:
      matrices: those that are encoded.
      excluded: those that are not, by path, with the pattern that excluded them.
      sizes: the number of elements of every parameter.
    """

    matrices: tuple[Matrix, ...]
    excluded: dict[str, str]
    sizes: dict[str, int]

    @property
    def blocks(self) -> tuple[str, ...]:
        """Block names in the order in which encodings store them."""
        return tuple(sorted({block for matrix in self.matrices for block in matrix.blocks}))

    @property
    def attributed_share(self) -> float:
        """The share of the model's parameters that encodings cover."""
        return sum(self.sizes[m.path] for m in self.matrices) / max(1, sum(self.sizes.values()))

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """How many parameters, of how many elements together, are probed, on the weight path, and excluded."""
        fates = {m.path: m.route for m in self.matrices} | dict.fromkeys(self.excluded, "excluded")
        return {
            fate: {
                "parameters": sum(given == fate for given in fates.values()),
                "elements": sum(self.sizes[path] for path, given in fates.items() if given == fate),
            }
            for fate in ("probe", "weight", "excluded")
        }


def plan(
    shapes: dict[str, tuple[int, ...]],
    shown: dict[str, Site],
    layout: str,
    exclude: tuple[str, ...] = DEFAULT_EXCLUDE,
    layer_axes: Mapping[str, int] | None = None,
) -> Plan:
    """Decides for every parameter how it is encoded, or by which pattern it is left out.

    Args:
      shapes: every parameter's shape.
      shown: the parameters that modules show, each as a matrix; a probe stands beside the direct ones.
      layout: `groups` or `matrices`.
      exclude: regular expressions searched in paths.
      layer_axes: of parameters that no module shows, by a regular expression, the axis that counts matrices.

    Raises:
      InputError: a parameter is neither encodable nor excluded, or the layout finds no place for it.
    """
    if layout not in LAYOUTS:
        raise InputError(
            "unknown block layout", got=layout, expected=" or ".join(LAYOUTS), remedy="set blocks to one of them"
        )
    excluded, kept = {}, dict[str, Site]()
    for path, shape in sorted(shapes.items()):
        pattern = next((p for p in exclude if re.search(p, path)), None)
        if pattern is not None:
            excluded[path] = pattern
        else:
            kept[path] = _site(path, tuple(shape), shown, layer_axes or {})
    if not kept:
        raise InputError(
            "no parameter is left to encode",
            got=f"{len(excluded)} parameters, all excluded",
            expected="at least one matrix",
            remedy="narrow the patterns in `exclude`",
        )
    names = _matrices(kept) if layout == "matrices" else _groups(kept)
    matrices = tuple(
        Matrix(
            path,
            site.shape,
            site.layers,
            site.rows,
            site.columns,
            "probe" if site.direct else "weight",
            names[path],
            site,
        )
        for path, site in kept.items()
    )
    return Plan(matrices, excluded, {path: int(np.prod(shape)) for path, shape in shapes.items()})


def _site(path: str, shape: tuple[int, ...], shown: dict[str, Site], layer_axes: Mapping[str, int]) -> Site:
    """As its module shows it; else as it is said; else a vector is a matrix of one row, and a matrix what it is.

    Never by its name.
    """
    pattern = next((p for p in layer_axes if re.search(p, path)), None)
    site = shown.get(path)
    said = _said(path, shape, pattern, layer_axes[pattern]) if pattern is not None else None
    if said is not None and site is not None and site.layer_axes and site.layer_axes != said.layer_axes:
        raise InputError(
            f"layer_axes contradicts the model about {path}",
            got=f"axis {layer_axes[pattern or '']} for {pattern!r}",
            expected=f"axis {', '.join(map(str, site.layer_axes))} of {shape}, which the model loops over",
            remedy="take the pattern out of layer_axes: the model tells by itself",
        )
    if said is not None and (site is None or not site.layer_axes):
        return said
    if site is not None and site.layer_axes is None:
        raise InputError(
            f"which axis of {path} counts layers cannot be told",
            got=f"shape {shape}, of which a module sees all but one or more axes, and several would fit",
            expected="one axis, read off the program, or off the shapes where only one fits",
            remedy=f"say it: layer_axes={{{'^' + re.escape(path) + '$'!r}: AXIS}}, or exclude the parameter",
        )
    site = site or plain(shape)
    if site is None:
        pattern = "^" + re.escape(path) + "$"
        raise InputError(
            f"the parameter {path} is not covered",
            got=f"shape {shape}, which is no (in, out) matrix, and no module tells what its axes are",
            expected="every parameter encoded or excluded by name",
            remedy="if one of its axes counts matrices, give layer_axes={pattern: axis}; else "
            f"add a pattern for it to `exclude`, such as {pattern!r}",
        )
    return site


def _said(path: str, shape: tuple[int, ...], pattern: str, axis: int) -> Site:
    if not (-len(shape) <= axis < len(shape) and len(shape) <= 3):
        raise InputError(
            f"layer_axes does not fit the parameter {path}",
            got=f"axis {axis} of shape {shape}, for {pattern!r}",
            expected="an axis of a parameter of at most three axes: layers, in, out",
            remedy="change the axis or the pattern, or exclude the parameter",
        )
    return flat(shape, layer_axes=(axis % len(shape),))


def _matrices(kept: dict[str, Site]) -> dict[str, tuple[str, ...]]:
    return {
        path: tuple(f"{path}/{layer:0{len(str(site.layers - 1))}d}" for layer in range(site.layers))
        if site.layers
        else (path,)
        for path, site in kept.items()
    }


def _groups(kept: dict[str, Site]) -> dict[str, tuple[str, ...]]:
    places = {}
    for path, site in kept.items():
        layers = site.layers
        kind, found = next(((k, m) for k, p in _KINDS.items() if (m := p.search(path))), (None, None))
        # The last number before the kind is the layer's (decoder_0/layers_3/mlp); one behind it counts matrices.
        numbers = (
            (_NUMBERED.findall(path[: found.start() + 1]) or _NUMBERED.findall(path[: found.end()])) if found else []
        )
        if kind is None or bool(layers) == bool(numbers):
            raise InputError(
                f"the parameter {path} has no place among the block groups",
                got="a path that names neither attention nor MLP"
                if kind is None
                else "a stack of kernels below a numbered part, either of which might be the layer"
                if layers
                else "a path that names no layer",
                expected="paths such as layers/attention/query/kernel or layers_3/mlp/up/kernel",
                remedy="set blocks to matrices, or add a pattern for it to `exclude`",
            )
        places[path] = (kind, tuple(range(layers)) if layers else (int(numbers[-1]),))
    present = sorted({layer for _, layers in places.values() for layer in layers})
    groups = np.array_split(np.array(present), min(8, len(present)))
    width = len(str(present[-1]))
    name = {int(layer): f"layers_{group[0]:0{width}d}-{group[-1]:0{width}d}" for group in groups for layer in group}
    return {path: tuple(f"{name[layer]}/{kind}" for layer in layers) for path, (kind, layers) in places.items()}
