"""Laws of the page: it says what the data say, and no text of the data is markup or code."""

import json
import re
from html.parser import HTMLParser

import pytest

from jax_tda.artifacts.method_words import MethodWords
from jax_tda.core.errors import InputError
from jax_tda.evaluation.bootstrap import BootstrapConfig
from jax_tda.evaluation.summary import report
from jax_tda.viewer.page import render
from jax_tda.viewer.settings import PageConfig

HOSTILE = (
    "</script><script>window.hurt=1</script><img src=x onerror=hurt()> \"'`&amp;<!--\u2028\u2029$title ${x} \ud800 ]]>"
)

# What a method's words can hold of it.
LINE = HOSTILE.replace("\ud800 ", "")


class Reader(HTMLParser):
    """Reads a page as a browser would: every tag with its attributes, the text of every script, and all other text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.scripts, self.text, self._inside = [], [], [], None
        self.feed(page.decode("utf-8"))

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.text.append(data)

    @property
    def data(self):
        return json.loads(self.scripts[0])


def line(query_id, proponents, opponents=(), exactly=True):
    return {
        "query_id": query_id,
        "answered_exactly": exactly,
        "proponents": [{"id": id_, "score": score} for id_, score in proponents],
        "opponents": [{"id": id_, "score": score} for id_, score in opponents],
    }


def judged(**methods):
    tables = {method: {"mrr": values} for method, values in methods.items()}
    words = {"trackstar": MethodWords("TrackStar", "and whitened", 1)}
    return report(tables, {"p", "q"}, {"exact_match": 0.5}, seed=0, config=BootstrapConfig(resamples=20), words=words)


def run():
    """Two queries, three passages, two methods; everything a page needs."""
    queries = [
        {
            "id": "p",
            "prompt": "The capital of Peru is",
            "target": " Lima",
            "gold": ["a"],
            "weak": ["b"],
            "relation": "capital",
        },
        {"id": "q", "prompt": "Nobody knows", "target": " this", "gold": []},
    ]
    passages = {
        "a": {"text": "Lima is the capital of Peru.", "subject": "Peru", "year": 1535, "empty": None},
        "b": {"text": "Peru has a coast; Lima lies on it."},
        "c#1": {"text": "Oslo."},
    }
    rankings = {
        "trackstar": [
            line("p", [("b", 0.91234567), ("c#1", 0.5), ("a", 0.25)], [("c#1", -0.75)]),
            line("q", [("c#1", 1.0)], exactly=False),
        ],
        "mine": [line("p", [("a", 3.0), ("gone", 2.0)])],
    }
    return judged(trackstar={"p": 1 / 3, "q": None}, mine={"p": 1.0}), queries, passages, rankings


def rendered(*arguments, **options):
    files = render(*arguments, **options)
    assert list(files) == ["index.html"]
    return Reader(files["index.html"])


def test_a_ranking_on_the_page_is_the_ranking_given():
    """Passage, score to four decimals, right or wrong, and the rank of the first gold passage."""
    data = rendered(*run()).data
    names = [method["name"] for method in data["methods"]]
    assert names == ["trackstar", "mine"]
    first, returned, proponents, opponents = data["queries"][0]["rankings"][0]
    ids = [data["passages"][place]["id"] for place, _, _ in proponents]
    assert (first, returned, ids) == (3, 3, ["b", "c#1", "a"])
    assert [score for _, score, _ in proponents] == [0.9123, 0.5, 0.25]
    assert [mark for _, _, mark in proponents] == [2, 0, 1], "weak, other, gold"
    assert [(data["passages"][place]["text"], score) for place, score, _ in opponents] == [("Oslo.", -0.75)]


def test_nothing_is_judged_where_the_query_has_no_gold():
    """Such a passage is neither right nor wrong, and a method without a line for the query is not an empty ranking."""
    query = rendered(*run()).data["queries"][1]
    assert query["judged"] is False and query["exact"] is False
    assert query["rankings"][0][2][0][2] is None
    assert query["rankings"][1] is None


def test_a_piece_is_right_when_its_document_is_gold():
    """Only the caller's mapping says so: an id that merely looks like a piece is its own document."""
    figures, queries, passages, rankings = run()
    queries[0]["gold"] = ["c"]
    assert rendered(figures, queries, passages, rankings).data["queries"][0]["rankings"][0][0] == 0
    mapped = rendered(figures, queries, passages, rankings, documents={"c#1": "c"}).data["queries"][0]["rankings"][0]
    assert mapped[0] == 2 and mapped[2][1][2] == 1


