"""study_acquisition: how a model acquires and forgets what it is told, and whether influence foretells it."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jax_tda.artifacts.artifact import Reader, Writer, begin
from jax_tda.artifacts.together import by_first
from jax_tda.core.config import settings
from jax_tda.data import sources, train_vocabulary, vocabulary
from jax_tda.data.facts import world_facts
from jax_tda.models.decoder import Decoder
from jax_tda.studies.acquisition import figures, knowledge, measures
from jax_tda.studies.acquisition.config import AcquisitionConfig
from jax_tda.studies.acquisition.directions import directions
from jax_tda.studies.acquisition.invented import passages as invented
from jax_tda.studies.acquisition.knowledge import KINDS, Passage
from jax_tda.studies.acquisition.observe import advance
from jax_tda.studies.acquisition.page import page
from jax_tda.studies.acquisition.rows import tokens_of
from jax_tda.studies.acquisition.sample import Sample, joined
from jax_tda.studies.acquisition.seed import Seed, read_array, sample_of, train_seed
from jax_tda.studies.acquisition.selection import SCHEDULES, Selection, choose, refuse_stated
from jax_tda.studies.acquisition.summary import run_results
from jax_tda.studies.acquisition.tracking import own_reciprocal_ranks, own_scores, tracking
from jax_tda.training import optimizers

KIND = "study_acquisition"
# Enough for any choice of about as many passages as the study allows, and others to read.
_INVENTED = 120


def plan(config: AcquisitionConfig, output: str) -> str:
    """What the study would do; refuses what the study would, but for passages that do not fit into the context."""
    passages, texts = _passages(config), _ordinary(config)
    _selected(config, passages, [0] * len(passages), texts)
    steps = config.timeline.steps(config.injected)
    runs = ", ".join(f"{name} ({size * config.context:,} tokens per step)" for name, size, _ in config.runs())
    return (
        f"study_acquisition: {len(config.seeds)} seeds, {config.injected} passages injected and {config.placebo} not, "
        f"of {config.knowledge or 'invented ones'}; {config.base_steps:,} steps of base model, then {steps:,} of "
        f"{runs} → {output}"
    )


@by_first
def run(config: AcquisitionConfig, output: str) -> Reader:
    """Writes the study's folder: results.json, figures, index.html, and the curves behind them."""
    passages, texts = _passages(config), _ordinary(config)
    files: dict[str, Any] = {"corpus": {"world_facts": 0}}
    if config.corpus:
        files["corpus"] = sources.identity(config.corpus, "", "")
    if config.knowledge:
        files["knowledge"] = sources.identity(config.knowledge, "", "")
    writer = begin(output, KIND, settings(config) | files, {})
    if isinstance(writer, Reader):
        return writer
    words = _vocabulary(config, passages, texts, writer)
    documents = [tokens_of(text, words) for text in texts]
    lengths = [_longest(passage, config.encounters, words) for passage in passages]
    selections = _selected(config, passages, lengths, texts)
    chosen = [Seed(config, seed, one, documents, words) for seed, one in zip(config.seeds, selections, strict=True)]
    for seed in chosen:
        counted = ", ".join(f"{name} {count}" for name, count in seed.selection.counts.items())
        print(f"seed {seed.number}: passages {counted}; {len(seed.queries.kind)} queries; {seed.steps} steps a run")
    model = Decoder(dataclasses.replace(config.decoder, vocabulary_size=words.size))
    optimizer = optimizers.make(config.optimizer, config.base_steps + chosen[0].steps)
    step = advance(model, optimizer)
    for seed in chosen:
        train_seed(seed, model, optimizer, step, writer)
    results, drawings = _results(config, chosen, writer)
    writer.write_json("results.json", results)
    for name, drawing in drawings.items():
        writer.write_bytes(f"figures/{name}.svg", drawing.encode())
    writer.write_bytes("index.html", page(results, drawings).encode())
    counts = {name: count for name, count in results["seeds"][0].items() if isinstance(count, int)}
    return writer.finish({"seeds": list(config.seeds), "first_seed": counts, "vocabulary": words.digest})


def _passages(config: AcquisitionConfig) -> list[Passage]:
    given = config.knowledge
    return knowledge.read(given) if given else knowledge.parse(invented(_INVENTED), "invented")


def _ordinary(config: AcquisitionConfig) -> list[str]:
    """The texts of the ordinary corpus."""
    if not config.corpus:
        return [row["text"] for row in world_facts.build(0).passages]
    found = sources.read(config.corpus, "", "", "passages", "refuse", Counter[str]())
    return [record.text for record in found]


