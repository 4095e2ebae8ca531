"""What the rank-one form of second moments changes against the exact ones, on a road that is finished.

    python benchmarks/reduction.py out/demo [--work DIR] [--sample 512]

Hardware: any; a few minutes on two CPU cores for the demo. Expected: one JSON line (docs/second_moments.md shows one).
Corpus and queries, encoded from the road's checkpoint with V exact, rank one and none on the same projections, go with
the road's own settings to TrackStar rankings, retrieval and tail-patch. The road is only read, its own encodings too;
what is missing is made in DIR, where a second run goes on, or in a directory that is thrown away.
"""

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path

import numpy as np

from jax_tda import Encoder
from jax_tda.artifacts import encodings, ranking
from jax_tda.artifacts.artifact import open_artifact
from jax_tda.artifacts.formats import StoreConfig
from jax_tda.attribution import estimate, mix, similarity
from jax_tda.attribution import run as score
from jax_tda.core import seeds
from jax_tda.data.corpus import open_corpus
from jax_tda.encoding import run as encode
from jax_tda.encoding import second_moments
from jax_tda.evaluation import run as evaluate
from jax_tda.evaluation.bootstrap import BootstrapConfig, mean_interval, paired
from jax_tda.evaluation.tail_patch import TailPatchConfig
from jax_tda.models import checkpoint_artifact

FORMS = ("exact", "rank_one", "none")
_QUERIES_AT_ONCE, _TOP = 256, 10


def configured(kind, road, artifact, **fields):
    """The config that made one of the road's artifacts, with other fields; parts of it take their defaults."""
    known = {field.name for field in dataclasses.fields(kind)}
    used = open_artifact(str(road / artifact)).manifest.settings
    settings = {name: tuple(v) if isinstance(v, list) else v for name, v in used.items() if name in known}
    settings = {name: v for name, v in settings.items() if not isinstance(v, dict)}
    return kind(**settings | {name: str(v) if isinstance(v, Path) else v for name, v in fields.items()})


def encoded(road, work, form, stream, examples):
    """The stream's encodings with one form of V, in float32: the road's own where it has them."""
    for name in ("encodings", "encodings_plain"):
        place = road / name / stream
        own = encodings.open_encodings(str(place))
        if own.reader.manifest.settings["second_moments"] == form and own.store == StoreConfig():
            return place
    inputs = {"examples": road / examples, "checkpoint": road / "checkpoint"}
    made = configured(encode.EncodeConfig, road, f"encodings/{stream}", **inputs, second_moments=form)
    encode.run(made, str(work / form / stream))
    return work / form / stream


def walk(road, work, form):
    """From the road's corpus and checkpoint to a TrackStar ranking with one form of V; where its parts lie."""
    out = work / form
    sides = {s: encoded(road, work, form, s, e) for s, e in (("train", "corpus"), ("query", "queries"))}
    parts = {"encodings": sides["train"]}
    for stream, store in sides.items():
        parts[stream] = out / f"curvature_{stream}"
        config = configured(estimate.EstimateCurvatureConfig, road, f"curvature/{stream}", encodings=store)
        estimate.run(config, str(parts[stream]))
    mix.run(configured(mix.MixCurvatureConfig, road, "corrections/trackstar", **parts), str(out / "correction"))
    sides["correction"] = out / "correction"
    top = score.ScoreConfig(**{n: str(p) for n, p in sides.items()}, answers=str(road / "answers"), method=form)
    score.run(top, str(work / "rankings"))
    return sides


def cosines(rows, others):
    """Cosine of each pair of rows, in float64."""
    a, b = np.asarray(rows, np.float64), np.asarray(others, np.float64)
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def spread(values):
    """Mean and 5th percentile of the values that exist."""
    finite = values[np.isfinite(values)]
    return {"mean": round(float(finite.mean()), 5), "p5": round(float(np.quantile(finite, 0.05)), 5)}


def compare_encodings(one, other):
    """The cosine of two stores' encodings per block and of all blocks together."""
    first, second = (encodings.open_encodings(str(path)) for path in (one, other))
    a, b = (store.read(0, store.count) for store in (first, second))
    blocks = {name: spread(cosines(a[:, i], b[:, i])) for i, name in enumerate(first.blocks)}
    return {"all": spread(cosines(a.reshape(len(a), -1), b.reshape(len(b), -1))), "blocks": blocks}


def all_scores(places):
    """TrackStar's scores of every passage, [queries at once, passages] at a time."""
    train, query = (encodings.open_encodings(str(places[stream])) for stream in ("train", "query"))
    correction = open_artifact(str(places["correction"]))
    root, norms = correction.array("inverse_root"), correction.array("norms").read(0, train.count)
    whole, rows = root.read(0, root.shape[0]), train.read(0, train.count).reshape(train.count, -1)
    for start in range(0, query.count, _QUERIES_AT_ONCE):
        side = similarity.query_side(query.read(start, min(start + _QUERIES_AT_ONCE, query.count)), whole, True)
        yield np.asarray(similarity.scores(side.reshape(side.shape[0], -1), rows, norms))


def rank_correlations(one, other):
    """Spearman's correlation over all passages of two forms' scores, for each query."""
    found = []
    for a, b in zip(all_scores(one), all_scores(other), strict=True):
        kept = np.isfinite(a).all(0) & np.isfinite(b).all(0)
        ranks = [values[:, kept].argsort(1).argsort(1).astype(np.float64) for values in (a, b)]
        found.append(cosines(*(r - r.mean(1, keepdims=True) for r in ranks)))
    return np.concatenate(found)


