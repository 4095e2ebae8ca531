"""Laws of evaluate: it judges a file of rankings, whoever wrote it, by numbers one can work out by hand."""

import json

import jax
import numpy as np
import pytest

from jax_tda.artifacts import ranking
from jax_tda.artifacts.artifact import begin
from jax_tda.artifacts.method_words import MethodWords, as_facts
from jax_tda.core import trees
from jax_tda.core.errors import InputError
from jax_tda.data.corpus import open_corpus
from jax_tda.evaluation import run
from jax_tda.evaluation.bootstrap import BootstrapConfig
from jax_tda.evaluation.tail_patch import TailPatchConfig, sample
from jax_tda.models import checkpoint_artifact, checkpoints
from tests.evaluation import dumb
from tests.jobs import tiny_road

# Few different lengths: each costs the dumb loop a compilation.
PASSAGES = [
    {"id": "a", "text": "one is 01"},
    {"id": "b", "text": "two is 02"},
    {"id": "long", "text": "three and four and five and six"},  # Becomes long#0 and long#1.
    {"id": "c", "text": "ten is 10"},
    {"id": "d", "text": "c is 100."},
]
QUERIES = [
    {"id": "q0", "prompt": "one is 0", "target": "1", "gold": ["a"]},
    {"id": "q1", "prompt": "three and", "target": " f", "gold": ["long"]},
    {"id": "q2", "prompt": "ten is 1", "target": "0", "gold": ["c"], "weak": ["d"]},
    {"id": "q3", "prompt": "nobody knows", "target": " this", "gold": []},
]
# query: (answered exactly, proponents)
RANKED = {"q0": (True, "a b c"), "q1": (False, "b long#1 long#0 a"), "q2": (True, "d b"), "q3": (True, "")}


def line(query, exact, names):
    entries = [{"id": name, "score": -float(rank)} for rank, name in enumerate(names.split())]
    return {"query_id": query, "answered_exactly": exact, "proponents": entries, "opponents": []}


ROWS = [line(query, *value) for query, value in RANKED.items()]


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    place = tmp_path_factory.mktemp("texts")
    corpus = tiny_road.tokenized(place, "corpus", PASSAGES, context=22)
    return {"corpus": corpus, "queries": tiny_road.tokenized(place, "queries", QUERIES, "queries")}


def judged(texts, place, rows, **options):
    """The report of one foreign ranking file, `mine.jsonl`; rows may be given as they stand in the file."""
    text = rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows)
    (place / "mine.jsonl").write_text(text)
    options = {"rankings": str(place / "mine.jsonl"), "bootstrap": BootstrapConfig(resamples=20)} | options
    return run.run(run.EvaluateConfig(**texts, **options), str(place / "out")).read_json("report.json")


def shown(methods, metric):
    return methods[metric]["mean"], methods[metric]["n"]


def test_a_foreign_ranking_is_judged_as_by_hand(texts, tmp_path, capsys):
    """Law: q0 finds a at 1, q1 two pieces of its document at 2 and 3, q2 only its weak d; q3 has no gold."""
    report = judged(texts, tmp_path, ROWS)
    mine = report["methods"]["mine"]
    assert shown(mine, "mrr") == (pytest.approx((1 + 0) / 2), 2)
    assert shown(mine, "mrr_all") == (pytest.approx((1 + 1 / 2 + 0) / 3), 3)
    assert shown(mine, "recall_at_10") == (pytest.approx(1 / 2), 2)
    assert shown(mine, "recall_at_10_all") == (pytest.approx(2 / 3), 3)
    assert shown(mine, "precision_at_10") == (pytest.approx(0.1 / 2), 2)
    assert shown(mine, "precision_at_10_all") == (pytest.approx((0.1 + 0.2 + 0) / 3), 3)
    assert shown(mine, "mrr_weak") == (1.0, 1) and shown(mine, "precision_at_10_weak") == (pytest.approx(0.1), 1)
    assert shown(mine, "tail_patch") == (None, 0) and report["tail_patch"] is None
    assert report["exact_match"] == 0.75
    assert report["queries"] == {"total": 4, "answered_exactly": 3, "without_gold": 1}
    assert "mine" in capsys.readouterr().out


