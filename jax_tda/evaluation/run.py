"""evaluate: from rankings, whoever made them, to one report: retrieval, tail-patch, intervals, paired differences."""

import dataclasses
import functools
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import Mesh

from jax_tda.artifacts import dense_scores, lineage, method_words, ranking
from jax_tda.artifacts.artifact import Reader, begin, open_artifact
from jax_tda.artifacts.together import by_first
from jax_tda.core import mesh as meshes
from jax_tda.core import placement, trees
from jax_tda.core.config import input_path, machine, settings
from jax_tda.core.declared import declared, demand
from jax_tda.core.errors import InputError
from jax_tda.core.mesh import MeshConfig
from jax_tda.core.quantities import Path, Seed
from jax_tda.data import corpus as corpora
from jax_tda.encoding import estimate_moments, second_moments
from jax_tda.evaluation import banked, belonging, retrieval, summary, tail_patch
from jax_tda.evaluation.bootstrap import BootstrapConfig, mean_interval
from jax_tda.evaluation.tail_patch import TailPatchConfig
from jax_tda.models import checkpoint_artifact
from jax_tda.models.own_model import OwnModelConfig, code_of
from jax_tda.retraining import bank_reader
from jax_tda.training import optimizers
from jax_tda.training.step import initial_state

KIND = "report"


@dataclasses.dataclass(frozen=True)
@declared("evaluate")
class EvaluateConfig:
    """What is judged, by what.

    Args:
      rankings: a directory of rankings, or one `.jsonl` file.
      corpus: the tokenized corpus the ids belong to.
      queries: the tokenized queries with their gold.
      checkpoint: the model, for tail-patch; empty leaves tail-patch out.
      moments: second moments made by `estimate_second_moments`; empty for those of the checkpoint's optimizer.
      bank: models trained without some documents, by `bank`; empty leaves out what retraining says.
      scores: scores of every document for every query, by method, which LDS needs: what `score_densely` wrote, a .npy
        or .npz file, a zarr array, or a folder of such.
      answers: which queries the model answers exactly; empty takes each ranking's own word for it.
      over: the queries that the report's main figures are over: `answered_exactly`, or `gained`, those whose target
        gained probability in the training that `answers` compares, or `all`.
      tail_patch: how tail-patch steps are taken.
      bootstrap: how intervals are made.
      seed: of the bootstrap.
      own_model: the user's own code that makes the model, where it is no decoder.
      mesh: how devices share the work.
    """

    rankings: Path = input_path(required=True)
    corpus: Path = input_path(required=True)
    queries: Path = input_path(required=True)
    checkpoint: Path = input_path()
    moments: Path = input_path()
    bank: Path = input_path()
    scores: Path = input_path()
    answers: Path = input_path()
    over: Literal["answered_exactly", "gained", "all"] = "answered_exactly"
    tail_patch: TailPatchConfig = dataclasses.field(default_factory=TailPatchConfig)
    bootstrap: BootstrapConfig = dataclasses.field(default_factory=BootstrapConfig)
    seed: Seed = 0
    own_model: OwnModelConfig = machine(OwnModelConfig())
    mesh: MeshConfig = machine(MeshConfig())


def plan(config: EvaluateConfig, output: str) -> str:
    """What the job would do."""
    patched = (
        f"tail-patch of {config.tail_patch.queries} queries with {config.checkpoint}"
        if config.checkpoint
        else "no tail-patch"
    )
    return f"evaluate: rankings in {config.rankings}, {patched} → {output}/report.json"


