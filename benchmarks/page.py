"""What the page costs: writing it, its size, and in headless Chromium opening, stepping, filtering and memory.

    python benchmarks/page.py [--queries 5000 --methods 3 --shown 20 --corpus 100000 --words 120] [--page DIR]

Prints one JSON line: seconds to write, megabytes on disk, and for the browser medians over rounds, of fresh
profiles, and over steps, in milliseconds:

    open     from the navigation to the first passages' texts on the screen (painted)
    step     from the key `j` to the next query's passages painted: `near` in the order of the list, `far` to queries
             that nobody could foresee, whose rankings and texts are read from disk
    cpu      what Python, and the page's own thread, computed for it, which other work on the machine moves less
    filter   from the change of a control, or the last letter of a search, to the list painted
    heap     megabytes of JavaScript after all of this, garbage collected

`--page DIR` measures a page that is there, such as `make demo` leaves in out/demo/page. Texts are words of a made
vocabulary, drawn by Zipf's law, and deflate worse than prose. Needs the package playwright and Chromium.
"""

import argparse
import itertools
import json
import random
import shutil
import statistics
import tempfile
import time
import urllib.parse
from pathlib import Path


def parsed():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sizes = {"queries": 5000, "methods": 3, "shown": 20, "opponents": 5, "corpus": 100_000, "words": 120, "rounds": 3}
    for name, default in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--page", type=Path, default=None, help="a page that is there; none is written then")
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    return parser.parse_args()


