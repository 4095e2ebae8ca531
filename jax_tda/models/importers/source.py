"""What a foreign checkpoint shows, whatever its format: a decoder's config, tensors by name, and the way to ours."""

import abc
import importlib
import re
from types import ModuleType

import numpy as np

from jax_tda.core.errors import InputError
from jax_tda.models.decoder_config import DecoderConfig
from jax_tda.models.importers.origins import Origin


class Source(abc.ABC):
    """An opened foreign checkpoint.

    Attributes:
      where: its path.
      format: "huggingface" or "gguf".
      family: its architecture, as it names it.
      config: our decoder.
      context: the longest example that it was made for, in tokens.
      shapes: every tensor's shape.
      unused: matches the names of tensors that are no parameters.
      notes: what else a reader should know of how it is read, one sentence each.
    """

    where: str
    format: str
    family: str
    config: DecoderConfig
    context: int
    shapes: dict[str, tuple[int, ...]]
    unused: re.Pattern[str]
    notes: tuple[str, ...] = ()

    @abc.abstractmethod
    def find_origins(self, paths: dict[str, tuple[int, ...]]) -> dict[str, Origin]:
        """The origin of each of our parameters, given their shapes."""

    @abc.abstractmethod
    def read(self, name: str) -> np.ndarray:
        """One tensor."""

    def check_type(self, name: str) -> None:  # noqa: B027 a format whose types all dequantise need not refuse any
        """Refuses a tensor whose stored type is no weight's."""

    @abc.abstractmethod
    def files(self) -> list[str]:
        """Paths of every file that the import reads."""


def needed(module: str) -> ModuleType:
    """A module of the extra `import`, imported only now.

    Raises:
      InputError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as problem:
        raise InputError(
            f"the package {module} is not installed",
            got=problem,
            expected="the packages that read foreign checkpoints",
            remedy="pip install 'jax_tda[import]'",
        ) from problem
