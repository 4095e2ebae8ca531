"""Laws of the report and of its table."""

import json

import pytest

from jax_tda.artifacts.method_words import MethodWords
from jax_tda.core.errors import InputError
from jax_tda.evaluation.bootstrap import BootstrapConfig
from jax_tda.evaluation.summary import report, table

FEW = BootstrapConfig(resamples=50)
SETTINGS = {
    "exact_match": 2 / 3,
    "lambda": 0.75,
    "lambda_component": 61,
    "damping": 0.1,
    "tail_patch": {"rate": 0.0006, "step": "adam without momentum"},
    "seconds": {"pretrain": 80.0},
    "seed": 0,
}
PER_QUERY = {
    "trackstar": {
        "mrr": {"p": 1.0, "q": 0.5, "r": 0.0, "s": None},
        "recall_at_10": {"p": 1.0, "q": 1.0, "r": 0.0, "s": None},
        "precision_at_10": {"p": 0.2, "q": 0.1, "r": 0.0, "s": None},
        "tail_patch": {"p": 2.0, "q": None, "r": 4.0, "s": 1.0},
    },
    "grad_cosine": {"mrr": {"p": 0.5, "q": 0.5, "r": 1.0, "s": None}},
    "random": {"mrr": {"p": 0.0, "q": 0.0, "r": 0.0, "s": None}},
}
EXACTLY = {"p", "q", "s"}
WORDS = {"trackstar": MethodWords("TrackStar", place=8, compared_with=("grad_cosine", "bm25"))}


def made():
    return report(PER_QUERY, EXACTLY, SETTINGS, seed=0, config=FEW, words=WORDS)


def test_plain_metrics_are_over_queries_answered_exactly_and_all_over_all():
    """By hand: of p, q, s, only p and q have gold; r was not answered exactly."""
    methods = made()["methods"]["trackstar"]
    assert methods["mrr"]["mean"] == pytest.approx(0.75) and methods["mrr"]["n"] == 2
    assert methods["mrr_all"]["mean"] == pytest.approx(0.5) and methods["mrr_all"]["n"] == 3
    assert methods["tail_patch"]["mean"] == pytest.approx(1.5) and methods["tail_patch"]["n"] == 2
    assert methods["tail_patch_all"]["mean"] == pytest.approx(7 / 3)
    assert methods["precision_at_10"]["mean"] == pytest.approx(0.15)


def test_every_method_has_every_pinned_metric_and_null_where_nothing_was_judged():
    """A method judged by MRR alone still has all names; no query has weak passages, so those are null."""
    pinned = {
        *(f"{metric}{over}" for metric in ("mrr", "recall_at_10", "precision_at_10") for over in ("", "_all", "_weak")),
        "tail_patch",
        "tail_patch_all",
    }
    for tables in made()["methods"].values():
        assert set(tables) == pinned
        assert tables["mrr_weak"] == {"mean": None, "low": None, "high": None, "n": 0}


def test_weak_metrics_are_reported_where_queries_have_weak_passages():
    """They are judged apart, over the queries answered exactly."""
    judged = {"bm25": {"mrr": {"p": 0.0, "r": 0.0}, "mrr_weak": {"p": 1.0, "r": 0.5}}}
    weak = report(judged, {"p"}, {}, seed=0, config=FEW)["methods"]["bm25"]["mrr_weak"]
    assert (weak["mean"], weak["n"]) == (1.0, 1)


def test_paired_differences_are_taken_on_the_same_queries():
    """trackstar - grad_cosine on p and q is (0.5 + 0) / 2; bm25 was not judged, so that pair is left out."""
    paired = made()["paired"]
    assert set(paired) == {"trackstar-grad_cosine"}
    assert paired["trackstar-grad_cosine"]["mrr"]["mean"] == pytest.approx(0.25)
    assert paired["trackstar-grad_cosine"]["mrr_all"]["mean"] == pytest.approx(-0.5 / 3)
    assert paired["trackstar-grad_cosine"]["tail_patch"]["n"] == 0


def test_queries_without_gold_are_counted():
    """s has no gold in any method."""
    assert made()["queries"] == {"total": 4, "answered_exactly": 3, "without_gold": 1}


def test_report_is_json_without_nan_even_when_nothing_was_judged():
    """n = 0 everywhere is null, and the table still prints."""
    empty = report({"trackstar": {"mrr": {"p": None}}}, set(), SETTINGS, seed=0, config=FEW, words=WORDS)
    assert json.loads(json.dumps(empty, allow_nan=False))["methods"]["trackstar"]["mrr"]["n"] == 0
    assert "TrackStar" in table(empty)


def test_settings_stand_in_the_report_as_given():
    """Everything a figure depends on is beside it."""
    assert {name: made()[name] for name in SETTINGS} == SETTINGS


