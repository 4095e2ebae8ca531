#!/usr/bin/env bash
# What: transformers 5.24.0 reads yarn's `truncate` from the outer dictionary of rope parameters even where each kind of
# layers has a dictionary of its own (Gemma 3: `rope_parameters.full_attention`). There `"truncate": false` is ignored,
# without a warning, and the wavelengths are those of `true`; in a flat dictionary (Llama) it is honoured.
# Why it matters: a model trained with other code, and a config.json that says so, gives other logits in transformers;
# whoever reads the same file by its words disagrees with the reference. jax_tda therefore refuses it.
# Exits 0 while the behaviour is there, 1 when it is gone.
set -eu
place=$(mktemp -d); trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q --no-cache-dir "transformers==5.24.0" "torch==2.13.0"
cd "$place"
"$place/venv/bin/python" - <<'PY'
import sys

import torch
import transformers
from transformers import Gemma3TextConfig, LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

print("transformers", transformers.__version__, "torch", torch.__version__)


def frequencies(nested, truncate):
    yarn = {
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "rope_theta": 10000.0,
        "truncate": truncate,
    }
    if not nested:
        config = LlamaConfig(hidden_size=128, num_attention_heads=4, max_position_embeddings=256, rope_parameters=yarn)
        return ROPE_INIT_FUNCTIONS["yarn"](config)[0]
    config = Gemma3TextConfig(
        num_hidden_layers=2, layer_types=["sliding_attention", "full_attention"], head_dim=32,
        max_position_embeddings=256,
        rope_parameters={"full_attention": yarn, "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}},
    )
    return ROPE_INIT_FUNCTIONS["yarn"](config, layer_type="full_attention")[0]


changes = {}
for nested in (False, True):
    whole, cut = frequencies(nested, False), frequencies(nested, True)
    changes[nested] = not torch.equal(whole, cut)
    print("per kind of layers" if nested else "flat", "truncate false:", whole[:5].tolist(), "true:", cut[:5].tolist())
print("truncate has an effect in a flat dictionary:", changes[False])
print("truncate has an effect in that of one kind of layers:", changes[True])
sys.exit(0 if changes[False] and not changes[True] else 1)
PY
