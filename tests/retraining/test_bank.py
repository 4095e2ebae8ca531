"""Laws of the bank: a member is the model that training without its documents makes, however the bank was trained."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from jax_tda.core import processes, trees
from jax_tda.core.errors import InputError
from jax_tda.data.corpus import open_corpus
from jax_tda.evaluation import answers
from jax_tda.models import checkpoint_artifact, likelihood
from jax_tda.models.decoder import Decoder
from jax_tda.retraining import bank, bank_work, subsets
from jax_tda.retraining.bank_reader import open_bank
from jax_tda.training import optimizers
from jax_tda.training import run as training
from jax_tda.training.batches import TrainingBatches
from jax_tda.training.step import initial_state
from tests.jobs import tiny_road
from tests.retraining import tiny_bank


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    return tiny_bank.texts(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="module")
def made(texts, tmp_path_factory):
    """A bank with members of every kind, and its models."""
    place = tmp_path_factory.mktemp("bank")
    ranked = [
        {"query_id": f"q{n}", "proponents": [{"id": name} for name in ("long#1", f"p{n}", "long#0", "p7", "p9")]}
        for n in range(4)
    ]
    rankings = tiny_road.write_lines(place / "mine.jsonl", ranked)
    config = tiny_bank.config(
        *texts, drop=2, drop_share=0.1, remove=2, remove_first=(1, 3), controls=1, loo=2, reseeded=1, rankings=rankings,
        keep_models=True,
    )  # fmt: skip
    bank.run(config, str(place / "out"))
    return config, open_bank(str(place / "out"))


@functools.cache
def one_update(model, optimizer):
    def loss(params, batch, weights):
        logits = model.apply({"params": params}, batch["tokens"])
        losses = -(batch["loss_weights"] * likelihood.token_log_probabilities(logits, batch["tokens"])).sum(-1)
        return (weights * losses).sum() / batch["loss_weights"][:, 1:].sum()

    def update(params, opt_state, batch, weights):
        updates, opt_state = optimizer.update(jax.grad(loss)(params, batch, weights), opt_state, params)
        return jax.tree.map(jax.numpy.add, params, updates), opt_state

    return jax.jit(update)


@functools.cache
def trained(config, size):
    """(model, optimizer) of a recipe."""
    model = Decoder(dataclasses.replace(config.decoder, vocabulary_size=size))
    return model, optimizers.make(config.optimizer, config.steps)


def by_hand(texts, kept, seed):
    """Training one member in a loop of its own: a document that is left out weighs nothing in its batches."""
    corpus, config = open_corpus(texts[0]), tiny_bank.recipe(texts[0])
    model, optimizer = trained(config, corpus.reader.manifest.facts["vocabulary_size"])
    state = jax.jit(initial_state, static_argnums=(0, 1, 2))(model, optimizer, seed)
    params, opt_state = state.params, state.opt_state
    batches = TrainingBatches(corpus, config.buckets, config.tokens_per_batch, seed)
    for step in range(config.steps):
        weights = np.array([float(corpus.documents[row] in kept) for row in batches.rows(step)], np.float32)
        params, opt_state = one_update(model, optimizer)(params, opt_state, dict(batches.batch(step)), weights)
    return params


def expect_close(found, expected):
    for path, leaf in trees.flatten(expected).items():
        leaf, got = np.asarray(leaf), np.asarray(trees.flatten(found)[path])
        # docs/precision.md; what training hardly moves is compared with the size of its kind.
        assert np.linalg.norm(got - leaf) <= 1e-5 * max(np.linalg.norm(leaf), 1e-2), path


@pytest.mark.parametrize("kind", ["half", "drop", "remove", "loo", "repeat", "reseeded"])
def test_a_member_is_what_training_without_its_documents_makes(texts, made, kind):
    """Law: a document left out weighs 0 in its batches, whose loss is divided as if it were there."""
    _, found = made
    number = found.of(kind)[-1]
    kept = {name for name, there in zip(found.documents, found.kept[number], strict=True) if there}
    expect_close(found.params(number), by_hand(texts, kept, found.members[number]["seed"]))


def test_the_full_member_is_the_model_that_pretrain_makes(texts, made, tmp_path):
    """Law: parameters and the answers' log-probabilities, within docs/precision.md."""
    config, found = made
    training.run(config.pretrain, str(tmp_path / "checkpoint"))
    expected = checkpoint_artifact.open_checkpoint(str(tmp_path / "checkpoint")).params()
    expect_close(found.params(0), expected)
    answered = answers.run(answers.AnswerConfig(texts[1], str(tmp_path / "checkpoint")), str(tmp_path / "answers"))
    rows = list(answered.read_lines("answers.jsonl"))
    np.testing.assert_allclose(found.log_probabilities[0], [row["target_log_probability"] for row in rows], rtol=1e-4)
    assert found.exact[0].tolist() == [row["answered_exactly"] for row in rows]


