"""Files of passages and queries, the choice of passages, and the times at which they are met."""

import dataclasses
import json

import numpy as np
import pytest

from jax_tda.core.errors import InputError
from jax_tda.data.vocabulary import ByteVocabulary
from jax_tda.studies.acquisition import invented, knowledge, run
from jax_tda.studies.acquisition.config import AcquisitionConfig
from jax_tda.studies.acquisition.selection import choose, refuse_stated
from jax_tda.studies.acquisition.timeline import Timeline

ROWS = invented.passages(12)
PASSAGES = knowledge.parse(ROWS, "invented")
TIMES = Timeline(encounters=3, interval=12, spacing=2, window=10, lead=4, plain=20, look_every=5)


def test_a_file_gives_back_what_stands_in_it(tmp_path):
    """Law: text, rewordings and every query, in order; a target begins with the space that parts it from its prompt."""
    file = tmp_path / "passages.json"
    file.write_text(json.dumps(ROWS), encoding="utf-8")
    found = knowledge.read(str(file))
    assert found == PASSAGES and [passage.number for passage in found] == list(range(12))
    for row, passage in zip(ROWS, found, strict=True):
        assert passage.text == row["train_context"] and list(passage.paraphrases) == row["paraphrases"]
        for kind in knowledge.KINDS:
            asked = [(query.prompt, query.target) for query in passage.queries if query.kind == kind]
            assert asked == [(a, " " + b) for a, b in zip(row[f"{kind}_input"], row[f"{kind}_target"], strict=True)]


def test_invented_passages_state_what_memorisation_asks_and_never_word_it_as_the_others_do():
    """Law: mem queries stand word for word in the passage; gen and hard_gen ones in no version; names occur once."""
    told = [" ".join([passage.text, *passage.paraphrases]) for passage in PASSAGES]
    for passage, versions in zip(PASSAGES, told, strict=True):
        for query in passage.queries:
            if query.kind == "mem":
                assert query.prompt + query.target in passage.text
            else:
                assert query.prompt not in versions
        assert sum(passage.queries[0].target in other for other in told) == 1
    assert invented.passages(3, seed=1) != invented.passages(3) == ROWS[:3]


@pytest.mark.parametrize(
    "field", ["train_context", "paraphrases", *(f"{k}_{e}" for k in knowledge.KINDS for e in ("input", "target"))]
)
def test_a_missing_field_is_refused_naming_passage_and_field(field):
    """Law: passage 7 without a field."""
    rows = [dict(row) for row in ROWS]
    del rows[7][field]
    with pytest.raises(InputError, match=rf"passage 7 has no proper {field}\n.*no such field"):
        knowledge.parse(rows, "f.json")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"mem_target": ["one"]}, "1 targets for 4 inputs"),
        ({"gen_input": [], "gen_target": []}, "0 targets for 0 inputs"),
        ({"paraphrases": "a text"}, "a list of texts"),
        ({"hard_gen_input": ["a", "", "b", "c"]}, "empty"),
        ({"train_context": "  "}, "not empty"),
    ],
)
def test_a_field_of_the_wrong_form_is_refused(change, problem):
    """Law: lengths that differ, nothing at all, a text for a list, an empty text."""
    with pytest.raises(InputError, match=f"passage 0 has no proper(.|\n)*{problem}"):
        knowledge.parse([ROWS[0] | change], "f.json")


@pytest.mark.parametrize("text", ["{}", "[]", "[3]", "no json"])
def test_a_file_that_is_no_such_list_is_refused(tmp_path, text):
    """Law: another form, an empty list, no JSON; and a path without a file."""
    file = tmp_path / "f.json"
    file.write_text(text)
    with pytest.raises(InputError, match="no file of passages and queries"):
        knowledge.read(str(file))
    with pytest.raises(InputError, match="there is no file"):
        knowledge.read(str(tmp_path / "nowhere.json"))


