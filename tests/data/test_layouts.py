"""Laws of sources: records are those that the layout's own package reads, and what is broken is said."""

import gzip
import io
import json
import struct
from collections import Counter

import numpy as np
import pytest
import tensorstore as ts

from jax_tda.core.errors import InputError
from jax_tda.data import layouts, packages, sources, split, vocabulary

ROWS = [
    {"id": "a", "text": "A text.", "year": 1990, "tags": ["x", "y"]},
    {"id": "b", "text": "Zürich \u2028 日本 👩‍👩‍👧", "year": 2001, "tags": ["z"]},
    {"id": "c", "text": "line\nbreak", "year": -3, "tags": ["x", "z", "y"]},
    {"id": "d", "text": "the last", "year": 0, "tags": ["x", "x"]},
]
BYTES = vocabulary.ByteVocabulary()


def read(source, kind="passages", given=(), split="train", rejected=None):
    skipping = "refuse" if rejected is None else "skip"
    counted = Counter() if rejected is None else rejected
    return list(sources.read(str(source), "", split, kind, skipping, counted, given))


def plain(records):
    return [{"id": r.id, "text": r.text, **r.fields} for r in records]


def json_lines(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def varint(number):
    number &= 2**64 - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def piece(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def example(row):
    """A tf.train.Example by the wire format of protocol buffers, written by hand."""
    entries = b""
    for name, value in row.items():
        values = value if isinstance(value, list) else [value]
        if isinstance(values[0], str):
            feature = piece(1, b"".join(piece(1, text.encode()) for text in values))
        elif isinstance(values[0], float):
            feature = piece(2, piece(1, struct.pack(f"<{len(values)}f", *values)))
        else:
            feature = piece(3, piece(1, b"".join(varint(one) for one in values)))
        entries += piece(1, piece(1, name.encode()) + piece(2, feature))
    return piece(1, entries)


def crc32c(data):
    checksum = 0xFFFFFFFF
    for byte in data:
        checksum ^= byte
        for _ in range(8):
            checksum = checksum >> 1 ^ (0x82F63B78 if checksum & 1 else 0)
    return checksum ^ 0xFFFFFFFF


def framed(record):
    """A TFRecord frame, by the definition of its checksum."""

    def masked(data):
        checksum = crc32c(data)
        return struct.pack("<I", ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    head = struct.pack("<Q", len(record))
    return head + masked(head) + record + masked(record)


def array_record(path, items):
    from array_record.python.array_record_module import ArrayRecordWriter

    writer = ArrayRecordWriter(str(path), "group_size:1")
    for item in items:
        writer.write(item)
    writer.close()


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "json.zst", "txt"])
def test_json_lines_are_read_whatever_compresses_them(tmp_path, ending):
    """In several frames too, which the formats allow: the records are those of the plain text."""
    path, halves = tmp_path / f"rows.{ending}", (json_lines(ROWS[:1]), json_lines(ROWS[1:]))
    if ending.endswith("gz"):
        path.write_bytes(b"".join(gzip.compress(half) for half in halves) + b"\0" * 8)
    elif ending.endswith("zst"):
        import zstandard

        path.write_bytes(b"".join(zstandard.compress(half) for half in halves))
    else:
        path.write_bytes(b"".join(halves))
    assert plain(read(path)) == ROWS


@pytest.mark.parametrize("ending", ["gz", "zst"])
def test_a_compressed_file_that_breaks_off_is_refused(tmp_path, ending):
    """At every length short of the whole; what a package gives out before it must not pass for all."""
    import zstandard

    whole = gzip.compress(json_lines(ROWS * 9)) if ending == "gz" else zstandard.compress(json_lines(ROWS * 9))
    path = tmp_path / f"rows.jsonl.{ending}"
    for stop in (1, 5, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:stop])
        with pytest.raises(InputError, match=rf"(?s)rows\.jsonl\.{ending} is no whole .*remedy"):
            read(path, rejected=Counter())
    path.write_bytes(json_lines(ROWS))
    with pytest.raises(InputError, match="is no whole"):
        read(path)


def test_shards_are_read_in_the_order_of_their_names_and_rows_without_ids_are_called_by_them(tmp_path):
    """A folder and a pattern give the same; rows are counted as messages count them, blank lines included."""
    rows = [{"text": f"text {number}"} for number in range(5)]
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "b.jsonl").write_bytes(json_lines(rows[3:]))
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(b"\n" + json_lines(rows[:3])))
    (folder / "README.md").write_text("no data")
    (folder / "_SUCCESS").write_text("")
    expected = [(f"a.jsonl.gz/{n + 2}", f"text {n}") for n in range(3)] + [
        ("b.jsonl/1", "text 3"),
        ("b.jsonl/2", "text 4"),
    ]
    for source in (folder, f"{folder}/*.jsonl*"):
        assert [(r.id, r.text) for r in read(source)] == expected
    assert "JSON lines, 2 shards: a.jsonl.gz, b.jsonl" in sources.described(str(folder), "train")
    assert "README.md" in sources.described(str(folder), "train")
    (folder / "b.jsonl").write_bytes(json_lines([{"id": "z", "text": "has one"}]))
    with pytest.raises(InputError, match=r"b\.jsonl, line 1: an id where others have none"):
        read(folder)


