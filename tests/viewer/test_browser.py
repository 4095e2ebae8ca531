"""The page in a real browser, Debian's Chromium without a window: what a reader does, and what a text must not do."""

import dataclasses
import functools
import http.server
import json
import re
import shutil
import threading

import pytest
from playwright.sync_api import expect, sync_playwright

from jax_tda.artifacts.method_words import MethodWords
from jax_tda.viewer import show_results
from jax_tda.viewer.material import Material
from jax_tda.viewer.page import render
from jax_tda.viewer.settings import PageConfig
from tests.house import tree
from tests.missing import demand
from tests.viewer.pages import HOSTILE, LINE, material

QUERIES = 1200
AXE = tree.ROOT / "viewer/node_modules/axe-core/axe.min.js"
LANGUAGES = {
    "ca": ("El Principat té per capital", " Andorra la Vella", "Visiteu Andorra la Vella, i la resta."),
    "zh": ("日本的首都是", "东京", "人们说东京是日本的首都,很大。"),
    "ja": ("日本の首都は", "東京", "東京は日本の首都である。"),
    "th": ("เมืองหลวงของไทยคือ", "กรุงเทพ", "กรุงเทพเป็นเมืองหลวงของไทย"),
    "ar": ("عاصمة مصر هي", " القاهرة", "تقع القاهرة على النيل."),
    "hi": ("भारत की राजधानी", " दिल्ली", "दिल्ली बड़ा शहर है।"),
    "ru": ("Столица России —", " Москва", "МОСКВА стоит на реке."),
    "es": ("La capital de Colombia es", " Bogotá", "Bogota es una ciudad."),
}


def atlas():
    """Many queries, three methods with shared passages, opponents, numbers and words to filter by, many scripts."""
    queries = [
        {
            "id": f"q{i}",
            "prompt": f"The capital of country {i} is",
            "target": f" Town{i}",
            "gold": [f"a{i}"],
            "relation": "capital" if i % 3 else "largest city",
            "size": i + 0.5,
        }
        for i in range(QUERIES)
    ]
    queries += [{"id": f"in-{name}", "prompt": p, "target": t, "gold": [name]} for name, (p, t, _) in LANGUAGES.items()]
    passages = {
        f"a{i}": {"text": f"Town{i} is where country {i} is governed from.", "source": f"atlas {i}"}
        for i in range(QUERIES)
    }
    passages |= {name: {"text": text} for name, (_, _, text) in LANGUAGES.items()}
    passages["hub"] = {"text": "A marmalade that everybody likes."}
    passages["long"] = {"text": "Filler here. " * 60 + "At last Town7 is named. " + "More of it. " * 30}

    def ranked(query, turn):
        own, number = query["gold"][0], int(query["id"][1:]) if query["id"][1:].isdigit() else 0
        others = [f"a{(number + step) % QUERIES}" for step in (1, 2, 3)] + ["hub", "long"]
        found = [*others[:turn], own, *others[turn:]]
        scores = [0.9 - 0.1 * place for place in range(len(found))]
        best = [{"id": name, "score": score} for name, score in zip(found, scores, strict=True)]
        worst = [{"id": f"a{(number + step) % QUERIES}", "score": -1.0 / step} for step in (50, 51)]
        return {"query_id": query["id"], "answered_exactly": number % 2 == 0, "proponents": best, "opponents": worst}

    rankings = {
        name: [ranked(query, turn) for query in queries] for turn, name in enumerate(("first", "second", "third"))
    }
    words = {
        name: MethodWords(name.title(), "", place, ("second",) if name == "first" else (), f"what {name} means", "nats")
        for place, name in enumerate(rankings)
    }
    answers = {query["id"]: {"likeliest": f" Guess{i}", "probability": 1 / (i + 1)} for i, query in enumerate(queries)}
    return Material(queries, passages, rankings, words, answers=answers)


def written(place, given, config):
    for name, data in render(given, config).items():
        (place / name).parent.mkdir(exist_ok=True, parents=True)
        (place / name).write_bytes(data)
    return place


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return written(tmp_path_factory.mktemp("page"), atlas(), PageConfig(title="An atlas", one_file_below=0.0))


