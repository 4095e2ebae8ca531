"""Every job with the least settings that make it work, in the order in which each finds what it reads."""

import json
import sys
from pathlib import Path

# {folder} holds texts and foreign models, {JOB} is the place of that job's undisturbed output.
_MODEL = {"checkpoint": "{pretrain}"}
_BOTH = {"corpus": "{tokenize}", "queries": "{tokenize queries}"}
_ENCODE = {**_MODEL, "projected_size": 4, "shard_rows": 8, "buckets": 1}
_SCORE = {"train": "{encode}", "query": "{encode queries}", "answers": "{answer}"}
_TINY = {"decoder.layers": 1, "decoder.width": 16, "decoder.heads": 2, "decoder.kv_heads": 2, "decoder.mlp_width": 16}
_FAST = {"optimizer.peak_rate": 2e-2, "optimizer.warmup_steps": 1}
_FEW = {"tail_patch.queries": 4, "tail_patch.proponents": 2, "bootstrap.resamples": 50}
_RECIPE = {"pretrain.corpus": "{tokenize}", "pretrain.steps": 6, "pretrain.tokens_per_batch": 256, **_TINY, **_FAST}
_STUDY = {"vocabulary_size": 512, "projected_size": 4}

# What is named "JOB another" is made once, because a job reads it, and not drilled. A name without a dot is the job's.
SETTINGS: dict[str, dict[str, object]] = {
    "prepare_facts": {"prose_sentences": 20},
    "prepare_probes": {"source": "{folder}/probes.json", "passages": 0, "part_characters": 60, "parts": 0},
    "train_vocabulary": {"source": "{folder}/corpus.jsonl", "size": 300},
    "tokenize": {
        "source": "{folder}/corpus.jsonl",
        "vocabulary": "{train_vocabulary}",
        "context": 32,
        "shard_rows": 16,
    },
    "tokenize queries": {
        "source": "{folder}/queries.jsonl",
        "kind": "queries",
        "vocabulary": "{train_vocabulary}",
        "context": 32,
    },
    "pretrain": {
        "corpus": "{tokenize}",
        "steps": 20,
        "tokens_per_batch": 256,
        "save_every": 8,
        "buckets": 1,
        **_TINY,
        **_FAST,
    },
    "import_checkpoint": {"model": "{folder}/foreign"},
    "estimate_second_moments": {**_MODEL, "examples": "{tokenize}", "batches": 40, "batch_size": 8},
    "answer": {**_MODEL, "queries": "{tokenize queries}"},
    "encode": {**_ENCODE, "examples": "{tokenize}"},
    "encode queries": {**_ENCODE, "examples": "{tokenize queries}"},
    "embed": {"model": "{folder}/sentences", "examples": "{tokenize}", "shard_rows": 8},
    "estimate_curvature": {"encodings": "{encode}", "rows_at_once": 8},
    "estimate_curvature queries": {"encodings": "{encode queries}"},
    "mix_curvature": {
        "train": "{estimate_curvature}",
        "query": "{estimate_curvature queries}",
        "encodings": "{encode}",
        "query_weight": 0.5,
    },
    "score": {**_SCORE, "correction": "{mix_curvature}", "top_k": 20},
    "score_densely": {"train": "{encode}", "query": "{encode queries}", "correction": "{mix_curvature}"},
    "score_sweep": {
        **_SCORE,
        "train_curvature": "{estimate_curvature}",
        "query_curvature": "{estimate_curvature queries}",
        "query_weights": (0.5, 0.9),
        "dampings": (0.1, 1.0),
    },
    "score_corpus": {
        "query": "{encode queries}",
        "correction": "{mix_curvature}",
        "answers": "{answer}",
        "top_k": 20,
        **{f"encode.{name}": value for name, value in {**_ENCODE, "examples": "{tokenize}"}.items()},
    },
    "estimate_factors": {**_MODEL, "examples": "{tokenize}", "tokens_per_batch": 256},
    "rescore": {**_BOTH, **_MODEL, "factors": "{estimate_factors}", "buckets": 1, "shard_rows": 8},
    "shade": {
        **{**_BOTH, **_MODEL, "factors": "{estimate_factors}", "ranking": "{score}/trackstar.jsonl", "buckets": 1},
        "passages_each": 4,
    },
    "rank_scores": {"scores": "{rescore}", "answers": "{answer}", "top_k": 20},
    "bank": {"queries": "{tokenize queries}", "half": 3, "repeats": 1, **_RECIPE},
    "metagradient": {
        **{"queries": "{tokenize queries}", "answers": "{answer}", "single_documents": 1, "random_signs": 0},
        **{"queries_at_once": 2, "top_k": 20, **_RECIPE},
    },
    "rank_baseline": {**_BOTH, "answers": "{answer}", "top_k": 20},
    "evaluate": {**_BOTH, **_MODEL, "rankings": "{score}", "answers": "{answer}", **_FEW},
    "show": {**_BOTH, "report": "{evaluate}", "rankings": "{score}"},
    "export_results": {**_BOTH, "rankings": "{score}", "top_k": 5},
    "show_results": {"files": ("{export_results}/results.jsonl",)},
    "plan": {"topologies": ("v5e:4x4",), "programs": ()},
    "study_scaling": {
        **_STUDY,
        **{"facts": 40, "prose": 10, "context": 128, "layers": (1,), "widths": (16,), "checkpoints": (5, 10)},
        **{"buckets": 1, "query_weight": 0.5, **_FAST, **_FEW},
    },
    "study_density": {
        **_STUDY,
        **{"facts": 120, "prose": 10, "context": 128, "steps": 10, "text_size": 64, "query_weight": 0.5},
        **{"kernels": ("gaussian",), "buckets": 1, "bandwidth_factors": (0.5, 1.0, 2.0), "held_out": 30, "sample": 30},
        **{"draws": 2, "permutations": 19, "pairs": 5, "copies": (1, 2), "background": 30, "tuning_steps": 5},
        **{"tuning_rate": 1e-2, **_TINY, **_FAST, **_FEW, "tail_patch.queries": 8},
    },
    "study_acquisition": {
        **_STUDY,
        **{"corpus": "{folder}/corpus.jsonl", "context": 160, "base_steps": 6, "rows": (2, 1), "passages": 1},
        **{"placebo": 1, "encounters": 2, "interval": 6, "spacing": 2, "window": 5, "lead_steps": 1, "plain_steps": 8},
        **{"look_every": 4, "sample": 8, **_TINY, **_FAST, "optimizer.decay_to": 1.0, "bootstrap.resamples": 20},
    },
    "study_unlearning": {
        **{"pairs": ("atlas+quiz",), "places": 4, "animals": 6, "documents": 6, "words": 20, "pool_documents": 6},
        **{"queries": 4, "vocabulary": 340, "steps": 2, "tokens_per_batch": 512, "projected_size": 4, "damping": 1.0},
        **{"unlearning.epochs": 1, "unlearning.batch": 4, "unlearning.chunk": 4, "unlearning.evaluate_every": 2},
        **{"unlearning.evaluated": 4, "unlearning.validation": 4, "unlearning.randomisation": "tokens"},
        **{"unlearning.rate": 1e-3, **_TINY, "optimizer.peak_rate": 1e-2, "optimizer.warmup_steps": 1},
        "bootstrap.resamples": 20,
    },
}
DRILLED = tuple(name for name in SETTINGS if " " not in name)
# Jobs that make nothing.
NOTHING_TO_DRILL = {"check_road": "it reads and refuses, and writes nothing"}