@by_first
def run(config: EvaluateConfig, output: str) -> Reader:
    """Writes the report, `report.json`, and prints its table."""
    started = time.monotonic()
    compared = config.over != "gained" or bool(config.answers)
    demand(config, compared, "over", "'gained' only with evaluate.answers, which compare two checkpoints")
    corpus, queries = corpora.open_corpus(config.corpus), corpora.open_corpus(config.queries)
    inputs = {"corpus": corpus.reader, "queries": queries.reader}
    if config.checkpoint:
        inputs["checkpoint"] = open_artifact(config.checkpoint, checkpoint_artifact.KIND)
        for tokens in (corpus, queries):
            checkpoint_artifact.check_fits(inputs["checkpoint"], tokens.reader)
    if config.checkpoint and config.moments:
        inputs["moments"] = open_artifact(config.moments, estimate_moments.KIND)
    if config.answers:
        inputs["answers"] = open_artifact(config.answers, "answers")
    if config.bank:
        inputs["bank"] = open_artifact(config.bank, bank_reader.KIND)
        banked.check_belongs(inputs["bank"], inputs)
    rankings, readers, foreign = ranking.read_all(config.rankings)
    inputs |= {f"ranking_{name}": reader for name, reader in readers.items()}
    uncompared = belonging.compare(readers, foreign, inputs)
    dense = dense_scores.read_all(config.scores) if config.scores else {}
    banked.check_scores(dense, inputs)
    inputs |= {f"scores_{name}": scores.reader for name, scores in dense.items() if scores.reader}
    for name, rows in rankings.items():
        belonging.check_rows(name, rows, corpus, queries)
    # A ranking without a manifest has no digest among the inputs, yet the report is of this one and no other.
    described = settings(config) | code_of(config.own_model) | {"foreign_rankings": foreign}
    if strangers := {name: scores.digest for name, scores in dense.items() if scores.reader is None}:
        described["foreign_scores"] = strangers
    retrained, said = _retrained(config, inputs, corpus, queries, dense, rankings)
    writer = begin(output, KIND, described, inputs, name="report")
    if isinstance(writer, Reader):
        _show(writer.read_json("report.json"))
        return writer
    exact = _answered_exactly(inputs, rankings)
    counted = {"gained": lambda: _gained(inputs["answers"]), "all": lambda: set(queries.ids)}.get(
        config.over, lambda: exact
    )()
    tables = {name: judge_retrieval(rows, corpus, queries) for name, rows in rankings.items()}
    for name, metrics in retrained.items():
        tables.setdefault(name, {}).update(metrics)
    patched: dict[str, Any] | None = None
    if config.checkpoint:
        patched = judge_tail_patch(config, rankings, tables, corpus, queries)
    words = method_words.of_rankings(rankings, readers)
    # λ and damping are those of the method that the others are compared with.
    facts = next((readers[name].manifest.facts for name, said in words.items() if said.compared_with), {})
    report = summary.report(
        tables,
        counted,
        {
            "over": config.over,
            "not_compared": uncompared,
            "exact_match": len(exact) / queries.count,
            **belonging.gold_counts(corpus, queries),
            "lambda": facts.get("query_weight"),
            "lambda_component": facts.get("component"),
            "damping": facts.get("damping"),
            "tail_patch": patched,
            "seconds": lineage.seconds([*inputs.values()]) | {"report": round(time.monotonic() - started, 3)},
            "seed": config.seed,
            **said,
        },
        config.seed,
        config.bootstrap,
        words,
    )
    writer.write_json("report.json", report)
    finished = writer.finish({"methods": sorted(rankings)})
    _show(report)
    return finished


def _show(report: Mapping[str, Any]) -> None:
    print(summary.table(report))
    if "bank" in report:
        print("\n".join(banked.lines(report["bank"])))


def _retrained(
    config: EvaluateConfig,
    inputs: Mapping[str, Reader],
    corpus: corpora.Corpus,
    queries: corpora.Corpus,
    dense: Mapping[str, dense_scores.DenseScores],
    rankings: Mapping[str, Sequence[Mapping[str, Any]]],
) -> tuple[dict[str, dict[str, banked.Table]], dict[str, Any]]:
    """Tables of what a bank says of every method, and the report's section on the bank; nothing without a bank."""
    if "bank" not in inputs:
        demand(config, not dense, "scores", "only with evaluate.bank, which dense scores are judged by")
        return {}, {}
    bank = bank_reader.Bank(inputs["bank"])
    found = banked.judge(bank, corpus, queries, dense, rankings)

    def mean(values: Sequence[float | None]) -> dict[str, Any]:
        return summary.as_reported(mean_interval(values, config.seed, config.bootstrap))

    return found, {"bank": banked.section(bank, mean, found, sorted({*rankings, *dense}))}


def _answered_exactly(inputs: Mapping[str, Reader], rankings: Mapping[str, Sequence[Mapping[str, Any]]]) -> set[str]:
    if "answers" in inputs:
        return {row["query_id"] for row in inputs["answers"].read_lines("answers.jsonl") if row["answered_exactly"]}
    return {row["query_id"] for rows in rankings.values() for row in rows if row.get("answered_exactly")}


def _gained(answers: Reader) -> set[str]:
    rows = list(answers.read_lines("answers.jsonl"))
    if any("gain" not in row for row in rows):
        raise InputError(
            f"{answers} does not say which targets gained",
            got="answers of one checkpoint alone",
            expected="answers compared with those of the checkpoint before",
            remedy="run answer with `answer.before`, or set evaluate.over = 'answered_exactly'",
        )
    return {row["query_id"] for row in rows if row["gain"] > 0}


