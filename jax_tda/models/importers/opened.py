"""A path to a foreign checkpoint of whatever format."""

from pathlib import Path

from jax_tda.models.importers.gguf_file import GGUFSource
from jax_tda.models.importers.huggingface import HuggingFaceSource
from jax_tda.models.importers.source import Source


def open_source(path: str) -> Source:
    """A file is read as GGUF, anything else as a Hugging Face folder.

    Raises:
      InputError: what is there cannot be imported.
    """
    return GGUFSource(path) if Path(path).is_file() else HuggingFaceSource(path)
