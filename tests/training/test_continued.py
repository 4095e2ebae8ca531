"""Laws of training that goes on from a checkpoint, and of what such training taught."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from jax_tda.artifacts.artifact import begin
from jax_tda.core.errors import InputError
from jax_tda.evaluation import answers
from jax_tda.evaluation import run as evaluation
from jax_tda.evaluation.bootstrap import BootstrapConfig
from jax_tda.models.checkpoint_artifact import open_checkpoint
from jax_tda.training import run as training
from tests.jobs import tiny_road


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("continued")


@pytest.fixture(scope="module")
def corpus(place):
    return tiny_road.tokenized(place, "corpus", tiny_road.passages(12))


@pytest.fixture(scope="module")
def queries(place):
    return tiny_road.tokenized(place, "queries", tiny_road.queries(6), "queries")


@pytest.fixture(scope="module")
def first(place, corpus):
    return tiny_road.trained(place, corpus)


def config(corpus, initial, **changes):
    # Waiting for every step: eight pretended devices on a few cores can otherwise wait for each other for ever.
    options = {"steps": 30, "tokens_per_batch": 128, "buckets": 1, "save_every": 0, "log_every": 1}
    options |= {"optimizer": tiny_road.OPTIMIZER}
    return training.PretrainConfig(corpus=corpus, initial=initial, **options | changes)


@pytest.fixture(scope="module")
def continued(place, corpus, first):
    training.run(config(corpus, first), str(place / "continued"))
    return str(place / "continued")


def test_training_goes_on_from_the_checkpoints_parameters_with_its_decoder(place, corpus, first):
    """Law: at a rate that moves nothing the parameters stay; the config's own decoder is not looked at."""
    still = dataclasses.replace(tiny_road.OPTIMIZER, peak_rate=1e-30, weight_decay=0.0)
    training.run(config(corpus, first, steps=1, optimizer=still), str(place / "still"))
    before, after = open_checkpoint(first), open_checkpoint(str(place / "still"))
    assert after.model == before.model and after.optimizer["steps"] == 1
    jax.tree.map(
        lambda a, b: np.testing.assert_array_equal(np.asarray(a), np.asarray(b)), before.params(), after.params()
    )
    assert after.reader.manifest.inputs["initial"]["digest"] == before.reader.manifest.digest


def test_a_killed_continuation_ends_at_the_same_bits(place, corpus, first, continued, monkeypatch):
    """Law: it resumes from its own latest step, not from the initial checkpoint."""
    save, saved = training.checkpoints.save, []

    def dying(*arguments, **options):
        if saved:
            raise KeyboardInterrupt
        saved.append(arguments[0])
        return save(*arguments, **options)

    output = str(place / "killed")
    with monkeypatch.context() as patched:
        # Dies at the second save of the run, after the one at step 20.
        patched.setattr(training.checkpoints, "save", dying)
        with pytest.raises(KeyboardInterrupt):
            training.run(config(corpus, first, save_every=20), output)
    again = open_checkpoint(str(training.run(config(corpus, first, save_every=20), output)))
    whole = open_checkpoint(continued)
    jax.tree.map(
        lambda a, b: np.testing.assert_array_equal(np.asarray(a), np.asarray(b)), whole.params(), again.params()
    )


def test_a_checkpoint_of_another_vocabulary_is_refused(corpus, tmp_path):
    """Law: ids of one vocabulary mean nothing to another's model."""
    begin(str(tmp_path / "other"), "checkpoint", {}, {}).finish({"vocabulary": "0" * 64, "context": 24})
    with pytest.raises(InputError, match=r"does not fit the checkpoint .*: vocabulary"):
        training.run(config(corpus, str(tmp_path / "other")), str(tmp_path / "out"))


def test_a_gain_is_the_difference_of_two_models_log_probabilities(place, queries, first, continued):
    """Law: as each says by itself; the report is over the targets that gained, and over no other."""
    outputs = {
        name: answers.run(answers.AnswerConfig(queries=queries, checkpoint=model), str(place / f"answers_{name}"))
        for name, model in {"first": first, "continued": continued}.items()
    }
    log_p = {
        name: {row["query_id"]: row["target_log_probability"] for row in made.read_lines("answers.jsonl")}
        for name, made in outputs.items()
    }
    both = answers.run(
        answers.AnswerConfig(queries=queries, checkpoint=continued, before=first), str(place / "answers_both")
    )
    gains = {row["query_id"]: row["gain"] for row in both.read_lines("answers.jsonl")}
    for name, gain in gains.items():
        assert gain == pytest.approx(log_p["continued"][name] - log_p["first"][name], abs=1e-5)
    gained = {name for name, gain in gains.items() if gain > 0}
    assert gained and both.manifest.facts["gained"] == len(gained)


def judged(corpus, queries, place, over, gains):
    """The report over a ranking whose first passage is right for even queries alone."""
    lines = [{"query_id": f"q{n}", "proponents": [{"id": f"p{n if n % 2 == 0 else n + 1}"}]} for n in range(6)]
    (place / "mine.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    writer = begin(str(place / "answers"), "answers", {}, {})
    rows = [{"query_id": f"q{n}", "answered_exactly": n == 0} for n in range(6)]
    writer.write_lines(
        "answers.jsonl", ({**row, **({"gain": gains[n]} if gains else {})} for n, row in enumerate(rows))
    )
    writer.finish({})
    config = evaluation.EvaluateConfig(
        rankings=str(place / "mine.jsonl"), corpus=corpus, queries=queries, answers=str(place / "answers"), over=over,
        bootstrap=BootstrapConfig(resamples=20),
    )  # fmt: skip
    return evaluation.run(config, str(place / "out")).read_json("report.json")


def test_a_report_over_what_was_gained_is_worked_out_by_hand(corpus, queries, tmp_path, capsys):
    """Law: q0, q1 and q4 gained; the first and last are found at once, so MRR is 2/3 over three queries."""
    report = judged(corpus, queries, tmp_path, "gained", [1.0, 0.5, -0.1, 0.0, 2.0, -3.0])
    mrr = report["methods"]["mine"]["mrr"]
    assert (mrr["mean"], mrr["n"]) == (pytest.approx(2 / 3), 3)
    assert report["queries"] == {"total": 6, "gained": 3, "without_gold": 0}
    assert report["exact_match"] == pytest.approx(1 / 6)
    assert "3 of 6 queries whose target gained probability" in capsys.readouterr().out


def test_a_report_over_gains_that_nobody_measured_is_refused(corpus, queries, tmp_path):
    """Law: answers of one checkpoint know of no gain."""
    with pytest.raises(InputError, match="does not say which targets gained"):
        judged(corpus, queries, tmp_path, "gained", None)
    with pytest.raises(InputError, match=r"evaluate\.over"):
        evaluation.run(evaluation.EvaluateConfig(over="learned", answers="answers"), str(tmp_path / "out"))
    with pytest.raises(InputError, match=r"evaluate\.over"):
        evaluation.run(evaluation.EvaluateConfig(over="gained"), str(tmp_path / "out"))
