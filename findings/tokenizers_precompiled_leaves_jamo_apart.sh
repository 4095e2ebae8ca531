#!/usr/bin/env bash
# What: a SentencePiece unigram model with its own NFKC rules composes decomposed Hangul ("각" written as three jamo) to
# one syllable; `tokenizers` 0.23.3, given the very same compiled rules (`Precompiled`, which is how converted
# tokenizers carry them), leaves the jamo apart. Latin letters with combining accents are composed by both.
# Why it matters: Korean text in NFD (file names, text from some editors) gets other ids from a converted tokenizer.json
# than from the tokenizer.model that it was converted from, and no reader is told.
# Exits 0 while the behaviour is there, 1 when it is gone.
set -eu
place=$(mktemp -d); trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q "tokenizers==0.23.3" "sentencepiece==0.2.3" "protobuf>=5"
cd "$place"
"$place/venv/bin/python" - <<'PY'
import io
import sys
import unicodedata

import sentencepiece as spm
import tokenizers
from sentencepiece import sentencepiece_model_pb2 as pb

texts = ["각 나라의 수도는 어디입니까", "the café is open", "서울은 대한민국의 수도이다"] * 20
made = io.BytesIO()
spm.SentencePieceTrainer.train(
    sentence_iterator=iter(texts), model_writer=made, vocab_size=60, model_type="unigram",
    normalization_rule_name="nfkc", hard_vocab_limit=False, minloglevel=2,
)
model = pb.ModelProto.FromString(made.getvalue())
processor = spm.SentencePieceProcessor(model_proto=made.getvalue())
rules = tokenizers.normalizers.Precompiled(model.normalizer_spec.precompiled_charsmap)
print("sentencepiece", spm.__version__, "tokenizers", tokenizers.__version__)
seen = {}
for name, text in {"Hangul": "각", "Latin": "é"}.items():
    apart = unicodedata.normalize("NFD", text)
    theirs, ours = processor.normalize(apart).strip("▁"), rules.normalize_str(apart)
    seen[name] = (theirs, ours)
    print(name, f"{len(apart)} code points; sentencepiece: {len(theirs)}, tokenizers: {len(ours)}")
sys.exit(0 if seen["Latin"][0] == seen["Latin"][1] and seen["Hangul"][0] == "각" and len(seen["Hangul"][1]) == 3 else 1)
PY
