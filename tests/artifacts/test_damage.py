"""Any flipped byte of any file of an artifact is named at the next read; so is a file cut short or gone."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from jax_tda.artifacts import encodings, ranking
from jax_tda.artifacts.artifact import begin, open_artifact
from jax_tda.artifacts.formats import StoreConfig
from jax_tda.attribution import estimate
from jax_tda.core.config import settings
from jax_tda.core.errors import InputError
from jax_tda.data import tokenize, train_vocabulary
from jax_tda.data.corpus import open_corpus

PASSAGES = [{"id": "a", "text": "one two"}, {"id": "b", "text": "three", "year": 3}, {"id": "c", "text": "é <b>"}]


def make_vocabulary(place: Path) -> str:
    train_vocabulary.run(train_vocabulary.TrainVocabularyConfig(kind="bytes"), str(place / "vocabulary"))
    return str(place / "vocabulary")


def make_corpus(place: Path) -> str:
    (place / "passages.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PASSAGES))
    config = tokenize.TokenizeConfig(
        source=str(place / "passages.jsonl"), vocabulary=make_vocabulary(place), context=8, shard_rows=2
    )
    tokenize.run(config, str(place / "corpus"))
    return str(place / "corpus")


def make_encodings(place: Path) -> str:
    writer = begin(str(place / "encodings"), encodings.KIND, {}, {})
    values = np.random.default_rng(0).normal(size=(3, 2, 2, 2)).astype(np.float32)
    array, status = (
        writer.array("encodings", (3, 2, 2, 2), "float32", 2),
        writer.array("status", (3,), "int8", 2),
    )
    for start in (0, 2):
        array.write_shard(start, values[start : start + 2])
        status.write_shard(start, np.zeros(min(2, 3 - start), np.int8))
    writer.write_lines("ids.jsonl", ({"id": name} for name in "abc"))
    same = {"checkpoint": "c", "projection": "p", "second_moments": "none", "blocks": ["x", "y"]}
    writer.finish(same | {"left_out": {}})
    return str(place / "encodings")


def make_scaled_encodings(place: Path) -> str:
    """Codes of four bits, compressed, of factors, with their scales: every array that a format can have."""
    store = StoreConfig("int4", rank=1, step=0.5)
    writer = begin(str(place / "encodings"), encodings.KIND, {}, {})
    shards = encodings.EncodingWriter(writer, store, (3, 2, 3, 3), 2)
    values = np.random.default_rng(0).normal(size=(3, 2, 3, 3)).astype(np.float32)
    for start in (0, 2):
        shards.write_shard(start, values[start : start + 2], np.zeros(min(2, 3 - start), np.int8))
    writer.write_lines("ids.jsonl", ({"id": name} for name in "abc"))
    same = {"checkpoint": "c", "projection": "p", "second_moments": "none", "blocks": ["x", "y"], "left_out": {}}
    writer.finish(same | {"projected_size": 3, "store": settings(store)})
    return str(place / "encodings")


def make_curvature(place: Path) -> str:
    config = estimate.EstimateCurvatureConfig(encodings=make_encodings(place))
    estimate.run(config, str(place / "curvature"))
    return str(place / "curvature")


def make_ranking(place: Path) -> str:
    writer = begin(str(place), ranking.KIND, {}, {}, name="method")
    entry = {"id": "a", "score": 0.25}
    writer.write_lines("method.jsonl", [ranking.row("q", True, [entry], []), ranking.row("r", False, [], [entry])])
    writer.finish({})
    return str(place)


def read_vocabulary(path: str) -> list:
    reader = open_artifact(path, train_vocabulary.KIND)
    return [reader.read_bytes("vocabulary/bytes.json")]


def read_corpus(path: str) -> list:
    corpus = open_corpus(path)
    examples = corpus.examples(np.arange(corpus.count), corpus.longest, corpus.count)
    return [corpus.records, corpus.spans, examples["tokens"], examples["loss_weights"], corpus.vocabulary.files()]


def read_encodings(path: str) -> list:
    store = encodings.open_encodings(path)
    return [store.ids, store.status, store.read(0, store.count), store.read_rows(np.array([2, 0]))]


def read_curvature(path: str) -> list:
    array = open_artifact(path, estimate.KIND).array("curvature")
    return [array.read(0, array.shape[0])]


def read_ranking(path: str) -> list:
    return [ranking.read(f"{path}/method.jsonl")[0]]


KINDS = {
    "vocabulary": (make_vocabulary, read_vocabulary),
    "corpus": (make_corpus, read_corpus),
    "encodings": (make_encodings, read_encodings),
    "encodings in codes": (make_scaled_encodings, read_encodings),
    "curvature": (make_curvature, read_curvature),
    "ranking": (make_ranking, read_ranking),
}


@pytest.fixture(params=KINDS)
def artifact(request, tmp_path):
    """A tiny artifact, what reads all of it, and its files."""
    make, read = KINDS[request.param]
    place = Path(make(tmp_path))
    # Alone, as one of many artifacts in the ranking's case.
    files = [path for path in sorted(place.rglob("*")) if path.is_file()]
    return str(place), read, files


def named(message: str, path: Path) -> bool:
    """Whether an error names the file, or the array that a shard is part of."""
    return str(path) in message or any(str(path).startswith(f"{word}/") for word in message.split())


def test_any_flipped_byte_of_any_file_is_named_at_the_next_read(artifact):
    """Exhaustive: one bit of every byte, in shards, texts and manifest. Never a changed number, never silence."""
    place, read, files = artifact
    read(place)
    random = np.random.default_rng(0)
    for path in files:
        whole = path.read_bytes()
        for at in range(len(whole)):
            flipped = bytearray(whole)
            flipped[at] ^= 1 << int(random.integers(8))
            path.write_bytes(flipped)
            with pytest.raises(InputError, match="damaged") as refused:
                read(place)
            assert named(str(refused.value), path), (path, at, str(refused.value))
        path.write_bytes(whole)
    read(place)


def test_a_file_that_is_cut_short_or_gone_is_named(artifact):
    """Every file of the artifact, shards and manifest too, cut at its end, its middle and to nothing."""
    place, read, files = artifact
    for path in files:
        whole = path.read_bytes()
        for kept in (len(whole) - 1, len(whole) // 2, 0, None):
            path.write_bytes(whole[:kept]) if kept is not None else path.unlink()
            if kept is None and path.name.endswith("manifest.json"):
                continue  # Without its manifest a ranking is somebody else's, and other artifacts are unfinished.
            with pytest.raises(InputError, match=r"(?s)damaged.*remedy") as refused:
                read(place)
            assert str(path) in str(refused.value)
        path.write_bytes(whole)
    read(place)


def test_an_artifact_can_be_moved(artifact, tmp_path_factory):
    """Nothing in it depends on where it lies: a copy elsewhere reads the same, bit for bit."""
    place, read, _ = artifact
    copy = tmp_path_factory.mktemp("copy") / "there"
    shutil.copytree(place, copy)
    for here, there in zip(read(place), read(str(copy)), strict=True):
        np.testing.assert_array_equal(here, there)
