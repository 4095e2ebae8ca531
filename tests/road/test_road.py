"""The whole road on a tiny corpus: everything that is pinned about what it leaves, held against dumber arithmetic."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorstore as ts

from jax_tda.artifacts.artifact import open_artifact
from jax_tda.data.corpus import open_corpus
from jax_tda.encoding.encoder import Encoder
from jax_tda.evaluation.summary import FEWEST
from jax_tda.models.checkpoint_artifact import open_checkpoint
from tests.road import texts, walk
from tests.viewer import pages

METHODS = "bm25 bm25_prompt gold random grad_dot grad_cosine second_moments r_train trackstar".split()
RETRIEVAL = ["mrr", "recall_at_10", "precision_at_10"]
METRICS = [*RETRIEVAL, "tail_patch"]
ALL_METRICS = [*METRICS, *(f"{name}_all" for name in METRICS), *(f"{name}_weak" for name in RETRIEVAL)]
TOP_K = 12


def no_constant(name):
    raise AssertionError(f"{name} is not JSON")


def read_json(path: Path):
    return json.loads(path.read_text("utf-8"), parse_constant=no_constant)


def read_lines(path: Path) -> list:
    return [json.loads(line, parse_constant=no_constant) for line in path.read_bytes().splitlines()]


def read_zarr(path: Path) -> np.ndarray:
    """By the format's own name, without a line of ours."""
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path}/"}}
    return np.asarray(ts.open(spec).result().read().result())


def rankings(road) -> dict[str, list]:
    return {method: read_lines(road.out / "rankings" / f"{method}.jsonl") for method in METHODS}


def documents(road) -> dict[str, str]:
    return {record["id"]: record["document"] for record in read_lines(road.out / "corpus" / "records.jsonl")}


def test_the_road_says_where_it_is_and_ends_with_the_table_and_the_page(gone):
    """Every job announces itself; the last line is the page's path."""
    stages = [line.split()[1] for line in gone.said.splitlines() if line.startswith("── ")]
    assert stages[0] == "check_road" and stages[-2:] == ["evaluate", "show"] and len(stages) == 25
    assert "TrackStar" in gone.said and "too few to compare methods by" in gone.said
    assert gone.said.rstrip().splitlines()[-1] == f"The page: {gone.out}/page/index.html"


def test_the_tree_is_the_pinned_one(gone):
    """Nothing is missing, and nothing of the work in between is left."""
    places = ["encodings/train", "encodings/query", "encodings_plain/train", "encodings_plain/query"]
    places += ["curvature/train", "curvature/query", "vocabulary", "corpus", "queries", "checkpoint", "page"]
    for place in places:
        assert (gone.out / place / "manifest.json").is_file(), place
    assert {path.name for path in (gone.out / "rankings").glob("*.jsonl")} == {f"{m}.jsonl" for m in METHODS}
    assert (gone.out / "report.json").is_file() and (gone.out / "page" / "index.html").is_file()
    assert not [path for path in gone.out.rglob("*") if "unfinished" in path.name or path.name.endswith(".__lock")]


def test_every_ranking_has_a_line_for_every_query_best_first(gone):
    """Queries in their order; ids of the corpus, each once; proponents descend, opponents ascend; the same flag."""
    known = set(documents(gone))
    answered = {row["query_id"]: row["answered_exactly"] for row in read_lines(gone.out / "answers" / "answers.jsonl")}
    for method, rows in rankings(gone).items():
        assert [row["query_id"] for row in rows] == [query["id"] for query in texts.QUERIES]
        for row in rows:
            assert set(row) == {"query_id", "answered_exactly", "proponents", "opponents"}
            assert row["answered_exactly"] is answered[row["query_id"]]
            for end, sign in (("proponents", -1), ("opponents", 1)):
                assert all(set(entry) == {"id", "score"} for entry in row[end])
                ids, scores = [entry["id"] for entry in row[end]], [sign * entry["score"] for entry in row[end]]
                assert len(set(ids)) == len(ids) <= TOP_K and set(ids) <= known and scores == sorted(scores), method
            if method.startswith(("grad", "second", "r_", "track", "random")):
                assert len(row["proponents"]) == len(row["opponents"]) == TOP_K


