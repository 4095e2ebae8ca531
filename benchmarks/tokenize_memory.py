"""Peak memory of `tokenize` over corpora of several sizes: it should not grow with the corpus.

    python benchmarks/tokenize_memory.py [--megabytes 100 1000] [--vocabulary sentencepiece] [--shards 1]

Hardware: CPU cores under Linux; in the temporary directory four times the largest corpus. Documents are random words,
some 1,000 characters each. Each corpus is tokenized in a fresh process, whose greatest resident size (`ru_maxrss`) and
seconds are printed, as one JSON line a corpus, with the ratio to the first.
"""

import argparse
import json
import os
import pathlib
import random
import resource
import subprocess
import sys
import tempfile
import time

WORDS = 20_000


def written(folder, megabytes, shards):
    """JSON lines of so many megabytes in all."""
    folder.mkdir()
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 10))) for _ in range(WORDS)]
    number = 0
    for shard in range(shards):
        left = megabytes * 1_000_000 // shards
        with (folder / f"part-{shard:05d}.jsonl").open("w") as file:
            while left > 0:
                text = " ".join(draw.choices(words, k=140))
                left -= file.write(json.dumps({"id": f"document-{number:09d}", "text": text}) + "\n")
                number += 1
    return str(folder), number


def tokenized(source, vocabulary, output):
    """In this process: seconds, and the greatest size so far."""
    from jax_tda.data import tokenize

    began = time.monotonic()
    config = tokenize.TokenizeConfig(source=source, vocabulary=vocabulary, context=512)
    made = tokenize.run(config, output)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    facts = made.manifest.facts
    return {"seconds": round(time.monotonic() - began, 1), "peak_bytes": peak, "tokens": facts["tokens"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--vocabulary", choices=("sentencepiece", "bytes"), default="sentencepiece")
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--only", nargs=3, help="SOURCE VOCABULARY OUTPUT: what one fresh process measures")
    options = parser.parse_args()
    if options.only:
        print(json.dumps(tokenized(*options.only)))
        return
    from jax_tda.data import train_vocabulary

    with tempfile.TemporaryDirectory() as name:
        place, first = pathlib.Path(name), None
        small, _ = written(place / "small", 1, 1)
        config = train_vocabulary.TrainVocabularyConfig(source=small, kind=options.vocabulary, size=8192)
        vocabulary = str(train_vocabulary.run(config, str(place / "vocabulary")))
        for megabytes in options.megabytes:
            source, documents = written(place / f"source_{megabytes}", megabytes, options.shards)
            command = [sys.executable, __file__, "--only", source, vocabulary, str(place / f"corpus_{megabytes}")]
            ran = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
            found = json.loads(ran.stdout.splitlines()[-1])
            first = first or found["peak_bytes"]
            ratio = round(found["peak_bytes"] / first, 3)
            print(json.dumps({"megabytes": megabytes, "documents": documents, **found, "ratio": ratio}), flush=True)


if __name__ == "__main__":
    main()
