"""Laws that need seqio itself: the same ids, and any Task read as records. One file, so that it is imported once."""

import sys
from collections import Counter

import numpy as np
import pytest

from jax_tda.core.errors import InputError
from jax_tda.data import seqio_source, vocabulary
from jax_tda.data.facts import world_facts
from jax_tda.data.split import pieces

TASKS = "jax_tda.data.facts.tasks"
NASTY = [
    "",
    "   ",
    " lead  trail ",
    "tab\tline\r\n",
    "emoji 👩‍👩‍👧 x",
    "日本語",
    "e\u0301 ﬁ ﷽",
    "\u2028\ufeff\u00a0",
    "<s> </s>",
    "+976. 12",
]


@pytest.fixture(scope="module")
def seqio():
    import seqio

    return seqio


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "sentencepiece.model"
    path.write_bytes(vocabulary.train_sentencepiece(["The capital of Mongolia is Ulaanbaatar.", "日本 é"] * 20, 400))
    return path


@pytest.fixture(scope="module")
def toys(seqio, model):
    """A module that registers small Tasks of every form when it is imported, as a user's would."""
    import tensorflow as tf

    def source(**columns):
        def dataset(split, shuffle_files):
            return tf.data.Dataset.from_tensor_slices(columns)

        return seqio.FunctionDataSource(dataset, splits=("train", "validation"))

    def tokens(vocab, *names):
        return {name: seqio.Feature(vocab, add_eos=True) for name in names}

    def text(*names):
        return {
            name: seqio.Feature(seqio.PassThroughVocabulary(0), add_eos=False, dtype=tf.string, rank=0)
            for name in names
        }

    pieces_of = seqio.SentencePieceVocabulary(str(model))
    tokenize = [seqio.preprocessors.tokenize, seqio.preprocessors.append_eos]
    add = seqio.TaskRegistry.add
    texts = ["one", "two", "three"]
    add("toy_text", source=source(text=texts, year=[1, 2, 3]), preprocessors=[], output_features=text("text"))
    add("toy_named", source=source(text=["x"], id=["n"]), preprocessors=[], output_features=text("text"))
    add("toy_bytes", source=source(text=[b"good", b"\xff", b" "]), preprocessors=[], output_features=text("text"))
    add(
        "toy_tokens",
        source=source(targets=texts, id=["a", "b", "c"]),
        preprocessors=tokenize,
        output_features=tokens(pieces_of, "targets"),
    )
    add(
        "toy_pairs",
        source=source(inputs=["The capital is"], targets=[" Ulaanbaatar"], gold=[["a", "b"]]),
        preprocessors=[seqio.preprocessors.tokenize],
        output_features=tokens(seqio.ByteVocabulary(extra_ids=4), "inputs", "targets"),
    )
    seqio.MixtureRegistry.add("toy_mixture", [("toy_text", 9.0), ("toy_named", 1.0)])
    return ""


def read(name, kind="passages", split="train", on_bad_record="refuse", rejected=None):
    return list(seqio_source.read(name, "", split, kind, on_bad_record, Counter() if rejected is None else rejected))


@pytest.mark.parametrize("text", NASTY)
def test_ids_equal_seqios(seqio, model, text):
    """Both vocabularies give seqio's ids, whether seqio computes them in Python or in TensorFlow, and its text."""
    pairs = [
        (vocabulary.SentencePieceVocabulary(model.read_bytes()), seqio.SentencePieceVocabulary(str(model))),
        (vocabulary.ByteVocabulary(), seqio.ByteVocabulary()),
    ]
    for ours, theirs in pairs:
        ids = ours.encode(text)
        assert ids == list(theirs.encode(text)) == theirs.encode_tf(text).numpy().tolist()
        assert ours.decode(ids) == theirs.decode(ids) == text
        assert (ours.size, ours.pad_id, ours.end_id) == (theirs.vocab_size, theirs.pad_id, theirs.eos_id)


def test_world_facts_are_the_same_through_seqio(seqio):
    """The Tasks give the rows that build() gives, in its order, fields and all."""
    built = world_facts.build()
    passages = list(seqio_source.read("world_facts_passages", TASKS, "train", "passages", "refuse", Counter()))
    assert [(p.id, p.text) for p in passages] == [(row["id"], row["text"]) for row in built.passages]
    for passage, row in zip(passages, built.passages, strict=True):
        assert {"id": passage.id, "text": passage.text, **passage.fields}.items() >= row.items()
    queries = list(seqio_source.read("world_facts_queries", TASKS, "train", "queries", "refuse", Counter()))
    shown = ("id", "prompt", "target", "gold", "weak")
    for query, row in zip(queries, built.queries, strict=True):
        own = query.id, query.prompt, query.target, list(query.gold), list(query.weak)
        assert dict(zip(shown, own, strict=True)) | query.fields == row