def test_a_ranking_of_whole_documents_is_judged_like_one_of_their_pieces(texts, tmp_path):
    """Law: an id is a piece's or a document's."""
    rows = [line("q1", True, "b long")] + [line(query, False, "") for query in ("q0", "q2", "q3")]
    assert shown(judged(texts, tmp_path, rows)["methods"]["mine"], "mrr") == (0.5, 1)


def test_a_foreign_ranking_needs_neither_scores_nor_opponents_nor_answers(texts, tmp_path):
    """Law: without anybody's word on exact answers there is nothing over queries answered exactly, but all over all."""
    rows = [{"query_id": q, "proponents": [{"id": i} for i in names.split()]} for q, (_, names) in RANKED.items()]
    report = judged(texts, tmp_path, rows)
    assert shown(report["methods"]["mine"], "mrr") == (None, 0)
    assert shown(report["methods"]["mine"], "mrr_all") == (pytest.approx(0.5), 3)
    assert report["exact_match"] == 0.0


def test_answers_outrank_what_a_ranking_says(texts, tmp_path):
    """Law: given answers, a ranking's own flags do not count."""
    writer = begin(str(tmp_path / "answers"), "answers", {}, {})
    writer.write_lines("answers.jsonl", ({"query_id": f"q{n}", "answered_exactly": n == 1} for n in range(4)))
    writer.finish({})
    report = judged(texts, tmp_path, ROWS, answers=str(tmp_path / "answers"))
    assert shown(report["methods"]["mine"], "mrr") == (0.5, 1)
    assert report["exact_match"] == 0.25


def test_every_ranking_of_a_directory_is_judged_as_its_manifest_says(texts, tmp_path, capsys):
    """Law: one method per file, called and compared as its own words say; somebody else's is called by its name."""
    folder = tmp_path / "rankings"
    folder.mkdir()
    said = MethodWords("The one", "about it", 3, ("other", "absent"))
    writer = begin(str(folder), ranking.KIND, {}, {}, name="one")
    writer.write_lines("one.jsonl", [line("q0", True, "a"), *ROWS[1:]])
    writer.finish(as_facts(said) | {"query_weight": 0.25, "component": 7, "damping": 0.5})
    for name, q0 in (("other", "b a"), ("own", "")):
        tiny_road.write_lines(folder / f"{name}.jsonl", [line("q0", True, q0), *ROWS[1:]])
    report = judged(texts, tmp_path, ROWS, rankings=str(folder))
    assert list(report["methods"]) == ["one", "other", "own"] and list(report["words"]) == ["one"]
    paired = report["paired"]["one-other"]["mrr"]
    assert (paired["mean"], paired["n"]) == (pytest.approx(0.25), 2) and len(report["paired"]) == 1
    assert (report["lambda"], report["lambda_component"], report["damping"]) == (0.25, 7, 0.5)
    assert {"The one", "other", "own"} <= {row.partition("  ")[0] for row in capsys.readouterr().out.splitlines()}


GOOD = json.dumps(ROWS[0])