CONFIG = AcquisitionConfig(passages=2, placebo=2, encounters=3, context=100)


def test_every_schedule_gets_its_passages_and_no_passage_two_schedules():
    """Law: the counts asked for; whoever is too long, or too little reworded to be paraphrased, is not chosen so."""
    few = [dataclasses.replace(p, paraphrases=p.paraphrases[: 1 if p.number % 2 else 3]) for p in PASSAGES]
    lengths = [101 if passage.number == 4 else 90 for passage in few]
    orders = set()
    for seed in range(8):
        found = choose(few, lengths, CONFIG, seed)
        numbers = [passage.number for passage in found.passages]
        schedules = dict(zip(numbers, found.schedules, strict=True))
        assert len(schedules) == 8 and sorted(found.schedules) == sorted(2 * [*set(found.schedules)])
        assert set(found.schedules) == {"paraphrased", "duplicated", "once", "placebo"}
        assert found.schedules[-2:] == ("placebo", "placebo") and 4 not in schedules
        assert all(number % 2 == 0 for number, schedule in schedules.items() if schedule == "paraphrased")
        assert sorted([*numbers, *(passage.number for passage in found.rest)]) == list(range(12))
        assert found.counts == {"in_file": 12, "fitting": 11, "with_paraphrases": 5, "chosen": 8}
        orders.add(tuple(found.schedules))
    assert len(orders) > 2


@pytest.mark.parametrize(
    ("change", "length", "got"),
    [({"passages": 4}, 90, "12 passages, 12"), ({"encounters": 5}, 90, "0 of these"), ({}, 101, "12 passages, 0")],
)
def test_fewer_passages_than_the_schedules_need_are_refused(change, length, got):
    """Law: too many asked for, too few rewordings, too long; the message says how many there are."""
    with pytest.raises(InputError, match=f"fewer passages than the schedules need\n.*{got}"):
        choose(PASSAGES, [length] * 12, dataclasses.replace(CONFIG, **change), 0)


def test_versions_are_what_the_schedule_says():
    """Law: the original once, again and again, or followed by rewordings in their order."""
    passage = PASSAGES[0]
    assert passage.versions("once", 3) == (passage.text,)
    assert passage.versions("duplicated", 3) == (passage.text,) * 3
    assert passage.versions("paraphrased", 3) == (passage.text, *passage.paraphrases[:2])


