#!/usr/bin/env bash
# What: transformers 5.24.0 builds a GPT2Tokenizer from the pieces and merges of tokenizer.json alone, and puts its own
# byte-level pre-tokenizer in place of the one that the file holds, without a warning: a file that parts digits one by
# one (as many Llama-like models' files do, while their tokenizer_config.json says GPT2Tokenizer) gets other ids from
# AutoTokenizer than from `tokenizers` itself. With "PreTrainedTokenizerFast" the file's own is kept.
# Why it matters: the class's name in tokenizer_config.json, long without meaning beside a tokenizer.json, decides ids.
# Exits 0 while the behaviour is there, 1 when it is gone.
set -eu
place=$(mktemp -d); trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q "transformers==5.24.0" "tokenizers==0.23.3"
cd "$place"
"$place/venv/bin/python" - <<'PY' 2>/dev/null
import json
import pathlib
import sys

import tokenizers
import transformers

made = tokenizers.Tokenizer(tokenizers.models.BPE())
made.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([
    tokenizers.pre_tokenizers.Digits(individual_digits=True),
    tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False),
])
made.decoder = tokenizers.decoders.ByteLevel()
trainer = tokenizers.trainers.BpeTrainer(
    vocab_size=300, special_tokens=["<s>", "</s>"], initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet()
)
# Merges of digits are learnt from a text that a plain byte-level cut sees.
learner = tokenizers.Tokenizer(tokenizers.models.BPE())
learner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
learner.train_from_iterator(["in 1234 and 1234 the year 1234"] * 5, trainer)
state = json.loads(made.to_str()) | {"model": json.loads(learner.to_str())["model"]}
found = {}
for name in ("GPT2Tokenizer", "PreTrainedTokenizerFast"):
    folder = pathlib.Path(name)
    folder.mkdir()
    (folder / "tokenizer.json").write_text(json.dumps(state))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": name, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "</s>"})
    )
    read = transformers.AutoTokenizer.from_pretrained(folder)
    found[name] = read.convert_ids_to_tokens(read.encode("1234", add_special_tokens=False))
file = tokenizers.Tokenizer.from_str(json.dumps(state)).encode("1234").tokens
print("transformers", transformers.__version__, "the file itself:", file, "AutoTokenizer:", found)
sys.exit(0 if found["PreTrainedTokenizerFast"] == file != found["GPT2Tokenizer"] else 1)
PY
