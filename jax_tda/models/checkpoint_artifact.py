"""The checkpoint artifact: parameters and optimizer state in orbax, beside the settings that rebuild both.

Files: `state/` (orbax: params, opt_state, step), `decoder.json`, `optimizer.json`, the vocabulary. An imported
checkpoint has parameters alone: no opt_state, no `optimizer.json`. One of a model of the user's own code has
`own_model.json` in place of `decoder.json`.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from jax_tda.artifacts.artifact import Reader, Writer, open_artifact
from jax_tda.core import mesh as meshes
from jax_tda.core import placement
from jax_tda.core.config import settings
from jax_tda.core.errors import InputError
from jax_tda.models import checkpoints, own_model
from jax_tda.models.decoder import Decoder, DecoderConfig
from jax_tda.models.interface import LanguageModel
from jax_tda.models.layout import Layout

KIND = "checkpoint"


def decoder_config(reader: Reader) -> DecoderConfig:
    """The shape of a checkpoint's decoder.

    Raises:
      InputError: it was written by another version, with fields that this one does not know, or has no decoder.
    """
    if own_model.FILE in reader.manifest.files:
        own_model.of_checkpoint(reader.read_json(own_model.FILE), None, str(reader))
    stored = reader.read_json("decoder.json")
    stored.pop("scan_unroll", None)  # Of checkpoints before version 0.1.0; it changed no number.
    unknown = sorted(stored.keys() - {field.name for field in dataclasses.fields(DecoderConfig)})
    if unknown:
        raise InputError(
            f"the decoder of {reader} has fields that this version does not know",
            got=", ".join(unknown),
            expected="the fields of DecoderConfig",
            remedy="read it with the version of jax_tda that wrote it, or train again",
        )
    return DecoderConfig(**stored)


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A finished checkpoint artifact, every file of it checked.

    Attributes:
      reader: the artifact.
      own: the config's own model; None of a job that works with decoders alone.
    """

    reader: Reader
    own: own_model.OwnModelConfig | None = None

    @functools.cached_property
    def own_model(self) -> own_model.OwnModel | None:
        """The model of the user's code, if it is one."""
        if own_model.FILE not in self.reader.manifest.files:
            if self.own is not None and self.own.build:
                raise InputError(
                    f"the checkpoint {self.reader} belongs to a decoder",
                    got=f"own_model.build = {self.own.build!r}",
                    expected="a checkpoint of that model",
                    remedy="make one with import_checkpoint or pretrain, or leave own_model.build empty",
                )
            return None
        return own_model.of_checkpoint(self.reader.read_json(own_model.FILE), self.own, str(self.reader))

    @functools.cached_property
    def model(self) -> LanguageModel:
        """The model, as everybody asks it."""
        return self.own_model or self.decoder

    @functools.cached_property
    def decoder(self) -> Decoder:
        """The model, which must be a decoder."""
        return Decoder(decoder_config(self.reader))

    @property
    def module(self) -> Any:
        """The model as an encoder takes it: a linen or an nnx module."""
        return self.own_model.module if self.own_model else self.decoder

    @property
    def context(self) -> int:
        """The longest example that the model was trained for, in tokens."""
        return int(self.reader.manifest.facts["context"])

    @property
    def has_optimizer(self) -> bool:
        """Whether the optimizer's state lies beside the parameters."""
        return "optimizer.json" in self.reader.manifest.files

    @functools.cached_property
    def optimizer(self) -> dict[str, Any]:
        """The optimizer's settings and the number of steps; `second_moments_from` and tail-patch read from it.

        Raises:
          InputError: the checkpoint was imported, and has none.
        """
        if not self.has_optimizer:
            raise InputError(
                f"the checkpoint {self.reader} has no optimizer state",
                got="parameters alone, as a foreign checkpoint brings them",
                expected="second moments of its gradients",
                remedy="make them with jobs.estimate_second_moments and give their path as encode.moments and "
                "evaluate.moments (with a tail_patch.rate above 0), or encode with second_moments = 'none'",
            )
        described: dict[str, Any] = self.reader.read_json("optimizer.json")
        return described

    def layout(self, mesh: Mesh, weights: str = "") -> Layout | None:
        """How the model lies on a mesh, where its weights are divided over it; `weights` is that of `MeshConfig`."""
        if not meshes.splits_weights(mesh, weights):
            return None
        return Layout(mesh, None if self.own_model else self.decoder.config)

    def params(self, layout: Layout | None = None) -> Any:
        """The parameters alone, on the first device or divided."""
        shapes = jax.eval_shape(lambda: self.model.init(jax.random.key(0), jnp.zeros((1, 2), jnp.int32))["params"])
        return checkpoints.restore_params(str(self.reader.path / "state"), placed(shapes, layout))

    def laid_out(self, mesh: Mesh, weights: str = "") -> LanguageModel:
        """The model, whose activations are divided where its weights are and it is a decoder."""
        divided = self.own_model is None and meshes.splits_weights(mesh, weights)
        return self.decoder.laid_out(mesh) if divided else self.model

    def on(self, mesh: Mesh, weights: str = "") -> tuple[LanguageModel, Any]:
        """The model and its parameters on a mesh: divided over it, or a copy on every device."""
        layout = self.layout(mesh, weights)
        if layout is None:
            return self.model, placement.place_all(self.params(), meshes.replicated(mesh))
        return self.laid_out(mesh, weights), self.params(layout)

    def state(self, like: Any) -> Any:
        """Parameters, optimizer state and step, in the types of `like`."""
        return checkpoints.restore(str(self.reader.path / "state"), like)


