"""Laws of rankings as files: ours are checked against their manifest, somebody else's by their form."""

import json

import pytest

from jax_tda.artifacts import ranking
from jax_tda.artifacts.artifact import begin
from jax_tda.core.errors import InputError

ROWS = [
    ranking.row("q", True, [{"id": "a", "score": 0.5}, {"id": "b", "score": 0.1}], [{"id": "c", "score": -1.0}]),
    ranking.row("r", False, [], []),
]


def test_a_ranking_of_ours_comes_back_with_its_manifest(tmp_path):
    """Rows in order, and the reader through which its lineage is followed."""
    writer = begin(str(tmp_path), ranking.KIND, {}, {}, name="m")
    writer.write_lines("m.jsonl", ROWS)
    with pytest.raises(InputError, match=r"(?s)no finished ranking.*an unfinished file"):
        ranking.read(str(tmp_path / "m.jsonl"))
    writer.finish({"method": "m"})
    rows, reader = ranking.read(str(tmp_path / "m.jsonl"))
    assert rows == ROWS and reader is not None and reader.manifest.facts == {"method": "m"}


def test_a_ranking_that_somebody_else_made_needs_only_its_form(tmp_path):
    """No manifest, no opponents, no answers, empty lines between."""
    rows = [{"query_id": "q", "proponents": [{"id": "a", "score": 3}], "note": "theirs"}, ROWS[1]]
    (tmp_path / "theirs.jsonl").write_text("\n\n".join(json.dumps(row) for row in rows))
    assert ranking.read(str(tmp_path / "theirs.jsonl")) == (rows, None)


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "3",
        "{}",
        '{"query_id": "r"}',
        '{"query_id": 3, "proponents": []}',
        '{"query_id": "q", "proponents": []}',
        '{"query_id": "r", "proponents": {"id": "a"}}',
        '{"query_id": "r", "proponents": ["a"]}',
        '{"query_id": "r", "proponents": [{"score": 1}]}',
        '{"query_id": "r", "proponents": [{"id": 1, "score": 1}]}',
        '{"query_id": "r", "proponents": [{"id": "a", "score": "1"}]}',
        '{"query_id": "r", "proponents": [{"id": "a", "score": NaN}]}',
        '{"query_id": "r", "proponents": [{"id": "a", "score": Infinity}]}',
        '{"query_id": "r", "proponents": [], "opponents": [{"id": "a", "score": null}]}',
        '{"query_id": "r", "proponents": [], "opponents": 3}',
        "\xff",
    ],
)
def test_a_line_that_is_no_ranking_row_is_refused_by_its_number(tmp_path, line):
    """Broken JSON, missing or ill-typed fields, a score that is no number, a query twice."""
    (tmp_path / "theirs.jsonl").write_bytes(json.dumps(ROWS[0]).encode() + b"\n" + line.encode("latin-1") + b"\n")
    with pytest.raises(InputError, match=r"(?s)line 2 of .*theirs\.jsonl is not a ranking row.*remedy"):
        ranking.read(str(tmp_path / "theirs.jsonl"))


def test_a_missing_ranking_is_named(tmp_path):
    """With its path."""
    with pytest.raises(InputError, match=r"(?s)no finished ranking at .*m\.jsonl.*no file"):
        ranking.read(str(tmp_path / "m.jsonl"))
