"""The door: gin text to one frozen config, and every mistake in it said in four parts before any work."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from jax_tda.core.errors import InputError
from jax_tda.jobs import config_files, settings, study_seeds, table
from tests.jobs.fake_jobs import JOBS, PARTS, RestConfig, ShapeConfig, WalkConfig


def built(*bindings: str, files: tuple[Path, ...] = (), job: str = "walk"):
    return settings.build(job, config_files.read([str(path) for path in files], bindings), JOBS, PARTS)


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_without_settings_a_config_is_its_defaults():
    """No file and no binding change nothing."""
    assert built() == WalkConfig()


def test_a_job_applies_its_own_settings_and_its_parts_and_only_checks_those_of_others(tmp_path):
    """One file may hold the settings of the whole road."""
    road = written(
        tmp_path / "road.gin",
        "# a road\nwalk.steps = 3\nwalk:\n  names = ['a', 'b']\nrest.hours = 8\nshape.width = 9\n",
    )
    assert built(files=(road,)) == WalkConfig(steps=3, names=("a", "b"), shape=ShapeConfig(width=9))
    assert built(files=(road,), job="rest") == RestConfig(hours=8)


def test_what_is_written_later_wins(tmp_path):
    """An include lies beneath its file, a file beneath later files, all beneath the command line."""
    written(tmp_path / "low.gin", "walk.steps = 1\nwalk.rate = 1.0\nwalk.fast = True\nwalk.limit = 1\n")
    first = written(tmp_path / "first.gin", "include 'low.gin'\nwalk.rate = 2.0\nwalk.limit = 2\n")
    second = written(tmp_path / "second.gin", "walk.limit = 3\nwalk.names = ('x',)\n")
    config = built("walk.names = ('y',)", files=(first, second))
    assert (config.steps, config.rate, config.fast, config.limit, config.names) == (1, 2.0, True, 3, ("y",))


def test_an_integer_becomes_the_float_that_is_annotated():
    """Rates are floats whether or not a point was written."""
    assert repr(built("walk.rate = 2").rate) == "2.0"


@pytest.mark.parametrize(
    ("binding", "value"),
    [("walk.limit = None", None), ("walk.limit = 5", 5), ("walk.kind = 'right'", "right"), ("walk.names = ()", ())],
)
def test_a_value_of_the_annotated_type_is_kept(binding, value):
    """Optional values, literals and tuples go through as written."""
    assert getattr(built(binding), binding.split(" ")[0].split(".")[1]) == value


@pytest.mark.parametrize(
    "binding",
    [
        "walk.steps = 1.5",
        "walk.steps = True",
        "walk.steps = '3'",
        "walk.steps = None",
        "walk.rate = False",
        "walk.fast = 1",
        "walk.path = 3",
        "walk.names = 'abc'",
        "walk.names = ('a', 1)",
        "walk.limit = 'none'",
        "walk.kind = 'up'",
        "rest.hours = 'eight'",
        "shape.tied = 0",
    ],
)
def test_a_value_of_another_type_is_refused_whichever_job_it_is_for(binding):
    """Nothing is converted but an integer to a float; True is not 1."""
    with pytest.raises(InputError, match="is not possible") as refused:
        built(binding)
    assert binding in str(refused.value.what)


@pytest.mark.parametrize(
    "binding",
    [
        "encode.exclude = ['(']",
        "encode.projected_size = 0",
        "encode.shard_rows = -1",
        "mix_curvature.damping = 1e400",
        "mix_curvature.component = -1",
        "mix_curvature.component_fraction = -1e999",
        "estimate_curvature.rows_at_once = -1",
        "estimate_curvature.sample_size = -1",
        "score.queries_at_once = -1",
        "train_vocabulary.size = 1000000000000000000",
        "bm25.k1 = -1.0",
        "store.type = 'int9'",
        "plan.programs = ['scoring']",
    ],
)
def test_a_value_out_of_its_bounds_is_refused_by_whichever_job_runs_first_with_its_place(binding, tmp_path):
    """Law: file, line and setting, before any job of the file has begun."""
    road = written(tmp_path / "road.gin", f"tokenize.context = 64\n{binding}\n")
    name = binding.split(" = ")[0]
    with pytest.raises(InputError, match=rf"road\.gin, line 2: {re.escape(name)} is not possible"):
        settings.build("tokenize", config_files.read([str(road)], []), table.JOBS, table.PARTS)


def test_an_unknown_parameter_of_another_job_is_refused_with_file_line_and_nearest_name(tmp_path):
    """A slip in one job's settings is found by whichever job runs first."""
    road = written(tmp_path / "road.gin", "walk.steps = 3\n\nshape.widht = 9\n")
    with pytest.raises(InputError) as refused:
        built(files=(road,))
    assert f"{road}, line 3: `shape.widht` does not exist" in refused.value.what
    assert (refused.value.expected, refused.value.remedy) == ("one of tied, width", "did you mean `width`?")


def test_a_name_that_no_job_knows_is_refused_with_the_nearest_name():
    """The known names are the jobs and the parts."""
    with pytest.raises(InputError, match="no job is called `wakl`") as refused:
        built("wakl.steps = 3")
    assert refused.value.expected == "one of rest, shape, walk"
    assert refused.value.remedy == "did you mean `walk`?"


def test_a_part_is_set_by_its_own_name_alone():
    """`walk.shape` is no parameter: the door fills it."""
    with pytest.raises(InputError, match=r"`walk.shape` does not exist"):
        built("walk.shape = 3")


