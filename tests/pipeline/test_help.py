"""What `jax-tda` says of itself: true of the configs as they are, and without what takes time to import."""

import dataclasses
import importlib.resources
import subprocess
import sys

import pytest

from jax_tda.core import declared
from jax_tda.jobs import command, help_pages, table
from tests.house import tree

_ASK = """
import sys
from jax_tda.jobs import command
for verb in [*command.table.TABLE, *command.PIPELINES]:
    sys.argv = ["jax-tda", verb, "--help"]
    command.main()
slow = {"jax", "numpy", "flax", "tensorstore", "orbax", "gin"} & set(sys.modules)
assert not slow, slow
"""


def test_the_help_file_is_what_the_configs_say_now():
    """Law: `python -m jax_tda.jobs.help_pages` would change nothing."""
    file = importlib.resources.files("jax_tda.jobs").joinpath(help_pages.FILE)
    assert file.read_text("utf-8") == help_pages.written(), "run `python -m jax_tda.jobs.help_pages`"


def test_help_of_every_verb_imports_nothing_that_takes_time():
    """Law: neither JAX nor NumPy is needed to say what a verb takes, so that help is there in a second."""
    ended = subprocess.run([sys.executable, "-c", _ASK], cwd=tree.ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("verb", [*table.TABLE])
def test_help_names_every_setting_with_its_default_and_meaning(verb):
    """Law: each field of the config stands there, inputs as what is read, and each has a meaning."""
    page, config = help_pages.page(verb), table.load(table.JOBS[verb])
    assert table.TABLE[verb].sentence in page and "Output: " in page
    required = {field.name for field in dataclasses.fields(config) if field.metadata.get("required")}
    for setting in declared.described(config):
        assert setting.meaning, f"{verb}.{setting.name} has no meaning in the docstring"
        assert f"\n  {setting.name}" in page
        assert (f"\n  {setting.name} (needed)" in page) == (setting.name in required)


def test_a_verb_that_does_not_exist_is_told_from_the_nearest_and_words_name_a_study(capsys, monkeypatch):
    """Law: code 2 and the nearest verb; `study density` and hyphens name jobs; no verb lists all."""
    assert command.named(["study", "density", "--seeds", "3"]) == ("study_density", ["--seeds", "3"])
    assert command.named(["score-corpus"]) == ("score_corpus", []) and command.named(["import"])[0] in table.TABLE
    for words, code, said in ((["evalute"], 2, "did you mean `evaluate`?"), ([], 2, "rank_baseline")):
        monkeypatch.setattr(command.stopping, "listen", lambda: None)
        monkeypatch.setattr(sys, "argv", ["jax-tda", *words])
        with pytest.raises(SystemExit) as ended:
            command.main()
        assert ended.value.code == code and said in "".join(capsys.readouterr())


@pytest.mark.parametrize("words", [["--help"], ["encode", "--help"]])
def test_a_reader_who_has_seen_enough_sees_no_traceback(words):
    """Law: a help page whose reader has gone, as `| head` goes, ends in silence."""
    asked = subprocess.Popen(
        [sys.executable, "-m", "jax_tda", *words], cwd=tree.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    asked.stdout.close()
    assert asked.stderr.read() == b"" and asked.wait(60) == 0