def test_gold_ranks_every_piece_of_a_gold_document(gone):
    """The long document was split; an unknown gold id has no piece; a query without gold has an empty list."""
    pieces = [name for name, document in documents(gone).items() if document == "long"]
    assert pieces == [f"long#{number}" for number in range(len(pieces))] and len(pieces) > 2
    rows = {row["query_id"]: [entry["id"] for entry in row["proponents"]] for row in rankings(gone)["gold"]}
    for query in texts.QUERIES:
        whole = [name for name in query.get("gold", []) if name not in ("long", "no such passage")]
        expected = [*whole, *(pieces if "long" in query.get("gold", []) else [])][:TOP_K]
        assert rows[query["id"]] == expected


def test_rows_of_encodings_are_lines_of_ids(gone):
    """zarr3 [examples, blocks, p, p] of float32, finite, its rows named by ids.jsonl in the corpus's order."""
    for folder in ("encodings", "encodings_plain"):
        for stream, source in (("train", "corpus"), ("query", "queries")):
            place = gone.out / folder / stream
            ids = [row["id"] for row in read_lines(place / "ids.jsonl")]
            assert ids == [row["id"] for row in read_lines(gone.out / source / "records.jsonl")]
            stored = read_zarr(place / "encodings")
            assert stored.shape == (len(ids), 4, 4, 4) and stored.dtype == np.float32
            assert np.isfinite(stored).all() and (np.abs(stored).reshape(len(ids), -1).max(1) > 0).all()


def test_a_stored_row_is_the_encoding_of_its_example(gone):
    """Recomputed from the checkpoint through the Python API, for one passage and one query."""
    checkpoint = open_checkpoint(str(gone.out / "checkpoint"))
    encoder = Encoder(checkpoint.model, checkpoint.params(), None, "groups", 4, 0)
    for stream, source, row in (("train", "corpus", 34), ("query", "queries", 5)):
        corpus = open_corpus(str(gone.out / source))
        encoded = encoder.encode(corpus.examples(np.array([row]), corpus.longest + 2, 1))
        blocks = open_artifact(str(gone.out / "encodings_plain" / stream)).manifest.facts["blocks"]
        expected = np.stack([np.asarray(encoded[name])[0] for name in blocks])
        stored = read_zarr(gone.out / "encodings_plain" / stream / "encodings")[row]
        # Another device count and padded length: fp32 rounding alone.
        assert np.linalg.norm(stored - expected) <= 1e-4 * np.linalg.norm(expected)


def test_curvature_is_the_mean_outer_product_of_the_stored_rows(gone):
    """[blocks, p², p²], from encodings before R and before unit norm."""
    for stream in ("train", "query"):
        rows = read_zarr(gone.out / "encodings" / stream / "encodings").astype(np.float64).reshape(-1, 4, 16)
        expected = np.mean([np.einsum("bk,bl->bkl", row, row) for row in rows], axis=0)
        stored = read_zarr(gone.out / "curvature" / stream / "curvature")
        assert stored.shape == (4, 16, 16)
        np.testing.assert_allclose(stored, expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())


def scores_by_hand(gone, folder: str, weight: float | None, damping: float, unit_norm: bool) -> np.ndarray:
    """TrackStar as its paper writes it, both sides whitened, in float64; `weight` None leaves R out."""
    train, query = (
        read_zarr(gone.out / folder / stream / "encodings").astype(np.float64).reshape(-1, 4, 16)
        for stream in ("train", "query")
    )
    if weight is not None:
        parts = {name: np.einsum("nbk,nbl->bkl", rows, rows) / len(rows) for name, rows in (("t", train), ("q", query))}
        mixed = weight * parts["q"] + (1 - weight) * parts["t"]
        for block in range(4):
            values, vectors = np.linalg.eigh(mixed[block])
            root = vectors @ np.diag((np.maximum(values, 0) + damping * values.mean()) ** -0.5) @ vectors.T
            train[:, block], query[:, block] = train[:, block] @ root, query[:, block] @ root
    train, query = train.reshape(len(train), -1), query.reshape(len(query), -1)
    if unit_norm:
        train, query = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (train, query))
    return query @ train.T


