"""The page's script and style are what their source builds, and they ship with the licence of what is in them."""

import shutil
import subprocess

import pytest

from tests.house import tree
from tests.missing import demand

SOURCE, BUNDLE = tree.ROOT / "viewer", tree.ROOT / "jax_tda/viewer/bundle"
TOOLS = SOURCE / "node_modules/esbuild"


@pytest.fixture(scope="module")
def node():
    demand(shutil.which("node"), "no node: what builds the page is not there")
    demand(TOOLS.is_dir(), "not the page's tools: `npm ci --prefix viewer` brings them")
    return shutil.which("node")


def test_the_bundle_is_what_the_source_builds(node, tmp_path):
    """Law: a new build has the same bytes."""
    subprocess.run([node, str(SOURCE / "build.mjs"), str(tmp_path)], check=True, capture_output=True)
    names = sorted(path.name for path in BUNDLE.iterdir())
    assert names == sorted(path.name for path in tmp_path.iterdir()) == ["LICENSES.txt", "page.css", "page.js"]
    for name in names:
        assert (BUNDLE / name).read_bytes() == (tmp_path / name).read_bytes(), "run `npm run build --prefix viewer`"


def test_the_source_has_the_types_it_says(node):
    """Law: TypeScript's compiler finds nothing."""
    compiler = SOURCE / "node_modules/typescript/bin/tsc"
    ended = subprocess.run(
        [node, str(compiler), "--noEmit", "-p", str(SOURCE)], check=False, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout


def test_the_licence_of_what_is_bundled_ships_with_it():
    """Law: MIT asks that its text and the copyright line go along."""
    licences = (BUNDLE / "LICENSES.txt").read_text("utf-8")
    assert "Preact" in licences and "Copyright" in licences and "Permission is hereby granted" in licences
    assert "Preact" in (BUNDLE / "page.js").read_text("utf-8")[:200]
