"""What looks like a decoder's folder and is something else: adapters, heads of other tasks, formats of other libraries.

One table of files and one of tensors' names, each with what it says and what to do about it.
"""

import re
from collections.abc import Iterable

from etils import epath

from jax_tda.core.errors import InputError

_SAVED = "save the model itself with transformers' save_pretrained, and import that folder"
_MERGE = "merge it into its base model (PEFT's merge_and_unload), save that with save_pretrained and import it"
# A file, whether it counts only where config.json is missing, what the folder is, and what to do.
_FILES = (
    ("adapter_config.json", False, "an adapter of PEFT (LoRA or another kind)", _MERGE),
    ("adapter_model.safetensors", False, "an adapter of PEFT (LoRA or another kind)", _MERGE),
    ("_CHECKPOINT_METADATA", True, "an orbax checkpoint", "give it as estimate_second_moments.state, or train on"),
    ("_METADATA", True, "an orbax checkpoint", "give it as estimate_second_moments.state, or train on"),
    ("model_index.json", True, "a pipeline of diffusers", "give the folder of its text model, if that is a decoder"),
    ("params.json", True, "a model in the form of its makers, not of transformers", _SAVED),
    ("manifest.json", True, "an artifact of jax_tda", "give it where a checkpoint is asked for; it needs no import"),
)
_DEQUANTISED = "load it in transformers with a quantization_config that has dequantize=True, and save it again"
# Names of tensors that say what the others are.
_TENSORS = (
    (r"\.lora_[AB]\.|\.lora_(embedding|magnitude)|\.base_layer\.", "an adapter of PEFT that is not merged", _MERGE),
    (r"^(score|classifier|classification_head|qa_outputs|v_head)\.", "a model with a head for another task", _SAVED),
    (r"(_scale|_scale_inv|\.scale|\.scales|_zero_point|\.qweight|\.qzeros|\.absmax|quant_state)(\.|$)", "", ""),
    (r"_flat_param$|flat_param_\d+$", "a flat copy of parameters by FSDP", _SAVED),
    (r"\.experts\.|\.block_sparse_moe\.|router\.weight$", "a mixture of experts", "no such model can be imported"),
)


def check_files(folder: epath.Path) -> None:
    """Refuses a folder by the files in it.

    Raises:
      InputError: it is no decoder's folder, and says what it is.
    """
    try:
        plain = not folder.is_dir() or (folder / "config.json").exists()
        found = next((row for row in _FILES if not (row[1] and plain) and (folder / row[0]).exists()), None)
    except OSError as problem:
        raise InputError(
            f"{folder} cannot be read",
            got=problem,
            expected="a folder that this user may read",
            remedy="check the path and the permissions",
        ) from problem
    if found:
        raise InputError(
            f"{folder} is {found[2]}, which cannot be imported",
            got=found[0],
            expected="a folder with config.json and model.safetensors of a whole decoder",
            remedy=found[3],
        )


def check_tensors(where: str, names: Iterable[str]) -> None:
    """Refuses a model by the names of its tensors.

    Raises:
      InputError: they are an adapter's, another task's, quantised, or of another kind of model.
    """
    names = sorted(names)
    for pattern, what, remedy in _TENSORS:
        found = [name for name in names if re.search(pattern, name)]
        if found:
            raise InputError(
                f"{where} holds {what or 'quantised weights with their scales'}, which cannot be imported",
                got=f"{len(found)} tensors such as {found[0]}",
                expected="the parameters of a language model, and its head",
                remedy=remedy or _DEQUANTISED,
            )
