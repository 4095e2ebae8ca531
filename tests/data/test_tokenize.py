"""Laws of making a corpus: the same text gives the same bytes, nothing is lost unsaid, and refusals say where."""

import json

import numpy as np
import pytest
import sentencepiece

from jax_tda.artifacts.artifact import begin
from jax_tda.core.errors import InputError
from jax_tda.data import corpus, tokenize, train_vocabulary, vocabulary

BYTES = vocabulary.ByteVocabulary()
LONG = "A much longer text."
PASSAGES = [
    {"id": "a", "text": "short"},
    {"id": "b", "text": LONG, "year": 1990, "tags": ["x", {"y": None}]},
    {"id": "c", "text": "<b>"},
]
QUERIES = [
    {"id": "q", "prompt": "is", "target": " b", "gold": ["b", "z"], "weak": [], "relation": "capital"},
    {"id": "r", "prompt": "", "target": "no gold"},
]


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def vocabulary_at(path, **options):
    train_vocabulary.run(train_vocabulary.TrainVocabularyConfig(**{"kind": "bytes"} | options), str(path))
    return str(path)


@pytest.fixture
def make(tmp_path):
    """Tokenizes rows into `tmp_path/output` by bytes, with any options."""
    held = vocabulary_at(tmp_path / "vocabulary")

    def run(rows, output="corpus", **options):
        source = rows if isinstance(rows, str) else written(tmp_path / f"{output}.jsonl", rows)
        config = tokenize.TokenizeConfig(source=source, **{"vocabulary": held, "context": 9} | options)
        return corpus.Corpus(tokenize.run(config, str(tmp_path / output)))

    return run


def test_every_piece_has_an_id_and_pieces_are_in_the_order_of_the_text(make):
    """A document that fits keeps its id, one that was split has `#0`, `#1`, …; order is the file's."""
    made = make(PASSAGES)
    assert made.ids == ["a", "b#0", "b#1", "b#2", "c"]
    assert [record["document"] for record in made.records] == ["a", "b", "b", "b", "c"]
    assert "".join(record["text"] for record in made.records if record["document"] == "b") == LONG
    facts = made.reader.manifest.facts
    assert (facts["examples"], facts["documents"], facts["documents_split"]) == (5, 3, 1)
    assert facts["tokens"] == sum(len(row["text"].encode()) for row in PASSAGES) + 5 + 3  # beginnings, ends


def test_tokenizing_twice_gives_the_same_artifact(make):
    """Digests and files are equal: what builds on one may build on the other. At one place it is done once."""
    first, second = make(PASSAGES), make(PASSAGES, "again")
    assert first.reader.manifest.digest == second.reader.manifest.digest
    for name in first.reader.manifest.files:
        assert (first.reader.path / name).read_bytes() == (second.reader.path / name).read_bytes()
    written_at = (first.reader.path / "records.jsonl").stat().mtime
    assert make(PASSAGES).reader.manifest == first.reader.manifest
    assert (first.reader.path / "records.jsonl").stat().mtime == written_at
    other = make([*PASSAGES[:2], {"id": "c", "text": "<i>"}], "other")
    assert other.reader.manifest.digest != first.reader.manifest.digest


def test_further_fields_are_carried_as_they_are(make):
    """Of passages and queries; gold keeps its order, and an absent `weak` is told from an empty one."""
    record = make(PASSAGES).records[2]
    assert record["fields"] == {"year": 1990, "tags": ["x", {"y": None}]}
    first, second = make(QUERIES, "queries", kind="queries").records
    assert (first["prompt"], first["target"], first["text"]) == ("is", " b", "is b")
    assert (first["gold"], first["weak"], first["fields"]) == (["b", "z"], [], {"relation": "capital"})
    assert second["gold"] == [] and "weak" not in second