def test_every_text_is_carried_once_and_only_what_is_shown():
    """A passage listed by ten queries has one entry; one listed by none has none; a missing one is said to be."""
    figures, queries, passages, rankings = run()
    passages["unlisted"] = {"text": "never shown"}
    data = rendered(figures, queries, passages, rankings).data
    assert sorted(passage["id"] for passage in data["passages"]) == ["a", "b", "c#1", "gone"]
    assert next(passage["text"] for passage in data["passages"] if passage["id"] == "gone") is None


def test_further_fields_are_carried_and_empty_ones_are_not():
    """Fields of the corpus and the queries are shown as text; the facet is a field one can filter by."""
    data = rendered(*run()).data
    fields = next(passage["fields"] for passage in data["passages"] if passage["id"] == "a")
    assert fields == [["subject", "Peru"], ["year", "1535"]]
    assert data["queries"][0]["facet"] == "capital" and data["queries"][0]["fields"] == []
    by_subject = rendered(*run(), PageConfig(facet="subject")).data
    assert by_subject["queries"][0]["fields"] == [["relation", "capital"]]


def test_what_is_cut_is_counted():
    """Queries, list entries and characters past the limits are left out, and the page knows how many there were."""
    config = PageConfig(shown_queries=1, shown_proponents=2, shown_opponents=0, shown_characters=4)
    data = rendered(*run(), config).data
    assert (len(data["queries"]), data["total"]) == (1, 2)
    first, returned, proponents, opponents = data["queries"][0]["rankings"][0]
    assert (first, returned, len(proponents), len(opponents)) == (3, 3, 2, 0)
    assert [passage["cut"] for passage in data["passages"] if passage["id"] == "b"] == [
        len("Peru has a coast; Lima lies on it.") - 4
    ]


def test_hostile_text_in_every_field_stays_text():
    """With and without it the page has the same tags; what the page's own parser reads back is what went in."""
    figures, queries, passages, rankings = run()
    tame = rendered(figures, queries, passages, rankings)
    hostile_id = f"id {HOSTILE}"
    queries[0] = {**queries[0], "prompt": HOSTILE, "target": HOSTILE, "relation": HOSTILE, HOSTILE: HOSTILE}
    passages["a"] = {"text": HOSTILE, HOSTILE: HOSTILE, "deep": {"x": [HOSTILE]}}
    queries[1] = {**queries[1], "id": hostile_id}
    rankings["trackstar"][1]["query_id"] = hostile_id
    passages[HOSTILE] = passages.pop("c#1")
    for lines in rankings.values():
        for entry in (entry for row in lines for entry in row["proponents"] + row["opponents"]):
            entry["id"] = entry["id"].replace("c#1", HOSTILE)
    page = render(figures, queries, passages, rankings)["index.html"]
    reader = Reader(page)
    assert [tag for tag, _ in reader.tags] == [tag for tag, _ in tame.tags]
    query = reader.data["queries"][0]
    assert query["prompt"] == query["target"] == query["facet"] == HOSTILE
    assert query["fields"] == [[HOSTILE, HOSTILE]]
    assert reader.data["queries"][1]["id"] == hostile_id
    assert HOSTILE in {passage["text"] for passage in reader.data["passages"]}
    assert HOSTILE in {passage["id"] for passage in reader.data["passages"]}
    assert b"window.hurt=1</script>" not in page and "\u2028".encode() not in page
    assert not re.search(r"[<>&\u2028\u2029]", reader.scripts[0])


