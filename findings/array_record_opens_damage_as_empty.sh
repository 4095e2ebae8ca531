#!/usr/bin/env bash
# What: array_record 0.8.6 opens an ArrayRecord file that is truncated, empty or of another format without an error:
# num_records() is 0, ok() is False, and the reason is raised only by close(). (ArrayRecordDataSource does raise it.)
# Why it matters: to who reads by the module's reader, a shard whose download broke off is an empty shard.
# Exits 0 while the behaviour is there, 1 when it is gone.
set -eu
place=$(mktemp -d); trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q "array_record==0.8.6"
cd "$place"
"$place/venv/bin/python" - <<'PY'
import pathlib
import sys

from array_record.python import array_record_data_source, array_record_module

writer = array_record_module.ArrayRecordWriter("whole.array_record", "group_size:1")
for number in range(100):
    writer.write(b"record %d" % number)
writer.close()
whole = pathlib.Path("whole.array_record").read_bytes()
silent = []
for name, data in {"truncated": whole[:-10], "empty": b"", "json": b'{"text": "x"}\n' * 9}.items():
    pathlib.Path(f"{name}.array_record").write_bytes(data)
    reader = array_record_module.ArrayRecordReader(f"{name}.array_record")
    count, ok = reader.num_records(), reader.ok()
    try:
        reader.close()
        said = "nothing"
    except RuntimeError as problem:
        said = str(problem)
    try:
        length = len(array_record_data_source.ArrayRecordDataSource(f"{name}.array_record"))
    except Exception as problem:
        length = f"{type(problem).__name__}: {problem}"
    silent.append(count == 0 and not ok)
    print(f"{name}: num_records {count}, ok {ok}, at close: {said}; data source of length {length}")
sys.exit(0 if all(silent) else 1)
PY
