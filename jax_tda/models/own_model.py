"""A model of the user's own code, named in the config: built there, and used as this library uses its own.

Only a config names code. A checkpoint says which code its parameters belong to, and is opened by a config that names
the same: what lies in an artifact is never imported.
"""

import dataclasses
import functools
import hashlib
import importlib
import inspect
import os
import pathlib
import sys
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import nnx

from jax_tda.core import trees
from jax_tda.core.bounds import Text
from jax_tda.core.config import input_path
from jax_tda.core.declared import declared
from jax_tda.core.errors import InputError
from jax_tda.core.quantities import Path
from jax_tda.models import nnx_modules

FILE = "own_model.json"
Build = Annotated[
    str, Text(r"|[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", "that is empty, or names a function as 'package.module:name'")
]


@dataclasses.dataclass(frozen=True)
@declared("own_model")
class OwnModelConfig:
    """Which code makes the model, where it is not the decoder.

    Args:
      build: `package.module:function`, which takes no arguments and returns a linen or nnx module that maps tokens
        [B, T] to logits [B, T, V]; empty for the decoder.
      path: a folder that the package is imported from, before all others; empty for what is installed.
    """

    build: Build = ""
    path: Path = input_path()


class OwnModel:
    """A linen or nnx module, asked as every language model is.

    Args:
      module: what the user's function returned.
      described: what a checkpoint says of the code.
    """

    def __init__(self, module: nn.Module | nnx.Module, described: dict[str, str]):
        self.module, self.described = module, described
        self._run = None if isinstance(module, nn.Module) else nnx_modules.running(module)

    def init(self, rngs: Any, tokens: Any) -> Any:
        """Fresh parameters, under "params"; of an nnx module those that it was built with."""
        if not isinstance(self.module, nn.Module):
            return {"params": trees.unflatten(nnx_modules.parameters(self.module))}
        made = self.module.init(rngs, tokens)
        if others := sorted(set(made) - {"params"}):
            raise self._refused(
                f"collections {', '.join(others)} beside params", "a module that holds parameters alone",
                "use running averages and masks that are no variables; from Python a pure loss may close over them",
            )  # fmt: skip
        return {"params": trees.unboxed(made["params"])}

    def apply(self, variables: Any, tokens: Any) -> jax.Array:
        """Logits in float32 at least."""
        if self._run is None:
            logits: Any = self.module.apply(variables, tokens)  # type: ignore[union-attr]
        else:
            logits = self._run(trees.flatten(variables["params"]), tokens)
        return logits if logits.dtype == jnp.float64 else logits.astype(jnp.float32)

    @functools.cached_property
    def shapes(self) -> Any:
        """The parameters' tree, as descriptions.

        Raises:
          InputError: the module does not run on tokens, or returns no logits.
        """
        tokens = jnp.zeros((1, 2), jnp.int32)
        try:
            shapes = jax.eval_shape(lambda: self.init(jax.random.key(0), tokens))
            logits = jax.eval_shape(self.apply, shapes, jax.ShapeDtypeStruct((1, 2), jnp.int32))
        except InputError:
            raise
        except Exception as problem:
            said = str(problem).strip().splitlines() or [""]
            raise self._refused(
                f"{type(problem).__name__}: {said[0]}", "a module that maps int32 tokens [1, 2] to logits",
                "make it run on tokens alone: dropout off (deterministic, eval()), masks made inside",
            ) from problem  # fmt: skip
        if logits.ndim != 3 or logits.shape[:2] != (1, 2):
            raise self._refused(f"an array {list(logits.shape)} of tokens [1, 2]", "logits [1, 2, V]", "return logits")
        return shapes["params"]

    def demand_vocabulary(self, size: int) -> None:
        """Refuses a vocabulary with more ids than the model has logits.

        Raises:
          InputError: it has.
        """
        given = jax.eval_shape(self.apply, {"params": self.shapes}, jax.ShapeDtypeStruct((1, 2), jnp.int32))
        if given.shape[-1] < size:
            raise self._refused(
                f"{given.shape[-1]} logits", f"at least {size}, the vocabulary's ids", "build it larger"
            )

    def _refused(self, got: str, expected: str, remedy: str) -> InputError:
        what = f"the model of own_model.build = {self.described['build']!r} cannot be used"
        return InputError(what, got=got, expected=expected, remedy=remedy)