@pytest.mark.parametrize("shard_rows", [1, 2, 5, 100])
def test_shards_are_exact_and_change_no_number(make, shard_rows):
    """Ceil(examples / rows) files for each array, and the same tokens whatever their size."""
    made, plain = make(PASSAGES, shard_rows=shard_rows), make(PASSAGES, "plain")
    files = [path for path in (made.reader.path / "tokens" / "c").glob("*/*")]
    assert len(files) == -(-5 // shard_rows)
    one, other = (c.examples(np.arange(5), 9, 5) for c in (made, plain))
    np.testing.assert_array_equal(one["tokens"], other["tokens"])
    np.testing.assert_array_equal(made.spans, plain.spans)


def test_the_context_is_the_configs_or_the_longest_querys(make, tmp_path):
    """Whichever is longer; so no query needs positions that training never saw."""
    queries = make(QUERIES, "queries", kind="queries")
    longest = 1 + len("no gold")
    assert queries.longest == queries.context == longest
    for context in (3, longest, longest + 4):
        made = make(PASSAGES, f"corpus_{context}", context=context, queries=str(queries.reader))
        assert made.context == max(context, longest)
        assert made.longest == min(made.context, len(LONG) + 2)


def checkpoint_of(path, context):
    writer = begin(str(path), "checkpoint", {}, {})
    train_vocabulary.write(writer, BYTES)
    writer.finish({"context": context})
    return str(path)


def test_a_given_checkpoint_brings_its_vocabulary_and_its_context(make, tmp_path):
    """The config's context gives way, and a query that is longer is refused by file, line and lengths."""
    checkpoint = checkpoint_of(tmp_path / "checkpoint", 8)
    made = make(PASSAGES, context=20, vocabulary=checkpoint)
    assert (made.context, made.longest) == (8, 8)
    assert make(QUERIES, "queries", kind="queries", vocabulary=checkpoint).context == 8
    longer = [*QUERIES, {"id": "s", "prompt": "four", "target": "four"}]
    with pytest.raises(InputError) as refused:
        make(longer, "longer", kind="queries", vocabulary=checkpoint, on_bad_record="skip")
    assert "longer.jsonl, line 3: query 's' is longer than the context" in refused.value.what
    assert (refused.value.got, refused.value.expected[:16]) == ("9 tokens", "at most 8 tokens")


def test_the_vocabulary_travels_with_the_corpus(make, tmp_path):
    """It is read from the corpus alone, and its digest is among the facts."""
    made = make(PASSAGES)
    assert made.vocabulary.files() == BYTES.files()
    facts = made.reader.manifest.facts
    assert (facts["vocabulary"], facts["vocabulary_size"]) == (BYTES.digest, BYTES.size)


def test_a_long_document_is_split_truncated_or_refused(make):
    """What is cut off is counted; the refusal names file and line."""
    made = make(PASSAGES, "cut", on_long="truncate")
    assert made.ids == ["a", "b", "c"]
    assert made.reader.manifest.facts["tokens_left_out"] == len(LONG) - 8
    with pytest.raises(InputError, match=r"whole\.jsonl, line 2: passage 'b' is longer than the context"):
        make(PASSAGES, "whole", on_long="refuse")


def test_a_document_that_is_called_like_a_piece_is_refused(make):
    """Two examples of one id could not be told apart in a ranking."""
    with pytest.raises(InputError, match=r"(?s)2 examples called 'b#1'.*rename the document"):
        make([*PASSAGES, {"id": "b#1", "text": "x"}])
    assert make([{"id": "b#1", "text": "x"}], "alone").ids == ["b#1"]


def test_records_that_are_skipped_are_counted_by_reason_in_the_manifest(make):
    """Those the reader refuses and those without tokens alike; nothing is left out unsaid."""
    rows = [*PASSAGES, {"id": "a", "text": "twice"}, {"id": "d"}, {"id": "e", "text": " "}, {"id": "f", "text": ""}]
    made = make(rows, on_bad_record="skip")
    assert made.ids == ["a", "b#0", "b#1", "b#2", "c"]
    assert made.reader.manifest.facts["rejected"] == {"duplicate id": 1, "missing field 'text'": 1, "empty text": 2}
    with pytest.raises(InputError, match=r"refused\.jsonl, line 4: duplicate id"):
        make(rows, "refused")


def test_a_target_without_tokens_is_refused_with_file_and_line_or_counted(make, tmp_path):
    """A user's own model that drops spaces leaves nothing of a target of spaces."""
    prefix = str(tmp_path / "own")
    sentences = iter(["a prompt and an answer", "another answer"] * 5)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=sentences, model_prefix=prefix, vocab_size=24, model_type="bpe", minloglevel=2
    )
    own = vocabulary_at(tmp_path / "own_vocabulary", kind="file", model=f"{prefix}.model")
    rows = [{"id": "q", "prompt": "a prompt", "target": " answer"}, {"id": "r", "prompt": "a prompt", "target": "  "}]
    options = {"kind": "queries", "vocabulary": own}
    with pytest.raises(InputError, match=r"refused\.jsonl, line 2: query 'r': target without tokens"):
        make(rows, "refused", **options)
    made = make(rows, "skipped", on_bad_record="skip", **options)
    assert made.ids == ["q"] and made.reader.manifest.facts["rejected"] == {"target without tokens": 1}


def test_a_mended_source_is_read_under_the_same_command(make, tmp_path):
    """A refused source, or a path that was wrong, leaves nothing that the next attempt would stumble over."""
    with pytest.raises(InputError, match="no corpus"):
        make(str(tmp_path / "misspelt.jsonl"))
    with pytest.raises(InputError, match="line 4: missing field"):
        make([*PASSAGES, {"id": "d"}])
    assert make([*PASSAGES, {"id": "d", "text": "mended"}]).count == 6


def test_impossible_choices_are_refused(make):
    """A misspelt kind or treatment never means the default."""
    for option in ({"kind": "documents"}, {"on_long": "cut"}, {"on_bad_record": "ignore"}):
        with pytest.raises(InputError, match=rf"(?s)tokenize\.{next(iter(option))} is not possible.*remedy"):
            make(PASSAGES, **option)
