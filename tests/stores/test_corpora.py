"""A corpus in an object store is read and tokenized as one on a disk is."""

import gzip
import io
import json
from collections import Counter

import pytest

from jax_tda.core import files
from jax_tda.core.errors import InputError
from jax_tda.data import segments, sources, tokenize, train_vocabulary

ROWS = [{"id": f"d{n}", "text": f"text {n}"} for n in range(9)]


def test_shards_in_a_store_make_the_corpus_that_they_make_on_a_disk(place, tmp_path, monkeypatch):
    """A folder and a pattern, compressed and not, in several segments; and Parquet, which is fetched file by file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    monkeypatch.setattr(segments, "BYTES", 200)
    parquet = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), parquet)
    lines = [(json.dumps(row) + "\n").encode() for row in ROWS]
    data = {
        "lines/a.jsonl": b"".join(lines[:5]),
        "lines/b.jsonl.gz": gzip.compress(b"".join(lines[5:])),
        "tables/t.parquet": parquet.getvalue(),
    }
    made = {}
    for root in (place, str(tmp_path)):
        for name, value in data.items():
            files.write(f"{root}/source/{name}", value)
        train_vocabulary.run(train_vocabulary.TrainVocabularyConfig(kind="bytes"), f"{root}/vocabulary")
        config = tokenize.TokenizeConfig(source=f"{root}/source/lines", vocabulary=f"{root}/vocabulary", shard_rows=4)
        made[root] = tokenize.run(config, f"{root}/corpus").manifest.digest
        for source in (f"{root}/source/lines/*.jsonl*", f"{root}/source/tables"):
            found = sources.read(source, "", "", "passages", "refuse", Counter())
            assert [(record.id, record.text) for record in found] == [(row["id"], row["text"]) for row in ROWS]
    assert len(set(made.values())) == 1
    with pytest.raises(InputError, match="there is no corpus at"):
        sources.check_exists(f"{place}/source/nothing/*.jsonl")
