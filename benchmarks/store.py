"""What a smaller store costs: bytes against the ranking, for every format of stored encodings.

    python benchmarks/store.py out/demo [--formats FORMAT …] [--both] [--tail_patch FORMAT …] [--queries N]

Takes a directory that a road has finished, writes its corpus's encodings again in each format (with --both those of the
queries too), without the model, and goes the rest of the road from there as a user of that format would: R of what was
stored, the road's λ and damping, TrackStar's ranking. Everything is compared with float32; where the road stored less,
its corpus is encoded once more. A format is a type with its options, such as `int8:step=0.3` or `bfloat16:rank=8`.

Hardware: none in particular; about half a minute for a format on two CPU cores, and minutes for --tail_patch. Prints a
table and one JSON line, with the overlap of the road's own ranking with float32's.
"""

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path

import numpy as np

from jax_tda.artifacts import encodings as schema
from jax_tda.artifacts import ranking
from jax_tda.artifacts.artifact import begin, open_artifact
from jax_tda.artifacts.encodings import open_encodings
from jax_tda.artifacts.formats import StoreConfig
from jax_tda.attribution import estimate, mix
from jax_tda.attribution import run as score
from jax_tda.core.config import settings
from jax_tda.data.corpus import open_corpus
from jax_tda.encoding import run as encode
from jax_tda.evaluation import run as judging
from jax_tda.evaluation.bootstrap import paired
from jax_tda.evaluation.tail_patch import TailPatchConfig

FORMATS = (
    *("float32", "bfloat16", "int8", "int8:step=0.28", "int8:step=0.5", "int4", "int4:step=1", "int4:step=1.7"),
    *("float32:rank=12", "int8:rank=12", "bfloat16:rank=4", "int8:rank=7", "int4:rank=12", "int4:rank=6"),
)
STREAMS = ("train", "query")


def parse(text):
    """`TYPE[:rank=C][:step=S]` as a StoreConfig."""
    kind, *options = text.split(":")
    given = dict(option.split("=") for option in options)
    return StoreConfig(kind, int(given.get("rank", 0)), float(given.get("step", 0)))


def in_float32(source, output):
    """The encodings of `source` if they are float32, else the same made again in float32."""
    if source.store == StoreConfig():
        return source
    known = {field.name for field in dataclasses.fields(encode.EncodeConfig)} - {"store"}
    made = {name: value for name, value in source.reader.manifest.settings.items() if name in known}
    paths = {name: path for name, path in source.reader.manifest.run["inputs"].items() if name in known}
    encode.run(encode.EncodeConfig(**made | paths, store=StoreConfig()), output)
    return open_encodings(output)


def store_again(source, store, output):
    """The encodings of `source` in another format at `output`; the error of each usable row."""
    values = source.read(0, source.count).reshape(source.count, len(source.blocks), *2 * [source.projected_size])
    writer = begin(output, schema.KIND, source.reader.manifest.settings | {"store": settings(store)}, {})
    arrays = schema.EncodingWriter(writer, store, values.shape, source.shard_rows)
    for start in range(0, source.count, source.shard_rows):
        rows = slice(start, start + source.shard_rows)
        arrays.write_shard(start, values[rows], source.status[rows])
    writer.write_lines("ids.jsonl", ({"id": name} for name in source.ids))
    writer.finish(source.facts | {"store": settings(store)})
    usable = source.status == schema.OK
    difference = open_encodings(output).read(0, source.count)[usable] - source.read(0, source.count)[usable]
    sizes = [np.linalg.norm(x.reshape(len(x), -1), axis=1) for x in (difference, source.read(0, source.count)[usable])]
    return sizes[0] / sizes[1]


def bytes_of(path):
    """Bytes of the arrays that hold the numbers, scales and metadata included."""
    names = (Path(path) / name for name in ("encodings", "scales"))
    return sum(file.stat().st_size for name in names for file in name.rglob("*") if file.is_file())


def settings_of(reader, kind):
    """The settings of a manifest as far as the config still has them."""
    return {name: value for name, value in reader.manifest.settings.items() if name in kind.__dataclass_fields__}


def rank(road, place):
    """TrackStar's ranking of the encodings at `place`, made as the road made its own."""
    made = {name: open_artifact(str(road / "curvature" / name)) for name in STREAMS}
    for name, reader in made.items():
        options = settings_of(reader, estimate.EstimateCurvatureConfig)
        config = estimate.EstimateCurvatureConfig(**options | {"encodings": str(place / name)})
        estimate.run(config, str(place / f"curvature_{name}"))
    correction = open_artifact(str(road / "corrections" / "trackstar"))
    paths = {"train": str(place / "curvature_train"), "query": str(place / "curvature_query")}
    same = {"encodings": str(place / "train"), "query_weight": correction.manifest.facts["query_weight"]}
    mix.run(
        mix.MixCurvatureConfig(**settings_of(correction, mix.MixCurvatureConfig) | paths | same),
        str(place / "correction"),
    )
    config = score.ScoreConfig(
        **settings_of(open_artifact(str(road / "rankings"), name="trackstar"), score.ScoreConfig)
        | {name: str(place / name) for name in ("train", "query", "correction")}
        | {"answers": str(road / "answers")}
    )
    score.run(config, str(place))
    return ranking.read(str(place / "trackstar.jsonl"))[0]