def test_an_example_without_an_id_is_called_by_its_task_and_index(toys):
    """And every further feature is carried."""
    records = read("toy_text")
    assert [(r.id, r.text) for r in records] == [("toy_text/0", "one"), ("toy_text/1", "two"), ("toy_text/2", "three")]
    assert [r.fields for r in records] == [{"year": 1}, {"year": 2}, {"year": 3}]


def test_a_mixture_is_its_tasks_one_after_another(toys):
    """Every example once, whatever the rates, in the same order every time."""
    first = [r.id for r in read("toy_mixture")]
    assert first == ["n", "toy_text/0", "toy_text/1", "toy_text/2"]
    assert [r.id for r in read("toy_mixture")] == first


def test_token_ids_are_used_as_they_are_with_the_tasks_own_vocabulary(toys, seqio, model):
    """A passage's ids are the Task's targets, ended once; the text is what they spell."""
    records = read("toy_tokens")
    vocab = seqio_source.vocabulary_of("toy_tokens")
    assert vocab.files() == {"sentencepiece.model": model.read_bytes()}
    assert [(r.id, r.text) for r in records] == [("a", "one"), ("b", "two"), ("c", "three")]
    theirs = seqio.SentencePieceVocabulary(str(model))
    (piece,) = pieces(records[2], vocab, 64, "refuse")
    assert piece.tokens == (3, *theirs.encode("three"), 1)


def test_inputs_are_the_prompt_of_a_query_and_its_context_in_a_passage(toys):
    """Loss counts from the first target id; gold comes along."""
    (query,) = read("toy_pairs", kind="queries")
    vocab = seqio_source.vocabulary_of("toy_pairs")
    assert vocab.size == 263
    assert (query.id, query.prompt, query.target, query.gold) == (
        "toy_pairs/0",
        "The capital is",
        " Ulaanbaatar",
        ("a", "b"),
    )
    (piece,) = pieces(query, vocab, 64, "refuse")
    assert vocab.decode(piece.tokens[: piece.loss_start]) == "The capital is"
    assert vocab.decode(piece.tokens[piece.loss_start :]) == " Ulaanbaatar"
    (passage,) = read("toy_pairs", kind="passages")
    assert passage.text == "The capital is Ulaanbaatar"


def test_a_bad_example_is_refused_by_task_and_index_or_skipped_and_counted(toys):
    """The same rules as for JSON lines."""
    with pytest.raises(InputError, match="'toy_bytes', split 'train', example 1: invalid UTF-8"):
        read("toy_bytes")
    rejected = Counter()
    assert [r.text for r in read("toy_bytes", on_bad_record="skip", rejected=rejected)] == ["good"]
    assert rejected == {"invalid UTF-8": 1, "empty text": 1}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("no_such_task", "", "train", "passages"), "no seqio Task or Mixture"),
        (("toy_text", "no_such_module.tasks", "train", "passages"), "cannot be imported"),
        (("toy_text", "", "test", "passages"), "has no split"),
        (("toy_text", "", "train", "queries"), "cannot be read as queries"),
    ],
)
def test_a_request_that_cannot_be_met_says_what_is_wrong(toys, arguments, message):
    """Unknown names, modules and splits, and features that hold no such records."""
    with pytest.raises(InputError, match=message):
        list(seqio_source.read(*arguments, "refuse", Counter()))


def test_a_task_without_a_vocabulary_of_its_own_has_none_to_give(toys):
    """Text features pass through: there is nothing to read."""
    with pytest.raises(InputError, match="vocabulary"):
        seqio_source.vocabulary_of("toy_text")


def test_a_module_that_breaks_while_it_is_imported_shows_its_own_error(toys, monkeypatch, tmp_path):
    """Only a module that does not exist is the config's fault."""
    (tmp_path / "breaks_inside.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        list(seqio_source.read("toy_text", "breaks_inside", "train", "passages", "refuse", Counter()))


def test_without_seqio_the_error_says_what_to_install(monkeypatch):
    """None in sys.modules makes the import fail as if it were not there."""
    monkeypatch.setitem(sys.modules, "seqio", None)
    with pytest.raises(InputError, match=r"jax_tda\[seqio\]"):
        list(seqio_source.read("toy_text", "", "train", "passages", "refuse", Counter()))


def test_padding_behind_a_tasks_ids_is_no_part_of_the_record():
    """Targets padded with id 0, as seqio pads, have no loss there and one end id."""
    example = {"targets": np.array([87, 51, 1, 0, 0]), "inputs": np.array([9, 0])}
    passage = seqio_source._parse({"targets": example["targets"]}, vocabulary.ByteVocabulary(), "passages", "w", "n")
    (piece,) = pieces(passage, vocabulary.ByteVocabulary(), 64, "refuse")
    assert piece.tokens == (2, 87, 51, 1)
    query = seqio_source._parse(example, vocabulary.ByteVocabulary(), "queries", "w", "n")
    assert query.tokens == ((9,), (87, 51, 1))
    with pytest.raises(InputError, match="targets without tokens"):
        seqio_source._parse({"targets": np.zeros(3, int)}, vocabulary.ByteVocabulary(), "passages", "w", "n")