def material(o):
    """Queries with gold, and for each method a ranking that holds it somewhere among passages drawn blindly."""
    from jax_tda.artifacts.method_words import MethodWords
    from jax_tda.viewer.material import Material

    draw = random.Random(0)
    letters = "etaoinshrdlucmfwypvbgk"
    vocabulary = ["".join(draw.choices(letters, k=draw.randint(2, 9))) for _ in range(20_000)]
    weights = [1 / (rank + 3) for rank in range(len(vocabulary))]
    cumulative = list(itertools.accumulate(weights))

    def text(words):
        return " ".join(draw.choices(vocabulary, cum_weights=cumulative, k=words)).capitalize() + "."

    passages = {f"c4/{i:06d}": {"text": text(draw.randint(o.words // 2, o.words * 3 // 2))} for i in range(o.corpus)}
    ids = list(passages)
    queries = [
        {
            "id": f"fact/{i}",
            "prompt": text(9)[:-1],
            "target": f" {draw.choice(vocabulary)}",
            "gold": draw.sample(ids, 2),
            "relation": f"relation {i % 23}",
            "frequency": draw.randint(0, 10**6),
        }
        for i in range(o.queries)
    ]

    def ranked(query, turn):
        found = draw.sample(ids, o.shown + o.opponents)
        if draw.random() < 0.8:
            found[draw.randrange(1 + 3 * turn)] = query["gold"][0]
        scores = sorted((draw.gauss(0.1, 0.1) for _ in found), reverse=True)
        entries = [{"id": name, "score": score} for name, score in zip(dict.fromkeys(found), scores, strict=False)]
        return {
            "query_id": query["id"],
            "answered_exactly": bool(turn),
            "proponents": entries[: o.shown],
            "opponents": entries[: o.shown - 1 : -1],
        }

    rankings = {f"method_{turn}": [ranked(query, turn) for query in queries] for turn in range(o.methods)}
    words = {name: MethodWords(score="a made number") for name in rankings}
    answers = {query["id"]: {"likeliest": query["target"], "probability": draw.random()} for query in queries}
    return Material(queries, passages, rankings, words, answers=answers)


# Each waits until what it did is painted: two frames, of which the first may have been under way.
_PAINTED = (
    "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now()))))"
)
_STEP = """async ([act, argument]) => {
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const ready = () => !document.querySelector('.text.waiting') && document.querySelector('.card .text');
  const begun = performance.now();
  if (act === 'key') document.body.dispatchEvent(new KeyboardEvent('keydown', { key: argument, bubbles: true }));
  if (act === 'address') location.hash = argument;
  if (act === 'search') {
    const box = document.getElementById('search');
    box.value = argument;
    box.dispatchEvent(new Event('input', { bubbles: true }));
  }
  if (act === 'order') {
    const box = document.getElementById('order');
    box.value = argument;
    box.dispatchEvent(new Event('change', { bubbles: true }));
  }
  const asked = document.querySelector('#asked').textContent;
  const counted = document.querySelector('.side').textContent;
  do await frame(); while (
    performance.now() - begun < 5000 &&
    (act === 'key' || act === 'address' ? document.querySelector('#asked').textContent === asked || !ready()
      : document.querySelector('.side').textContent === counted));
  return performance.now() - begun;
}"""


def measured(o, page):
    """Milliseconds by what was done, and megabytes of heap, each a list."""
    from playwright.sync_api import sync_playwright

    found = {name: [] for name in ("open", "open_cpu", "near", "near_cpu", "far", "filter", "heap")}
    draw = random.Random(1)
    with sync_playwright() as driver:
        for _ in range(o.rounds):
            browser = driver.chromium.launch(
                executable_path=o.chromium, args=["--no-sandbox", "--disable-dev-shm-usage", "--js-flags=--expose-gc"]
            )
            tab = browser.new_page(viewport={"width": 1360, "height": 860})
            session = tab.context.new_cdp_session(tab)
            session.send("Performance.enable", {"timeDomain": "threadTicks"})

            def metrics(session=session):
                return {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}

            def busy(metrics=metrics):
                return metrics()["TaskDuration"]

            tab.goto("about:blank")
            begun = busy()
            tab.goto((page / "index.html").resolve().as_uri(), wait_until="commit")
            tab.wait_for_selector(".card .text:not(.waiting)")
            found["open"].append(tab.evaluate(_PAINTED))
            found["open_cpu"].append(1e3 * (busy() - begun))
            tab.wait_for_timeout(300)
            for _ in range(20):
                begun = busy()
                found["near"].append(tab.evaluate(_STEP, ["key", "j"]))
                found["near_cpu"].append(1e3 * (busy() - begun))
                tab.wait_for_timeout(150)
            names = names_of(page)
            for name in draw.sample(names, min(10, len(names))):
                tab.wait_for_timeout(100)
                found["far"].append(tab.evaluate(_STEP, ["address", urllib.parse.urlencode({"query": name})]))
            for search in ("ta", "tao", "1", "", "qqqqqqqq", ""):
                found["filter"].append(tab.evaluate(_STEP, ["search", search]))
                tab.wait_for_timeout(50)
            for order in ("worst", "gap", ""):
                found["filter"].append(tab.evaluate(_STEP, ["order", order]))
            tab.evaluate("gc()")
            found["heap"].append(metrics()["JSHeapUsedSize"] / 1e6)
            browser.close()
    return found


def names_of(page):
    """Ids of all queries, from the page's data."""
    from jax_tda.viewer import parts

    beside = page / "data/index.js"
    if beside.is_file():
        text = beside.read_text("ascii").split('"')[3]
    else:
        text = (page / "index.html").read_text("utf-8").split('id="part-index">')[1].split("<")[0]
    return parts.decoded(text)["queries"]["id"]


def main():
    """Writes a page, or takes one, and prints what it costs."""
    o = parsed()
    with tempfile.TemporaryDirectory() as place:
        page, result = o.page, {}
        if page is None:
            from jax_tda.viewer.page import render
            from jax_tda.viewer.settings import PageConfig

            page, given = Path(place), material(o)
            texts = sum(len(passage["text"]) for passage in given.passages.values())
            begun, busy = time.perf_counter(), time.process_time()
            files = render(
                given, PageConfig(shown_queries=o.queries, shown_proponents=o.shown, shown_opponents=o.opponents)
            )
            for name, data in files.items():
                (page / name).parent.mkdir(exist_ok=True)
                (page / name).write_bytes(data)
            result = {
                "write_s": round(time.perf_counter() - begun, 2),
                "write_cpu_s": round(time.process_time() - busy, 2),
                "texts_mb": round(texts / 1e6, 1),
                "files": len(files),
            }
        result["disk_mb"] = round(sum(f.stat().st_size for f in page.rglob("*") if f.is_file()) / 1e6, 2)
        for name, values in measured(o, page).items():
            result[name] = {"median": round(statistics.median(values), 1), "greatest": round(max(values), 1)}
        print(json.dumps(result))


if __name__ == "__main__":
    main()
