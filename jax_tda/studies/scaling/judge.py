"""One snapshot's figures per query: retrieval and tail-patch of both methods, and of TrackStar's kinds of passages."""

import dataclasses
from collections import Counter
from typing import Any

from jax_tda.artifacts import ranking
from jax_tda.artifacts.artifact import open_artifact
from jax_tda.data import corpus as corpora
from jax_tda.evaluation import run as evaluate
from jax_tda.models import checkpoint_artifact
from jax_tda.studies.scaling.kinds import KINDS, kind_of
from jax_tda.studies.scaling.models import Snapshot
from jax_tda.studies.scaling.settings import ScalingConfig

METHODS = ("trackstar", "bm25")


def judge(config: ScalingConfig, seed: int, place: str, now: Snapshot) -> dict[str, Any]:
    """What one snapshot gives: per query and method MRR, recall@10 and tail-patch, and counts of kinds.

    Beside the two methods, tail-patch is taken of TrackStar's proponents of each kind alone.
    """
    corpus, queries = corpora.open_corpus(f"{place}/corpus"), corpora.open_corpus(f"{place}/queries")
    # Every query looks at passages all over the corpus.
    asked, passages = {record["id"]: record for record in queries.records}, list(corpus.records)
    rows = {method: ranking.read(f"{now.place}/rankings/{method}.jsonl")[0] for method in METHODS}
    tables: dict[str, Any] = {
        method: evaluate.judge_retrieval(found, corpus, queries) for method, found in rows.items()
    }
    counts = {method: Counter[str]() for method in METHODS}
    by_kind: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    for method, found in rows.items():
        for row in found:
            record = asked[row["query_id"]]
            kept: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
            for entry in row["proponents"][: config.looked_at]:
                passage = corpus.row_of(entry["id"])
                assert passage is not None
                kind = kind_of(record["fields"], passages[passage], set(record["gold"]))
                counts[method][kind] += 1
                kept[kind].append(entry)
            for kind, entries in kept.items() if method == "trackstar" else ():
                by_kind[kind].append({"query_id": row["query_id"], "proponents": entries})
    patched = rows | by_kind
    settings = evaluate.EvaluateConfig(
        checkpoint=f"{now.place}/checkpoint",
        tail_patch=dataclasses.replace(config.tail_patch, seed=seed),
        seed=seed,
    )
    tables |= {kind: {} for kind in KINDS}
    evaluate.judge_tail_patch(settings, patched, tables, corpus, queries)
    answered = [row["answered_exactly"] for row in open_artifact(f"{now.place}/answers").read_lines("answers.jsonl")]
    facts = open_artifact(f"{now.place}/checkpoint", checkpoint_artifact.KIND).manifest.facts
    return {
        "layers": now.layers,
        "width": now.width,
        "steps": now.steps,
        "parameters": facts["parameters"],
        "answered_exactly": sum(answered) / len(answered),
        "kinds": {method: {kind: count[kind] for kind in KINDS} for method, count in counts.items()},
        "per_query": {
            "right": dict(zip(asked, map(float, answered), strict=True)),
            **{f"{metric}/{m}": tables[m][metric] for m in METHODS for metric in ("mrr", "recall_at_10", "tail_patch")},
            **{f"tail_patch/{kind}": tables[kind]["tail_patch"] for kind in KINDS},
        },
    }