def overlaps(one, other):
    """The share of each query's first ten that two rankings have in common."""
    theirs = {row["query_id"]: {e["id"] for e in row["proponents"][:_TOP]} for row in other}
    return [len({e["id"] for e in row["proponents"][:_TOP]} & theirs[row["query_id"]]) / _TOP for row in one]


def judged(road, work):
    """Retrieval and tail-patch per query of every form, over the queries that the model answers exactly."""
    report = json.loads((road / "report.json").read_text("utf-8"))
    used = {n: report["tail_patch"][n] for n in ("kind", "rate", "queries", "proponents", "seed")}
    config = evaluate.EvaluateConfig(checkpoint=str(road / "checkpoint"), tail_patch=TailPatchConfig(**used))
    corpus, queries = (open_corpus(str(road / name)) for name in ("corpus", "queries"))
    rankings, _, _ = ranking.read_all(str(work / "rankings"))
    tables = {form: evaluate.judge_retrieval(rows, corpus, queries) for form, rows in rankings.items()}
    evaluate.judge_tail_patch(config, rankings, tables, corpus, queries)
    exact = {row["query_id"] for row in rankings["exact"] if row["answered_exactly"]}
    kept = {
        form: {
            metric: {q: v for q, v in tables[form][metric].items() if q in exact} for metric in ("mrr", "tail_patch")
        }
        for form in FORMS
    }
    return rankings, kept


def per_matrix(road, sample):
    """For each layer's matrix: what the reduction loses of V, the cosine to expect of that, and the one seen."""
    checkpoint = checkpoint_artifact.open_checkpoint(str(road / "checkpoint"))
    params, moments = second_moments.of_checkpoint(checkpoint)
    corpus = open_corpus(str(road / "corpus"))
    chosen = seeds.generator(0, "reduction", "sample").choice(corpus.count, min(sample, corpus.count), replace=False)
    batch = corpus.examples(np.sort(chosen), corpus.longest, len(chosen))
    used = configured(encode.EncodeConfig, road, "encodings/train")
    options = {"blocks": "matrices", "projected_size": used.projected_size, "seed": used.seed, "examples_at_once": 1}
    options |= {"exclude": used.exclude} if used.exclude else {}
    made = [Encoder(checkpoint.model, params, moments, reduction=form, **options) for form in FORMS[:2]]
    exact, reduced = (encoder.encode(batch) for encoder in made)
    found = {}
    for matrix in made[0].plan.matrices:
        values = matrix.view(moments.full(matrix.path, matrix.shape)).reshape(-1, matrix.rows, matrix.columns)
        for block, v in zip(matrix.blocks, values, strict=True):
            one = second_moments.rank_one(v, matrix.path, used.epsilon)
            # Of independent gradients of variance V: E⟨g/√V, g/√V₁⟩ / √(E|g/√V|² E|g/√V₁|²).
            ratio = np.sqrt(v) * one.row_scale[:, None] * one.column_scale[None, :]
            seen = cosines(*(np.asarray(e[block]).reshape(len(chosen), -1) for e in (exact, reduced)))
            found[block] = {
                "residual": round(one.residual, 4),
                "expected_cosine": round(float(ratio.mean() / np.sqrt(np.square(ratio).mean())), 5),
                "cosine": spread(seen)["mean"],
            }
    return found


def correlation(rows, name):
    """Spearman's correlation of a property of matrices with the cosine seen."""
    ranks = [np.argsort(np.argsort([row[key] for row in rows])).astype(np.float64) for key in (name, "cosine")]
    return round(float(np.corrcoef(*ranks)[0, 1]), 3)


def measure(road, work, sample):
    """Everything that is printed."""
    places = {form: walk(road, work, form) for form in FORMS}
    rankings, tables = judged(road, work)
    bootstrap = BootstrapConfig()

    def against(form):
        ranks = rank_correlations(places["exact"], places[form])
        differences = {
            metric: paired(tables[form][metric], tables["exact"][metric], 0, bootstrap).as_dict()
            for metric in ("mrr", "tail_patch")
        }
        return {
            "cosine": {s: compare_encodings(places["exact"][s], places[form][s]) for s in ("train", "query")},
            "rank_correlation": mean_interval(ranks, 0, bootstrap).as_dict(),
            "top_10_overlap": mean_interval(overlaps(rankings["exact"], rankings[form]), 0, bootstrap).as_dict(),
            "minus_exact": differences,
        }

    matrices = per_matrix(road, sample)
    return {
        "optimizer": checkpoint_artifact.open_checkpoint(str(road / "checkpoint")).optimizer["name"],
        "lambda": {f: open_artifact(str(p["correction"])).manifest.facts["query_weight"] for f, p in places.items()},
        "judged": {
            f: {m: mean_interval(t.values(), 0, bootstrap).as_dict() for m, t in tables[f].items()} for f in FORMS
        },
        "against_exact": {form: against(form) for form in FORMS[1:]},
        "matrices": matrices,
        "predicts_cosine": {n: correlation(list(matrices.values()), n) for n in ("residual", "expected_cosine")},
    }


def main():
    """Prints one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("road", type=Path, help="the directory of a finished road")
    parser.add_argument("--work", type=Path, help="where encodings and rankings are kept")
    parser.add_argument("--sample", type=int, default=512, help="passages whose encodings are compared per matrix")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as thrown_away:
        print(json.dumps(measure(given.road, given.work or Path(thrown_away), given.sample)))


if __name__ == "__main__":
    main()