def _selected(
    config: AcquisitionConfig, passages: Sequence[Passage], lengths: Sequence[int], texts: Sequence[str]
) -> list[Selection]:
    """The passages of every seed, none of which the ordinary corpus states."""
    found = [choose(passages, lengths, config, seed) for seed in config.seeds]
    refuse_stated(found, texts)
    return found


def _vocabulary(
    config: AcquisitionConfig, passages: Sequence[Passage], texts: Sequence[str], writer: Writer
) -> vocabulary.Vocabulary:
    told = [text for passage in passages for text in (passage.text, *passage.paraphrases)]
    model = vocabulary.train_sentencepiece([*texts, *told], config.vocabulary_size)
    made = vocabulary.SentencePieceVocabulary(model)
    train_vocabulary.write(writer, made)
    return made


def _longest(passage: Passage, encounters: int, words: vocabulary.Vocabulary) -> int:
    """Tokens of the longest version that any schedule would use."""
    return max(len(tokens_of(text, words)) for text in passage.versions("paraphrased", encounters))


def _results(
    config: AcquisitionConfig, chosen: Sequence[Seed], writer: Writer
) -> tuple[dict[str, Any], Mapping[str, str]]:
    curves = {
        name: [read_array(writer, f"curves/seed{seed.number}-{name}.npy") for seed in chosen]
        for name, _, _ in config.runs()
    }
    samples = {
        name: joined([sample_of(seed, one) for seed, one in zip(chosen, found, strict=True)])
        for name, found in curves.items()
    }
    tokens = {name: size * config.context for name, size, _ in config.runs()}
    factor, bootstrap = config.outlier_factor, config.bootstrap
    main = config.runs()[0][0]
    runs = {
        name: run_results(samples[name], tokens[name], factor, bootstrap, injected)
        for name, _, injected in config.runs()
    }
    injected = {name: samples[name] for name, _, injected in config.runs() if injected}
    scores, tracked = _tracked(chosen, samples[main], writer, config)
    facts = writer.finished_units()
    results = {
        "seeds": [seed.facts() | {"losses": _losses(seed, facts)} for seed in chosen],
        "level": bootstrap.level,
        "runs": runs,
        "directions": directions(injected, tokens, factor, bootstrap),
        "influence": tracked,
    }
    drawings = {
        "curves": figures.curves(_mean_curves(config, chosen, curves, main)),
        "effectivity": figures.effectivity(runs),
        "forgetting": figures.forgetting(runs[main]),
        "influence": figures.influence(scores, samples[main].gains, samples[main].kind, tracked),
    }
    return results, drawings


def _losses(seed: Seed, facts: Mapping[str, Any]) -> dict[str, float]:
    head = f"seed{seed.number}-"
    return {unit.removeprefix(head): one["loss"] for unit, one in sorted(facts.items()) if unit.startswith(head)}


def _tracked(
    chosen: Sequence[Seed], sample: Sample, writer: Writer, config: AcquisitionConfig
) -> tuple[np.ndarray, dict[str, Any]]:
    found = [(read_array(writer, f"influence/seed{seed.number}.npy"), seed.queries.passage) for seed in chosen]
    own = np.concatenate([own_scores(scores, passage) for scores, passage in found], axis=1)
    ranks = np.concatenate([own_reciprocal_ranks(scores, passage) for scores, passage in found], axis=1)
    met = sample.schedule[sample.passage] != "placebo"
    return own[0], tracking(sample, own, ranks, met, config.bootstrap)


def _mean_curves(
    config: AcquisitionConfig, chosen: Sequence[Seed], curves: Mapping[str, Sequence[np.ndarray]], main: str
) -> dict[str, dict[str, np.ndarray]]:
    """Mean ℓ since the first encounter, by kind and schedule; "control": the duplicated passages where none is met."""
    length = config.timeline.steps(1) - config.lead_steps + 1
    wanted = [(name, main, name) for name in SCHEDULES] + [("control", "control", "duplicated")]
    found: dict[str, dict[str, np.ndarray]] = {kind: {} for kind in KINDS}
    for kind in KINDS:
        for name, run_name, schedule in wanted:
            lines = []
            for seed, curve in zip(chosen, curves[run_name], strict=True):
                of_schedule = seed.schedule[seed.queries.passage] == schedule
                for query in np.flatnonzero(of_schedule & (seed.queries.kind == kind)):
                    first = seed.met[seed.queries.passage[query]][0]
                    line = measures.filled(np.asarray(curve[:, query], np.float64))[first:]
                    lines.append(line[:length] - line[0])
            found[kind][name] = np.mean(lines, axis=0)
    return found
