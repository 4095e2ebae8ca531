"""Whom to trust: a bank of retrained models over a finished pipeline's output, and every method's LDS by it.

    python benchmarks/quality.py OUT [--config FILE.gin] [--seed N] [--half 100] [--drop 0] [--repeats 2]
                                 [--reseeded 10] [--remove 0] [--loo 0] [--set JOB.SETTING=VALUE]…
                                 [--rescored NAME…] [--to FOLDER]

OUT is what `jax-tda trackstar` wrote with the same config and seed. Written below OUT/quality (or FOLDER): `bank/`,
`factors/`, `scores/` (every method's score of every pair), `rankings/`, `report/report.json`; the same command goes on
where a killed run stopped. With --set the bank's recipe may differ from OUT's: it then judges another model than
the one that scored, and tail-patch is left out.

Hardware: two CPU cores; with the demo's config a member is a training of its own, two at a time. Expected: the table
with the column LDS half, and the ceiling of other seeds below it. docs/quality.md says how it is measured.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from jax_tda.baselines import lexical
from jax_tda.core.seeds import generator
from jax_tda.data.corpus import open_corpus

ROOT = Path(__file__).resolve().parents[1]
# method: (encodings, correction, whether scores are cosines).
LADDER = {
    "grad_dot": ("encodings_plain", "", False),
    "grad_cosine": ("encodings_plain", "", True),
    "second_moments": ("encodings", "", True),
    "r_train": ("encodings", "corrections/r_train", True),
    "trackstar": ("encodings", "corrections/trackstar", True),
}
# Rows of exact rescoring: the direction of `rescore` and how a table shows it.
RESCORED = {
    "rescored_gradient": ("gradient", "exact gradient dot"),
    "rescored_step": ("second_moments", "exact step of Adam"),
    "rescored_kfac": ("kfac", "exact K-FAC"),
    "rescored_ekfac": ("ekfac", "exact EK-FAC"),
}


def job(given, verb, output, **bindings):
    """Runs one job with the pipeline's own config; values are Python literals."""
    command = [sys.executable, "-m", "jax_tda", verb, f"--gin_file={given.config}", f"--output_dir={output}"]
    for name, value in bindings.items():
        command.append(f"--gin_bindings={name.replace('__', '.')} = {value!r}")
    for binding in given.set:
        command.append(f"--gin_bindings={binding}")
    print(f"── {verb} → {output}", flush=True)
    subprocess.run(command, check=True, cwd=ROOT)


def gold(queries, corpus):
    """1 for a passage that states the answer, 0 for any other."""
    found = np.zeros((queries.count, corpus.count), np.float32)
    for row, record in enumerate(queries.records):
        for name in record["gold"]:
            found[row, corpus.documents.rows_of(corpus.document_of(name) or name)] = 1
    return found


def bm25(queries, corpus):
    """BM25's score of every passage for prompt and target."""
    asked = [record["text"] for record in queries.records]
    passages = [record["text"] for record in corpus.records]
    found = np.zeros((queries.count, corpus.count), np.float32)
    ranked = lexical.bm25(passages, asked, corpus.count, lexical.LexicalConfig(), corpus.vocabulary.encode)
    for row, (best, _) in zip(found, ranked, strict=True):
        rows, scores = zip(*best, strict=True)
        row[list(rows)] = scores
    return found


def baselines(out, folder):
    """Dense scores of what needs no gradient."""
    corpus, queries = open_corpus(str(out / "corpus")), open_corpus(str(out / "queries"))
    makers = {
        "random": lambda: generator(0, "random scores").random((queries.count, corpus.count), np.float32),
        "bm25": lambda: bm25(queries, corpus),
        "gold": lambda: gold(queries, corpus),
    }
    for name, make in makers.items():
        if not (folder / f"{name}.npy").exists():
            np.save(folder / f"{name}.npy", make())


def rescored(given, out, to):
    """Scores every pair exactly along each direction, and puts these rankings beside those of the pipeline."""
    made = {name: str(out / name) for name in ("corpus", "queries", "checkpoint")}
    job(
        given, "estimate_factors", to / "factors", estimate_factors__examples=made["corpus"],
        estimate_factors__checkpoint=made["checkpoint"],
    )  # fmt: skip
    shutil.copytree(out / "rankings", to / "rankings", dirs_exist_ok=True)
    for name in given.rescored:
        direction, label = RESCORED[name]
        needed = {"rescore__factors": str(to / "factors")} if direction in ("kfac", "ekfac") else {}
        asked = {f"rescore__{what}": path for what, path in made.items()}
        job(given, "rescore", to / "scores" / name, rescore__direction=direction, **asked, **needed)
        job(
            given, "rank_scores", to / "rankings", rank_scores__scores=str(to / "scores" / name),
            rank_scores__answers=str(out / "answers"), rank_scores__method=name, method__label=label,
        )  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--config", default=str(ROOT / "configs/road/demo.gin"))
    parser.add_argument("--seed", type=int, default=0)
    for name, count in {"half": 100, "drop": 0, "repeats": 2, "reseeded": 10, "remove": 0, "loo": 0}.items():
        parser.add_argument(f"--{name}", type=int, default=count)
    parser.add_argument("--set", action="append", default=[], metavar="JOB.SETTING=VALUE")
    parser.add_argument("--rescored", nargs="*", choices=RESCORED, default=list(RESCORED))
    parser.add_argument("--to", type=Path)
    given = parser.parse_args()
    out, to = given.out.resolve(), (given.to or given.out / "quality").resolve()
    scores = to / "scores"
    scores.mkdir(parents=True, exist_ok=True)
    counts = {
        f"bank__{name}": getattr(given, name) for name in ("half", "drop", "repeats", "reseeded", "remove", "loo")
    }
    job(
        given, "bank", to / "bank", pretrain__corpus=str(out / "corpus"), pretrain__seed=given.seed,
        bank__queries=str(out / "queries"), bank__rankings=str(out / "rankings"), **counts,
    )  # fmt: skip
    for name, (encodings, correction, cosine) in LADDER.items():
        job(
            given, "score_densely", scores / name, score_densely__train=str(out / encodings / "train"),
            score_densely__query=str(out / encodings / "query"), score_densely__unit_norm=cosine,
            score_densely__correction=str(out / correction) if correction else "",
        )  # fmt: skip
    rescored(given, out, to)
    baselines(out, scores)
    texts = {f"evaluate__{name}": str(out / name) for name in ("corpus", "queries", "answers")}
    texts["evaluate__rankings"] = str(to / "rankings")
    checked = {} if given.set else {"evaluate__checkpoint": str(out / "checkpoint")}
    job(
        given, "evaluate", to / "report", **texts, **checked, evaluate__bank=str(to / "bank"),
        evaluate__scores=str(scores), evaluate__seed=given.seed, tail_patch__seed=given.seed,
    )  # fmt: skip


if __name__ == "__main__":
    main()
