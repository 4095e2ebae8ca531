#!/usr/bin/env bash
# What: zstandard 0.25.0 (Python): of a file that breaks off in the midst of a frame, stream_reader and zstandard.open
# give what is there and then the end of the file, without an error; gzip raises EOFError. ZstdDecompressor.decompress
# of several frames one after another, which the format allows and pzstd writes, gives the first one alone.
# Why it matters: a corpus of .jsonl.zst whose download broke off is read as a shorter one. A decompressobj tells (`eof`).
# Exits 0 while the behaviour is there, 1 when it is gone.
set -eu
place=$(mktemp -d); trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q "zstandard==0.25.0"
"$place/venv/bin/python" - <<'PY'
import gzip
import io
import random
import sys

import zstandard

data = random.Random(0).randbytes(1_000_000)
cut = zstandard.compress(data)[:500_000]
read = len(zstandard.ZstdDecompressor().stream_reader(io.BytesIO(cut)).read())
with zstandard.open(io.BytesIO(cut), "rb") as file:
    opened = len(file.read())
try:
    gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(data)[:500_000])).read()
    other = "nothing"
except EOFError as problem:
    other = f"EOFError: {problem}"
both = zstandard.compress(b"first") + zstandard.compress(b"second")
once = zstandard.ZstdDecompressor().decompress(both)
print(f"of a cut frame: stream_reader {read:,} bytes, open {opened:,} bytes, no error; gzip: {other}; of two frames: {once}")
sys.exit(0 if 0 < read < 1_000_000 and 0 < opened < 1_000_000 and once == b"first" else 1)
PY
