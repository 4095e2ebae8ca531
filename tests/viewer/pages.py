"""A small page's material, and a reader of the files that a page is made of."""

import json
import re
from html.parser import HTMLParser

from jax_tda.artifacts.method_words import MethodWords
from jax_tda.evaluation.bootstrap import BootstrapConfig
from jax_tda.evaluation.summary import report
from jax_tda.viewer import parts
from jax_tda.viewer.material import Material
from jax_tda.viewer.page import render

HOSTILE = (
    "</script><script>window.hurt=1</script><img src=x onerror=hurt()> \"'`&amp;<!--\u2028\u2029$title ${x} \ud800 ]]>"
)
# What a method's words can hold of it.
LINE = HOSTILE.replace("\ud800 ", "")
WORDS = {"trackstar": MethodWords("TrackStar", "and whitened", 1, score="cosine of two gradients", unit="nats")}


class Reader(HTMLParser):
    """Reads a page as a browser would: every tag with its attributes, the text of every script, and all other text."""

    def __init__(self, files):
        super().__init__()
        self.tags, self.scripts, self.text, self._inside = [], [], [], None
        self.files = files
        self.feed(files["index.html"].decode("utf-8"))

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
    def parts(self):
        """The data by part, from inside the page or from the files beside it."""
        found = {a["id"]: text for (tag, a), text in zip(self._of("script"), self.scripts, strict=True) if "id" in a}
        for name, data in self.files.items():
            if name != "index.html":
                call, part, text = re.fullmatch(r'(\w+)\("([\w-]+)","([\w+/=]+)"\);\n', data.decode("ascii")).groups()
                assert (call, name) == ("jaxTdaPart", f"data/{part}.js")
                found[f"part-{part}"] = text
        return {name.removeprefix("part-"): parts.decoded(text) for name, text in found.items()}

    def _of(self, kind):
        return [(tag, attributes) for tag, attributes in self.tags if tag == kind]

    @property
    def index(self):
        return self.parts["index"]

    def passages(self):
        """(id, text) by number."""
        found = self.parts
        texts = [found[f"texts-{number}"] for number in range(len(found["index"]["text_starts"]))]
        return [pair for text in texts for pair in zip(text["id"], text["text"], strict=True)]

    def line(self, method, query):
        """A query's line of one method, its columns read as the page reads them."""
        own = self.parts[f"rankings-{query // 50}"][method]
        at = query % 50
        if own["p"][at] is None:
            return None
        read = {name: own[name][at] for name in ("p", "m", "o", "om")}
        for name in ("s", "os"):
            steps = own[name][at]
            sums = [sum(steps[1:end]) for end in range(2, len(steps) + 1)] if steps else []
            read[name] = [value / 10.0 ** steps[0] for value in sums] if steps else None
        return read | own["more"].get(str(at), {})


def line(query_id, proponents, opponents=(), exactly=True):
    return {
        "query_id": query_id,
        "answered_exactly": exactly,
        "proponents": [{"id": id_, "score": score} for id_, score in proponents],
        "opponents": [{"id": id_, "score": score} for id_, score in opponents],
    }


def judged(**methods):
    tables = {method: {"mrr": values} for method, values in methods.items()}
    config = BootstrapConfig(resamples=20)
    return report(tables, {"p", "q"}, {"exact_match": 0.5}, seed=0, config=config, words=WORDS)


def material():
    """Two queries, three passages, two methods; everything a page needs."""
    queries = [
        {
            "id": "p",
            "prompt": "The capital of Peru is",
            "target": " Lima",
            "gold": ["a"],
            "weak": ["b"],
            "relation": "capital",
            "size": 3,
        },
        {"id": "q", "prompt": "Nobody knows", "target": " this", "gold": [], "size": 1.5},
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
    figures = judged(trackstar={"p": 1 / 3, "q": None}, mine={"p": 1.0})
    return Material(queries, passages, rankings, WORDS, report=figures)


def rendered(*arguments):
    return Reader(render(*arguments))


def everything(reader):
    return json.dumps(reader.parts, ensure_ascii=False)