def placed(shapes: Any, layout: Layout | None) -> Any:
    """A tree of shapes whose leaves say where they lie, in the types of the tree; as it is without a layout."""
    if layout is None:
        return shapes
    return jax.tree.map(
        lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where),
        shapes,
        layout.of_tree(shapes),
    )


def check_made_for(made: Reader, checkpoint: Reader, what: str, job: str) -> None:
    """Refuses what was made of another checkpoint, as its manifest says.

    Args:
      made: an artifact whose facts name its checkpoint.
      checkpoint: the one in hand.
      what: what it holds, for the message.
      job: the job that makes it.

    Raises:
      InputError: naming both.
    """
    own = made.manifest.facts["checkpoint"]
    if own != checkpoint.manifest.digest:
        raise InputError(
            f"the {what} {made} do not belong to the checkpoint {checkpoint}",
            got=f"checkpoint {own[:12]}",
            expected=f"checkpoint {checkpoint.manifest.digest[:12]}",
            remedy=f"run {job} for this checkpoint",
        )


def check_fits(checkpoint: Reader, examples: Reader) -> None:
    """Refuses examples that another vocabulary made, or that are longer than the checkpoint's context.

    Raises:
      InputError: naming both artifacts.
    """
    ours, theirs = examples.manifest.facts, checkpoint.manifest.facts
    problem = None
    if ours["vocabulary"] != theirs["vocabulary"]:
        problem = "vocabulary", ours["vocabulary"][:12], theirs["vocabulary"][:12]
    elif ours["longest"] > theirs["context"]:
        problem = "context", f"an example of {ours['longest']} tokens", f"at most {theirs['context']} tokens"
    if problem:
        name, got, expected = problem
        raise InputError(
            f"{examples} does not fit the checkpoint {checkpoint}: {name}",
            got=got,
            expected=expected,
            remedy="tokenize with the checkpoint: tokenize.vocabulary = its path",
        )


def open_checkpoint(path: str, own: own_model.OwnModelConfig | None = None) -> Checkpoint:
    """Opens a finished checkpoint and checks every byte of it.

    Args:
      path: where it lies.
      own: the config's own model; None of a job that works with decoders alone.

    Raises:
      InputError: it is missing, unfinished or damaged.
    """
    reader = open_artifact(path, KIND)
    reader.check_files()
    found = Checkpoint(reader, own)
    _ = found.own_model  # Refused here, before any work.
    return found


def write_model(writer: Writer, model: LanguageModel) -> None:
    """Puts what rebuilds a model into its checkpoint: a decoder's settings, or which code of the user's it is."""
    if isinstance(model, own_model.OwnModel):
        writer.write_json(own_model.FILE, model.described)
    else:
        assert isinstance(model, Decoder)
        writer.write_json("decoder.json", settings(model.config))
