"""Laws of the page: it says what the data say, and no text of the data is markup or code."""

import dataclasses
import math
import re

import pytest

from jax_tda.artifacts.method_words import MethodWords
from jax_tda.core.errors import InputError
from jax_tda.evaluation.summary import report
from jax_tda.viewer.material import Material
from jax_tda.viewer.page import render
from jax_tda.viewer.settings import PageConfig
from tests.house import tree
from tests.viewer.pages import HOSTILE, LINE, WORDS, everything, line, material, rendered

FILES = PageConfig(one_file_below=0.0)


def changed(**changes):
    return dataclasses.replace(material(), **changes)


@pytest.mark.parametrize("config", [PageConfig(), FILES])
def test_a_ranking_on_the_page_is_the_ranking_given(config):
    """Passage, score to four digits, right or wrong, and the rank of the first gold passage; in one file or in many."""
    page = rendered(material(), config)
    assert (len(page.files) > 1) == (config is FILES)
    index, ids = page.index, [name for name, _ in page.passages()]
    assert [method["name"] for method in index["methods"]] == ["trackstar", "mine"]
    found = page.line(0, 0)
    assert [ids[place] for place in found["p"]] == ["b", "c#1", "a"]
    assert found["s"] == [0.9123, 0.5, 0.25] and found["m"] == "201", "weak, other, gold"
    assert ([ids[place] for place in found["o"]], found["os"]) == (["c#1"], [-0.75])
    queries = index["queries"]
    assert queries["first"] == [[3, 0], [1, -1]] and queries["returned"] == [[3, 1], [2, 0]]
    assert queries["right"] == [[1, 0], [1, 0]]


@pytest.mark.parametrize("size", [1e-30, 3e-7, 0.9, 7.0, 12345.678, 1e30])
def test_scores_of_any_size_keep_four_digits_of_the_greatest(size):
    """Law: no score is off by more than half a unit of the fourth digit of its line's greatest."""
    scores = [size * factor for factor in (1.0, 0.98765, 0.5, 0.0123456, 0.0, -0.7654321)]
    rows = {"mine": [line("p", [(f"x{i}", score) for i, score in enumerate(scores)])]}
    found = rendered(changed(rankings=rows)).line(0, 0)["s"]
    unit = 10.0 ** (math.floor(math.log10(size)) - 3)
    assert max(abs(a - b) for a, b in zip(found, scores, strict=True)) <= 0.51 * unit


def test_a_ranking_without_scores_is_shown_without():
    """Law: no score is made up."""
    rows = [{"query_id": "p", "proponents": [{"id": "a"}, {"id": "b"}]}]
    found = rendered(changed(rankings={"mine": rows})).line(0, 0)
    assert found["s"] is None and found["m"] == "12" and found["o"] == []


def test_opponents_that_all_have_one_score_are_not_shown_but_their_score_is():
    """Law: what only the corpus's order put at the end is no opponent, as BM25's zeros are."""
    rows = [line("p", [("a", 2.0)], [("b", 0.0), ("c#1", 0.0)]), line("q", [("a", 2.0)], [("b", 0.0), ("c#1", 0.5)])]
    page = rendered(changed(rankings={"bm25": rows}))
    assert page.line(0, 0)["o"] == [] and page.line(0, 0)["tied"] == 0.0
    assert len(page.line(0, 1)["o"]) == 2 and "tied" not in page.line(0, 1)


def test_nothing_is_judged_where_the_query_has_no_gold():
    """Such a passage is neither right nor wrong, and a method without a line for the query is not an empty ranking."""
    page = rendered(material())
    assert page.index["queries"]["judged"] == [True, False] and page.index["queries"]["exact"] == [True, False]
    assert page.line(0, 1)["m"] == "3" and page.line(1, 1) is None


def test_what_an_entry_says_of_itself_overrules_gold():
    """Law: a ranking that was judged elsewhere brings its own marks, and its query is judged."""
    rows = [
        {
            "query_id": "q",
            "proponents": [{"id": "a", "correct": False}, {"id": "b", "correct": True, "note": "AIS 0.9"}],
        }
    ]
    page = rendered(changed(rankings={"mine": rows}))
    assert page.line(0, 1)["m"] == "01" and page.line(0, 1)["p_note"] == [None, "AIS 0.9"]
    assert page.index["queries"]["judged"] == [True, True] and page.index["queries"]["first"] == [[-1, 2]]