@pytest.fixture(scope="module")
def tab():
    """One browser and one page for all tests; whatever the page complains of is kept in `complaints`."""
    demand(shutil.which("chromium"), "no Chromium: `apt-get install chromium` brings it")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        page = browser.new_page(viewport={"width": 1360, "height": 860}, accept_downloads=True)
        page.set_default_timeout(15_000)
        page.complaints, page.requested = [], []
        page.on("console", lambda said: said.type in ("error", "warning") and page.complaints.append(said.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("request", lambda asked: page.requested.append(asked.url))
        yield page
        browser.close()


@pytest.fixture
def opened(tab, site):
    """Opens the atlas from disk, with what the address says, and waits for its passages."""

    def open_(address="", wait=".card .text:not(.waiting)", state="visible"):
        tab.goto("about:blank")
        tab.complaints.clear()
        tab.requested.clear()
        tab.goto(f"{(site / 'index.html').as_uri()}{address}")
        tab.wait_for_selector(wait, state=state)
        return tab

    tab.set_viewport_size({"width": 1360, "height": 860})
    tab.emulate_media(color_scheme="light")
    yield open_
    assert tab.complaints == []


def count(page):
    return page.inner_text(".count")


def test_it_opens_from_disk_and_loads_only_what_is_looked_at(opened, site):
    """Law: a few of its own files and nothing else are asked for, and few rows stand in the document."""
    page = opened()
    assert page.title() == "An atlas" and f"{QUERIES + len(LANGUAGES):,}" in count(page)
    assert all(url.startswith(site.as_uri()) for url in page.requested)
    assert len(page.requested) <= 12 < len(list((site / "data").iterdir()))
    assert 5 < page.locator(".row").count() < 60
    assert page.locator(".column").count() >= 2 and "what first means" in page.inner_text(".column >> nth=0")


def test_words_are_underlined_by_their_share_of_the_score(tab, tmp_path):
    """Law: the greatest share has the thickest line, one that takes is broken; little is not drawn, no letter lost."""
    text = "😀 Lima is a town & the capital of Peru"
    shares = [[0, 0, 9e-9], [2, 6, -0.25], [34, 38, 1.0], [7, 9, 1e-3]]
    best = [{"id": "a", "score": 0.75, "shares": shares}, {"id": "b", "score": 0.5}]
    rows = [{"query_id": "p", "proponents": best, "shares": [[27, 30, 2.0], [30, 32, -1.0]]}]
    queries = [{"id": "p", "prompt": "The capital of that land is", "target": " Lima", "gold": ["a"]}]
    given = Material(queries, {"a": {"text": text}, "b": {"text": text}}, {"mine": rows})
    tab.complaints.clear()
    tab.goto((written(tmp_path, given, PageConfig()) / "index.html").as_uri())
    tab.wait_for_selector(".card .text:not(.waiting)")
    first = tab.locator(".card >> nth=0").locator(".text")
    assert first.inner_text() == tab.locator(".card >> nth=1").locator(".text").inner_text() == text
    found = [(one.inner_text(), one.get_attribute("class")) for one in first.locator(".shade").all()]
    assert found == [("Lima", "shade takes level-1"), ("Peru", "shade adds level-4")]
    assert (
        first.locator(".shade mark.target").all_inner_texts() == ["Lima"] and tab.locator(".card .shade").count() == 2
    )
    assert tab.inner_text("#asked") == "The capital of that land is Lima" and tab.locator("#asked .shade").count() == 2
    assert "adds to the exact score" in tab.inner_text(".key") and tab.complaints == []


def test_it_opens_from_a_web_server(tab, site):
    """Law: the same files, served; its policy lets them in there too."""
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        tab.goto(f"http://127.0.0.1:{server.server_port}/index.html#query=q77")
        tab.wait_for_selector(".card .text:not(.waiting)")
        assert "Town77" in tab.inner_text("#asked") and "Town77" in tab.inner_text(".card >> nth=0")
    finally:
        tab.goto("about:blank")
        server.shutdown()
        server.server_close()


def test_an_address_opens_the_same_query_methods_filters_and_opponents(opened):
    """Law: what is seen stands in the address, and opens again from it."""
    page = opened("#query=q30&methods=third,first&opponents=0&where.relation=%3Dlargest+city&order=probable")
    assert "Town30" in page.inner_text("#asked")
    assert page.locator(".columns >> nth=0").locator("h3").all_inner_texts()[0].startswith("Third")
    assert page.locator(".columns").count() == 1 and count(page).startswith("400 of")
    page.keyboard.press("j")
    expect(page.locator("#asked")).to_contain_text("Town33")
    assert "query=q33" in page.url and "methods=third%2Cfirst" in page.url and "order=probable" in page.url
    before = page.inner_text("main")
    assert opened(page.url[page.url.index("#") :]).inner_text("main") == before


def test_search_takes_words_in_any_order_slips_and_passages(opened):
    """Law: two words whichever comes first, a slip said to be read as another word, and words of passages alone."""
    page = opened()
    for asked, found in (("town17 capital", 11), ("capital town17", 11), ("twon17", 11), ("bogota", 1)):
        page.fill("#search", asked)
        expect(page.locator(".count")).to_have_text(re.compile(f"^{found} of"))
    page.fill("#search", "twon17")
    expect(page.locator(".count")).to_contain_text("read as “town17”")
    page.fill("#search", "marmalade")
    expect(page.locator(".count")).to_have_text(re.compile("^0 of"))
    page.check("text=also in passages")
    everything = f"{QUERIES + len(LANGUAGES):,} of"
    expect(page.locator(".count")).to_have_text(re.compile(f"^{everything}"))
    page.fill("#search", "marmelade everybody")
    expect(page.locator(".count")).to_contain_text("read as “marmalade”")
    assert set(page.locator("mark.search").all_inner_texts()) == {"everybody"}, "what was typed is marked"
    page.fill("#search", "governed atlas 5 named")
    expect(page.locator(".count")).to_have_text(re.compile("^0 of"))


def test_filters_are_controls_and_the_means_are_of_what_is_listed(opened):
    """Law: counts by hand; MRR over the listed queries is that of their ranks, all of them 1, 2 and 3 by method."""
    page = opened()
    page.click(".filter > summary")
    page.select_option("label:has-text('relation') select", label="largest city")
    assert count(page).startswith("400 of")
    page.get_by_label("size to").fill("99.5")
    assert count(page).startswith("34 of")
    page.select_option("label:has-text('answered exactly') select", label="no")
    assert count(page).startswith("17 of")
    assert [text.split()[1] for text in page.locator(".means span").all_inner_texts()] == ["1.00", "0.50"]
    page.click("text=Clear all filters")
    assert count(page).startswith(f"{QUERIES + len(LANGUAGES):,} of")


def test_methods_stand_side_by_side_and_what_they_share_is_linked(opened):
    """Law: a passage that two methods list names its rank in the other, and leads there."""
    page = opened("#query=q40")
    page.click(".compare > summary")
    page.check(".compare >> text=Third")
    assert page.locator(".columns >> nth=0 >> .column").count() == 3
    card = page.locator(".column >> nth=0 >> .card >> nth=0")
    assert "Town40" in card.inner_text() and "✓ gold" in card.inner_text() and "0.9000" in card.inner_text()
    card.locator(".also", has_text="3 in Third").click()
    focused = page.evaluate("document.activeElement.id")
    assert focused.startswith("card-2-p-") and "Town40" in page.inner_text(f"#{focused}")
    page.click(".compare > summary")
    for _ in range(2):
        page.locator(".compare input:checked >> nth=0").uncheck()
    page.locator(".compare input:checked").click()
    assert page.locator(".compare input:checked").count() == 1, "one method always stays"


def test_opponents_are_shown_and_can_be_folded(opened):
    """Law: the lowest first, with their scores; the address knows whether they are open."""
    page = opened("#query=q3")
    scores = page.locator(".opponents .column >> nth=0 >> .score").all_text_contents()
    assert [text.split()[-1] for text in scores] == ["−0.0200", "−0.0196"]
    page.click(".opponents h3 button")
    assert page.locator(".opponents .card").count() == 0 and "opponents=0" in page.url


def test_everything_is_reached_by_keyboard(opened):
    """Law: at most 12 Tabs from search to the first proponent; focus is never lost; arrows go through both lists."""
    page = opened("#query=q5")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    tabs = 0
    while not page.evaluate("document.activeElement.matches('.card')"):
        page.keyboard.press("Tab")
        tabs += 1
        assert tabs <= 12
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.matches('.column:nth-child(2) .card:nth-child(2)')")
    page.focus(".list")
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    expect(page.locator("#asked")).to_contain_text("Town8")
    chosen = page.evaluate("document.querySelector('.list').getAttribute('aria-activedescendant')")
    assert (
        page.get_attribute(f"#{chosen}", "aria-selected") == "true"
        and page.evaluate("document.activeElement.className") == "list"
    )
    page.keyboard.press("End")
    expect(page.locator("#asked")).to_contain_text("Bogot")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "query"
    page.keyboard.press("k")
    expect(page.locator("#asked")).to_contain_text("Москва")
    page.focus(".help > summary")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.textContent") == "?Help"
    assert page.locator(".help .panel").is_hidden()


def test_words_of_any_script_are_marked(opened):
    """Law: the target's words are marked in the first method's first passage, where the script puts no spaces too."""
    page = opened()
    for name, (_, target, text) in LANGUAGES.items():
        page.evaluate(f"location.hash = '#query=in-{name}&methods=first'")
        expect(page.locator(".tools .id")).to_have_text(f"in-{name}")
        expect(page.locator(".card >> nth=0 >> .text")).to_have_text(text)
        marked = "".join(page.locator(".card >> nth=0 >> mark.target").all_inner_texts())
        assert marked.casefold() in (target.strip().casefold(), "bogota"), name


def test_a_phrase_is_one_mark_with_its_small_words(opened):
    """Law: what stands between two words of the target, and belongs to it, is marked with them."""
    page = opened("#query=in-ca&methods=first")
    expect(page.locator(".card >> nth=0 >> mark.target")).to_have_text(["Andorra la Vella"])
    page.evaluate("location.hash = '#query=q9&methods=first'")
    expect(page.locator(".card >> nth=0 >> mark.prompt")).to_have_text(["country 9"])


def test_a_long_passage_opens_where_the_target_stands(opened):
    """Law: the first word of the target is seen without a click, and the whole text by one."""
    page = opened("#query=q7&methods=first")
    card = page.locator(".card", has_text="Show all")
    assert "At last Town7 is named" in card.inner_text() and len(card.locator(".text").inner_text()) < 500
    card.locator("text=Show all").click()
    assert len(page.locator(".card", has_text="Show less").locator(".text").inner_text()) > 1000


def test_a_narrow_screen_shows_the_list_or_the_query(opened):
    """Law: nothing is wider than the screen; choosing a query shows it, and a button leads back."""
    page = opened("", ".row", "attached")
    page.set_viewport_size({"width": 360, "height": 740})
    page.wait_for_selector(".row")
    assert page.locator("#asked").is_hidden()
    page.click(".row >> nth=2")
    assert page.locator("#asked").is_visible() and page.locator(".list").is_hidden()
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 360
    assert page.evaluate("document.querySelector('main').scrollWidth") <= 360
    page.click("text=← List")
    assert page.locator(".list").is_visible()


def test_what_is_seen_can_be_taken_away(opened):
    """Law: JSON lines hold the chosen methods' passages with texts and scores; a table holds the same."""
    page = opened("#query=q9&methods=first,second")
    page.click(".save > summary")
    with page.expect_download() as got:
        page.click("text=Download JSON lines")
    head, *passages, query = map(json.loads, got.value.path().read_text("utf-8").splitlines())
    assert (head["format"], head["version"], [m["name"] for m in head["methods"]]) == (
        "jax_tda.results",
        1,
        ["first", "second"],
    )
    again = show_results.read((str(got.value.path()),))
    assert list(again.rankings) == ["first", "second"] and again.passages["a9"]["source"] == "atlas 9"
    assert query["query"]["target"] == " Town9" and query["rankings"]["second"]["proponents"][1] == {
        "id": "a9",
        "score": 0.8,
        "correct": True,
    }
    assert {"id": "a9", "text": "Town9 is where country 9 is governed from.", "fields": {"source": "atlas 9"}} in [
        p["passage"] for p in passages
    ]
    with page.expect_download() as got:
        page.click("text=Download CSV")
    lines = got.value.path().read_text("utf-8").splitlines()
    assert len(lines) == 1 + 2 * (6 + 2) and lines[1].startswith(
        "q9,The capital of country 9 is, Town9,first,proponents,1,a9,0.9,gold,"
    )
    page.fill("#search", "town9")
    with page.expect_download() as got:
        page.click(".save-list >> text=JSON")
    assert len(json.loads(got.value.path().read_text("utf-8"))) == int(count(page).split()[0])


def test_the_overview_follows_the_list_and_leads_to_queries(opened):
    """Law: metrics by a field are of the listed queries; a hub is one click from a query that lists it."""
    page = opened("#view=overview&where.relation=%3Dcapital", ".hubs li")
    rows = page.locator("[aria-label='Metrics by field'] tbody tr").all_inner_texts()
    assert rows[0].split()[:3] == ["all", "listed", "800"] and "1.000" in rows[0] and "0.500" in rows[0]
    hub = page.locator(".hubs li", has_text="marmalade")
    assert f"{QUERIES + len(LANGUAGES):,} queries" in hub.inner_text() and "gold for none" in hub.inner_text()
    hub.locator("button >> nth=1").click()
    page.wait_for_selector(".card:has-text('marmalade')")
    assert "Town1" in page.inner_text("#asked")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(opened, scheme):
    """Law: no finding of axe-core in both views, a menu open, and on a narrow screen; dark is dark."""
    demand(AXE.is_file(), "no axe-core: `npm ci --prefix viewer` brings it")
    page = opened("#query=q9")
    page.emulate_media(color_scheme=scheme)
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, light[4:-1].split(","))) > 384) == (scheme == "light")
    page.evaluate(AXE.read_text("utf-8"))

    def findings():
        found = page.evaluate("axe.run({ resultTypes: ['violations'] })")["violations"]
        return [(one["id"], one["nodes"][0]["html"][:150], one["nodes"][0]["failureSummary"][:300]) for one in found]

    assert findings() == []
    page.click(".filter > summary")
    assert findings() == []
    page.click("nav button:has-text('Overview')")
    page.wait_for_selector(".hubs li")
    assert findings() == []
    page.set_viewport_size({"width": 360, "height": 740})
    page.click("nav button:has-text('Queries')")
    assert findings() == []