@pytest.mark.parametrize(
    "bad",
    [
        "not json",
        "[]",
        '"q1"',
        '{"proponents": []}',
        '{"query_id": "q1"}',
        '{"query_id": 1, "proponents": []}',
        '{"query_id": "q1", "proponents": {"id": "a"}}',
        '{"query_id": "q1", "proponents": ["a"]}',
        '{"query_id": "q1", "proponents": [{"id": 3}]}',
        '{"query_id": "q1", "proponents": [{"score": 1.0}]}',
        '{"query_id": "q1", "proponents": [{"id": "a", "score": NaN}]}',
        '{"query_id": "q1", "proponents": [{"id": "a", "score": "high"}]}',
        '{"query_id": "q0", "proponents": []}',
    ],
)
def test_a_malformed_line_is_refused_by_its_number(texts, tmp_path, bad):
    """Law: the second line is at fault, and the file is named; the last case repeats a query."""
    with pytest.raises(InputError, match=r"line 2 of .*mine\.jsonl is not a ranking row") as caught:
        judged(texts, tmp_path, f"{GOOD}\n{bad}\n")
    assert bad[:100] in caught.value.got


def test_lists_out_of_order_are_sorted_by_score_and_counted_and_ties_stay(texts, tmp_path, capsys):
    """Law: the report is that of the sorted file; proponents fall, opponents rise, equal scores as listed."""
    best = [{"id": name, "score": score} for name, score in (("b", 1), ("d", 2.5), ("a", 9), ("c", 2.5))]
    rows = [{"query_id": "q0", "answered_exactly": True, "proponents": best, "opponents": best}, *ROWS[1:]]
    report = judged(texts, tmp_path, rows)
    assert "2 lists did not stand in the order of their scores and were sorted" in capsys.readouterr().out
    found = ranking.read(str(tmp_path / "mine.jsonl"))[0][0]
    assert [entry["id"] for entry in found["proponents"]] == ["a", "d", "c", "b"]
    assert [entry["id"] for entry in found["opponents"]] == ["b", "d", "c", "a"]
    (tmp_path / "sorted").mkdir()
    capsys.readouterr()
    rows[0] = rows[0] | {"proponents": found["proponents"], "opponents": found["opponents"]}
    assert judged(texts, tmp_path / "sorted", rows)["methods"] == report["methods"]
    assert "were sorted" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ('{"query_id": "q1", "proponents": [], "answered_exactly": "no"}', "neither true nor false"),
        ('{"query_id": "q1", "proponents": [], "answered_exactly": 1}', "neither true nor false"),
        ('{"query_id": "q1", "proponents": [], "answered_exactly": null}', "neither true nor false"),
        ('{"query_id": "q1", "proponents": [{"id": "a", "score": true}]}', "no finite number"),
        ('{"query_id": "q1", "proponents": [{"id": "a", "score": null}]}', "no finite number"),
        ('{"query_id": "q1", "proponents": [{"id": "a", "score": -Infinity}]}', "no finite number"),
        ('{"query_id": "q1", "proponents": [{"id": "a", "score": 1%s}]}' % ("0" * 400), "no finite number"),
        ('{"query_id": "q1", "proponents": [{"id": "a", "score": 1}, {"id": "b"}]}', "1 of 2 proponents have a score"),
        ('{"query_id": "q1", "proponents": [{"id": "a"}, {"id": "a"}]}', "'a' twice among proponents"),
        ('{"query_id": "q1", "proponents": [], "opponents": {"id": "a"}}', "opponents are no list"),
        ('{"query_id": "q1", "proponents": [], "opponents": null}', "opponents are no list"),
        ('{"query_id": "q1", "proponents": [], "opponents": [{"id": "a"}, {"id": "a"}]}', "twice among opponents"),
        ('{"query_id": "q1", "query_id": "q2", "proponents": []}', "a field stands twice"),
        ('{"query_id": "", "proponents": []}', "query_id is not a text"),
        ('{"query_id": "q0", "proponents": []}', "again, first at line 1"),
        ("[" * 100_000, "no JSON object"),
    ],
    ids=lambda value: value[:50],
)
def test_what_a_ranking_may_not_say_is_refused_with_the_reason(texts, tmp_path, bad, says):
    """Law: types are checked, nothing is guessed; the file, the line and what is wrong are named."""
    with pytest.raises(InputError, match=r"line 2 of .*mine\.jsonl is not a ranking row") as caught:
        judged(texts, tmp_path, f"{GOOD}\n{bad}\n")
    assert says in caught.value.got


