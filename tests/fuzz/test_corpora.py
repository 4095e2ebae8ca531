"""Damaged corpora of every layout: records, or a refusal in four parts; never a crash, nor a part of a checked file."""

import gzip
import io
from collections import Counter

import pytest

from jax_tda.data import sources
from tests.data.test_layouts import ROWS, array_record, example, framed, json_lines
from tests.fuzz import batches, mutations

MANY_ROWS = [{**row, "id": str(number)} for number, row in enumerate(ROWS * 5)]
# What has a checksum of all that it holds cannot come out changed; only TFRecord does not count its records.
CHECKED = ("gz", "tfrecord")


def whole(ending, place):
    """The bytes of a file of that name."""
    if ending in ("parquet", "arrow"):
        import pyarrow as pa
        import pyarrow.parquet as pq

        table, made = pa.Table.from_pylist(MANY_ROWS), io.BytesIO()
        if ending == "parquet":
            pq.write_table(table, made, row_group_size=7)
        else:
            with pa.ipc.new_stream(made, table.schema) as writer:
                writer.write_table(table)
        return made.getvalue()
    if ending == "array_record":
        array_record(place, map(example, MANY_ROWS))
        return place.read_bytes()
    if ending == "zst":
        import zstandard

        return zstandard.compress(json_lines(MANY_ROWS))
    if ending == "tfrecord":
        return b"".join(framed(example(row)) for row in MANY_ROWS)
    return gzip.compress(json_lines(MANY_ROWS)) if ending == "gz" else json_lines(MANY_ROWS)


@pytest.mark.parametrize(("seed", "count"), batches.COUNTS)
@pytest.mark.parametrize("ending", ["jsonl", "gz", "zst", "parquet", "arrow", "array_record", "tfrecord"])
def test_a_damaged_corpus_is_read_or_refused(tmp_path, ending, seed, count):
    """Law: no other exception, and from layouts that check all their bytes nothing that was not written."""
    path = tmp_path / f"rows.{'jsonl.' if ending in ('gz', 'zst') else ''}{ending}"
    data, shares = whole(ending, path), batches.Shares()
    for number, random in batches.randoms(seed, count):
        path.write_bytes(mutations.damaged(data, random))
        found, refusal = batches.verdict(
            lambda: list(sources.read(str(path), "", "", "passages", "refuse", Counter())), number
        )
        shares.count(refusal)
        if refusal is None and ending in CHECKED:
            whole_texts = [row["text"] for row in MANY_ROWS]
            assert [record.text for record in found] == whole_texts[: len(found)], number
            assert ending == "tfrecord" or len(found) == len(MANY_ROWS), number
    shares.check(read=False)