def test_shares_and_histograms_are_carried_as_they_are():
    """Law: shares of a score over characters, and bins of all scores, stand in the page where a ranking has them."""
    entry = {"id": "a", "score": 1.0, "shares": [[0, 4, 0.75], [5, 7, 0.25]]}
    bins = {"low": -1.0, "high": 1.0, "counts": [5, 0, 2]}
    rows = [{"query_id": "p", "proponents": [entry], "histogram": bins, "shares": [[0, 5, 1.0]]}]
    found = rendered(changed(rankings={"mine": rows})).line(0, 0)
    assert found["p_shares"] == [entry["shares"]] and found["histogram"] == bins and found["shares"] == [[0, 5, 1.0]]


def test_a_piece_is_right_when_its_document_is_gold():
    """Only the caller's mapping says so: an id that merely looks like a piece is its own document."""
    queries = [material().queries[0] | {"gold": ["c"]}]
    assert rendered(changed(queries=queries)).index["queries"]["first"][0] == [0]
    mapped = rendered(changed(queries=queries, documents={"c#1": "c"}))
    assert mapped.index["queries"]["first"][0] == [2] and mapped.line(0, 0)["m"][1] == "1"


def test_every_text_is_carried_once_and_only_what_is_shown():
    """A passage listed by many queries has one entry; one listed by none has none; a missing one is said to be."""
    passages = {**material().passages, "unlisted": {"text": "never shown"}}
    found = rendered(changed(passages=passages)).passages()
    assert sorted(found) == sorted(
        [("a", passages["a"]["text"]), ("b", passages["b"]["text"]), ("c#1", "Oslo."), ("gone", None)],
        key=lambda p: p[0],
    )


def test_many_texts_are_divided_into_parts_and_found_by_their_number():
    """Law: parts follow one another without a gap, and each passage is in the part that its number says."""
    passages = {f"x{i}": {"text": f"{i} " * 3000, "field": str(i)} if i % 3 else {"text": "short"} for i in range(60)}
    rows = [line("p", [(name, 1.0) for name in passages])]
    page = rendered(
        changed(passages=passages, rankings={"mine": rows}), PageConfig(shown_proponents=60, shown_characters=9000)
    )
    assert len(page.index["text_starts"]) > 1 and [name for name, _ in page.passages()] == list(passages)
    for number, start in enumerate(page.index["text_starts"]):
        part = page.parts[f"texts-{number}"]
        assert part["id"][0] == f"x{start}"
        assert all(value in (None, name[1:]) for name, value in zip(part["id"], part["fields"]["field"], strict=False))


def test_further_fields_are_carried_and_empty_ones_are_not():
    """Fields of the corpus and the queries are text; those of queries say whether they are numbers."""
    page = rendered(material())
    (texts,) = (part for name, part in page.parts.items() if name.startswith("texts"))
    at = texts["id"].index("a")
    assert {name: values[at] for name, values in texts["fields"].items() if at < len(values)} == {
        "subject": "Peru",
        "year": "1535",
    }
    fields = {field["name"]: field for field in page.index["queries"]["fields"]}
    assert fields["relation"] == {"name": "relation", "numeric": False, "values": ["capital"], "codes": [0, -1]}
    assert fields["size"] == {"name": "size", "numeric": True, "values": ["3", "1.5"], "codes": [0, 1]}


def test_answers_of_the_model_stand_beside_the_target():
    """The likeliest answer and the target's probability, null for a query without them; none for a page without any."""
    queries = rendered(changed(answers={"p": {"likeliest": " Cuzco", "probability": 0.123456}})).index["queries"]
    assert queries["answer"] == [" Cuzco", None] and queries["probability"] == [0.1235, None]
    assert rendered(material()).index["queries"]["answer"] is None


