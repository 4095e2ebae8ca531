#!/usr/bin/env bash
# What: pyarrow 26.0.1 reads an Arrow IPC stream that ends between two record batches, without the end-of-stream mark
# that its own writer puts there, as a shorter table, without an error (the format allows streams without the mark).
# Why it matters: the shards of `Dataset.save_to_disk` are such streams, and nothing beside them says how many rows each
# has. One that was cut there loses rows unsaid, through datasets too. The mark is the last eight bytes of a whole one.
# Exits 0 while the behaviour is there, 1 when it is gone.
set -eu
place=$(mktemp -d); trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q "pyarrow==26.0.1" "datasets==5.2.0"
cd "$place"
"$place/venv/bin/python" - <<'PY' 2>/dev/null
import pathlib
import sys

import datasets
import pyarrow as pa

whole = datasets.Dataset.from_dict({"text": [f"text {n}" for n in range(2500)]})
whole.save_to_disk("saved")
(shard,) = pathlib.Path("saved").glob("*.arrow")
data = shard.read_bytes()
with pa.ipc.open_stream(data) as reader:
    batches = list(reader)
# Where the last batch begins: write all but it, without the mark.
sink = pa.BufferOutputStream()
writer = pa.ipc.new_stream(sink, batches[0].schema)
for batch in batches[:-1]:
    writer.write_batch(batch)
begins = sink.tell()
cut = data[:begins]
alone = pa.ipc.open_stream(cut).read_all().num_rows
shard.write_bytes(cut)
through = datasets.load_from_disk("saved").num_rows
print(f"{len(batches)} batches of {whole.num_rows} rows; cut before the last: pyarrow reads {alone}, datasets {through}")
sys.exit(0 if alone < whole.num_rows and through < whole.num_rows else 1)
PY