def test_every_kind_leaves_out_what_it_says(texts, made):
    """Law: halves keep ⌊n / 2⌋, drops leave the share out, removals a ranking's first documents, each piece's once."""
    _, found = made
    names, gone = np.array(found.documents), ~found.kept
    assert found.documents == tiny_bank.documents(texts[0]) and len(names) == tiny_bank.PASSAGES + 1
    assert [member["documents_left_out"] for member in found.members] == gone.sum(1).tolist()
    assert gone[found.of("half")].sum(1).tolist() == [7] * 3 and gone[found.of("drop")].sum(1).tolist() == [1] * 2
    assert len({row.tobytes() for row in gone[found.of("half")]}) == 3
    for number in found.of("remove"):
        member = found.members[number]
        own = member["query_id"].replace("q", "p")
        first = list(dict.fromkeys(["long", own, "p7", "p9"]))[: member["k"]]
        assert member["method"] == "mine" and set(names[gone[number]]) == set(first)
    assert [found.members[n]["k"] for n in found.of("control")] == gone[found.of("control")].sum(1).tolist() == [1, 3]
    assert [[found.members[n]["document"]] for n in found.of("loo")] == [[*names[gone[n]]] for n in found.of("loo")]
    for number in found.of("reseeded"):
        twin = found.members[number]["member"]
        assert (gone[number] == gone[twin]).all() and found.members[number]["seed"] == found.members[twin]["seed"] + 1
    assert not gone[found.of("full") + found.of("repeat")].any()
    assert found.reader.manifest.facts["kinds"] == {
        "full": 1, "half": 3, "drop": 2, "remove": 4, "control": 2, "loo": 2, "repeat": 1, "reseeded": 2,
    }  # fmt: skip


def test_numbers_do_not_depend_on_how_many_members_are_trained_at_once(texts, made, tmp_path):
    """Law: several members in one program say what members alone say, within docs/precision.md."""
    _, found = made
    many = tiny_bank.config(*texts, members_at_once=2)
    bank.run(many, str(tmp_path / "many"))
    other = open_bank(str(tmp_path / "many"))
    np.testing.assert_allclose(other.log_probabilities[:4], found.log_probabilities[:4], rtol=2e-5, atol=2e-5)
    assert "members_at_once" not in other.reader.manifest.settings


@pytest.mark.parametrize("at", [(5, 9)])
def test_a_bank_that_was_killed_ends_at_the_same_bytes(texts, tmp_path, monkeypatch, at):
    """Law: killed in the midst of a group or between two writes, once or twice, and resumed: every file is the same."""
    config = tiny_bank.config(*texts, half=9)
    whole = bank.run(config, str(tmp_path / "whole"))

    class KilledError(Exception):
        """Stands for the end of the process."""

    own, calls = bank_work.Work._train, []

    def dying(self, group, advanced):
        def step():
            calls.append(group)
            if len(calls) - 1 in at:
                raise KilledError
            advanced()

        own(self, group, step)

    monkeypatch.setattr(bank_work.Work, "_train", dying)
    for _ in at:
        with pytest.raises(KilledError):
            bank.run(config, str(tmp_path / "killed"))
    resumed = bank.run(config, str(tmp_path / "killed"))
    assert resumed.manifest.digest == whole.manifest.digest
    for name in whole.manifest.files:
        assert (resumed.path / name).read_bytes() == (whole.path / name).read_bytes(), name