def test_what_is_cut_is_counted():
    """Queries, list entries and characters past the limits are left out, and the page knows how many there were."""
    config = PageConfig(shown_queries=1, shown_proponents=2, shown_opponents=0, shown_characters=4)
    page = rendered(material(), config)
    assert (len(page.index["queries"]["id"]), page.index["total"]) == (1, 2)
    found = page.line(0, 0)
    assert (len(found["p"]), len(found["o"]), page.index["queries"]["returned"][0]) == (2, 0, [3])
    texts = page.parts["texts-0"]
    assert texts["cut"][texts["id"].index("b")] == len("Peru has a coast; Lima lies on it.") - 4


def test_hubs_and_kinds_count_what_is_shown():
    """Law: as by hand; a passage of a single query is no hub."""
    page = rendered(material())
    ids = [name for name, _ in page.passages()]
    assert page.parts["hubs"] == [[[ids.index("c#1"), 2, 0, [0, 1]]], []]
    assert page.index["kinds"] == [[1, 1, 1], [1, 1, 0]]


def test_hostile_text_in_every_field_stays_text():
    """With and without it the page has the same tags; what the data's own reader reads back is what went in."""
    given = material()
    tame = rendered(given, FILES)
    hostile_id = f"id {HOSTILE}"
    queries = [
        {**given.queries[0], "prompt": HOSTILE, "target": HOSTILE, "relation": HOSTILE, HOSTILE: HOSTILE},
        {**given.queries[1], "id": hostile_id},
    ]
    passages = {"a": {"text": HOSTILE, HOSTILE: HOSTILE, "deep": {"x": [HOSTILE]}}, HOSTILE: {"text": HOSTILE}}
    rankings = given.rankings
    rankings["trackstar"][1]["query_id"] = hostile_id
    for entry in (e for rows in rankings.values() for row in rows for e in row["proponents"] + row["opponents"]):
        entry["id"] = entry["id"].replace("c#1", HOSTILE)
    answers = {hostile_id: {"likeliest": HOSTILE, "probability": 0.5}}
    hostile = dataclasses.replace(given, queries=queries, passages=passages, rankings=rankings, answers=answers)
    for config in (PageConfig(), FILES):
        page = rendered(hostile, config)
        if config is FILES:
            assert [tag for tag, _ in page.tags] == [tag for tag, _ in tame.tags]
        assert not any(b"hurt" in data for data in page.files.values()), "no letter of a text stands in a file"
        found = page.index["queries"]
        assert found["prompt"][0] == found["target"][0] == found["answer"][1] == HOSTILE
        assert {"name": HOSTILE, "numeric": False, "values": [HOSTILE], "codes": [0, -1]} in found["fields"]
        assert found["id"][1] == hostile_id and (HOSTILE, HOSTILE) in page.passages()


def test_hostile_names_of_methods_settings_and_the_title_are_escaped():
    """The title stands in the HTML itself, all else among the data."""
    given = material()
    tame = rendered(given)
    figures = report(
        {"trackstar": {"mrr": {"p": 0.5}}, HOSTILE: {"mrr": {"p": 1.0}}},
        {"p", "q"},
        {
            "exact_match": 0.5,
            "tail_patch": {HOSTILE: HOSTILE},
            "seconds": {HOSTILE: 1.0},
            "lambda": 0.5,
            "seed": HOSTILE,
        },
        seed=0,
        words={HOSTILE: MethodWords(LINE, LINE)},
    )
    rankings = {"trackstar": given.rankings["trackstar"], HOSTILE: given.rankings["mine"]}
    words = {HOSTILE: MethodWords(LINE, LINE, score=LINE, unit=LINE)}
    page = rendered(changed(report=figures, rankings=rankings, words=words), PageConfig(title=HOSTILE))
    assert {tag for tag, _ in page.tags} == {tag for tag, _ in tame.tags}
    assert len(page.scripts) == len(tame.scripts)
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert any("window.hurt=1" in text and "$title" in text for text in page.text), "shown as it was written"
    assert {"name": HOSTILE, "label": LINE, "about": LINE, "score": LINE, "unit": LINE} in page.index["methods"]


