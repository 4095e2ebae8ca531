"""Laws of prepare_probes: gold is the part that says what a probe asks for, and nothing is left out in silence."""

import json

import pytest

from jax_tda.core.errors import InputError
from jax_tda.data import probed_passages
from jax_tda.data.probed_passages import PrepareProbesConfig, parts_of, run
from tests.jobs.tiny_road import write_lines

FIRST = "Otters of Lira hold a fair. It lasts nine days. The prize is a copper bell. Nobody sells eels."


def entry(text, mem, gen=None, hard=()):
    """One passage with its probes, each a (prompt, target)."""
    kinds = {"mem": mem, "gen": gen or mem, "hard_gen": hard or mem}
    probes = {f"{kind}_input": [p for p, _ in made] for kind, made in kinds.items()}
    return {"train_context": text, **probes, **{f"{kind}_target": [t for _, t in made] for kind, made in kinds.items()}}


PASSAGES = [
    entry(
        FIRST,
        [("Otters of Lira hold", "a fair"), ("The prize is", "a copper bell"), ("Eels are", "grey")],
        [("In Lira the otters have", "a fair"), ("Who wins is given", "a copper bell"), ("An eel looks", "grey")],
        [("It goes on for", "Nine days"), ("Of copper is", "a copper bell"), ("It is", "said nowhere")],
    ),
    entry("Vok is a town. It has a bridge.", [("Vok is", "a town"), ("It has", "a bridge")]),
]


def made(place, given=PASSAGES, name="out", **options):
    source = place / f"{name}.json"
    source.write_text(json.dumps(given))
    options = {"passages": 0, "part_characters": 50, "parts": 0, "kinds": ("mem", "gen", "hard_gen")} | options
    reader = run(PrepareProbesConfig(source=str(source), **options), str(place / name))
    return reader, list(reader.read_lines("corpus.jsonl")), {q["id"]: q for q in reader.read_lines("queries.jsonl")}


def test_parts_are_whole_sentences_that_make_up_the_text():
    """Law: at most so many characters, or one longer sentence; each stands in the text where it is said to."""
    text = FIRST + "  A sentence that is longer than any part may be stands alone! Short?"
    for size in (1, 30, 48, 60, 1000):
        parts = parts_of(text, size)
        assert "".join("".join(part.split()) for _, part in parts) == "".join(text.split())
        for start, part in parts:
            assert text[start : start + len(part)] == part and part[-1] in ".!?"
            assert len(part) <= size or not any(end in part[:-1] for end in ".!?")
    assert len(parts_of(text, 1000)) == 1 and len(parts_of(text, 1)) == 6


def test_gold_is_the_part_in_which_the_fact_stands_and_weak_the_rest_of_its_passage(tmp_path):
    """Law: a reworded probe has the gold of the one it rewords; a hard one every part that holds its target."""
    reader, corpus, queries = made(tmp_path)
    texts = {row["id"]: row["text"] for row in corpus}
    assert texts["passage-0000/0"] == "Otters of Lira hold a fair. It lasts nine days."
    assert texts["passage-0000/1"] == "The prize is a copper bell. Nobody sells eels."
    for kind in ("mem", "gen"):
        assert queries[f"passage-0000/{kind}/0"]["gold"] == ["passage-0000/0"]
        assert queries[f"passage-0000/{kind}/1"]["gold"] == ["passage-0000/1"]
        assert queries[f"passage-0000/{kind}/1"]["weak"] == ["passage-0000/0"]
    assert queries["passage-0000/gen/0"]["prompt"] == "In Lira the otters have"
    assert queries["passage-0000/gen/0"]["target"] == " a fair"
    assert queries["passage-0000/hard_gen/0"]["gold"] == ["passage-0000/0"]
    assert "passage-0000/mem/2" not in queries and "passage-0000/hard_gen/2" not in queries
    assert reader.manifest.facts["left_out"] == {"nowhere in the passage": 3}
    assert reader.manifest.facts["queries"] == len(queries) == 9 - 3 + 6


def test_a_probe_whose_part_is_cut_off_is_left_out_and_counted(tmp_path):
    """Law: the model can know nothing that it was not shown."""
    reader, corpus, queries = made(tmp_path, parts=1)
    assert {row["id"] for row in corpus} == {"passage-0000/0", "passage-0001/0"}
    assert {probe for probe in queries if probe.startswith("passage-0000")} == {
        "passage-0000/mem/0", "passage-0000/gen/0", "passage-0000/hard_gen/0",
    }  # fmt: skip
    assert reader.manifest.facts["left_out"] == {
        "taught by a part that was cut off": 3, "nowhere in the passage": 3,
    }  # fmt: skip


def test_distractors_are_drawn_by_the_seed_and_no_probe_has_one_as_gold(tmp_path):
    """Law: the same seed draws the same, another seed others; ids never clash."""
    rows = [{"id": f"{n}", "text": f"{n} is a number."} for n in range(30)]
    source = write_lines(tmp_path / "others.jsonl", rows)
    drawn = {
        name: {row["id"] for row in made(tmp_path, name=name, distractors=source, distractor_count=8, seed=seed)[1]}
        for name, seed in {"a": 0, "b": 0, "c": 1}.items()
    }
    assert drawn["a"] == drawn["b"] != drawn["c"] and len(drawn["a"]) == 8 + 3
    assert sum(name.startswith("distractor/") for name in drawn["a"]) == 8
    with pytest.raises(InputError, match="fewer distractors"):
        made(tmp_path, name="d", distractors=source, distractor_count=31)
    with pytest.raises(InputError, match="fewer passages"):
        made(tmp_path, name="e", passages=3)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"a": 1}, "dict"),
        ([], "length 0"),
        ([PASSAGES[0], {"text": "x"}], "entry 1 without the text `train_context`"),
        ([{**PASSAGES[0], "gen_target": ["a fair"]}], "entry 0 without `gen_input` and `gen_target`"),
        ([{**PASSAGES[0], "mem_input": [1, 2, 3]}], "entry 0 without `mem_input`"),
    ],
)
def test_a_file_of_another_form_is_refused_with_entry_and_field(tmp_path, given, words):
    """Law: the first entry that is wrong, and what it lacks."""
    with pytest.raises(InputError, match=words):
        made(tmp_path, given)
    with pytest.raises(InputError, match="no file of passages"):
        probed_passages.run(PrepareProbesConfig(source=str(tmp_path / "nowhere")), str(tmp_path / "x"))


def test_no_kind_of_probe_is_refused():
    """Law: a job without queries does not end in success."""
    with pytest.raises(InputError, match=r"prepare_probes\.kinds is not possible"):
        PrepareProbesConfig(kinds=())
