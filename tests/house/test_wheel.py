"""What a wheel brings: everything that is needed away from a checkout."""

import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from tests.house import tree

_BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the content of the wheel, as pip would unpack it."""
    place = tmp_path_factory.mktemp("wheel")
    source = place / "source"
    for name in ("jax_tda", "configs", "launch"):
        shutil.copytree(tree.ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md"):
        shutil.copy(tree.ROOT / name, source)
    built = subprocess.run(
        [sys.executable, "-c", _BUILD, str(place)], cwd=source, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr[-2000:]
    with zipfile.ZipFile(place / built.stdout.split()[-1]) as wheel:
        wheel.extractall(place / "installed")
    return place / "installed"


def test_a_wheel_holds_every_module_every_file_of_data_and_every_example(installed):
    """Law: what git has below jax_tda, configs and launch is in the wheel, and the command's name."""
    for path in tree.files():
        name = path.relative_to(tree.ROOT)
        if name.parts[0] == "jax_tda" and path.suffix in (".py", ".css", ".html", ".js", ".txt", ".typed"):
            assert (installed / name).read_bytes() == path.read_bytes(), name
        if name.parts[0] in ("configs", "launch"):
            assert (installed / "jax_tda/shipped" / name).read_bytes() == path.read_bytes(), name
    (points,) = installed.glob("jax_tda-*.dist-info/entry_points.txt")
    assert "jax-tda = jax_tda.jobs.command:main" in points.read_text()


def test_a_wheel_finds_its_own_examples_in_an_empty_folder(installed, tmp_path):
    """Law: neither the pipeline, nor its help, nor a copy of the launchers asks for a checkout."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PYTHONPATH"] = str(installed)

    def said(*words: str) -> str:
        command = [sys.executable, "-m", "jax_tda", *words]
        ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    printed = said("demo", "--print")
    assert f"--gin_file={installed}/jax_tda/shipped/configs/road/demo.gin" in printed
    assert "jax_tda.jobs.prepare_facts" in printed.splitlines()[0] and "out/demo/text/corpus.jsonl" in printed
    assert "out/demo" in said("demo", "--help") and not list(tmp_path.iterdir())
    said("templates", "--output_dir", "mine")
    script = tmp_path / "mine/launch/local/trackstar.sh"
    words = ["bash", str(script), "c", "q", "o", "--config", "mine/configs/road/demo.gin", "--print"]
    told = environment | {"PYTHON": sys.executable}
    copied = subprocess.run(words, cwd=tmp_path, env=told, capture_output=True, text=True, check=True)
    assert "--gin_file=mine/configs/road/demo.gin" in copied.stdout