def test_page_needs_nothing_but_itself():
    """No link, image, font or request; a policy that lets only the package's own script and style through."""
    for config in (PageConfig(), FILES):
        page = rendered(material(), config)
        for tag, attributes in page.tags:
            assert tag not in {"link", "img", "iframe", "object", "base"}
            assert "src" not in attributes and "style" not in attributes and "href" not in attributes
        text = page.files["index.html"].decode()
        assert not re.search(r"@import|url\(", text) and not re.search(r"https?://(?!www\.w3\.org/)", text)
        policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert ("'self'" in policy) == (config is FILES)


def test_script_neither_evaluates_nor_fetches_nor_writes_markup():
    """Filters are compared, never run, and the data enter as text nodes."""
    script = rendered(material()).scripts[-1]
    assert "jaxTdaPart" in script
    for word in ("insertAdjacentHTML", "document.write", "eval(", "Function(", "fetch(", "import(", "XMLHttpRequest"):
        assert word not in script
    source = [path.read_text("utf-8") for path in (tree.ROOT / "viewer/source").iterdir()]
    assert len(source) > 10 and not any("innerhtml" in text.lower() for text in source), (
        "Preact offers it, and we refuse"
    )


def test_tables_hold_every_mean_interval_and_count():
    """As in the report; a metric without queries is null, a difference of few queries is not shown."""
    values = {str(i): 0.1 * (i % 7) for i in range(20)}
    paired = {"trackstar": {"mrr": values}, "grad_cosine": {"mrr": {i: 0.3 + v * v for i, v in values.items()}}}
    words = {"trackstar": MethodWords("The one", "how it works", 1, ("grad_cosine",))}
    figures = report(paired, set(values), {}, seed=0, words=words)
    found = rendered(changed(report=figures)).index["overview"]
    view = found["views"][0]
    assert view["rows"][0]["label"] == "The one" and view["rows"][0]["about"] == "how it works"
    mean = figures["methods"]["trackstar"]["mrr"]
    assert view["rows"][0]["cells"][0] == {name: mean[name] for name in ("mean", "low", "high", "n")}
    assert view["rows"][0]["cells"][3] is None, "no tail-patch was judged"
    (difference,) = found["differences"]["rows"]
    assert difference["label"] == "The one − grad_cosine"
    assert difference["cells"][0]["mean"] == figures["paired"]["trackstar-grad_cosine"]["mrr"]["mean"]
    few = report({name: {"mrr": {"0": 0.5}} for name in paired}, {"0"}, {}, seed=0, words=words)
    assert rendered(changed(report=few)).index["overview"]["differences"] is None


def test_a_run_without_figures_or_queries_still_has_a_page():
    """No report, no query judged, no ranking of the default columns."""
    empty = rendered(Material([], {}, {"mine": []})).index
    assert empty["columns"] == [0] and empty["queries"]["id"] == [] and empty["overview"] is None
    assert rendered(Material([], {}, {})).index["columns"] == []


def test_the_compared_method_and_its_comparisons_open_first_and_else_the_first_three():
    """Law: what others are measured against stands beside them; a config says otherwise."""
    rankings = {name: [] for name in "abcde"}
    words = {"d": MethodWords(compared_with=("b",))}
    assert rendered(Material([], {}, rankings, words)).index["columns"] == [3, 1]
    assert rendered(Material([], {}, rankings)).index["columns"] == [0, 1, 2]
    assert rendered(Material([], {}, rankings), PageConfig(columns=("e", "gone"))).index["columns"] == [4]


def test_a_score_that_is_not_finite_is_refused():
    """JSON has no NaN, and a page that cannot be read is no page."""
    given = material()
    given.rankings["mine"][0]["proponents"][0]["score"] = float("nan")
    with pytest.raises(InputError, match="'p'"):
        render(given)


def test_settings_out_of_range_are_refused():
    """A negative number of shown things would silently cut from the end."""
    with pytest.raises(InputError, match="shown_proponents"):
        PageConfig(shown_proponents=-1)


def test_the_score_says_what_it_means_and_in_which_unit():
    """Law: a method's words travel to the page."""
    said = rendered(material()).index["methods"]
    assert (said[0]["score"], said[0]["unit"]) == (WORDS["trackstar"].score, "nats")
    assert "cosine of two gradients" in everything(rendered(material()))
