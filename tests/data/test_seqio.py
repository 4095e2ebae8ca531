"""Laws that need seqio itself: the same ids, and any Task read as records. One file, so that it is imported once."""

import json
import sys
from collections import Counter

import numpy as np
import pytest

from jax_tda.core.errors import InputError
from jax_tda.data import seqio_source, sources, vocabulary
from jax_tda.data.facts import world_facts
from jax_tda.data.split import pieces, spelt

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


def test_tfrecords_of_tensorflows_own_writer_are_read_without_it(seqio, tmp_path):
    """Whatever its types, plain and gzipped: the fields that TensorFlow parses, and the texts in order."""
    import tensorflow as tf

    def feature(value):
        kinds = {bytes: "bytes_list", float: "float_list", int: "int64_list"}
        lists = {"bytes_list": tf.train.BytesList, "float_list": tf.train.FloatList, "int64_list": tf.train.Int64List}
        kind = kinds[type(value[0])]
        return tf.train.Feature(**{kind: lists[kind](value=value)})

    others = {"score": [0.5, -2.0], "numbers": [-(2**63), 0, 7]}
    rows = [{"text": [text.encode()], **others} for text in NASTY if text.strip()]
    for name, options in (("a.tfrecord-00000-of-00001", None), ("b.tfrecord.gz", "GZIP")):
        with tf.io.TFRecordWriter(str(tmp_path / name), options) as writer:
            for row in rows:
                features = tf.train.Features(feature={key: feature(value) for key, value in row.items()})
                writer.write(tf.train.Example(features=features).SerializeToString())
        found = list(sources.read(str(tmp_path / name), "", "", "passages", "refuse", Counter()))
        assert [record.text for record in found] == [row["text"][0].decode() for row in rows]
        assert all(dict(r.fields) == others for r in found)
        assert [record.id for record in found] == [f"{name}/{number}" for number in range(len(rows))]


def test_a_cached_task_is_read_as_seqio_reads_it(seqio, toys, model, tmp_path):
    """In the layout of its cache: the ids are those of seqio's own reader; a split and a shard that lack are named."""
    import tensorflow as tf
    from seqio import dataset_providers

    task = seqio.get_mixture_or_task("toy_tokens")
    examples = list(task.get_dataset(None, "train", shuffle=False).as_numpy_iterator())
    info = {"num_shards": 2, "seqio_version": "0.0.20"}
    info["features"] = {"targets": {"shape": [None], "dtype": "int32"}, "id": {"shape": [], "dtype": "string"}}
    (tmp_path / "info.train.json").write_text(json.dumps(info))
    (tmp_path / "stats.train.json").write_text(json.dumps({"examples": len(examples)}))
    for shard in range(2):
        with tf.io.TFRecordWriter(str(tmp_path / f"train.tfrecord-0000{shard}-of-00002")) as writer:
            for example in examples[shard::2]:
                targets = tf.train.Feature(int64_list=tf.train.Int64List(value=example["targets"]))
                name = tf.train.Feature(bytes_list=tf.train.BytesList(value=[example["id"]]))
                features = tf.train.Features(feature={"targets": targets, "id": name})
                writer.write(tf.train.Example(features=features).SerializeToString())
    theirs = dataset_providers._CachedDataSource(str(tmp_path), "train").get_dataset("train", shuffle=False)
    expected = {row["id"].decode(): tuple(row["targets"].tolist()) for row in theirs.as_numpy_iterator()}
    found = list(sources.read(str(tmp_path), "", "train", "passages", "refuse", Counter()))
    assert {record.id: record.tokens for record in found} == expected and len(expected) == 3
    vocab = vocabulary.SentencePieceVocabulary(model.read_bytes())
    assert {spelt(record, vocab).text for record in found} == {"one", "two", "three"}
    with pytest.raises(InputError, match=r"(?s)has no split 'test'.*train"):
        list(sources.read(str(tmp_path), "", "test", "passages", "refuse", Counter()))
    (tmp_path / "train.tfrecord-00001-of-00002").unlink()
    with pytest.raises(InputError, match=r"(?s)is not whole.*1 shards.*2 shards"):
        list(sources.read(str(tmp_path), "", "train", "passages", "refuse", Counter()))