def test_an_opponent_that_the_corpus_does_not_hold_is_refused_by_its_line(texts, tmp_path):
    """Law: both ends belong to the corpus."""
    rows = [*ROWS[:2], ROWS[2] | {"opponents": [{"id": "zz", "score": 0.0}]}, *ROWS[3:]]
    with pytest.raises(InputError, match=r"1 unknown passages, such as 'zz' \(line 3 of .*mine\.jsonl\)"):
        judged(texts, tmp_path, rows)


def test_a_piece_in_gold_counts_as_its_document_and_gold_of_no_document_is_said(tmp_path, capsys):
    """Law: gold `long#1`, or a piece that this cut does not have, is `long`; the figures equal those of gold `long`."""
    corpus, reports = tiny_road.tokenized(tmp_path, "corpus", PASSAGES, context=22), []
    for number, gold in enumerate((["long"], ["long#1"], ["long#0", "long#77", "nobody", "a#x"])):
        queries = [query | {"gold": gold} if query["id"] == "q1" else query for query in QUERIES]
        place = tmp_path / str(number)
        place.mkdir()
        paths = {"corpus": corpus, "queries": tiny_road.tokenized(place, "queries", queries, "queries")}
        reports.append(judged(paths, place, ROWS))
    whole, piece, mixed = reports
    assert whole["methods"] == piece["methods"] == mixed["methods"]
    assert whole["gold_pieces"] == {"ids": 0, "queries": 0} and piece["gold_pieces"] == {"ids": 1, "queries": 1}
    added = {name: mixed[name]["ids"] - whole[name]["ids"] for name in ("gold_pieces", "gold_missing")}
    assert added == {"gold_pieces": 2, "gold_missing": 2}
    assert "mean no document of the corpus and count as never found" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("rows", "got"),
    [
        (ROWS[1:], "1 queries without a line, such as 'q0'"),
        ([*ROWS, line("q9", True, "a")], "1 unknown queries, such as 'q9'"),
        ([line("q0", True, "a nowhere long#7"), *ROWS[1:]], "2 unknown passages, such as 'long#7'"),
    ],
)
def test_a_ranking_of_other_texts_is_refused_and_the_mended_one_takes_its_place(texts, tmp_path, rows, got):
    """Law: every query has a line and every id is known; a refusal leaves the output free."""
    with pytest.raises(InputError, match="ranking mine does not belong") as caught:
        judged(texts, tmp_path, rows)
    assert caught.value.got.startswith(got) and ("mine.jsonl)" in caught.value.got or "without" in got)
    assert shown(judged(texts, tmp_path, ROWS)["methods"]["mine"], "mrr")[1] == 2


def test_a_path_without_a_ranking_is_refused(texts, tmp_path):
    """Law: neither a missing file nor an empty directory is an empty report."""
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "missing", tmp_path / "missing.jsonl"):
        with pytest.raises(InputError, match="there is no"):
            judged(texts, tmp_path, ROWS, rankings=str(path))


def test_a_report_is_not_taken_for_that_of_another_foreign_file(texts, tmp_path):
    """Law: the same file gives the finished report, a changed one is told that the place is taken."""
    first = judged(texts, tmp_path, ROWS)
    assert judged(texts, tmp_path, ROWS) == first
    with pytest.raises(InputError, match="holds something else") as caught:
        judged(texts, tmp_path, [line("q0", True, "b"), *ROWS[1:]])
    assert "foreign_rankings" in caught.value.got


@pytest.fixture(scope="module")
def trained(texts, tmp_path_factory):
    """A checkpoint of some steps of AdamW on the passages."""
    return tiny_road.trained(tmp_path_factory.mktemp("trained"), texts["corpus"])