def overlap(rows, reference, k=10):
    """Mean over queries of the share of the reference's first k proponents that are among the first k."""
    first = {row["query_id"]: {entry["id"] for entry in row["proponents"][:k]} for row in reference}
    return float(np.mean([len(first[r["query_id"]] & {e["id"] for e in r["proponents"][:k]}) / k for r in rows]))


def interval(one, other, exact):
    """The paired difference over the queries answered exactly."""
    return paired({name: value for name, value in one.items() if name in exact}, other, seed=0).as_dict()


def mean(table, exact):
    """The mean over the queries answered exactly."""
    return float(np.mean([value for name, value in table.items() if name in exact and value is not None]))


def measure(road, formats, both, patched, queries, work):
    """One result per format, float32 first."""
    corpus, asked = open_corpus(str(road / "corpus")), open_corpus(str(road / "queries"))
    sources = {name: open_encodings(str(road / "encodings" / name)) for name in STREAMS}
    sources["train"] = in_float32(sources["train"], str(work / "float32"))
    whole = sources["train"].count * sources["train"].dimension * 4
    own = ranking.read(str(road / "rankings" / "trackstar.jsonl"))[0]
    exact = {row["query_id"] for row in own if row["answered_exactly"]}
    formats = ["float32", *(name for name in formats if name != "float32")]
    results, rankings = {}, {}
    for name in formats:
        with tempfile.TemporaryDirectory() as directory:
            place = Path(directory)
            errors = store_again(sources["train"], parse(name), str(place / "train"))
            store_again(sources["query"], parse(name) if both else parse("float32"), str(place / "query"))
            rows = rankings[name] = rank(road, place)
            size = bytes_of(place / "train")
        reference = rankings.setdefault("reference", rows)
        found = judging.judge_retrieval(rows, corpus, asked)["mrr"]
        if not results:
            right = found
        results[name] = {
            "bytes_per_example": size / sources["train"].count,
            "ratio": whole / size,
            "relative_error": float(np.mean(errors)),
            "overlap_at_10": overlap(rows, reference),
            "mrr": mean(found, exact),
            "mrr_difference": interval(found, right, exact),
        }
        print(line(name, results[name]), flush=True)
    if patched:
        chosen = {name: rankings[name] for name in ("reference", *patched)}
        tables = {name: {} for name in chosen}
        made = open_artifact(str(road), name="report").manifest.settings["tail_patch"] | {"queries": queries}
        config = judging.EvaluateConfig(checkpoint=str(road / "checkpoint"), tail_patch=TailPatchConfig(**made))
        judging.judge_tail_patch(config, chosen, tables, corpus, asked)
        for name in patched:
            change, before = tables[name]["tail_patch"], tables["reference"]["tail_patch"]
            results[name]["tail_patch"] = mean(change, exact)
            results[name]["tail_patch_difference"] = interval(change, before, exact)
            print(f"{name}: tail-patch difference {results[name]['tail_patch_difference']}")
    return results, overlap(own, reference)


def line(name, result):
    """A row of the table."""
    d = result["mrr_difference"]
    return (
        f"| `{name}` | {result['bytes_per_example']:,.0f} | 1/{result['ratio']:.2f} | {result['relative_error']:.4f} | "
        f"{result['overlap_at_10']:.4f} | {result['mrr']:.4f} | {d['mean']:+.4f} [{d['low']:+.4f}, {d['high']:+.4f}] |"
    )


def main():
    """Prints the table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("road", type=Path, help="what a road wrote; it is only read")
    parser.add_argument("--formats", nargs="+", default=list(FORMATS))
    parser.add_argument("--both", action="store_true", help="store the queries' encodings in the format too")
    parser.add_argument("--tail_patch", nargs="*", default=[], help="formats that tail-patch judges too")
    parser.add_argument("--queries", type=int, default=150, help="of the tail-patch")
    given = parser.parse_args()
    print("| format | bytes per example | of float32 | relative error | overlap@10 | MRR | difference |")
    print("|---|---|---|---|---|---|---|")
    formats = list(dict.fromkeys([*given.formats, *given.tail_patch]))
    with tempfile.TemporaryDirectory() as work:
        results, own = measure(given.road, formats, given.both, given.tail_patch, given.queries, Path(work))
    print(json.dumps({"benchmark": "store", "both": given.both, "roads_own_overlap_at_10": own, "formats": results}))


if __name__ == "__main__":
    main()
