"""What a job survives: a kill at any moment, gradients that are no direction, and damage to what it reads."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from jax_tda.artifacts import ranking
from jax_tda.artifacts.artifact import begin
from jax_tda.artifacts.encodings import NOT_FINITE, OK, ZERO, open_encodings
from jax_tda.attribution import estimate, mix
from jax_tda.attribution import run as score
from jax_tda.core.errors import InputError
from jax_tda.data.corpus import open_corpus
from jax_tda.encoding import run as encode
from jax_tda.models import checkpoint_artifact, checkpoints
from tests.jobs import tiny_road

ROOT = Path(__file__).parents[2]
COUNT, SHARD_ROWS = 200, 2


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    """A corpus of many small shards, some queries, and a model."""
    place = tmp_path_factory.mktemp("road")
    corpus = tiny_road.tokenized(place, "corpus", tiny_road.passages(COUNT))
    tiny_road.tokenized(place, "queries", tiny_road.queries(6), kind="queries")
    tiny_road.trained(place, corpus)
    return place


def encode_config(road: Path, examples="corpus", checkpoint="checkpoint_0", **options) -> encode.EncodeConfig:
    sizes = {"projected_size": 2, "shard_rows": SHARD_ROWS, "tokens_per_batch": 64, "buckets": 1}
    return encode.EncodeConfig(str(road / examples), str(road / checkpoint), **sizes | options)


def start(config: encode.EncodeConfig, output: Path) -> subprocess.Popen:
    """The encode job in a process of its own, on the devices that this process has."""
    bindings = [
        f"--gin_bindings=encode.{name} = {getattr(config, name)!r}"
        for name in ("examples", "checkpoint", "projected_size", "shard_rows", "tokens_per_batch", "buckets")
    ]
    command = [sys.executable, "-m", "jax_tda.jobs.encode", f"--output_dir={output}", *bindings]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def shards(output: Path) -> dict[str, tuple[int, int]]:
    """Each shard file with what changes when it is written again."""
    files = [path for path in output.rglob("c/**/*") if path.is_file() and not path.name.endswith(".__lock")]
    return {str(path.relative_to(output)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


def test_encode_killed_and_run_again_gives_the_same_store_bit_for_bit(road, tmp_path):
    """SIGKILL in the midst of shards; the second run writes no finished shard again and ends at the same bytes."""
    config = encode_config(road)
    output, units = tmp_path / "killed", tmp_path / "killed" / "unfinished" / "units"
    process = start(config, output)
    while process.poll() is None and not (units.exists() and len(list(units.glob("*.json"))) >= 3):
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    said, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, said
    with pytest.raises(InputError, match=r"(?s)an unfinished artifact.*goes on where it stopped"):
        open_encodings(str(output))

    finished = {int(path.stem.removeprefix("shard_")) for path in units.glob("*.json")}
    before = shards(output)
    assert 3 <= len(finished) < COUNT // SHARD_ROWS, "the kill came too late to say anything"
    # The shard in flight may have been written and not yet recorded; no other work was in vain.
    started = {int(Path(name).parts[2]) for name in before}
    assert len(started - finished) <= 1

    resumed = start(config, output)
    said, _ = resumed.communicate()
    assert resumed.returncode == 0, said
    after = shards(output)
    for name, (inode, time_written) in before.items():
        if int(Path(name).parts[2]) in finished:
            assert after[name] == (inode, time_written), f"{name} was written again"

    encode.run(config, str(tmp_path / "whole"))
    files = {str(path.relative_to(output)) for path in output.rglob("*") if path.is_file()}
    whole = {str(path.relative_to(tmp_path / "whole")) for path in (tmp_path / "whole").rglob("*") if path.is_file()}
    assert files == whole and len(files) == 2 * COUNT // SHARD_ROWS + 6
    for name in files - {"manifest.json"}:
        assert (output / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    # The manifests differ in the day alone: seconds and paths.
    assert (
        open_encodings(str(output)).reader.manifest.digest
        == open_encodings(str(tmp_path / "whole")).reader.manifest.digest
    )


def flawed_corpus(road: Path, rows: list[dict], silent: int) -> None:
    """The corpus at `road/flawed`; no token of one example counts for its loss."""
    source = open_corpus(tiny_road.tokenized(road, "sound", rows))
    facts, spans = source.reader.manifest.facts, source.spans.copy()
    spans[silent, 1] = spans[silent, 0]
    writer = begin(str(road / "flawed"), "corpus", {}, {})
    tokens = source.examples(np.arange(source.count), source.longest, source.count)["tokens"]
    for name, values in (("tokens", tokens), ("spans", spans)):
        writer.array(name, values.shape, "int32", 4096).write_shard(0, values)
    writer.write_lines("records.jsonl", source.records)
    for name, data in source.vocabulary.files().items():
        writer.write_bytes(f"vocabulary/{name}", data)
    writer.finish(facts)


def broken_checkpoint(road: Path, token: int) -> None:
    """The checkpoint at `road/broken`: the model's, with NaN for the embedding of one token."""
    sound = checkpoint_artifact.open_checkpoint(str(road / "checkpoint_0"))
    state = checkpoints.restore_untyped(str(sound.reader.path / "state"))
    (table,) = [name for name, leaf in state["params"].items() if "embedding" in leaf]
    state["params"][table]["embedding"][token] = np.nan
    writer = begin(str(road / "broken"), checkpoint_artifact.KIND, {}, {})
    checkpoints.save(str(writer.path / "state"), state)
    for name in sound.reader.manifest.files:
        if not name.startswith(("state/", "scalars/")):
            writer.write_bytes(name, sound.reader.read_bytes(name))
    writer.finish(sound.reader.manifest.facts)


