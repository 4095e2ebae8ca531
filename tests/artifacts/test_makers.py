"""Laws of what is said where an artifact was meant and something else was given."""

import importlib
import shlex

import pytest

from jax_tda.artifacts import makers
from jax_tda.artifacts.artifact import open_artifact
from jax_tda.core.errors import InputError
from jax_tda.jobs import config_files, settings, table
from tests.house import tree


def refusal(path, kind):
    with pytest.raises(InputError) as refused:
        open_artifact(str(path), kind)
    return refused.value


@pytest.mark.parametrize("name", ["model", 'it\'s $HOME `x` "y"', "模型"])
@pytest.mark.parametrize("kind", ["checkpoint", "corpus", "second_moments"])
def test_the_remedy_is_a_command_that_takes_the_very_path(tmp_path, kind, name):
    """Law: read as a shell and gin read it, the command's setting is the path that was given."""
    path = tmp_path / name
    if kind == "checkpoint":
        path.mkdir()
        (path / "config.json").write_text("{}")
    else:
        path = path.with_name(name + {"corpus": ".jsonl", "second_moments": ".pt"}[kind])
        path.write_text("x")
    said = refusal(path, kind)
    words = shlex.split(said.remedy[said.remedy.index("python -m") :])
    job = words[2].removeprefix("jax_tda.jobs.")
    (given,) = [word.removeprefix("--gin_bindings=") for word in words if word.startswith("--gin_bindings=")]
    config = settings.build(job, config_files.read([], [given]), table.JOBS, table.PARTS, False)
    field = given.partition("=")[0].partition(".")[2]
    assert getattr(config, field) == str(path)
    assert said.got != "no manifest"


def test_a_gguf_file_names_the_import(tmp_path):
    """Law: in any spelling; what is no file of that name has no manifest, and the jobs that make one are named."""
    (tmp_path / "m.GGUF").write_bytes(b"GGUF")
    assert "jax_tda.jobs.import_checkpoint" in refusal(tmp_path / "m.GGUF", "checkpoint").remedy
    assert "pretrain or import_checkpoint" in refusal(tmp_path / "absent.gguf", "checkpoint").remedy
    assert refusal(tmp_path, "thing").remedy == "check the path, or run the job that makes it"


def test_every_kind_of_artifact_names_a_job_that_is_there():
    """Law: each `KIND` of the library has its makers, and each maker is a job."""
    assert {job for jobs in makers.MADE_BY.values() for job in jobs.split(" or ")} <= set(table.JOBS)
    kinds = set()
    for path in (tree.ROOT / "jax_tda").rglob("*.py"):
        if any(line.startswith("KIND = ") for line in path.read_text("utf-8").splitlines()):
            module = ".".join(path.relative_to(tree.ROOT).with_suffix("").parts)
            kinds.add(importlib.import_module(module).KIND)
    assert kinds <= set(makers.MADE_BY)
