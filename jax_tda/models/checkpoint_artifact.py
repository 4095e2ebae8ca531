"""The checkpoint artifact: parameters and optimizer state in orbax, beside the settings that rebuild both.

Files: `state/` (orbax: params, opt_state, step), `decoder.json`, `optimizer.json`, the vocabulary. An imported
checkpoint has parameters alone: no opt_state, no `optimizer.json`.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from jax_tda.artifacts.artifact import Reader, open_artifact
from jax_tda.core import mesh as meshes
from jax_tda.core import placement
from jax_tda.core.errors import InputError
from jax_tda.models import checkpoints
from jax_tda.models.decoder import Decoder, DecoderConfig
from jax_tda.models.layout import Layout

KIND = "checkpoint"


def decoder_config(reader: Reader) -> DecoderConfig:
    """The shape of a checkpoint's decoder.

    Raises:
      InputError: it was written by another version, with fields that this one does not know.
    """
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
    """A finished checkpoint artifact, every file of it checked."""

    reader: Reader

    @functools.cached_property
    def model(self) -> Decoder:
        """The model."""
        return Decoder(decoder_config(self.reader))

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
        settings: dict[str, Any] = self.reader.read_json("optimizer.json")
        return settings

    def layout(self, mesh: Mesh, weights: str = "") -> Layout | None:
        """How the model lies on a mesh, where its weights are divided over it; `weights` is that of `MeshConfig`."""
        return Layout(mesh, self.model.config) if meshes.splits_weights(mesh, weights) else None

    def params(self, layout: Layout | None = None) -> Any:
        """The parameters alone, on the first device or divided."""
        shapes = jax.eval_shape(lambda: self.model.init(jax.random.key(0), jnp.zeros((1, 2), jnp.int32))["params"])
        return checkpoints.restore_params(str(self.reader.path / "state"), placed(shapes, layout))

    def on(self, mesh: Mesh, weights: str = "") -> tuple[Decoder, Any]:
        """The model and its parameters on a mesh: divided over it, or a copy on every device."""
        layout = self.layout(mesh, weights)
        if layout is None:
            return self.model, placement.place_all(self.params(), meshes.replicated(mesh))
        return self.model.laid_out(mesh), self.params(layout)

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


def open_checkpoint(path: str) -> Checkpoint:
    """Opens a finished checkpoint and checks every byte of it.

    Raises:
      InputError: it is missing, unfinished or damaged.
    """
    reader = open_artifact(path, KIND)
    reader.check_files()
    return Checkpoint(reader)
