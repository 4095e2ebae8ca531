"""The whole study, small: it resumes, its logs replay, and it says what it found."""

import dataclasses
import json
import re

import numpy as np
import pytest
from etils import epath

from jax_tda.artifacts.artifact import open_artifact
from jax_tda.core.errors import InputError
from jax_tda.data.corpus import open_corpus
from jax_tda.evaluation.bootstrap import BootstrapConfig
from jax_tda.models.decoder_config import DecoderConfig
from jax_tda.studies.unlearning import decisions, ground, run, sources
from jax_tda.studies.unlearning.loop import Unlearner, UnlearningConfig
from jax_tda.studies.unlearning.retrain import Trainer
from jax_tda.studies.unlearning.settings import StudyUnlearningConfig
from jax_tda.studies.unlearning.sources import NAMES
from jax_tda.training.optimizers import OptimizerConfig

TOY = StudyUnlearningConfig(
    decoder=DecoderConfig(layers=1, width=8, heads=2, kv_heads=2, mlp_width=8),
    optimizer=OptimizerConfig(peak_rate=1e-2, warmup_steps=1),
    unlearning=UnlearningConfig(
        epochs=1, batch=4, chunk=4, evaluate_every=2, evaluated=4, validation=4, randomisation="tokens", rate=1e-3
    ),
    bootstrap=BootstrapConfig(resamples=20),
    pairs=("atlas+quiz",),
    places=4,
    animals=6,
    documents=6,
    words=20,
    pool_documents=6,
    queries=4,
    vocabulary=340,
    steps=2,
    tokens_per_batch=512,
    projected_size=4,
    damping=1.0,
)


def test_a_killed_study_goes_on_and_ends_with_logs_that_replay(tmp_path, monkeypatch):
    """Law: what was finished is not done again; every log's losses give back its decisions; the page stands alone."""
    output, trained = str(tmp_path / "study"), Trainer.without

    def killed(self, left_out, label):
        if label.endswith("sums"):
            raise KeyboardInterrupt
        return trained(self, left_out, label)

    monkeypatch.setattr(Trainer, "without", killed)
    with pytest.raises(KeyboardInterrupt):
        run.run(TOY, output)
    monkeypatch.setattr(Trainer, "without", trained)
    monkeypatch.setattr(Unlearner, "unlearn", lambda *_: pytest.fail("unlearned again"))
    found = run.run(TOY, output)

    removals = [*NAMES, "random", "atlas+quiz"]
    for name in removals:
        log = list(found.read_lines(f"logs/seed_0/{name}.jsonl"))
        schedule = decisions.Schedule(**{f.name: log[0][f.name] for f in dataclasses.fields(decisions.Schedule)})
        told, losses = decisions.from_log(log[1:])
        assert decisions.replayed(schedule, losses) == told

    results = found.read_json("results.json")
    assert results["removals"] == removals
    measured = results["likelihood"]
    for way in ("unlearn", "retrain"):
        rows = {name: [measured["impact"][way][name][a]["mean"] for a in NAMES] for name in removals}
        assert np.isfinite(list(rows.values())).all()
        # The interaction of means is the mean of the interaction.
        by_hand = np.array(rows["atlas+quiz"]) - np.array(rows["atlas"]) - np.array(rows["quiz"])
        np.testing.assert_allclose(
            [measured["joint"][way]["atlas+quiz"][a]["mean"] for a in NAMES], by_hand, atol=1e-12
        )
    assert set(measured["agreement"]["0"]) == {
        "unlearn/retrain",
        *(f"{kind}/{way}" for kind in ("trackstar", "dot", "proponents") for way in ("unlearn", "retrain")),
    }

    page = found.read_bytes("index.html").decode()
    assert "<svg" in page and not re.search(r'(src|href)="|https?://(?!www\.w3\.org/2000/svg)', page)
    assert open_artifact(output, run.KIND).manifest.facts["seeds"] == [0]
    assert run.run(TOY, output).manifest.digest == found.manifest.digest
    assert json.loads(json.dumps(results)) == results


def test_a_plan_says_what_would_be_taken_away_and_writes_nothing(tmp_path):
    """Law: every corpus, the control and every pair is named."""
    said = run.plan(TOY, str(tmp_path / "study"))
    assert all(name in said for name in (*NAMES, "random", "atlas+quiz"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "wrong",
    [
        {"pairs": ("atlas",)},
        {"pairs": ("atlas+atlas",)},
        {"pairs": ("atlas+books",)},
        {"seeds": ()},
        {"seeds": (1, 1)},
        {"documents": 0},
        {"damping": -1.0},
        {"damping": float("nan")},
        {"damping": 0.0},
    ],
)
def test_a_study_that_cannot_be_meant_is_refused(wrong):
    """Law: the setting is named, with what would have been right."""
    with pytest.raises(InputError, match=f"study_unlearning.{next(iter(wrong))}"):
        dataclasses.replace(TOY, **wrong)
    # 8 sources × 6 documents are four for each dimension of a block of 3².
    dataclasses.replace(TOY, damping=0.0, projected_size=3)


def test_a_pool_too_small_for_a_pair_alone_is_refused_before_anything_is_trained(tmp_path, monkeypatch):
    """Law: 8 × 2 passages, less those of one source and 4 for validation, suffice for two chunks of 5; less those of
    two sources, they do not."""
    monkeypatch.setattr(ground.training, "run", lambda *_: pytest.fail("trained"))
    config = dataclasses.replace(
        TOY, pool_documents=2, unlearning=dataclasses.replace(TOY.unlearning, validation=4, chunk=5)
    )
    alone = dataclasses.replace(config, pairs=())
    with pytest.raises(pytest.fail.Exception, match="trained"):
        run.run(alone, str(tmp_path / "alone"))
    with pytest.raises(InputError, match="pool of text for retraining is too small"):
        run.run(config, str(tmp_path / "pair"))


def test_a_passage_of_both_corpora_is_in_no_two_sets(tmp_path, monkeypatch):
    """Law: a pool that begins with the training documents, and is longer than they are, gives sets of other texts."""
    drawn = sources.documents

    def again(source, count, words, seed, part):
        rows = list(drawn(source, count, words, seed, part))
        if part == "pool":
            rows[:2] = [row | {"id": f"again/{row['id']}"} for row in list(drawn(source, 2, words, seed, "corpus"))]
            rows[2]["text"] += " " + rows[2]["text"]
        return rows

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(sources, "documents", again)
    monkeypatch.setattr(ground.training, "run", stop)
    with pytest.raises(KeyboardInterrupt):
        ground.lay(TOY, 0, epath.Path(tmp_path))
    corpora = ground.Corpora(
        epath.Path(tmp_path), 0, *(open_corpus(str(tmp_path / n)) for n in ("corpus", "pool", "queries"))
    )
    assert corpora.pool.longest > corpora.corpus.longest
    found = corpora.sets(("sums",), TOY)
    assert len(found.pool) + len(found.validation) == 7 * 6
    found = corpora.sets((), TOY)
    texts = [record["text"] for record in corpora.corpus.records]
    left_out = {text for text, out in zip(texts, corpora.removed(()), strict=True) if out}
    shared = sum(record["text"] in left_out for record in corpora.pool.records)
    assert shared > 0 and len(found.pool) + len(found.validation) == 8 * 6 - shared