def by_hand(checkpoint, kind, rate):
    """(parameters, gradient) → parameters by path, from what orbax finds in the checkpoint without a target."""
    state = checkpoints.restore_untyped(str(checkpoint.reader.path / "state"))
    (adam,) = (part for part in state["opt_state"] if isinstance(part, dict) and "nu" in part)
    m, v, count = trees.flatten(adam["mu"]), trees.flatten(adam["nu"]), int(adam["count"])
    settings = checkpoint.optimizer
    b1, b2, epsilon = settings["b1"], settings["b2"], settings["epsilon"]
    assert count == settings["steps"] == 3

    def without_momentum(p, g):
        return {q: p[q] - rate * g[q] / (np.sqrt(v[q] / (1 - b2**count)) + epsilon) for q in p}

    def whole_step(p, g):
        norm = np.sqrt(sum(np.sum(np.square(part)) for part in g.values()))
        g = {q: part * min(1.0, settings["clip_norm"] / norm) for q, part in g.items()}
        patched = {}
        for q in p:
            momentum = (b1 * m[q] + (1 - b1) * g[q]) / (1 - b1 ** (count + 1))
            divisor = np.sqrt((b2 * v[q] + (1 - b2) * g[q] ** 2) / (1 - b2 ** (count + 1))) + epsilon
            patched[q] = p[q] - rate * momentum / divisor
        return patched

    return without_momentum if kind == "preconditioned" else whole_step


@pytest.mark.parametrize(("kind", "rate"), [("preconditioned", 1e-3), ("preconditioned", -1.0), ("full_step", 5e-3)])
def test_tail_patch_in_the_report_is_the_step_of_the_checkpoints_own_optimizer(texts, trained, tmp_path, kind, rate):
    """Law: V̂ bias-corrected, not updated, no momentum; or AdamW's whole next step; −1 is a tenth of the peak.

    Mean over sampled queries that have proponents, of the mean over their first two, in percentage points.
    """
    config = TailPatchConfig(kind=kind, rate=rate, queries=3, proponents=2, seed=1)
    report = judged(texts, tmp_path, ROWS, checkpoint=trained, tail_patch=config)
    checkpoint, corpus = checkpoint_artifact.open_checkpoint(trained), open_corpus(texts["corpus"])
    queries, used = open_corpus(texts["queries"]), tiny_road.OPTIMIZER.peak_rate / 10 if rate == -1 else rate
    params, update = checkpoint.params(), by_hand(checkpoint, kind, used)
    chosen, values, passages = sample(queries.ids, 3, 1), {}, set()
    for name in chosen:
        row, changes = queries.row_of(name), []
        for passage in RANKED[name][1].split()[:2]:
            gradient = dumb.mean_gradient(checkpoint.model, params, corpus, corpus.row_of(passage))
            flat = [jax.tree.map(np.asarray, trees.flatten(tree)) for tree in (params, gradient)]
            after = dumb.probability(checkpoint.model, trees.unflatten(update(*flat)), queries, row)
            changes.append(100 * (after - dumb.probability(checkpoint.model, params, queries, row)))
            passages.add(passage)
        if changes:
            values[name] = np.mean(changes)
    mine = report["methods"]["mine"]
    assert mine["tail_patch_all"]["n"] == len(values)
    assert mine["tail_patch_all"]["mean"] == pytest.approx(np.mean(list(values.values())), rel=1e-3)
    exact = [value for name, value in values.items() if RANKED[name][0]]
    assert mine["tail_patch"]["n"] == len(exact)
    assert mine["tail_patch"]["mean"] == (pytest.approx(np.mean(exact), rel=1e-3) if exact else None)
    settings = {"kind": kind, "rate": used, "queries": 3, "proponents": 2, "passages": len(passages), "seed": 1}
    settings |= {"not_finite": 0}
    assert report["tail_patch"] | {"rate": used} == settings and report["tail_patch"]["rate"] == pytest.approx(used)
    assert abs(np.mean(list(values.values()))) > 1e-6