def test_a_group_of_which_one_member_was_written_is_trained_again(texts, tmp_path, monkeypatch):
    """Law: members written before the kill are the same when they are written again."""
    config = tiny_bank.config(*texts)
    whole = bank.run(config, str(tmp_path / "whole"))
    own = bank_work.Writer.finish_unit

    def once(self, unit, facts):
        own(self, unit, facts)
        if unit.endswith("1"):
            raise KeyboardInterrupt

    monkeypatch.setattr(bank_work.Writer, "finish_unit", once)
    with pytest.raises(KeyboardInterrupt):
        bank.run(config, str(tmp_path / "killed"))
    monkeypatch.setattr(bank_work.Writer, "finish_unit", own)
    assert bank.run(config, str(tmp_path / "killed")).manifest.digest == whole.manifest.digest


def test_a_bank_that_is_asked_to_stop_keeps_whole_groups(texts, tmp_path, monkeypatch):
    """Law: it leaves after the step in hand, with its members on the disk."""
    config = tiny_bank.config(*texts)
    monkeypatch.setattr(processes._Signalled, "_asked", lambda self: True)
    with pytest.raises(processes.Stopped):
        bank.run(config, str(tmp_path / "out"))
    monkeypatch.undo()
    assert open_bank(str(bank.run(config, str(tmp_path / "out")))).of("half") == [1, 2, 3]


REFUSED = {
    "leaves nothing": (dict(drop=1, drop_share=0.99), "leaves nothing to train on"),
    "leaves out nothing": (dict(drop=1, drop_share=0.001), "leaves out nothing"),
    "as many as there are": (dict(remove=1, remove_first=(13,), rankings="RANKED"), "bank.remove_first"),
    "no ranking": (dict(remove=1), "bank.rankings"),
    "another ranking": (dict(remove=1, rankings="RANKED", methods=("his",)), "bank.methods"),
    "too short a ranking": (dict(remove=1, remove_first=(2,), rankings="RANKED"), "names too few documents"),
    "a query without a line": (dict(remove=4, remove_first=(1,), rankings="RANKED"), "says nothing of the query 'q3'"),
    "no controls": (dict(remove=1, controls=0), "bank.controls"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_bank_can_be_made_of_is_refused_before_training(texts, tmp_path, monkeypatch, case):
    """Law: four parts that name the setting or the member, and nothing was trained."""
    monkeypatch.setattr(bank.Trainer, "train", lambda *_: pytest.fail("trained"))
    options, says = REFUSED[case]
    rows = [{"query_id": f"q{n}", "proponents": [{"id": "p1"}]} for n in range(3)]
    ranked = tiny_road.write_lines(tmp_path / "mine.jsonl", rows)
    options = {name: ranked if value == "RANKED" else value for name, value in options.items()}
    with pytest.raises(InputError) as caught:
        bank.run(tiny_bank.config(*texts, **options), str(tmp_path / "out"))
    assert says in str(caught.value) and caught.value.remedy


def test_a_bank_of_one_setting_does_not_go_on_with_another(texts, tmp_path):
    """Law: another recipe at the same place is refused by name."""
    config = tiny_bank.config(*texts, half=1, repeats=0)
    bank.run(config, str(tmp_path / "out"))
    with pytest.raises(InputError, match=r"holds something else|other settings|steps"):
        bank.run(tiny_bank.changed(config, steps=5), str(tmp_path / "out"))


def test_the_sheet_counts_members_and_bytes(texts, tmp_path):
    """Law: members of each kind, and what is stored of them; nothing is written."""
    sheet = bank.plan(tiny_bank.config(*texts, half=5, loo=2), str(tmp_path / "out"))
    assert "9 members (1 full, 5 half, 2 loo, 1 repeat)" in sheet and "FLOPs" in sheet and "MiB" in sheet
    assert not (tmp_path / "out").exists()


def test_packed_bits_are_unpacked_again():
    """Law: also where the documents fill no whole byte."""
    random = np.random.default_rng(0)
    members = [subsets.Member("half", 0, np.flatnonzero(random.random(13) < 0.5)) for _ in range(5)]
    kept = subsets.unpacked(subsets.packed(members, 13), 13)
    assert [set(np.flatnonzero(~row)) for row in kept] == [set(member.left_out) for member in members]