def test_scores_are_those_of_the_method_written_out_in_numpy(gone):
    """From the plain dot product to TrackStar: λ by the rule of the report, R mixed, whitened, unit norm, dot."""
    report, ids = read_json(gone.out / "report.json"), list(documents(gone))
    assert (report["damping"], report["lambda_component"]) == (0.1, 1) and 0 < report["lambda"] < 1
    largest = {
        stream: max(np.linalg.eigvalsh(block)[-1] for block in read_zarr(gone.out / "curvature" / stream / "curvature"))
        for stream in ("train", "query")
    }
    np.testing.assert_allclose(report["lambda"], largest["train"] / (largest["train"] + largest["query"]), rtol=1e-4)
    ladder = {
        "grad_dot": ("encodings_plain", None, False),
        "grad_cosine": ("encodings_plain", None, True),
        "second_moments": ("encodings", None, True),
        "r_train": ("encodings", 0.0, True),
        "trackstar": ("encodings", report["lambda"], True),
    }
    rows = rankings(gone)
    for method, (folder, weight, unit_norm) in ladder.items():
        expected = scores_by_hand(gone, folder, weight, 0.1, unit_norm)
        scale = np.abs(expected).max()
        for line, of_query in zip(rows[method], expected, strict=True):
            for end, best in (("proponents", np.sort(of_query)[::-1]), ("opponents", np.sort(of_query))):
                got = np.array([entry["score"] for entry in line[end]])
                np.testing.assert_allclose(got, best[:TOP_K], atol=1e-4 * scale, err_msg=method)
                named = np.array([of_query[ids.index(entry["id"])] for entry in line[end]])
                np.testing.assert_allclose(named, got, atol=1e-4 * scale, err_msg=method)


def test_the_report_has_every_figure_with_its_interval_or_null(gone):
    """The pinned keys; n = 0 gives null; a mean lies in its interval; nothing is NaN (the reader refuses it)."""
    report = read_json(gone.out / "report.json")
    pinned = {"methods", "exact_match", "lambda", "lambda_component", "damping", "tail_patch", "seconds", "seed"}
    assert pinned | {"paired"} <= set(report) and set(report["methods"]) == set(METHODS)
    assert set(report["paired"]) == {"trackstar-grad_cosine", "trackstar-bm25"}
    for figures in (*report["methods"].values(), *report["paired"].values()):
        assert set(ALL_METRICS) <= set(figures)
        for figure in figures.values():
            few = figure["n"] < FEWEST
            assert set(figure) == {"mean", "low", "high", "n"} | ({"reason"} if few and figure["n"] else set())
            if few:
                assert figure["low"] is figure["high"] is None and (figure["mean"] is None) == (figure["n"] == 0)
            else:
                assert figure["low"] <= figure["mean"] <= figure["high"]
    assert {"kind", "rate", "queries", "proponents", "seed"} <= set(report["tail_patch"])
    assert report["tail_patch"]["queries"] == 8 and report["tail_patch"]["rate"] == pytest.approx(2e-3)
    stages = set(report["seconds"])
    assert {"encodings/train", "checkpoint", "corpus", "curvature/query", "rankings/trackstar"} <= stages
    assert all(seconds >= 0 for seconds in report["seconds"].values())


def test_what_could_not_be_judged_is_counted(gone):
    """One query has no gold, one gold id is in no document; neither is silent."""
    report = read_json(gone.out / "report.json")
    exactly = sum(row["answered_exactly"] for row in rankings(gone)["bm25"])
    assert report["queries"] == {"total": 12, "answered_exactly": exactly, "without_gold": 1}
    assert report["exact_match"] == exactly / 12
    assert report["gold_missing"] == {"ids": 1, "queries": 1}