def test_parquet_gives_what_pyarrow_gives(tmp_path):
    """In several row groups and files; a column that JSON cannot hold is refused by name, or left out when told so."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for number, part in enumerate((ROWS[:3], ROWS[3:])):
        pq.write_table(pa.Table.from_pylist(part), tmp_path / f"part-{number:05d}-of-00002.parquet", row_group_size=2)
    theirs = [row for path in sorted(tmp_path.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    assert plain(read(tmp_path)) == theirs == ROWS
    odd = tmp_path / "odd.pq"
    table = pa.table({"content": ["x", "y"], "number": [7, 8], "raw": [b"\xff", b"\xfe"], "score": [float("nan"), 1.0]})
    pq.write_table(table, odd)
    given = ("text=content", "id=number")
    with pytest.raises(InputError, match=r"odd\.pq, row 0: invalid UTF-8"):
        read(odd, given=given)
    with pytest.raises(InputError, match=r"(?s)odd\.pq, row 0: ill-typed field 'score'.*=score"):
        read(odd, given=(*given, "=raw"))
    assert plain(read(odd, given=(*given, "=*"))) == [{"id": "7", "text": "x"}, {"id": "8", "text": "y"}]
    with pytest.raises(InputError, match=r"(?s)missing column 'body'.*content"):
        read(odd, given=("text=body", "=raw", "=score"))


def test_what_save_to_disk_wrote_gives_what_datasets_reads(tmp_path):
    """Its shards in the order of its state; of a dictionary one part must be named; a lost shard is missed."""
    import datasets

    datasets.disable_progress_bars()
    made = datasets.Dataset.from_list(ROWS)
    made.select([2, 0, 3]).save_to_disk(tmp_path / "one", num_shards=2)
    datasets.DatasetDict(train=made, test=made.select([1])).save_to_disk(tmp_path / "both")
    assert plain(read(tmp_path / "one")) == datasets.load_from_disk(tmp_path / "one").to_list()
    assert plain(read(tmp_path / "both/test")) == [ROWS[1]]
    with pytest.raises(InputError, match=r"(?s)several corpora.*train, test.*both/train"):
        read(tmp_path / "both")
    shard = tmp_path / "one/data-00001-of-00002.arrow"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-8])
    with pytest.raises(InputError, match=r"(?s)data-00001-of-00002\.arrow is damaged.*without its end"):
        read(tmp_path / "one", rejected=Counter())
    shard.unlink()
    with pytest.raises(InputError, match=r"(?s)one is not whole.*data-00001-of-00002\.arrow"):
        read(tmp_path / "one")


@pytest.mark.parametrize("form", ["example", "json"])
def test_array_records_are_examples_or_json(tmp_path, form):
    """As ArrayRecord's own writer wrote them, more than are read at a time; a damaged file is no empty one."""
    rows = [{"id": f"{n}", "text": f"text {n}", "gold": ["x"]} for n in range(600)]
    path = tmp_path / "rows.array_record"
    array_record(path, (example(row) if form == "example" else json.dumps(row).encode() for row in rows))
    assert [(r.id, r.text) for r in read(path)] == [(row["id"], row["text"]) for row in rows]
    whole = path.read_bytes()
    for stop in (0, 40, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:stop])
        with pytest.raises(InputError, match=r"(?s)rows\.array_record is damaged.*remedy"):
            read(path, rejected=Counter())
    path.write_bytes(whole[:100] + bytes([whole[100] ^ 255]) + whole[101:])
    with pytest.raises(InputError, match=r"rows\.array_record is damaged at record 0"):
        read(path)


def test_records_of_another_form_are_refused_and_never_unpickled(tmp_path):
    """A pickle is a record like any other: its first byte is neither an Example's nor JSON's."""
    import pickle

    array_record(tmp_path / "rows.array_record", [example(ROWS[0]), pickle.dumps({"text": "x"}), b"\x0a\xff"])
    with pytest.raises(InputError, match=r"rows\.array_record, record 1: record of another form"):
        read(tmp_path / "rows.array_record")
    rejected = Counter()
    assert len(read(tmp_path / "rows.array_record", rejected=rejected)) == 1
    assert rejected == {"record of another form": 1, "broken tf.train.Example": 1}


