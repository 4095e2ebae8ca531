"""A Hugging Face folder as a source of tensors for the decoder."""

import re

from jax_tda.models.decoder_config import DecoderConfig
from jax_tda.models.importers import families, names
from jax_tda.models.importers.origins import Origin
from jax_tda.models.importers.source import Source
from jax_tda.models.importers.tensor_folder import INDEX, TensorFolder

# What old versions of transformers stored beside the parameters: masks, and wavelengths that follow from the config.
_BUFFERS = re.compile(r"(\.attn\.(masked_)?bias|\.attention\.(masked_)?bias|rotary_emb\.inv_freq|position_ids)$")


class HuggingFaceSource(TensorFolder, Source):
    """A folder that `save_pretrained` wrote, or a download of one.

    Args:
      folder: its path.

    Raises:
      InputError: config.json or a file of tensors is missing or damaged, or the architecture is not known.
    """

    format = "huggingface"

    def __init__(self, folder: str):
        super().__init__(folder)
        entries = self.read_object("config.json")
        self.family = str(entries.get("model_type", ""))
        settings = families.settings(self.family, entries, f"{folder}/config.json")
        self.open_tensors()
        self.config: DecoderConfig = families.decoder_config(self.family, settings, self.shapes)
        self.context = families.context(settings)
        self.notes = settings.described()
        self.unused = _BUFFERS

    def files(self) -> list[str]:
        """Paths of every file that the import reads."""
        kept = ("config.json", INDEX, "tokenizer.json", "tokenizer_config.json", "tokenizer.model")
        there = [name for name in kept if (self.path / name).exists()]
        return [*(str(self.path / name) for name in there), *self.tensor_files()]

    def find_origins(self, paths: dict[str, tuple[int, ...]]) -> dict[str, Origin]:
        """Where our parameters lie here."""
        found = names.huggingface(self.family, self.config, paths)
        return {path: self._as_stored(origin) for path, origin in found.items()}

    def _as_stored(self, origin: Origin) -> Origin:
        """Under the name used here: those of a bare model lack their first part, and GPT-NeoX's head has two names."""
        prefix, _, rest = origin.name.partition(".")
        name = origin.name
        if prefix in ("transformer", "model", "gpt_neox") and not any(n.startswith(f"{prefix}.") for n in self.shapes):
            name = rest
        elif name == "embed_out.weight" and name not in self.shapes:
            name = "lm_head.weight"
        return Origin(name, origin.shape, origin.view, origin.shift)
