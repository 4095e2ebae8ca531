"""Which job makes each kind of artifact, and from which file or folder people mean it to be made."""

import shlex
from collections.abc import Callable

from etils import epath

from jax_tda.core import files

# The first job is the one that makes it of what people have.
MADE_BY = {
    "vocabulary": "train_vocabulary",
    "corpus": "tokenize",
    "facts": "prepare_facts",
    "probes": "prepare_probes",
    "checkpoint": "pretrain or import_checkpoint",
    "second_moments": "estimate_second_moments",
    "answers": "answer",
    "encodings": "encode or embed",
    "curvature": "estimate_curvature",
    "correction": "mix_curvature",
    "ranking": "score or rank_baseline",
    "sweep": "score_sweep",
    "factors": "estimate_factors",
    "scores": "score_densely or rescore",
    "shades": "shade",
    "report": "evaluate",
    "page": "show or show_results",
    "results": "export_results",
    "plan": "plan",
    "bank": "bank",
    "study": "study_density or study_scaling",
    "study_acquisition": "study_acquisition",
    "study_unlearning": "study_unlearning",
}
_TEXTS = (".jsonl", ".json", ".jsonl.gz", ".txt", ".csv", ".parquet")


def _ends(*endings: str) -> Callable[[epath.Path], bool]:
    return lambda path: str(path).lower().endswith(endings) and files.is_file(path)


def _is_model_folder(path: epath.Path) -> bool:
    """A folder as transformers and sentence-transformers write them; the tensors may be missing."""
    return files.is_folder(path) and files.is_file(path / "config.json")


# Of the kind that was asked for: what may lie there instead, what it is called, and the setting that takes it.
_MEANT: dict[str, tuple[tuple[Callable[[epath.Path], bool], str, str], ...]] = {
    "checkpoint": (
        (_ends(".gguf"), "a GGUF file", "import_checkpoint.model"),
        (_is_model_folder, "a folder of a foreign model", "import_checkpoint.model"),
    ),
    "second_moments": ((_ends(".pt", ".bin"), "a file of torch", "estimate_second_moments.state"),),
    "corpus": ((_ends(*_TEXTS), "a file of texts", "tokenize.source"),),
    "vocabulary": ((_ends(*_TEXTS), "a file of texts", "train_vocabulary.source"),),
}


def meant(path: epath.Path, kind: str | None) -> tuple[str, str]:
    """What lies at a path that holds no artifact, and what makes the artifact that is needed.

    Returns:
      What it is called, and the remedy: the exact command where the thing is one that a job takes.
    """
    for is_it, name, setting in _MEANT.get(kind or "", ()):
        if is_it(path):
            binding = shlex.quote(f"{setting}={str(path)!r}")
            command = f"python -m jax_tda.jobs.{setting.partition('.')[0]} --output_dir=NEW --gin_bindings={binding}"
            return name, f"make the {kind} of it first, and give that: {command}"
    made = MADE_BY.get(kind or "")
    job = f"the job that makes it, {made}" if made else "the job that makes it"
    return "no manifest", f"check the path, or run {job}"