def test_methods_stand_where_their_words_say_and_a_report_without_words_still_prints():
    """Somebody else's ranking, which says nothing, stands by its name; so do all in a report of an earlier release."""
    places = {"gold": 1000, "trackstar": 8, "bm25": 2}
    words = {name: MethodWords(place=place) for name, place in places.items()}
    judged = {name: {"mrr": {"p": 1.0}} for name in ("gold", "mine", "trackstar", "also", "bm25")}
    made = report(judged, {"p"}, {}, seed=0, config=FEW, words=words)
    assert list(made["methods"]) == ["bm25", "trackstar", "also", "mine", "gold"]
    del made["words"]
    lines = table(made).splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("---")) + 1
    assert [line.split()[0] for line in lines[start : start + 5]] == ["also", "bm25", "gold", "mine", "trackstar"]


def many(times=20, counted=EXACTLY, **settings):
    """The same queries, each so many times under other names."""
    tables = {
        method: {
            metric: {f"{name}{n}": value for name, value in table.items() for n in range(times)}
            for metric, table in judged.items()
        }
        for method, judged in PER_QUERY.items()
    }
    chosen = {f"{name}{n}" for name in counted for n in range(times)}
    return report(tables, chosen, SETTINGS | settings, seed=0, config=FEW, words=WORDS)


def test_table_shows_means_intervals_pairs_and_what_they_were_taken_with():
    """The line of a method holds its mean and interval as reported; notes hold n, lambda and the tail-patch."""
    text = table(many())
    mrr = many()["methods"]["trackstar"]["mrr"]
    line = next(line for line in text.splitlines() if line.startswith("TrackStar"))
    assert f"0.750 [{mrr['low']:.3f}, {mrr['high']:.3f}]" in line
    assert "+1.50 [" in line
    assert "trackstar - grad_cosine" in text and "+0.250 [" in text
    for note in ("60 of 80 queries", "MRR 40", "lambda 0.7500 (component 61)", "rate 0.0006", "0.667"):
        assert note in text
    assert "nan" not in text.lower() and "gold of" not in text


@pytest.mark.parametrize("counted", [1, 2, 19])
def test_fewer_than_twenty_counted_queries_come_after_all_queries_and_bear_no_interval(counted):
    """Law: first a sentence and the table over all queries; of the counted ones means alone, and no pair."""
    chosen = sorted(f"{name}{n}" for name in "pqr" for n in range(20))[:counted]
    tables = {m: {"mrr": {f"{q}{n}": v for q, v in t["mrr"].items() for n in range(20)}} for m, t in PER_QUERY.items()}
    found = report(tables, chosen, SETTINGS, seed=0, config=FEW, words=WORDS)
    lines = table(found).splitlines()
    assert (
        lines[0] == f"Only {counted} of 80 queries answered exactly, too few to compare methods by. Over all queries:"
    )
    first, second = [line for line in lines if line.startswith("TrackStar")]
    mrr = found["methods"]["trackstar"]["mrr_all"]
    assert f"0.500 [{mrr['low']:.3f}, {mrr['high']:.3f}]" in first
    assert f"(n = {counted})" in second and "[" not in second
    written = found["methods"]["trackstar"]["mrr"]
    assert written["low"] is written["high"] is None and written["reason"].startswith("fewer than 20 queries")
    assert "reason" not in mrr
    (pair,) = [line for line in lines if line.startswith("trackstar - grad_cosine")]
    assert lines.index(pair) < lines.index(second) and "-0.167 [" in pair


def test_where_no_query_counts_the_table_is_over_all_and_over_few_queries_no_interval_stands():
    """Law: no table of dashes; four queries in all have neither intervals nor pairs."""
    none = table(many(counted=()))
    assert none.startswith("Only 0 of 80 queries") and none.count("TrackStar") == 1 and "the table is over all" in none
    small = table(made())
    assert "[" not in small and "paired" not in small and "0.500 (n = 3)" in small
    whole = table(many(over="all", counted="pqrs"))
    assert "80 of 80 queries asked" in whole and not whole.startswith("Only")


def test_gold_that_means_no_document_or_names_a_piece_is_said():
    """Law: how many ids, of how many queries; nothing where there are none."""
    counts = {"gold_missing": {"ids": 3, "queries": 2}, "gold_pieces": {"ids": 1, "queries": 1}}
    text = table(many(**counts))
    assert "3 ids in the gold of 2 queries mean no document of the corpus and count as never found." in text
    assert "1 ids in the gold of 1 queries name a piece and count as its document." in text


def test_columns_of_the_table_stand_under_each_other():
    """Each heading begins where its column begins."""
    lines = table(many()).splitlines()
    start = lines[0].index("recall@10")
    assert lines[4][start - 2 : start] == "  " and lines[4][start] != " "


def test_an_unknown_metric_a_taken_name_and_a_setting_that_is_not_json_are_refused():
    """Each would be lost or wrong in the report."""
    with pytest.raises(InputError, match="mrr_at_7"):
        report({"bm25": {"mrr_at_7": {}}}, set(), {}, seed=0)
    with pytest.raises(InputError, match="paired"):
        report({}, set(), {"paired": 1}, seed=0)
    with pytest.raises(InputError, match="JSON"):
        report({}, set(), {"lambda": float("nan")}, seed=0)