def command(name: str, place: Path, output: Path) -> list[str]:
    """The job, as a user would give it."""
    job = name.split()[0]
    places = {other: str(place / "whole" / other.replace(" ", "_")) for other in SETTINGS}

    def filled(value: object) -> object:
        if isinstance(value, tuple):
            return tuple(filled(each) for each in value)
        if not isinstance(value, str) or "{" not in value:
            return value
        return value.replace("{folder}", str(place)).format_map(places)

    given = {name if "." in name else f"{job}.{name}": filled(value) for name, value in SETTINGS[name].items()}
    bindings = [f"--gin_bindings={name} = {value!r}" for name, value in given.items()]
    return [sys.executable, "-m", f"jax_tda.jobs.{job}", f"--output_dir={output}", *bindings]


def make(place: Path) -> None:
    """Texts, a foreign model and a sentence encoder."""
    import transformers

    from tests.data.tiny_tokenizers import byte_level
    from tests.models.importers import tiny, tiny_sentence

    passages = [
        {"id": f"p{i}", "text": f"On day {i} the mill by the old bridge ground {i * i} sacks."} for i in range(96)
    ]
    asked = [
        {"id": f"q{i}", "prompt": f"On day {i} the mill ground", "target": f" {i * i} sacks", "gold": [f"p{i}"]}
        for i in range(12)
    ]
    for name, rows in (("corpus", passages), ("queries", asked)):
        (place / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    probe = {"train_context": "Otters of Lira hold a fair. It lasts nine days. The prize is a copper bell."}
    for kind in ("mem", "gen", "hard_gen"):
        probe |= {f"{kind}_input": ["The prize is"], f"{kind}_target": ["a copper bell"]}
    (place / "probes.json").write_text(json.dumps([probe] * 3))
    made = tiny.model("llama grouped tied biased", vocab_size=340)
    made.save_pretrained(place / "foreign")
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=byte_level(), eos_token="<end>")
    tokenizer.save_pretrained(place / "foreign")
    (place / "sentences").mkdir()
    tiny_sentence.folder_of(place / "sentences")
