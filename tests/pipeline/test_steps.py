"""Laws of the list of steps: complete before anything is done, in an order in which all is there, and cut anywhere."""

import itertools

import pytest

from jax_tda.core.errors import InputError
from jax_tda.jobs import config_files, pipelines, settings, table
from jax_tda.pipeline import methods, shipped, step, trackstar

WAYS = {
    "trained": {},
    "given": {"checkpoint": "imported"},
    "continued": {"continue_from": "old", "seed": 7},
    "embedded": {"embedding": "sentences"},
}


@pytest.fixture(params=WAYS)
def steps(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "imported").mkdir()
    (tmp_path / "imported/decoder.json").touch()
    return trackstar.steps(trackstar.TrackstarConfig("c.jsonl", "q.jsonl", "out", **WAYS[request.param]))


def test_every_step_reads_only_what_was_given_or_made_before_it(steps):
    """Law: no input lies below the output unless an earlier step writes it; no name and no artifact comes twice."""
    assert len({one.name for one in steps}) == len(steps)
    made = [one.writes for one in steps if one.writes]
    assert len(set(made)) == len(made) == len(steps) - 1
    for place, one in enumerate(steps):
        before = {earlier.writes.rpartition("/")[0] for earlier in steps[:place]}
        assert {path for path in one.inputs.values() if path.startswith("out")} <= before, one.name


def test_every_step_is_a_complete_config_of_its_job_by_itself(steps):
    """Law: what one step is told reaches no other: each config is the job's own with the step's values alone."""
    demo = [str(shipped.place(pipelines.DEMO_CONFIG))]
    made = {
        one.name: settings.build(one.job, config_files.read(demo, one.bindings()), table.JOBS, table.PARTS, True)
        for one in steps
    }
    kinds = {name.rpartition("/")[0]: [] for name in made}
    for name, config in made.items():
        kinds[name.rpartition("/")[0]].append(config)
    assert [config.second_moments for config in kinds["encodings_plain"]] == ["none", "none"]
    assert [config.second_moments for config in kinds["encodings"]] != ["none", "none"]
    assert [config.store.type for config in kinds["encodings"]] == ["int8", "float32"]
    assert [made[f"rankings/{name}"].unit_norm for name in ("grad_dot", "grad_cosine")] == [False, True]
    assert made["corrections/r_train"].query_weight == 0.0 > made["corrections/trackstar"].query_weight


def test_every_method_has_a_step_that_gives_its_words_to_the_manifest(steps):
    """Law: the pipeline makes exactly the methods of the table, and each ranking is told what it is called."""
    rows = {row.name: row for row in methods.METHODS}
    told = {one.name.removeprefix("rankings/"): one.settings for one in steps if one.name.startswith("rankings/")}
    embedded = any(one.job == "embed" for one in steps)
    assert set(told) == set(rows) - (set() if embedded else {"embedding"})
    for name, given in told.items():
        assert (given["method.label"], given["method.about"]) == (rows[name].label, rows[name].about)
    assert all(other in rows for row in rows.values() for other in row.compared_with)
    places = [given["method.place"] for _, given in sorted(told.items(), key=lambda item: list(rows).index(item[0]))]
    assert places == sorted(places) and places[-1] > 500 > places[-2]


def test_a_pipeline_is_cut_where_the_steps_before_are_finished(tmp_path):
    """Law: --from and --only leave the rest in order; what they need and nobody made is refused by name."""
    steps = trackstar.steps(trackstar.TrackstarConfig("c", "q", str(tmp_path)))
    with pytest.raises(InputError, match=r"(?s)encodings/query cannot be done yet.*--from queries"):
        step.chosen(steps, first="encodings/query")
    for one in itertools.takewhile(lambda one: one.name != "encodings/query", steps):
        if one.writes:
            path = tmp_path / one.writes
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    left = step.chosen(steps, first="encodings/query")
    assert left == steps[-len(left) :] and left[0].name == "encodings/query"
    assert [one.name for one in step.chosen(steps, only="curvature/train")] == ["curvature/train"]
    with pytest.raises(InputError, match="curvature/query cannot be done yet"):
        step.chosen(steps, only="curvature/query")