def judge_retrieval(
    rows: Sequence[Mapping[str, Any]], corpus: corpora.Corpus, queries: corpora.Corpus
) -> dict[str, dict[str, float | None]]:
    """{metric: {query id: value}} of one ranking, None where a metric does not apply."""
    named = {entry["id"] for row in rows for entry in row["proponents"]}
    places = {name: place for name in named if (place := corpus.row_of(name)) is not None}
    document = {name: corpus.documents[place] for name, place in places.items()}
    tables: dict[str, dict[str, float | None]] = {
        f"{metric}{suffix}": {} for suffix in ("", "_weak") for metric in ("mrr", "recall_at_10", "precision_at_10")
    }
    for row in rows:
        name = row["query_id"]
        place = queries.row_of(name)
        assert place is not None
        record = queries.records[place]
        ranked = [document.get(entry["id"], entry["id"]) for entry in row["proponents"]]
        gold = belonging.documents(corpus, record["gold"])
        wide = gold | belonging.documents(corpus, record["weak"]) if "weak" in record else None
        for suffix, right in (("", gold), ("_weak", wide)):
            tables[f"mrr{suffix}"][name] = None if right is None else retrieval.reciprocal_rank(ranked, right)
            tables[f"recall_at_10{suffix}"][name] = None if right is None else retrieval.recall_at(10, ranked, right)
            tables[f"precision_at_10{suffix}"][name] = (
                None if right is None else retrieval.precision_at(10, ranked, right)
            )
    return tables


def judge_tail_patch(
    config: EvaluateConfig,
    rankings: Mapping[str, Sequence[Mapping[str, Any]]],
    tables: Mapping[str, dict[str, dict[str, float | None]]],
    corpus: corpora.Corpus,
    queries: corpora.Corpus,
) -> dict[str, Any]:
    """Adds the metric `tail_patch` to the tables and returns its settings for the report."""
    chosen = set(tail_patch.sample(queries.ids, config.tail_patch.queries, config.tail_patch.seed))
    query_rows = {name: row for row, name in enumerate(queries.ids) if name in chosen}

    def row_of(passage: str) -> int:
        row = corpus.row_of(passage)
        # A ranking of whole documents is patched by each document's first piece.
        row = corpus.documents.row_of(passage) if row is None else row
        assert row is not None
        return row

    proponents = {
        method: {
            row["query_id"]: [row_of(e["id"]) for e in row["proponents"][: config.tail_patch.proponents]]
            for row in rows
            if row["query_id"] in chosen
        }
        for method, rows in rankings.items()
    }
    pairs: dict[int, set[int]] = {}
    for asked in proponents.values():
        for name, rows in asked.items():
            for passage in rows:
                pairs.setdefault(passage, set()).add(query_rows[name])
    checkpoint = checkpoint_artifact.open_checkpoint(config.checkpoint, config.own_model)
    mesh = meshes.make_mesh(config.mesh)
    params, step, rate = _step(checkpoint, config, mesh)
    model = checkpoint.laid_out(mesh, config.mesh.weights)
    ordered = {passage: sorted(asked) for passage, asked in pairs.items()}
    found = tail_patch.changes(model, params, step, ordered, corpus, queries)
    for method, asked in proponents.items():
        values = tail_patch.per_query(asked, query_rows, found)
        tables[method]["tail_patch"] = {name: values.get(name) for name in queries.ids}
    return {
        "kind": config.tail_patch.kind,
        "rate": rate,
        "queries": len(chosen),
        "proponents": config.tail_patch.proponents,
        "passages": len(pairs),
        "not_finite": sum(not np.isfinite(value) for value in found.values()),
        "seed": config.tail_patch.seed,
    }


def _step(
    checkpoint: checkpoint_artifact.Checkpoint, config: EvaluateConfig, mesh: Mesh
) -> tuple[Any, tail_patch.Step, float]:
    rate, kind = config.tail_patch.rate, config.tail_patch.kind
    layout = checkpoint.layout(mesh, config.mesh.weights)
    # One step at a time is too little to share where weights are whole: one device takes it.
    whole = meshes.replicated(mesh if mesh.is_multi_process else meshes.make_mesh(devices=[mesh.devices.flat[0]]))
    if rate < 0 or kind == "full_step":
        described = dict(checkpoint.optimizer)
        steps = described.pop("steps")
        optimizer = optimizers.OptimizerConfig(**described)
        rate = 0.1 * optimizer.peak_rate if rate < 0 else rate
    if kind == "full_step":
        transformation = optimizers.make(optimizer, steps)
        like = jax.eval_shape(functools.partial(initial_state, checkpoint.model, transformation, 0))
        state = checkpoint.state(checkpoint_artifact.placed(like._asdict(), layout))
        state = state if layout else placement.place_all(state, whole)
        scheduled = float(optimizers.rate(optimizer, steps, steps))
        return state["params"], tail_patch.full(rate, scheduled, transformation, state["opt_state"]), rate
    if config.moments:
        params, moments = checkpoint.params(layout), estimate_moments.read(config.moments, checkpoint, layout)
    else:
        params, moments = second_moments.of_checkpoint(checkpoint, layout)
    params = params if layout else placement.place_all(params, whole)
    roots = {
        path: placement.place(
            (1.0 / (np.sqrt(moments.full(path, leaf.shape)) + moments.epsilon)).astype(np.float32), leaf.sharding
        )
        for path, leaf in trees.flatten(params).items()
    }
    return params, tail_patch.preconditioned(rate, trees.unflatten(roots)), rate