def test_gradients_that_are_zero_or_not_finite_are_flagged_counted_named_and_left_out(road, tmp_path, capsys):
    """Such an example is in no estimate of R and in no ranking; every other is; such a query has an empty ranking."""
    rows = [*tiny_road.passages(8), {"id": "poisoned", "text": "a ~ b"}]
    flawed_corpus(road, rows, silent=2)
    broken_checkpoint(road, 3 + ord("~"))
    asked = [*tiny_road.queries(3), {"id": "poisoned query", "prompt": "~", "target": " 4"}]
    tiny_road.tokenized(road, "asked", asked, kind="queries")
    for stream, examples in (("train", "flawed"), ("query", "asked")):
        config = encode_config(road, examples, "broken", second_moments="none", shard_rows=4)
        encode.run(config, str(tmp_path / stream))
    assert "1 examples flagged zero_gradient, left out of R and rankings: p2" in capsys.readouterr().out

    train, query = (open_encodings(str(tmp_path / stream)) for stream in ("train", "query"))
    expected = np.full(9, OK)
    expected[[2, 8]] = ZERO, NOT_FINITE
    np.testing.assert_array_equal(train.status, expected)
    assert train.facts["left_out"] == {"zero_gradient": 1, "not_finite": 1}
    assert train.facts["left_out_ids"] == {"zero_gradient": ["p2"], "not_finite": ["poisoned"]}
    assert query.facts["left_out_ids"] == {"zero_gradient": [], "not_finite": ["poisoned query"]}
    stored = train.reader.array("encodings").read(0, 9)
    assert np.isnan(stored[8]).all() and not stored[2].any() and np.isfinite(stored[:8]).all()

    made = estimate.run(estimate.EstimateCurvatureConfig(str(tmp_path / "train")), str(tmp_path / "curvature"))
    assert (made.manifest.facts["sample"], made.manifest.facts["left_out"]) == (7, 2)
    usable = train.read(0, 9)[expected == OK].astype(np.float64)
    by_hand = sum(np.einsum("bk,bl->bkl", row, row) for row in usable) / 7
    np.testing.assert_allclose(made.array("curvature").read(0, by_hand.shape[0]), by_hand, rtol=1e-5, atol=1e-12)

    mixed = mix.MixCurvatureConfig(str(tmp_path / "curvature"), "", str(tmp_path / "train"), query_weight=0.0)
    mix.run(mixed, str(tmp_path / "correction"))
    answers = begin(str(tmp_path / "answers"), "answers", {}, {})
    answers.write_lines("answers.jsonl", ({"query_id": q["id"], "answered_exactly": True} for q in asked))
    answers.finish({})
    for method, unit_norm, correction in (("dot", False, ""), ("cosine", True, ""), ("corrected", True, "correction")):
        config = score.ScoreConfig(
            train=str(tmp_path / "train"),
            query=str(tmp_path / "query"),
            correction=correction and str(tmp_path / correction),
            answers=str(tmp_path / "answers"),
            method=method,
            unit_norm=unit_norm,
        )
        assert score.run(config, str(tmp_path / "rankings")).manifest.facts["left_out"] == train.facts["left_out"]
        lines, _ = ranking.read(str(tmp_path / "rankings" / f"{method}.jsonl"))
        assert [line["query_id"] for line in lines] == [query["id"] for query in asked]
        for line in lines:
            ranked = {"p0", "p1", "p3", "p4", "p5", "p6", "p7"} if line["query_id"] != "poisoned query" else set()
            for end in ("proponents", "opponents"):
                assert {entry["id"] for entry in line[end]} == ranked and len(line[end]) == len(ranked)
                assert all(np.isfinite(entry["score"]) for entry in line[end])


