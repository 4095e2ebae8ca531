"""A Hugging Face folder as a source of tensors for the decoder."""

import dataclasses
import re

from jax_tda.models.decoder_config import DecoderConfig
from jax_tda.models.importers import families, names, unlike
from jax_tda.models.importers.origins import LAYER, Origin, same
from jax_tda.models.importers.source import Source
from jax_tda.models.importers.tensor_folder import INDEX, TensorFolder

# What old versions of transformers stored beside the parameters: masks, and wavelengths that follow from the config.
_BUFFERS = re.compile(r"(\.attn\.(masked_)?bias|\.attention\.(masked_)?bias|rotary_emb\.inv_freq|position_ids)$")

_TABLE, _HEAD = "embedding/embedding", "head/kernel"
_BASES = {"gpt2": "transformer", "gpt_neox": "gpt_neox"}


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
        unlike.check_files(self.path)
        entries = self.read_object("config.json")
        self.family = str(entries.get("model_type", ""))
        settings = families.settings(self.family, entries, f"{folder}/config.json")
        self.open_tensors(entries.get("transformers_weights") or "")
        unlike.check_tensors(self.where, self.shapes)
        self.config: DecoderConfig = families.decoder_config(self.family, settings, self.shapes)
        self.context = families.context(settings)
        self.notes = settings.described()
        self.unused = _BUFFERS
        if self.unwrapped():
            told = f"tensors are named without {', '.join(self.unwrapped())}, which a wrapper put there"
            self.notes = (*self.notes, told)
        self._tie()

    def files(self) -> list[str]:
        """Paths of every file that the import reads."""
        kept = ("config.json", INDEX, "tokenizer.json", "tokenizer_config.json", "tokenizer.model")
        there = [name for name in kept if (self.path / name).exists()]
        return [*(str(self.path / name) for name in there), *self.tensor_files()]

    def find_origins(self, paths: dict[str, tuple[int, ...]]) -> dict[str, Origin]:
        """Where our parameters lie here."""
        found = names.huggingface(self.family, self.config, paths)
        if self._only_head and _TABLE in found:
            found[_TABLE] = same(self._only_head)
        return {path: self._as_stored(origin) for path, origin in found.items()}

    def _tie(self) -> None:
        """Decides what a tied model's head is from the tensors that are there, as `from_pretrained` does.

        A head that equals the table is a copy of it; one that differs is a matrix of its own, whatever config.json
        says; and where the table is missing, the head is the table.
        """
        self._only_head = ""
        if not self.config.tied:
            return
        untied = names.huggingface(self.family, self.config, {_TABLE: (), _HEAD: ()})
        table, head = self._as_stored(untied[_TABLE]).name, self._as_stored(untied[_HEAD]).name
        if head not in self.shapes:
            return
        if table not in self.shapes:
            self._only_head = head
        elif self.equal(table, head):
            self.unused = re.compile(f"{_BUFFERS.pattern}|^{re.escape(head)}$")
        else:
            self.config = dataclasses.replace(self.config, tied=False)
            self.notes = (
                *self.notes,
                f"config.json ties {head} to {table}, but the two differ: two matrices, as transformers loads it",
            )

    def _as_stored(self, origin: Origin) -> Origin:
        """Under the name used here.

        transformers adds its model's prefix to names that lack it and takes it from those that have it once too often;
        GPT-NeoX's head has two names.
        """
        base = _BASES.get(self.family, "model")
        first, second = origin.name, origin.name.replace("embed_out.", "lm_head.")
        for name in (first, first.removeprefix(f"{base}."), f"{base}.{first}", second, f"{base}.{second}"):
            if name.replace(LAYER, "0") in self.shapes:
                return dataclasses.replace(origin, name=name)
        return origin