def test_tf_records_are_read_frame_by_frame(tmp_path):
    """Queries too, whose lists of one stay lists; a flipped bit and a short end name file and record."""
    path = tmp_path / "rows.tfrecord-00000-of-00001"
    queries = [{"id": 7, "prompt": "p", "target": " t", "gold": ["x"], "score": 0.5, "ids": [1, -2, 2**40]}]
    path.write_bytes(b"".join(map(framed, map(example, queries))))
    (query,) = read(path, "queries")
    assert (query.id, query.prompt, query.target, query.gold) == ("7", "p", " t", ("x",))
    assert query.fields == {"score": 0.5, "ids": [1, -2, 2**40]}
    # An Example does not tell a list of one from its value.
    rows = [row | {"tags": ["x", "y"]} for row in ROWS]
    whole = b"".join(framed(example(row)) for row in rows)
    path.with_name("rows.tfrecord.gz").write_bytes(gzip.compress(whole))
    path.write_bytes(whole)
    assert plain(read(path)) == plain(read(path.with_name("rows.tfrecord.gz"))) == rows
    path.write_bytes(whole[:-3])
    with pytest.raises(InputError, match=r"rows\.tfrecord-00000-of-00001 is damaged at record 3"):
        read(path, rejected=Counter())
    broken = bytearray(whole)
    broken[len(framed(example(rows[0]))) + 20] ^= 1
    path.write_bytes(broken)
    with pytest.raises(InputError, match=r"is damaged at record 1\n.*do not match"):
        read(path)
    path.write_bytes(json_lines(ROWS))
    with pytest.raises(InputError, match="is damaged at record 0"):
        read(path)


def jagged(path, rows):
    """As levanter's JaggedArrayStore lies on disk: two zarr3 arrays far longer than what is written."""
    values = np.concatenate(rows)
    offsets = np.concatenate([[len(rows)], np.cumsum([len(row) for row in rows])])
    for name, data, dtype in (("offsets", offsets, "int64"), ("data", values, "int32")):
        codec = {"chunk_shape": [8], "codecs": [{"name": "blosc", "configuration": {"clevel": 5}}]}
        metadata = {
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [16]}},
            "codecs": [{"name": "sharding_indexed", "configuration": codec}],
        }
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path}/{name}"}, "metadata": metadata}
        store = ts.open(spec, create=True, dtype=dtype, shape=[2**54]).result()
        store[: len(data)].write(data.astype(dtype)).result()


def ledger(path, **facts):
    path.mkdir(parents=True, exist_ok=True)
    (path / "shard_ledger.json").write_text(json.dumps({"total_num_rows": 3, "is_finished": True, **facts}))


def test_a_cache_of_levanters_is_read_in_one_piece_or_in_parts(tmp_path):
    """Rows of any length; what is unfinished, or has lost a chunk, is refused."""
    rows = [np.arange(5, 12), np.arange(3, 40), np.array([9])]
    whole, parts = tmp_path / "whole/train", tmp_path / "parts"
    ledger(whole, metadata={"preprocessor_metadata": {"tokenizer": "gpt2"}})
    jagged(whole / "input_ids", rows)
    assert [r.tokens for r in read(whole)] == [tuple(map(int, row)) for row in rows]
    assert [r.id for r in read(whole)] == ["train/0", "train/1", "train/2"]
    assert "tokenized, it says, by gpt2" in sources.described(str(whole), "train")
    with pytest.raises(InputError, match=r"(?s)several corpora.*whole/train"):
        read(tmp_path / "whole")
    ledger(parts, layout="sharded", finished_shards=["two", "one"])
    jagged(parts / "two/input_ids", rows[:1])
    jagged(parts / "one/input_ids", rows[1:])
    assert [r.tokens for r in read(parts)] == [tuple(map(int, row)) for row in rows]
    assert [r.id for r in read(parts)] == ["two/0", "one/0", "one/1"]
    (whole / "input_ids/data/c/1").unlink()
    with pytest.raises(InputError, match="is no whole cache"):
        read(whole)
    ledger(whole, is_finished=False)
    with pytest.raises(InputError, match="is no whole cache"):
        read(whole)