@functools.cache
def built(config: OwnModelConfig) -> OwnModel:
    """The model that a config names.

    Raises:
      InputError: there is no such function, or what it returns is no module. What the user's own code raises passes.
    """
    folder = os.path.abspath(config.path) if config.path else ""
    if folder and folder not in sys.path:
        sys.path.insert(0, folder)
    name, _, function = config.build.partition(":")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as problem:
        if problem.name is None or not f"{name}.".startswith(f"{problem.name}."):
            raise
        raise _refused(config, str(problem), "a module on the import path", "set own_model.path") from problem
    made = getattr(module, function, None)
    if not callable(made):
        got = f"a {type(made).__name__}" if made is not None else f"nothing called {function} in {name}"
        raise _refused(config, got, "a function", "name the function that builds the model")
    needed = [
        parameter.name
        for parameter in inspect.signature(made).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if needed:
        remedy = "give the arguments defaults, or write a function that calls it"
        raise _refused(config, f"a function that needs {', '.join(needed)}", "one that is called without", remedy)
    found = made()
    if not isinstance(found, nn.Module | nnx.Module):
        remedy = "return the module; a pure loss is taken from Python alone (README.md), as jobs ask for logits"
        raise _refused(config, f"a {type(found).__name__}", "a linen or nnx module", remedy)
    kind = "linen" if isinstance(found, nn.Module) else "nnx"
    return OwnModel(found, {"build": config.build, "kind": kind, "source": _source(module)})


def _source(module: Any) -> str:
    """SHA-256 of the file that holds the function."""
    file = inspect.getsourcefile(module)
    return hashlib.sha256(pathlib.Path(file).read_bytes()).hexdigest() if file else ""


def of_checkpoint(described: dict[str, Any], config: OwnModelConfig | None, place: str) -> OwnModel:
    """The model of a checkpoint's parameters, built by the config that opens it.

    Args:
      described: the checkpoint's `own_model.json`.
      config: of the job; None of one that works with decoders alone.
      place: the checkpoint, for messages.

    Raises:
      InputError: the job takes no such model, or its config names none or another.
    """
    build = described.get("build")
    if config is None or config.build != build:
        raise InputError(
            f"the checkpoint {place} belongs to a model of somebody's own code",
            got="a job that works with the decoder alone" if config is None else f"own_model.build = {config.build!r}",
            expected=f"the code that its parameters belong to, {build!r}",
            remedy="give a checkpoint that pretrain or import_checkpoint made of a decoder"
            if config is None
            else f"set `own_model.build = {build!r}`, if that code is yours, and own_model.path to its folder",
        )
    made = built(config)
    if made.described["source"] != described.get("source"):
        print(f"{place}: the code of {build} has changed since this checkpoint was made; its parameters still fit")
    return made


def code_of(config: OwnModelConfig) -> dict[str, Any]:
    """What a manifest says, beside the settings, of the code that computes: its name and the SHA-256 of its file."""
    return {"own_model": built(config).described} if config.build else {}


def demand_none(job: str, config: OwnModelConfig) -> None:
    """Refuses a model of the user's own where a job works with decoders alone.

    Raises:
      InputError: the config names one.
    """
    if config.build:
        raise _refused(config, f"the job {job}", "a job that takes such a model", f"{job} works with decoders alone")


def _refused(config: OwnModelConfig, got: str, expected: str, remedy: str) -> InputError:
    what = f"own_model.build = {config.build!r} is not possible"
    return InputError(what, got=got, expected=expected, remedy=remedy)