@pytest.mark.parametrize(
    "text",
    [
        "walk.steps = %steps",
        "walk.steps = @steps",
        "walk.steps = @steps()",
        "steps = 3",
        "fast/walk.steps = 3",
        "import os",
        "from os import path",
        "walk.steps = 3\nwalk.steps = 4",
        "include 'other.gin'",
        "walk.path = unquoted",
        "walk.steps = (3",
        "walk.path = 'open",
        "walk.steps 3",
        "walk.steps = 3 4",
        "= 3",
    ],
)
def test_a_binding_that_is_not_a_plain_setting_is_refused(text):
    """No scope, macro, reference or import, nothing set twice in one place, nothing that cannot be read."""
    with pytest.raises(InputError, match="--gin_bindings="):
        built(text)


def test_an_included_file_may_not_include_and_a_file_includes_once(tmp_path):
    """Where a value comes from is seen in at most two files."""
    written(tmp_path / "a.gin", "walk.steps = 1\n")
    written(tmp_path / "b.gin", "include 'a.gin'\n")
    for text in ("include 'b.gin'\n", "include 'a.gin'\ninclude 'a.gin'\n"):
        with pytest.raises(InputError, match="include"):
            built(files=(written(tmp_path / "c.gin", text),))


def test_a_config_file_that_cannot_be_read_is_named(tmp_path):
    """Missing, a directory, or not UTF-8."""
    (tmp_path / "latin.gin").write_bytes("walk.path = 'é'".encode("latin-1"))
    for name in ("missing.gin", ".", "latin.gin"):
        with pytest.raises(InputError, match="cannot be read"):
            built(files=(tmp_path / name,))


def test_an_input_that_the_job_needs_is_named_unless_nothing_is_run(tmp_path):
    """Law: a dry run may have blanks, and so may a config inside another, unless its job is done on the way."""
    for job, needed in (("encode", "encode.examples"), ("score_corpus", "score_corpus.query"), ("plan", "")):
        assert settings.build(job, [], table.JOBS, table.PARTS)
        if needed:
            with pytest.raises(InputError, match=f"{needed} is not set"):
                settings.build(job, [], table.JOBS, table.PARTS, complete=True)
    given = config_files.read([], ["score_corpus.query = 'q'", "score_corpus.answers = 'a'"])
    with pytest.raises(InputError, match=r"encode\.examples is not set"):
        settings.build("score_corpus", given, table.JOBS, table.PARTS, complete=True)
    assert settings.build("plan", [], table.JOBS, table.PARTS, complete=True)


def test_a_value_that_has_no_default_and_was_not_given_is_named():
    """The remedy is the line to add."""
    with pytest.raises(InputError, match=r"`rest.hours` is not set") as refused:
        built(job="rest")
    assert "rest.hours = " in refused.value.remedy


def knocked(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "tests.jobs.fake_jobs", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)


def test_the_command_line_reaches_execute_and_a_dry_run_reaches_plan_alone(tmp_path):
    """Flags, file and bindings meet in one config; the door itself needs no JAX."""
    road = written(tmp_path / "road.gin", "walk.steps = 3\nrest.hours = 8\n")
    flags = (
        f"--gin_file={road}",
        "--gin_bindings=walk.steps = 4",
        "--gin_bindings=walk.rate = 1",
        "--output_dir=there",
    )
    done, dry = knocked(*flags), knocked(*flags, "--dry_run")
    assert (done.returncode, done.stdout) == (0, "device: none needed\nwalked 4 to there\n"), done.stderr
    assert (dry.returncode, dry.stdout) == (0, "would walk 4 to there\n"), dry.stderr


@pytest.mark.parametrize(
    ("binding", "what"), [("walk.stepz=3", "does not exist"), ("walk.path='full'", "The disk that holds there is full")]
)
def test_what_a_user_can_mend_ends_with_four_parts_and_code_two(binding, what):
    """No traceback stands between the user and the remedy."""
    ended = knocked(f"--gin_bindings={binding}", "--output_dir=there")
    assert ended.returncode == 2
    assert what in ended.stderr and "Traceback" not in ended.stderr
    assert all(part in ended.stderr for part in ("got:", "expected:", "remedy:"))


def test_a_fault_of_our_own_keeps_its_traceback():
    """Only what a user can mend is shortened."""
    ended = knocked("--gin_bindings=walk.path='broken'", "--output_dir=there")
    assert ended.returncode == 1 and "RuntimeError: a fault of our own" in ended.stderr


def test_arguments_without_a_flag_and_a_missing_output_directory_are_refused():
    """`--gin_file a b` does not silently lose b."""
    stray, missing = knocked("--output_dir=there", "stray"), knocked()
    assert stray.returncode != 0 and "Unexpected arguments: ['stray']" in stray.stderr and not stray.stdout
    assert missing.returncode != 0 and "output_dir" in missing.stderr


def test_a_study_goes_over_the_number_of_seeds_that_the_flag_says():
    """--seeds 3 is seeds = (0, 1, 2), whatever the file says; a job without seeds, and no seed at all, are refused."""
    rest = built("rest.hours = 8", "rest.seeds = (7,)", job="rest")
    assert study_seeds.with_seeds("rest", rest, 3) == RestConfig(hours=8, seeds=(0, 1, 2))
    for job, config, count in (("walk", WalkConfig(), 3), ("rest", rest, 0)):
        with pytest.raises(InputError, match="--seeds"):
            study_seeds.with_seeds(job, config, count)
    command = [sys.executable, "-m", "tests.jobs.fake_jobs", "--output_dir=o", "--seeds", "2"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert ended.returncode == 2 and "--seeds is not possible for walk" in ended.stderr
