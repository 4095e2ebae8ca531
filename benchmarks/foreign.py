"""How far an imported model is from the same files read by transformers: loss, logits, likeliest tokens, token ids.

Logits are compared with transformers' in float32 and in float64: the latter says whose rounding a difference is.

    python benchmarks/foreign.py MODEL [--text TEXT]

MODEL is a GGUF file or a Hugging Face folder; it needs transformers and torch (the extra `test`) and memory for the
model in float64. For models that no test may download. Prints one JSON line.
"""

import argparse
import json
import os
from pathlib import Path

TEXT = (
    "Ulaanbaatar is the capital and most populous city of Mongolia. It is the coldest capital city in the world, on "
    "average. Numbers: 1,300 metres, 3.14; 東京, naïve,  two spaces."
)


def parsed():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--text", default=TEXT)
    return parser.parse_args()


def ours(path, text):
    """Tokens and logits of our decoder."""
    import jax
    import numpy as np

    from jax_tda.data import foreign_vocabulary
    from jax_tda.models.decoder import Decoder
    from jax_tda.models.importers import assemble
    from jax_tda.models.importers.opened import open_source

    source = open_source(path)
    vocabulary = foreign_vocabulary.read(path, "", "", source.config.vocabulary_size)
    ids = vocabulary.encode(text)
    tokens = np.array([[vocabulary.beginning_id, *ids]], np.int32)
    params = assemble.parameters(source, jax.devices()[:1])
    return source.family, ids, tokens, np.asarray(jax.jit(Decoder(source.config).apply)({"params": params}, tokens))


def theirs(path, text, tokens):
    """Token ids and logits of transformers, in float32 and in float64."""
    import numpy as np
    import torch
    import transformers

    place = Path(path)
    folder, options = (place, {}) if place.is_dir() else (place.parent, {"gguf_file": place.name})
    # A folder's own type may be narrower; a GGUF file is dequantised to float32 anyway.
    kind = {"dtype": torch.float32} if place.is_dir() else {}
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", **options, **kind)
    numbers = torch.from_numpy(tokens.astype(np.int64))
    with torch.no_grad():
        logits = model.eval()(numbers).logits.numpy()
        # Tables of positions are made anew in every call, of the default type.
        torch.set_default_dtype(torch.float64)
        exact = model.double()(numbers).logits.numpy()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options)
    return tokenizer(text, add_special_tokens=False)["input_ids"], logits, exact


def main():
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    o = parsed()
    import jax.numpy as jnp
    import numpy as np

    from jax_tda.models import likelihood

    family, ids, tokens, mine = ours(o.model, o.text)
    their_ids, other, exact = theirs(o.model, o.text, tokens)
    weights = jnp.ones(tokens.shape, jnp.float32)
    losses = [float(likelihood.loss(jnp.asarray(logits), tokens, weights)[0]) / len(ids) for logits in (mine, other)]
    result = {
        "family": family,
        "tokens": len(ids),
        "same_ids": ids == list(their_ids),
        "loss_per_token": losses,
        "greatest_difference_of_logits": float(np.abs(mine - other).max()),
        "ours_from_float64": float(np.abs(mine - exact).max()),
        "theirs_from_float64": float(np.abs(other - exact).max()),
        "greatest_logit": float(np.abs(other).max()),
        "same_likeliest": float((mine.argmax(-1) == other.argmax(-1)).mean()),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
