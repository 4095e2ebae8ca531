"""The whole road in an object store, against real servers: from texts that lie there to a page that lies there."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from tests.road.conftest import ROOT
from tests.stores import servers


def go(printed, road, environment, *options) -> subprocess.CompletedProcess:
    """The jobs of a printed road, in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"} | environment
    environment |= {
        "PYTHONPATH": str(ROOT),
        "JAX_COMPILATION_CACHE_DIR": str(road.place / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    command = [sys.executable, "-m", "tests.road.far", str(printed), *options]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)


def fetched(store, environment, folder) -> dict[str, bytes]:
    """Every object below the road's output, read by the store's own package in a process without ours."""
    script = f"""
import fsspec, json, sys
files = fsspec.filesystem({store!r})
print(json.dumps({{name: files.cat_file(name).decode("latin-1") for name in files.find("{servers.BUCKET}/{folder}")}}))
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=os.environ | environment, check=True
    )
    return {name.split(f"{folder}/", 1)[1]: text.encode("latin-1") for name, text in json.loads(ended.stdout).items()}


def put(store, environment, name, path):
    script = f"import fsspec; fsspec.filesystem({store!r}).pipe_file({name!r}, open({str(path)!r}, 'rb').read())"
    subprocess.run([sys.executable, "-c", script], env=os.environ | environment, check=True, capture_output=True)


@pytest.mark.nightly  # Minutes; what object stores do to artifacts is in tests/stores.
@pytest.mark.parametrize("store", ["s3", "gs"])
def test_a_road_in_an_object_store_is_the_road_on_a_disk(gone, tmp_path, store):
    """Same tree, same rankings within rounding; on s3 also after a kill in the middle of encode, and resumed there."""
    far = f"{store}://{servers.BUCKET}/a road"
    with getattr(servers, store)() as environment:
        for path in (gone.corpus, gone.queries):
            put(store, environment, f"{servers.BUCKET}/a road/{path.name}", path)
        printed = tmp_path / "printed"
        command = ["bash", str(ROOT / "launch/local/trackstar.sh"), f"{far}/{gone.corpus.name}"]
        command += [f"{far}/{gone.queries.name}", f"{far}/out", "--config", str(gone.config), "--print"]
        told = os.environ | environment | {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}
        printed.write_bytes(subprocess.run(command, stdout=subprocess.PIPE, env=told, check=True).stdout)
        if store == "s3":
            killed = go(printed, gone, environment, "2")
            assert killed.returncode == -signal.SIGKILL, killed.stdout[-2000:] + killed.stderr[-3000:]
            assert [line for line in killed.stdout.splitlines() if line.startswith("── ")][-1] == "── answer"
        ended = go(printed, gone, environment)
        assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-3000:]
        there = fetched(store, environment, "a road/out")
    here = {str(path.relative_to(gone.out)): path.read_bytes() for path in gone.out.rglob("*") if path.is_file()}
    compare(there, here)


def compare(there: dict[str, bytes], here: dict[str, bytes]) -> None:
    # TensorBoard's and orbax's data files have names of their own.
    plain = {name for name in here if not name.startswith("checkpoint/s")}
    assert {name for name in there if not name.startswith("checkpoint/s")} == plain
    assert "checkpoint/state/commit_success.txt" in there
    assert any(name.startswith("checkpoint/scalars/") for name in there)
    for name in plain:
        if name.split("/")[0] in ("vocabulary", "queries", "corpus") and not name.endswith("manifest.json"):
            assert there[name] == here[name], name
    for name in (name for name in plain if name.startswith("rankings/") and not name.endswith("manifest.json")):
        for ours, theirs in zip(there[name].splitlines(), here[name].splitlines(), strict=True):
            far, near = json.loads(ours), json.loads(theirs)
            assert far["query_id"] == near["query_id"]
            for end in ("proponents", "opponents"):
                scores = [np.array([entry["score"] for entry in row[end]]) for row in (far, near)]
                scale = max([1e-6, *np.abs(scores[1])])
                # Another number of devices in the jobs of one process: fp32 rounding, through R^(-1/2).
                np.testing.assert_allclose(*scores, atol=1e-3 * scale, err_msg=name)
    assert set(json.loads(there["report.json"])["methods"]) == set(json.loads(here["report.json"])["methods"])
