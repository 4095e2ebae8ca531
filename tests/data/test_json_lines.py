"""Laws of reading records from JSON lines."""

import json
from collections import Counter

import pytest

from jax_tda.core.errors import InputError
from jax_tda.data import sources

GOOD = {"id": "a", "text": "A text.", "source": "x", "year": 1990}
BAD_PASSAGES = {
    "broken JSON": b'{"id": "b", "text": "unfinished',
    "invalid UTF-8": b'{"id": "b", "text": "\xff"}',
    "not an object": b'["b", "text"]',
    "missing field 'id'": b'{"text": "t"}',
    "missing field 'text'": b'{"id": "b"}',
    "ill-typed field 'text'": b'{"id": "b", "text": 5}',
    "ill-typed field 'id'": b'{"id": 5, "text": "t"}',
    "empty text": b'{"id": "b", "text": " \\t"}',
    "empty id": b'{"id": "", "text": "t"}',
    "duplicate id": b'{"id": "a", "text": "other"}',
}
BAD_QUERIES = {
    "missing field 'target'": b'{"id": "b", "prompt": "p"}',
    "empty target": b'{"id": "b", "prompt": "p", "target": ""}',
    "ill-typed field 'gold'": b'{"id": "b", "prompt": "p", "target": "t", "gold": "a"}',
    "ill-typed field 'weak'": b'{"id": "b", "prompt": "p", "target": "t", "weak": [1]}',
}
GOOD_QUERY = {"id": "a", "prompt": "The capital is", "target": " X", "gold": ["p", "q", "p"], "fact": "f"}


def written(tmp_path, *lines):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines))
    return path


def read(path, kind, on_bad_record, rejected):
    return sources.read(str(path), "", "", kind, on_bad_record, rejected)


def test_a_passage_keeps_its_text_and_every_further_field(tmp_path):
    """What the line holds beyond id and text is carried as it is; blank lines and a byte-order mark hold nothing."""
    path = written(tmp_path, b"\xef\xbb\xbf" + json.dumps(GOOD).encode(), b"", {"id": "b", "text": "\u2028 x"}, b"\r")
    first, second = read(path, "passages", "refuse", Counter())
    assert (first.id, first.text, first.fields) == ("a", "A text.", {"source": "x", "year": 1990})
    assert second.text == "\u2028 x"


def test_a_query_tells_absent_weak_from_empty(tmp_path):
    """No `weak` is None, an empty one is empty; gold may be absent, and a repeated id counts once."""
    path = written(tmp_path, GOOD_QUERY, {"id": "b", "prompt": "", "target": "t", "weak": []})
    first, second = read(path, "queries", "refuse", Counter())
    assert (first.gold, first.weak, first.fields) == (("p", "q"), None, {"fact": "f"})
    assert (second.gold, second.weak, second.text) == ((), (), "t")


@pytest.mark.parametrize(
    ("kind", "good", "reason", "line"),
    [("passages", GOOD, *case) for case in BAD_PASSAGES.items()]
    + [("queries", GOOD_QUERY, *case) for case in BAD_QUERIES.items()],
)
def test_a_bad_record_is_refused_with_file_and_line_or_skipped_and_counted(tmp_path, kind, good, reason, line):
    """The same record stops the reading or is left out and counted under its reason."""
    path = written(tmp_path, good, line, {**good, "id": "c"})
    with pytest.raises(InputError, match=r"rows\.jsonl, line 2: ") as refused:
        list(read(path, kind, "refuse", Counter()))
    assert reason in str(refused.value)
    rejected = Counter()
    assert [record.id for record in read(path, kind, "skip", rejected)] == ["a", "c"]
    assert rejected == {reason: 1}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"id": "b", "text": "t", "x": NaN}', "broken JSON"),
        (b'{"id": "b", "text": "t", "x": 1e400}', "broken JSON"),
        (b'{"id": "b", "text": "t", "x": ' + b"[" * 100_000, "broken JSON"),
        (b'{"id": "b", "text": "\\ud800"}', "invalid UTF-8"),
        (b'{"id": "b", "text": "t", "x": {"y": ["\\udfff"]}}', "invalid UTF-8"),
    ],
)
def test_what_only_pythons_json_would_take_is_refused(tmp_path, line, reason):
    """NaN, endless nesting and half a surrogate pair could not be written again."""
    rejected = Counter()
    assert [r.id for r in read(written(tmp_path, GOOD, line), "passages", "skip", rejected)] == ["a"]
    assert rejected == {reason: 1}


def test_a_pair_of_escaped_surrogates_is_a_character(tmp_path):
    """JSON may spell an emoji in two escapes."""
    (record,) = read(written(tmp_path, b'{"id": "b", "text": "\\ud83d\\ude00"}'), "passages", "refuse", Counter())
    assert record.text == "😀"


def test_reading_is_a_stream(tmp_path):
    """The first record is there before a later line is looked at."""
    records = read(written(tmp_path, GOOD, b"{broken"), "passages", "refuse", Counter())
    assert next(records).id == "a"
    with pytest.raises(InputError):
        next(records)


def test_a_source_without_any_record_is_refused(tmp_path):
    """An empty file, one with only bad records, a directory and a missing file all stop here."""
    with pytest.raises(InputError, match="no usable record"):
        list(read(written(tmp_path), "passages", "refuse", Counter()))
    with pytest.raises(InputError, match="broken JSON"):
        list(read(written(tmp_path, b"{"), "passages", "skip", Counter()))
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "missing.jsonl"):
        with pytest.raises(InputError, match="there is no corpus"):
            list(read(path, "passages", "skip", Counter()))


def test_an_unknown_choice_for_bad_records_is_refused(tmp_path):
    """A misspelt option never means the default."""
    with pytest.raises(InputError, match="on_bad_record"):
        list(read(written(tmp_path, GOOD), "passages", "ignore", Counter()))