def test_a_flipped_byte_of_any_file_of_a_checkpoint_is_named_before_it_is_used(road, tmp_path):
    """Parameters, optimizer state, metadata, settings and vocabulary alike."""
    checkpoint = road / "checkpoint_0"
    random = np.random.default_rng(0)
    for path in [path for path in sorted(checkpoint.rglob("*")) if path.is_file()]:
        whole = path.read_bytes()
        for at in {0, len(whole) - 1, *random.integers(max(len(whole), 1), size=3).tolist()} if whole else ():
            flipped = bytearray(whole)
            flipped[at] ^= 1 << int(random.integers(8))
            path.write_bytes(flipped)
            with pytest.raises(InputError, match="damaged") as refused:
                checkpoint_artifact.open_checkpoint(str(checkpoint))
            assert str(path) in str(refused.value)
        path.write_bytes(whole)
    assert jax.tree.leaves(checkpoint_artifact.open_checkpoint(str(checkpoint)).params())


def test_encode_refuses_what_does_not_fit_before_it_computes(road, tmp_path):
    """A missing checkpoint, a longer example, another vocabulary: nothing is written."""
    tiny_road.tokenized(road, "long", [{"id": "a", "text": "x" * 60}], context=50)
    refusals = {
        "there is no finished checkpoint at .*absent": encode_config(road, checkpoint="absent"),
        "there is no finished corpus at .*absent": encode_config(road, examples="absent"),
        r"long does not fit the checkpoint .*checkpoint_0: context": encode_config(road, examples="long"),
        "is not what this input needs": encode_config(road, examples="vocabulary"),
    }
    for what, config in refusals.items():
        with pytest.raises(InputError, match=rf"(?s){what}.*got:.*expected:.*remedy:"):
            encode.run(config, str(tmp_path / "out"))
        assert not (tmp_path / "out").exists()
    for name, value in {"second_moments": "adam", "loss": "prompt", "exclude": ("(",), "projected_size": 0}.items():
        with pytest.raises(InputError, match=rf"encode\.{name} is not possible"):
            encode_config(road, **{name: value})


def test_encodings_of_other_projections_are_not_joined(road, tmp_path):
    """Score and mix name both artifacts, what differs, and the remedy."""
    for name, seed in (("plain", 0), ("other", 1)):
        encode.run(encode_config(road, "queries", second_moments="none", seed=seed), str(tmp_path / name))
    plain, other = str(tmp_path / "plain"), str(tmp_path / "other")
    estimate.run(estimate.EstimateCurvatureConfig(plain), str(tmp_path / "curvature"))
    said = r"other cannot be joined: they differ in projection[\s\S]*remedy: +encode both with the same .* seed"
    with pytest.raises(InputError, match=f"plain and .*{said}"):
        score.run(score.ScoreConfig(plain, other, "", plain), str(tmp_path / "rankings"))
    with pytest.raises(InputError, match=f"curvature and .*{said}"):
        config = mix.MixCurvatureConfig(str(tmp_path / "curvature"), "", other, query_weight=0.0)
        mix.run(config, str(tmp_path / "mixed"))
    assert not (tmp_path / "rankings").exists() and not (tmp_path / "mixed").exists()
