"""Which parameters are encoded, by which path, and into which block.

A block is one p×p matrix of the encoding. Within a block the projected gradients of several parameters are summed;
across blocks they are concatenated. Layout `groups`: min(8, layers) contiguous layer groups × {attention, mlp}
(TrackStar, arXiv 2410.17413). Layout `matrices`: every matrix of every layer for itself.
"""

import dataclasses
import re
from typing import Any

import numpy as np

from jax_tda.core.errors import InputError
from jax_tda.encoding.sites import Site, plain

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
      site: how its module shows it as a matrix; None where no module does and it is one as it stands.
    """

    path: str
    shape: tuple[int, ...]
    layers: int
    rows: int
    columns: int
    route: str
    blocks: tuple[str, ...]
    site: Site | None = None

    def view(self, array: Any) -> Any:
        """[layers, in, out], or [in, out], of an array of the parameter's shape."""
        return array if self.site is None else self.site.matrix(array)

    def back(self, matrices: Any) -> Any:
        """The array of the parameter's shape whose `view` is given."""
        return matrices if self.site is None else self.site.kernel(matrices)


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
) -> Plan:
    """Decides for every parameter how it is encoded, or by which pattern it is left out.

    Args:
      shapes: every parameter's shape.
      shown: the parameters that modules show, each as a matrix; a probe stands beside the direct ones.
      layout: `groups` or `matrices`.
      exclude: regular expressions searched in paths.

    Raises:
      InputError: a parameter is neither encodable nor excluded, or the layout finds no place for it.
    """
    if layout not in LAYOUTS:
        raise InputError(
            "unknown block layout", got=layout, expected=" or ".join(LAYOUTS), remedy="set blocks to one of them"
        )
    excluded, kept, fitting = {}, {}, {}
    for path, shape in sorted(shapes.items()):
        pattern = next((p for p in exclude if re.search(p, path)), None)
        if pattern is not None:
            excluded[path] = pattern
        else:
            fitting[path] = _site(path, shape, shown)
            kept[path] = _view(path, shape, fitting[path])
    if not kept:
        raise InputError(
            "no parameter is left to encode",
            got=f"{len(excluded)} parameters, all excluded",
            expected="at least one matrix",
            remedy="narrow the patterns in `exclude`",
        )
    names = _matrices(kept) if layout == "matrices" else _groups(kept)
    matrices = tuple(
        Matrix(path, shapes[path], *kept[path], _route(fitting[path]), names[path], fitting[path]) for path in kept
    )
    return Plan(matrices, excluded, {path: int(np.prod(shape)) for path, shape in shapes.items()})


def _site(path: str, shape: tuple[int, ...], shown: dict[str, Site]) -> Site | None:
    """What its module shows, where that is the parameter or a layer of it; a vector is a matrix of one row."""
    site = shown.get(path)
    if site is not None and site.leads(shape) is not None:
        return site
    return plain(shape) if len(shape) < 2 else None


def _route(site: Site | None) -> str:
    return "probe" if site is not None and site.direct else "weight"


def _view(path: str, shape: tuple[int, ...], site: Site | None) -> tuple[int, int, int]:
    """(layers or 0, in, out) of one parameter."""
    if site is not None:
        return shape[0] if site.leads(shape) else 0, site.rows, site.columns
    if len(shape) == 3 and _is_stacked(path):
        return shape[0], shape[1], shape[2]
    if len(shape) == 2:
        return 0, shape[0], shape[1]
    raise InputError(
        f"the parameter {path} is not covered",
        got=f"shape {shape}, which is no (in, out) matrix, nor a stack of them under a scanned module",
        expected="every parameter encoded or excluded by name",
        remedy=f"add a pattern for it to `exclude`, such as {'^' + re.escape(path) + '$'!r}",
    )


def _is_stacked(path: str) -> bool:
    """Whether a leading axis is taken for layers where no module can be asked: below a part named for layers.

    A number behind that part says that its layers are separate, so that a leading axis is something else.
    """
    return re.search(r"(^|/)(layers|blocks|h)/(?!\d+/)", path) is not None


def _matrices(kept: dict[str, tuple[int, int, int]]) -> dict[str, tuple[str, ...]]:
    return {
        path: tuple(f"{path}/{layer:0{len(str(layers - 1))}d}" for layer in range(layers)) if layers else (path,)
        for path, (layers, _, _) in kept.items()
    }


def _groups(kept: dict[str, tuple[int, int, int]]) -> dict[str, tuple[str, ...]]:
    places = {}
    for path, (layers, _, _) in kept.items():
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
