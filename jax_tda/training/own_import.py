"""From what orbax wrote of a model of the user's own code to a checkpoint artifact without an optimizer state."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from jax_tda.artifacts.artifact import Reader, begin, open_artifact
from jax_tda.core import files, trees
from jax_tda.core.errors import InputError
from jax_tda.data import corpus, sources, train_vocabulary
from jax_tda.models import checkpoint_artifact, checkpoints, own_model
from jax_tda.models.own_model import OwnModel, OwnModelConfig

# Where people keep parameters in what they save, and the name that nnx puts below each.
_PLACES = ("", "params/params", "params", "model/params", "model", "state/params", "state")
_VALUE = "/value"


def described(config: OwnModelConfig, model: str) -> list[str]:
    """Every parameter and where it comes from, for a dry run."""
    made = own_model.built(config)
    shapes = trees.flatten(made.shapes)
    lines = [f"  a {made.described['kind']} model of {config.build}, {_count(shapes):,} parameters"]
    if not model:
        return [*lines, *(f"  {path} {tuple(leaf.shape)}" for path, leaf in shapes.items())]
    found, place = _parameters(made, model)
    return [*lines, *(f"  {path} {tuple(found[path].shape)} from {place(path)}" for path in shapes)]


def _count(leaves: Mapping[str, Any]) -> int:
    return sum(int(np.prod(leaf.shape)) for leaf in leaves.values())


def run(config: OwnModelConfig, model: str, vocabulary: str, context: int, output: str) -> Reader:
    """Writes the checkpoint artifact.

    Args:
      config: which code makes the model.
      model: the directory that orbax wrote.
      vocabulary: the artifact of the vocabulary.
      context: the longest example, in tokens.
      output: where it is written.
    """
    made, words = own_model.built(config), open_artifact(vocabulary)
    read = corpus.read_vocabulary(words)
    made.demand_vocabulary(read.size)
    digests = {name: sources.identity(f"{model}/{name}", "", "") for name in sorted(files.sizes(model))}
    described = {"own_model": made.described, "context": context, "files": digests}
    writer = begin(output, checkpoint_artifact.KIND, described, {"vocabulary": words})
    if isinstance(writer, Reader):
        return writer
    found, place = _parameters(made, model)
    first = next(iter(found))
    print(f"import_checkpoint: {len(found)} parameters of {config.build}, such as {first} from {place(first)}")
    checkpoints.save_again(str(writer.path / "state"), {"params": trees.unflatten(found)}, sparing=True)
    checkpoint_artifact.write_model(writer, made)
    train_vocabulary.write(writer, read)
    return writer.finish(
        {
            "context": context,
            "step": 0,
            "parameters": _count(found),
            "final_loss": None,
            "vocabulary": read.digest,
            "imported": {"family": config.build, "format": "orbax", "left_out": [], "notes": []},
        }
    )


def _parameters(made: OwnModel, model: str) -> tuple[dict[str, Any], Any]:
    """The parameters by path, and what says where each was found.

    Raises:
      InputError: nothing that was saved has the names and shapes of the model's parameters.
    """
    stored = trees.flatten({"": checkpoints.restore_untyped(model)})
    stored = {path.removeprefix("/"): leaf for path, leaf in stored.items() if hasattr(leaf, "shape")}
    shapes, nearest = trees.flatten(made.shapes), dict[str, Any]()
    for beginning, ending, inner in _views(stored):
        if len(set(inner) & set(shapes)) > len(set(nearest) & set(shapes)):
            nearest = inner
        if set(inner) == set(shapes):
            _demand_shapes(inner, shapes, model)
            arranged = {path: jax.numpy.asarray(inner[path], shapes[path].dtype) for path in shapes}
            return arranged, lambda path, b=beginning, e=ending: f"{b}{path}{e}"
    missing, spare = sorted(set(shapes) - set(nearest)), sorted(set(nearest) - set(shapes))
    tops = ", ".join(sorted({path.split("/")[0] for path in stored})[:6])
    raise InputError(
        f"{model} does not hold the parameters of {made.described['build']}",
        got=f"no {missing[0]}" if missing else f"also {spare[0]}",
        expected=f"the model's {len(shapes)} parameters by its own names, and no others beside them",
        remedy=f"save the tree of parameters with orbax; at the top of this one lie {tops}",
    )


def _views(stored: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """What may be the tree of parameters: (before, behind, leaves by path) of each place where people keep it."""
    for place in _PLACES:
        start = f"{place}/" if place else ""
        inner = {path.removeprefix(start): leaf for path, leaf in stored.items() if path.startswith(start)}
        yield start, "", inner
        if inner and all(path.endswith(_VALUE) for path in inner):
            yield start, _VALUE, {path.removesuffix(_VALUE): leaf for path, leaf in inner.items()}


def _demand_shapes(found: Mapping[str, Any], shapes: Mapping[str, Any], model: str) -> None:
    for path, leaf in shapes.items():
        if tuple(found[path].shape) != tuple(leaf.shape):
            raise InputError(
                f"{model} does not fit the model: {path}",
                got=f"{found[path].dtype}{list(found[path].shape)}",
                expected=f"{leaf.dtype}{list(leaf.shape)}",
                remedy="build the model with the sizes that it was trained with",
            )