def test_ids_that_are_there_are_taken_and_spelt_by_the_vocabulary_that_is_named(tmp_path):
    """Beginning and end stand once, padding that a mask shows is cut, and an id of another vocabulary is refused."""
    path = tmp_path / "rows.jsonl"
    ids = BYTES.encode("Ab")
    padded = {"input_ids": [2, *ids, 1, 0, 0], "attention_mask": [1] * 4 + [0] * 2}
    path.write_bytes(json_lines([padded, {"input_ids": [BYTES.size]}, {"input_ids": [1.5]}]))
    rejected = Counter()
    first, second = read(path, given=("tokens=input_ids",), rejected=rejected)
    assert rejected == {"ill-typed field 'tokens'": 1}
    spelt = split.spelt(first, BYTES)
    (one,) = split.pieces(spelt, BYTES, 32, "refuse")
    assert one.tokens == (2, *ids, 1) and "Ab" in spelt.text
    with pytest.raises(InputError, match=rf"(?s)line 2.*token id outside the vocabulary.*id {BYTES.size}"):
        split.spelt(second, BYTES)
    path.write_bytes(json_lines([{"id": "q", "p": BYTES.encode("is"), "t": BYTES.encode(" x"), "gold": ["a"]}]))
    (query,) = read(path, "queries", ("prompt_tokens=p", "target_tokens=t"))
    query = split.spelt(query, BYTES)
    assert (query.id, query.prompt, query.target, query.gold) == ("q", "is", " x", ("a",))


def test_a_file_of_another_layout_than_its_name_says_is_refused(tmp_path):
    """By its first bytes, in both directions, and files of several layouts in one folder."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), buffer)
    (tmp_path / "rows.jsonl").write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match=r"(?s)rows\.jsonl is not what its name says.*Parquet"):
        read(tmp_path / "rows.jsonl")
    (tmp_path / "rows.parquet").write_bytes(json_lines(ROWS))
    with pytest.raises(InputError, match=r"rows\.parquet is not what its name says"):
        read(tmp_path / "rows.parquet")
    (tmp_path / "rows.jsonl").write_bytes(gzip.compress(json_lines(ROWS)))
    with pytest.raises(InputError, match=r"(?s)rows\.jsonl is not what its name says.*\.gz"):
        read(tmp_path / "rows.jsonl")
    with pytest.raises(InputError, match=r"(?s)several layouts.*rows\.jsonl.*rows\.parquet"):
        read(tmp_path)
    (tmp_path / "rows.parquet").write_bytes(buffer.getvalue()[:-20])
    with pytest.raises(InputError, match=r"rows\.parquet is damaged"):
        read(tmp_path / "rows.parquet")


def test_a_folder_that_lacks_a_shard_is_refused(tmp_path):
    """Names that count themselves say how many there must be; a pattern means what it matches."""
    for number in (0, 2):
        (tmp_path / f"c4-0000{number}-of-00003.jsonl").write_bytes(json_lines([ROWS[number]]))
    with pytest.raises(InputError, match=r"(?s)not whole.*c4-00001-of-00003\.jsonl is missing"):
        read(tmp_path)
    assert len(read(f"{tmp_path}/c4-*.jsonl")) == 2


def test_a_folder_of_several_sets_of_shards_is_refused(tmp_path):
    """Splits that lie side by side, as TFDS and C4 have them, are not one corpus unless a pattern says so."""
    for name in ("c4-train.00000-of-00001.json", "c4-validation.00000-of-00001.json"):
        (tmp_path / name).write_bytes(json_lines([ROWS["validation" in name]]))
    with pytest.raises(InputError, match=r"(?s)several corpora.*c4-train\.\*-of-00001\.json, c4-validation\."):
        read(tmp_path)
    assert [record.id for record in read(f"{tmp_path}/c4-train.*")] == ["a"]
    assert len(read(f"{tmp_path}/*.json")) == 2


@pytest.mark.parametrize("layout", layouts.BY_NAME, ids=lambda layout: layout.name)
def test_a_missing_package_is_named_with_the_command_that_brings_it(monkeypatch, tmp_path, layout):
    """Every layout but plain JSON lines needs one; nothing else of the house is loaded for it."""
    monkeypatch.setattr(packages.importlib, "import_module", lambda name: (_ for _ in ()).throw(ImportError(name)))
    endings = {"JSON lines": "jsonl.zst", "Parquet": "parquet", "Arrow": "arrow", "ArrayRecord": "array_record"}
    path = tmp_path / f"rows.{endings.get(layout.name, 'tfrecord')}"
    path.write_bytes((layout.marks or (b"\x28\xb5\x2f\xfd" if layout.compressible else b"",))[0])
    with pytest.raises(InputError, match=r"(?s)cannot be read.*pip install 'jax_tda\["):
        list(layout.rows(str(path), lambda name: True))


def test_entries_of_fields_that_name_nothing_are_refused(tmp_path):
    """A misspelt part of a record never means the default."""
    (tmp_path / "rows.jsonl").write_bytes(json_lines(ROWS))
    for given in (("txt=text",), ("text=a", "text=b")):
        with pytest.raises(InputError, match=r"the entry 'te?xt="):
            read(tmp_path / "rows.jsonl", given=given)