def test_no_step_meets_two_passages_and_every_window_is_looked_at_wholly():
    """Law: steps and looks counted one by one."""
    met = [TIMES.met(place, "once" if place == 2 else "duplicated") for place in range(5)]
    assert met[1] == (6, 18, 30) and met[2] == (8,)
    steps = [step for encounters in met for step in encounters]
    assert len(set(steps)) == len(steps) and TIMES.rounds() == (4, 16, 28)
    total = TIMES.steps(5)
    assert total == 36 + 10 + 20
    looks = TIMES.looks(met, total)
    assert looks.shape == (total + 1, 5)
    for passage, encounters in enumerate(met):
        for now in range(total + 1):
            near = any(step <= now <= step + 10 for step in encounters)
            assert looks[now, passage] == (near or now % 5 == 0 or now == total)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"window": 13}, "window"),
        ({"spacing": 3}, "interval"),
    ],
)
def test_times_that_meet_are_refused(change, name):
    """Law: a window beyond the next encounter, two passages in a step, nothing to look at."""
    TIMES.check(6)
    with pytest.raises(InputError, match=f"study_acquisition.{name} is not possible"):
        dataclasses.replace(TIMES, **change).check(6)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"encounters": 0}, "encounters"),
        ({"plain_steps": 1}, "plain_steps"),
        ({"look_every": 0}, "look_every"),
        ({"window": 51}, "window"),
        ({"rows": (1, 4)}, "rows"),
        ({"rows": ()}, "rows"),
        ({"seeds": (1, 1)}, "seeds"),
        ({"outlier_factor": 0.0}, "outlier_factor"),
        ({"query_weight": 1.5}, "query_weight"),
        ({"placebo": 0}, "placebo"),
        ({"damping": 0.0}, "damping"),
        ({"projected_size": 0}, "projected_size"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused_by_name(change, name):
    """Law: before anything is read."""
    AcquisitionConfig()
    with pytest.raises(InputError, match=f"study_acquisition.{name} is not possible"):
        dataclasses.replace(AcquisitionConfig(), **change)


def test_the_defaults_fit_each_other():
    """Law: fifteen injected passages of at most twenty, each step with one of them; invented passages suffice, even in
    bytes."""
    config = AcquisitionConfig()
    assert config.injected + config.placebo == 20
    met = [config.timeline.met(place, "duplicated") for place in range(config.injected)]
    assert np.unique(met).size == np.size(met)
    passages = knowledge.parse(invented.passages(120), "invented")
    lengths = [2 + max(len(ByteVocabulary().encode(t)) for t in (p.text, *p.paraphrases)) for p in passages]
    assert choose(passages, lengths, config, 0).counts["chosen"] == 20


@pytest.mark.parametrize(
    "change",
    [
        {"train_context": "  " + ROWS[2]["train_context"].upper().replace(" ", "\n")},
        {"paraphrases": [ROWS[2]["train_context"]]},
        {"train_context": ROWS[2]["paraphrases"][1]},
    ],
)
def test_a_text_of_two_passages_is_refused_naming_both(change):
    """Law: word for word the same, case and spacing aside, as text or as rewording; within one passage it may be."""
    rows = [*ROWS[:7], ROWS[7] | change, *ROWS[8:]]
    with pytest.raises(InputError, match="passages 2 and 7 hold the same text"):
        knowledge.parse(rows, "f.json")
    knowledge.parse([ROWS[0] | {"paraphrases": [ROWS[0]["train_context"]]}], "f.json")


def test_ordinary_text_that_states_a_drawn_passage_is_refused():
    """Law: any version of a passage that is looked at, within a document of any case; others may stand there."""
    found = choose(PASSAGES, [90] * 12, CONFIG, 0)
    placebo = found.passages[-1]
    refuse_stated([found], ["Nothing of it.", *(passage.text for passage in found.rest)])
    for text in (placebo.text, placebo.paraphrases[2]):
        with pytest.raises(
            InputError, match=f"document 1 of the ordinary corpus holds the text of passage {placebo.number}"
        ):
            refuse_stated([found], ["Nothing of it.", f"Then:  {text.upper()} And on."])


def test_a_plan_refuses_what_the_study_would(tmp_path):
    """Law: no file, no JSON, a field that is missing, too few passages, ordinary text with a drawn passage; a file in
    order is planned with."""

    def planned(text, **changes):
        file = tmp_path / "passages.json"
        file.write_text(text)
        config = AcquisitionConfig(knowledge=str(file), passages=2, placebo=2)
        return run.plan(dataclasses.replace(config, **changes), "out")

    good, lines = json.dumps(ROWS), tmp_path / "lines.jsonl"
    lines.write_text(
        "".join(json.dumps({"id": str(i), "text": row["train_context"]}) + "\n" for i, row in enumerate(ROWS))
    )
    assert "6 passages injected" in planned(good)
    for message, text, changes in (
        ("there is no file", good, {"knowledge": str(tmp_path / "nowhere.json")}),
        ("no file of passages and queries", "no json", {}),
        ("no proper mem_input", json.dumps([row | {"mem_input": ""} for row in ROWS]), {}),
        ("fewer passages than the schedules need", json.dumps(ROWS[:7]), {}),
        ("of the ordinary corpus holds", good, {"corpus": str(lines)}),
    ):
        with pytest.raises(InputError, match=message):
            planned(text, **changes)
