"""import_checkpoint: from a foreign model to a checkpoint artifact without an optimizer state."""

import dataclasses
import pathlib
from typing import Annotated

import jax
import numpy as np

from jax_tda.artifacts.artifact import Reader, begin
from jax_tda.artifacts.together import by_first
from jax_tda.core import files
from jax_tda.core import mesh as meshes
from jax_tda.core.bounds import Bound
from jax_tda.core.config import input_path, machine, settings
from jax_tda.core.declared import declared, demand
from jax_tda.core.mesh import MeshConfig
from jax_tda.core.quantities import Dtype, Path
from jax_tda.data import foreign_vocabulary, sources, train_vocabulary
from jax_tda.models import checkpoint_artifact, checkpoints
from jax_tda.models.decoder import Decoder
from jax_tda.models.importers import assemble
from jax_tda.models.importers.opened import open_source
from jax_tda.models.importers.source import Source
from jax_tda.models.own_model import OwnModelConfig
from jax_tda.training import own_import


@dataclasses.dataclass(frozen=True)
@declared("import_checkpoint")
class ImportCheckpointConfig:
    """Which model is imported.

    Args:
      model: a Hugging Face folder (config.json, safetensors, tokenizer.json), a GGUF file, or of a model of the user's
        own code the parameters as orbax wrote them.
      own_model: the user's own code that makes the model, where it is no decoder.
      vocabulary: of such a model the artifact of `train_vocabulary` that made its tokens.
      context: the longest example, in tokens; 0 for what the model was made for, which of such a model nobody knows.
      beginning_token: what every example starts with; empty for the model's own.
      end_token: what every passage ends with; empty for the model's own.
      dtype: the type that layers compute in; parameters are float32.
      mesh: how devices share the work.
    """

    model: Path = input_path(required=True)
    own_model: OwnModelConfig = machine(OwnModelConfig())
    vocabulary: Path = input_path()
    context: Annotated[int, Bound(2, 2**24, also=(0,), unit="tokens")] = 0
    beginning_token: str = ""
    end_token: str = ""
    dtype: Dtype = "float32"
    mesh: MeshConfig = machine(MeshConfig())


def plan(config: ImportCheckpointConfig, output: str) -> str:
    """What the job would do: the family, every parameter and its tensor, the size."""
    lines = [f"import_checkpoint: {config.model or '-'} → {output}"]
    if config.own_model.build:
        return "\n".join(lines + own_import.described(config.own_model, config.model))
    if config.model:
        with files.local(config.model) as model:
            lines += _described(open_source(model))
            lines += [f"  {remark}" for remark in foreign_vocabulary.remarks(model)]
    return "\n".join(lines)


def _described(source: Source) -> list[str]:
    lines = []
    left = assemble.check(source)
    shapes = assemble.shapes_of(source)
    origins = source.find_origins(shapes)
    lines += [f"  {path} {shape} from {origins[path].name}" for path, shape in shapes.items()]
    lines += [f"  {note}" for note in source.notes]
    lines += [f"  left out {name}, which is no parameter" for name in left]
    size = sum(int(np.prod(shape)) for shape in shapes.values())
    lines.append(f"  a {source.family} decoder of {size:,} parameters, {4 * size / 2**20:,.1f} MiB as float32")
    return lines


@by_first
def run(config: ImportCheckpointConfig, output: str) -> Reader:
    """Writes the checkpoint artifact."""
    if config.own_model.build:
        demand(config, bool(config.vocabulary), "vocabulary", "the artifact of the vocabulary that made its tokens")
        demand(config, config.context > 0, "context", "the longest example of such a model, in tokens")
        return own_import.run(config.own_model, config.model, config.vocabulary, config.context, output)
    with files.local(config.model) as model:
        return _run(dataclasses.replace(config, model=model), output)


def _run(config: ImportCheckpointConfig, output: str) -> Reader:
    source = open_source(config.model)
    left = assemble.check(source)
    for note in source.notes:
        print(f"import_checkpoint: {note}")
    decoder = dataclasses.replace(source.config, dtype=config.dtype)
    vocabulary = foreign_vocabulary.read(
        config.model, config.beginning_token, config.end_token, decoder.vocabulary_size
    )
    for remark in foreign_vocabulary.remarks(config.model):
        print(f"import_checkpoint: {remark}")
    # The files are the job's input, but no artifact: their digests stand among the settings.
    digests = {_name(config.model, name): sources.identity(name, "", "") for name in source.files()}
    writer = begin(output, checkpoint_artifact.KIND, settings(config) | {"files": digests}, {})
    if isinstance(writer, Reader):
        return writer
    params = assemble.parameters(source, list(meshes.make_mesh(config.mesh).devices.flat))
    checkpoints.save_again(str(writer.path / "state"), {"params": params}, sparing=True)
    checkpoint_artifact.write_model(writer, Decoder(decoder))
    train_vocabulary.write(writer, vocabulary)
    limits = [config.context or source.context, decoder.context or source.context]
    return writer.finish(
        {
            "context": min(limits),
            "step": 0,
            "parameters": sum(int(leaf.size) for leaf in jax.tree.leaves(params)),
            "final_loss": None,
            "vocabulary": vocabulary.digest,
            "imported": {
                "family": source.family,
                "format": source.format,
                "left_out": left,
                "notes": list(source.notes),
            },
        }
    )


def _name(model: str, path: str) -> str:
    """A file's name below the model's folder: shards of one name may lie in several folders of it."""
    inside = pathlib.Path(path)
    return inside.name if path == model else str(inside.relative_to(model))