@pytest.mark.parametrize("limit", [0.0, 4.0])
def test_a_page_of_hostile_texts_runs_nothing_and_shows_them(tab, tmp_path, limit):
    """Law: prompt, target, fields, ids, passages, names and title are text, whatever is in them."""
    given = material()
    rankings = {
        HOSTILE: [
            {
                "query_id": HOSTILE,
                "proponents": [{"id": HOSTILE, "score": 1.0, "note": HOSTILE}],
                "opponents": [{"id": HOSTILE, "score": -1.0}],
            }
        ]
    }
    queries = [{"id": HOSTILE, "prompt": HOSTILE, "target": HOSTILE, HOSTILE: HOSTILE, "__proto__": "kept"}]
    hostile = dataclasses.replace(
        given,
        queries=queries,
        rankings=rankings,
        passages={HOSTILE: {"text": HOSTILE, HOSTILE: HOSTILE, "__proto__": "kept"}},
        words={HOSTILE: MethodWords(LINE, LINE, score=LINE)},
        answers={HOSTILE: {"likeliest": HOSTILE, "probability": 0.5}},
        report=None,
    )
    page = written(tmp_path / "hostile", hostile, PageConfig(title=HOSTILE, one_file_below=limit))
    tab.complaints.clear()
    tab.set_viewport_size({"width": 1360, "height": 860})
    tab.goto((page / "index.html").as_uri())
    tab.wait_for_selector(".card .text:not(.waiting)")
    shown = " ".join(HOSTILE.replace("\ud800", "\ufffd").split())
    assert shown in " ".join(tab.inner_text(".card .text >> nth=0").replace("\ud800", "\ufffd").split())
    assert "kept" in tab.inner_text(".fields >> nth=0")
    tab.fill("#search", HOSTILE)
    tab.click("nav button:has-text('Overview')")
    tab.wait_for_timeout(100)
    assert tab.evaluate("[typeof hurt, document.querySelectorAll('img, iframe').length]") == ["undefined", 0]
    assert tab.locator("body script[src]").count() == 0 and tab.complaints == []
