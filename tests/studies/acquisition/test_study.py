"""The whole study, tiny: what is trained on, what is written, and that a kill changes nothing."""

import dataclasses
import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import optax
import pytest

from jax_tda.artifacts.artifact import Reader
from jax_tda.core.errors import InputError
from jax_tda.data.vocabulary import ByteVocabulary
from jax_tda.evaluation.bootstrap import BootstrapConfig
from jax_tda.models.decoder import Decoder, DecoderConfig
from jax_tda.studies.acquisition import figures, invented, knowledge, run, seed
from jax_tda.studies.acquisition.config import AcquisitionConfig
from jax_tda.studies.acquisition.observe import Look, observe
from jax_tda.studies.acquisition.rows import Queries, Rows, tokens_of
from jax_tda.studies.acquisition.selection import choose
from jax_tda.training.optimizers import OptimizerConfig
from jax_tda.training.step import TrainState, initial_state

CONFIG = AcquisitionConfig(
    seeds=(0, 1),
    decoder=DecoderConfig(layers=1, width=16, heads=2, kv_heads=2, mlp_width=32),
    optimizer=OptimizerConfig(peak_rate=1e-2, warmup_steps=3, decay_to=1.0),
    vocabulary_size=512,
    context=160,
    base_steps=6,
    rows=(2, 1),
    passages=1,
    placebo=1,
    encounters=2,
    interval=6,
    spacing=2,
    window=5,
    lead_steps=1,
    plain_steps=8,
    look_every=4,
    projected_size=4,
    sample=8,
    bootstrap=BootstrapConfig(resamples=20),
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A few lines of ordinary text."""
    file = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    lines = [{"id": f"line{i}", "text": f"On day {i} the mill by the old bridge stood still."} for i in range(40)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(file)


@pytest.fixture(scope="module")
def finished(corpus, tmp_path_factory):
    """The study, run to its end."""
    return run.run(dataclasses.replace(CONFIG, corpus=corpus), str(tmp_path_factory.mktemp("study") / "out"))


def test_the_study_writes_results_figures_and_a_page_that_needs_no_network(finished):
    """Law: every figure and table has its place; what the page shows is in the file."""
    assert isinstance(finished, Reader)
    results = finished.read_json("results.json")
    assert set(results["runs"]) == {"rows2", "control", "rows1"} and len(results["seeds"]) == 2
    assert results["runs"]["control"]["forgetting"] == {} and results["runs"]["rows1"]["tokens_per_step"] == 160
    assert len(results["directions"]) == 19
    assert all(one["chosen"] == 4 and one["in_file"] == 120 and one["queries"] == 48 for one in results["seeds"])
    assert results["influence"]["trackstar"]["pairs"] == 2 * 12 * (2 + 2 + 1)
    for name in ("curves", "effectivity", "forgetting", "influence"):
        drawing = finished.read_bytes(f"figures/{name}.svg").decode()
        assert ElementTree.fromstring(drawing).tag.endswith("svg")
    page = finished.read_bytes("index.html").decode()
    assert page.count("<svg") == 4 and page.count("<table") >= 5
    assert "src=" not in page and "href=" not in page and "url(" not in page


def test_the_same_command_again_does_nothing(finished, corpus):
    """Law: a finished study is read back."""
    again = run.run(dataclasses.replace(CONFIG, corpus=corpus), str(finished))
    assert again.manifest.digest == finished.manifest.digest


def test_a_killed_study_goes_on_to_the_same_numbers(finished, corpus, tmp_path, monkeypatch):
    """Law: a study that dies at the beginning of a unit, and is started again, writes the same bytes."""
    watched, stopped = seed.observe, "seed 0: control"

    def dying(label, *arguments):
        if label == stopped:
            raise KeyboardInterrupt
        return watched(label, *arguments)

    config, place = dataclasses.replace(CONFIG, corpus=corpus), str(tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(seed, "observe", dying)
        with pytest.raises(KeyboardInterrupt):
            run.run(config, place)
    labels = []

    def listening(label, *arguments):
        labels.append(label)
        return watched(label, *arguments)

    monkeypatch.setattr(seed, "observe", listening)
    again = run.run(config, place)
    assert labels[0] == stopped
    for name in [name for name in finished.manifest.files if not name.startswith("vocabulary")]:
        assert again.read_bytes(name) == finished.read_bytes(name), name


def chosen(number=0):
    passages = knowledge.parse(invented.passages(20), "invented")
    config = dataclasses.replace(CONFIG, context=700, passages=2, placebo=2, interval=12)
    words = ByteVocabulary()
    selection = choose(passages, [600] * 20, config, number)
    ordinary = [tokens_of("The mill by the old bridge stood still.", words)] * 30
    return seed.Seed(config, number, selection, ordinary, words), words


def test_no_name_of_a_placebo_is_ever_in_a_batch_and_the_others_are_where_the_schedule_says():
    """Law: every row of base, both runs and control decoded; injected names appear at their steps, placebos' never."""
    one, words = chosen()
    config = one.config

    def texts(batch):
        return " ".join(words.decode(row) for row in batch["tokens"])

    base = [texts(one.rows.batch(step * 2, 2)) for step in range(config.base_steps)]
    runs = {
        (size, injected): [texts(one.run_of(size, injected)(step)) for step in range(one.steps)]
        for _, size, injected in config.runs()
    }
    for place, (passage, schedule) in enumerate(zip(one.selection.passages, one.schedule, strict=True)):
        names = {query.target.strip() for query in passage.queries if query.kind == "mem"} - set(invented._CRAFTS)
        for name in names:
            assert not any(name in text for text in base)
            for (_, injected), batches in runs.items():
                seen = [step for step, text in enumerate(batches) if name in text]
                assert seen == (list(one.met[place]) if injected and schedule != "placebo" else [])
    # What was not chosen is ordinary text.
    assert any(passage.text.split(".")[0] in " ".join(base) for passage in one.selection.rest)


def test_a_batch_depends_on_the_step_alone_and_a_head_moves_its_row_to_the_right():
    """Law: the same step gives the same batch in any order; with a head, the row is cut at the context."""
    documents = [np.arange(1, 12, dtype=np.int32) + 20 * i for i in range(9)]
    rows = Rows(documents, 10, seed=3)
    assert rows.count == 9 and rows.left_out == 9
    first = [rows.batch(step * 2, 2)["tokens"] for step in range(20)]
    for step in (7, 0, 19, 7):
        np.testing.assert_array_equal(Rows(documents, 10, seed=3).batch(step * 2, 2)["tokens"], first[step])
        np.testing.assert_array_equal(rows.batch(step * 2, 2)["tokens"], first[step])
    epoch = np.concatenate([rows.batch(row, 1)["tokens"] for row in range(9)])
    assert len(np.unique(epoch, axis=0)) == 9
    head = np.full(4, 99, np.int32)
    with_head = rows.batch(6, 2, head)["tokens"]
    np.testing.assert_array_equal(with_head[0], [*head, *first[3][0][:6]])
    np.testing.assert_array_equal(with_head[1], first[3][1])


def test_a_look_is_the_mean_log_probability_of_the_targets_tokens():
    """Law: against one unpadded forward pass per query and NumPy's softmax, target characters counted by hand."""
    passages = knowledge.parse(invented.passages(2), "invented")
    words = ByteVocabulary()
    queries = Queries(passages, words, 200)
    model = Decoder(dataclasses.replace(CONFIG.decoder, vocabulary_size=words.size))
    params = initial_state(model, optax.sgd(0.1), 0).params
    asked = [query for passage in passages for query in passage.queries]
    rows = np.array([17, 0])
    found = Look(model, queries)(params, rows)
    for row, value in zip(rows, found, strict=True):
        query = asked[row]
        ids = np.array([words.beginning_id, *words.encode(query.prompt + query.target)], np.int32)
        logits = np.asarray(model.apply({"params": params}, ids[None])[0], np.float64)
        logs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        last = range(len(ids) - len(query.target), len(ids))
        np.testing.assert_allclose(value, np.mean([logs[t - 1, ids[t]] for t in last]), rtol=1e-4)


@pytest.mark.parametrize("documents", [[], [np.arange(5, dtype=np.int32)], [np.arange(5, dtype=np.int32)] * 3])
def test_ordinary_text_that_fills_no_row_is_refused(documents):
    """Law: sixteen tokens fill a row of sixteen, fifteen and fewer do not."""
    assert Rows([np.arange(16, dtype=np.int32)], 16, 0).count == 1
    with pytest.raises(InputError, match="does not fill one row"):
        Rows(documents, 16, 0)


def test_a_look_that_is_no_number_ends_the_run_at_once():
    """Law: a query's log-probability of −∞ before step 1 is reported before step 1 is trained."""
    trained = []

    def step(state, batch):
        trained.append(batch)
        return state, {"loss": 1.0}

    looks = np.array([[False], [True], [True]])
    state = TrainState(0, {}, {})
    with pytest.raises(InputError, match="diverged before step 1 of toy"):
        observe("toy", step, state, lambda now: now, 2, lambda *_: np.array([-np.inf]), looks)
    assert trained == [0]


def paths(drawing):
    """The lines of a drawing, not those of its grid."""
    return [one for one in ElementTree.fromstring(drawing).iter() if one.get("stroke-width") == "1.5"]


@pytest.mark.parametrize(("means", "lines"), [([0.5, 0.1], 2), ([0.0, 0.1], 1), ([-0.5, 0.1], 1), ([], 1)])
def test_means_are_drawn_as_shares_of_the_first_only_where_it_is_positive(means, lines):
    """Law: one line for effectivity, and one for influence that neither zero nor a negative mean divides."""
    tracked = {
        "trackstar": {"all": {"value": None}, "mean_by_encounter": means},
        "effectivity_by_encounter": [1.0, 0.5],
    }
    drawing = figures.influence(np.ones((2, 2)), np.ones((2, 2)), np.array(["mem", "gen"]), tracked)
    assert len(paths(drawing)) == lines
    assert ("not positive" in drawing) == (lines == 1)


def test_figures_leave_out_what_has_no_number():
    """Law: a mean R that kept nothing at one step is drawn without that point and without its fit; a run in which no
    query has E is an empty panel."""
    nothing = {"value": None, "low": None, "high": None}
    fit = {"intercept": nothing, "decay": nothing}
    known = {"intercept": {"value": 0.9}, "decay": {"value": 0.1}, "mean_retained": [1.0, 0.9, 0.8]}
    found = {"once/mem": fit | {"mean_retained": [1.0, None, 0.8, 0.7]}, "once/gen": known}
    found["once/hard_gen"] = fit | {"mean_retained": [1.0, None, None]}
    drawn = paths(figures.forgetting({"forgetting": found}))
    assert len(drawn) == 3 and [one.get("d").count(" L") for one in drawn] == [1, 1, 1]
    empty = figures.effectivity({"rows1": {"tokens_per_step": 10, "effectivity": {"once/mem": nothing}}})
    assert "nan" not in empty.lower() and not ElementTree.fromstring(empty).findall(".//{*}circle[@r='3.5']")