def test_hostile_names_of_methods_settings_and_the_title_are_escaped():
    """These stand in the HTML itself, not among the data."""
    figures, queries, passages, rankings = run()
    tame = rendered(figures, queries, passages, rankings)
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
    rankings[HOSTILE] = rankings.pop("mine")
    reader = rendered(figures, queries, passages, rankings, PageConfig(title=HOSTILE))
    assert {tag for tag, _ in reader.tags} == {tag for tag, _ in tame.tags}
    assert len(reader.scripts) == 2
    assert not [name for _, attributes in reader.tags for name in attributes if name.startswith("on")]
    assert any("window.hurt=1" in text and "$title" in text for text in reader.text), "shown as it was written"


def test_page_needs_nothing_but_itself():
    """No link, image, font or request; a policy that lets only the package's own script and style through."""
    page = render(*run())["index.html"]
    reader = Reader(page)
    for tag, attributes in reader.tags:
        assert tag not in {"link", "img", "iframe", "object", "base"}
        assert "src" not in attributes and "style" not in attributes
        assert attributes.get("href", "#").startswith("#")
    assert not re.search(r"https?://|@import|url\(", page.decode())
    policy = next(a["content"] for tag, a in reader.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy and "unsafe" not in policy


def test_script_neither_evaluates_nor_fetches_nor_writes_markup():
    """The filter is a substring, and the data enter as text nodes."""
    script = rendered(*run()).scripts[1]
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
        "fetch(",
        "import(",
    ):
        assert word not in script


def test_tables_hold_every_mean_interval_and_count():
    """As in the report, to three decimals, minus signs typeset; a metric without queries is a dash."""
    figures, queries, passages, rankings = run()
    values = {str(i): 0.1 * (i % 7) for i in range(20)}
    paired = {"trackstar": {"mrr": values}, "grad_cosine": {"mrr": {i: 0.3 + v * v for i, v in values.items()}}}
    words = {"trackstar": MethodWords("The one", "how it works", 1, ("grad_cosine",))}
    figures = report(paired, set(values), {}, seed=0, words=words)
    text = "".join(rendered(figures, queries, passages, rankings).text)
    mean = figures["methods"]["trackstar"]["mrr"]
    assert f"{mean['mean']:.3f} {mean['low']:.3f} … {mean['high']:.3f}" in text
    difference = figures["paired"]["trackstar-grad_cosine"]["mrr"]
    assert f"{difference['mean']:+.3f}".replace("-", "−") in text and "n 20" in text
    assert "–" in text and "nan" not in text.lower()
    assert "The one" in text and "how it works" in text and "The one − grad_cosine" in text


def test_a_run_without_figures_still_has_a_page():
    """No query judged, no pair, no ranking of the default columns."""
    empty = report({"mine": {}}, set(), {}, seed=0)
    data = rendered(empty, [], {}, {"mine": []}).data
    assert data["columns"] == [0] and data["queries"] == []
    assert rendered(empty, run()[1], {}, {}).data["columns"] == []


def test_drawn_intervals_stay_inside_their_figure():
    """Every coordinate of every drawing lies on it, for negative, zero and large values."""
    asked = [f"{name}{n}" for n in range(20) for name in "pq"]
    tail = {name: -3.0 if name[0] == "p" else 90.0 for name in asked}
    values = {"a": {"mrr": dict.fromkeys(asked, 0.0)}, "b": {"tail_patch": tail}, "c": {"tail_patch": {"p0": -8.0}}}
    figures = report(values, set(asked), {}, seed=0)
    reader = rendered(figures, [], {}, {"a": []})
    width = next(float(attributes["width"]) for tag, attributes in reader.tags if tag == "svg")
    places = [
        float(a[name])
        for tag, a in reader.tags
        if tag in {"line", "circle"}
        for name in ("x1", "x2", "cx")
        if name in a
    ]
    assert len(places) > 10 and 0 <= min(places) and max(places) <= width


def test_a_score_that_is_not_finite_is_refused():
    """JSON has no NaN, and a page that cannot be read is no page."""
    figures, queries, passages, rankings = run()
    rankings["mine"][0]["proponents"][0]["score"] = float("nan")
    with pytest.raises(InputError, match="'p'"):
        render(figures, queries, passages, rankings)


def test_settings_out_of_range_are_refused():
    """A negative number of shown things would silently cut from the end."""
    with pytest.raises(InputError, match="shown_proponents"):
        PageConfig(shown_proponents=-1)