def retrieval_by_hand(ranked: list[str], right: set[str]) -> tuple[float, float, float]:
    hits = [document in right for document in ranked]
    first = hits.index(True) + 1 if any(hits) else None
    return (1 / first if first else 0.0), float(any(hits[:10])), sum(hits[:10]) / 10


@pytest.mark.parametrize("suffix", ["", "_all", "_weak"])
def test_retrieval_figures_are_those_of_a_loop_over_the_rankings(gone, suffix):
    """Over the queries answered exactly, over all, and with the weak passages right as well."""
    report, of_piece = read_json(gone.out / "report.json"), documents(gone)
    for method, rows in rankings(gone).items():
        found = []
        for query, row in zip(texts.QUERIES, rows, strict=True):
            right = set(query.get("gold", []))
            if suffix == "_weak":
                right |= set(query.get("weak", []))
            counted = suffix == "_all" or row["answered_exactly"]
            if counted and right and (suffix != "_weak" or "weak" in query):
                found.append(retrieval_by_hand([of_piece[entry["id"]] for entry in row["proponents"]], right))
        for name, values in zip(RETRIEVAL, zip(*found, strict=True) if found else ([], [], []), strict=True):
            figure = report["methods"][method][f"{name}{suffix}"]
            assert figure["n"] == len(found), (method, name)
            assert figure["mean"] == (pytest.approx(np.mean(values)) if found else None), (method, name)


def test_the_page_holds_the_texts_as_text(gone):
    """What looks like a program is shown and never run; further fields, both ends and the model's answers are there."""
    page = pages.Reader({"index.html": (gone.out / "page" / "index.html").read_bytes()})
    assert not any(texts.SCRIPT in text for text in [*page.scripts, *page.text])
    everything = pages.everything(page)
    assert "alert(" in everything and "An atlas" in everything and "wording" in everything
    assert all(answer is not None for answer in page.index["queries"]["answer"])


def snapshot(place: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in place.rglob("*") if path.is_file()}


def test_the_same_command_again_does_nothing(gone):
    """Every job finds its artifact finished, and touches no file."""
    before = snapshot(gone.out)
    printed = gone.command("--print")
    jobs = list(walk.jobs(printed.stdout))
    assert len(jobs) == 25
    for job in jobs:
        walk.run(*job)
    assert snapshot(gone.out) == before


def test_a_road_from_a_given_checkpoint_brings_its_vocabulary_and_context(gone, tmp_path):
    """Neither vocabulary nor model is made; the tokens, and the answers, are those of the road that trained it."""
    printed = gone.command("--print", "--checkpoint", str(gone.out / "checkpoint"), out=tmp_path / "out")
    jobs = list(walk.jobs(printed.stdout))
    verbs = [verb for verb, _, _ in jobs]
    assert "pretrain" not in verbs and "train_vocabulary" not in verbs
    for job in jobs[: verbs.index("answer") + 1]:
        walk.run(*job)
    for name in ("corpus", "queries"):
        ours, theirs = (open_corpus(str(out / name)) for out in (tmp_path / "out", gone.out))
        assert ours.context == theirs.context == open_checkpoint(str(gone.out / "checkpoint")).context
        np.testing.assert_array_equal(ours.spans, theirs.spans)
    ours, theirs = (read_lines(out / "answers" / "answers.jsonl") for out in (tmp_path / "out", gone.out))
    assert [(r["query_id"], r["likeliest"]) for r in ours] == [(r["query_id"], r["likeliest"]) for r in theirs]


def test_the_context_is_that_of_the_longest_query(gone):
    """Queries here are longer than the config's 24 tokens: passages are cut to their length, and the model knows it."""
    corpus, queries = (open_corpus(str(gone.out / name)) for name in ("corpus", "queries"))
    assert 24 < queries.longest == corpus.context == corpus.longest
    assert open_checkpoint(str(gone.out / "checkpoint")).context == queries.longest
