"""The commands of the pipeline: every path reaches the jobs as it was given, whatever stands in it."""

import pytest

from jax_tda.jobs import pipelines
from tests.pipeline.printed import commands as printed
from tests.pipeline.printed import values, verbs

STRANGE = [
    "plain",
    "two words",
    "it's",
    'say "hi"',
    "back\\slash\\",
    "$HOME `id` $(id)",
    "%macro @ref",
    "-n & ; | *",
    "λ",
]


@pytest.mark.parametrize("path", STRANGE)
def test_a_path_reaches_every_job_as_it_was_given(path):
    """Shell, flag and gin literal together change no character of a path."""
    jobs = printed(f"c/{path}", f"q/{path}", f"o/{path}", "--config", f"g/{path}")
    given = [value for job in jobs for value in values(job).values()]
    assert f"c/{path}" in given and f"q/{path}" in given
    assert f"o/{path}/corpus" in given and f"o/{path}/checkpoint" in given
    for job in jobs:
        assert f"--gin_file=g/{path}" in job
        assert any(word.startswith(f"--output_dir=o/{path}") for word in job)


def test_a_given_checkpoint_replaces_vocabulary_and_training():
    """Everything else on the road stays."""
    whole = verbs(printed("c", "q", "o"))
    given = verbs(printed("c", "q", "o", "--checkpoint", "k"))
    training = {"train_vocabulary", "pretrain"}
    assert training < set(whole)
    assert given == [verb for verb in whole if verb not in training]


def test_an_imported_checkpoint_has_its_second_moments_estimated_before_they_are_used(tmp_path):
    """No optimizer.json beside decoder.json: one job more, whose output the jobs that divide by √V are given."""
    (tmp_path / "decoder.json").touch()
    jobs = printed("c", "q", "o", "--checkpoint", str(tmp_path))
    order = verbs(jobs)
    assert order.count("estimate_second_moments") == 1
    assert order.index("tokenize") < order.index("estimate_second_moments") < order.index("encode")
    for verb, job in zip(order, jobs, strict=True):
        given = values(job).get(f"{verb}.moments")
        assert given == ("o/second_moments" if verb in ("encode", "evaluate") else None)
    (tmp_path / "optimizer.json").touch()
    own = printed("c", "q", "o", "--checkpoint", str(tmp_path))
    assert [job for job in own if f"{job[2].removeprefix('jax_tda.jobs.')}.moments" in values(job)] == []


def test_a_continued_road_takes_vocabulary_and_parameters_from_the_checkpoint_and_asks_what_it_taught():
    """No vocabulary is trained; training starts from the checkpoint, and answers are compared with its own."""
    jobs = {job[2].removeprefix("jax_tda.jobs."): values(job) for job in printed("c", "q", "o", "--continue_from", "k")}
    assert "train_vocabulary" not in jobs
    assert jobs["tokenize"]["tokenize.vocabulary"] == jobs["check_road"]["check_road.initial"] == "k"
    assert jobs["pretrain"]["pretrain.initial"] == jobs["answer"]["answer.before"] == "k"
    assert jobs["encode"]["encode.checkpoint"] == jobs["answer"]["answer.checkpoint"] == "o/checkpoint"
    own = {name for job in printed("c", "q", "o") for name in values(job)}
    assert not own & {"pretrain.initial", "answer.before"}


def test_a_sentence_encoder_adds_one_method_and_changes_no_other_job():
    """Two embeddings and the score of one by the other, before the report is made; the first job looks at the model."""
    (check, *plain), (checked, *more) = printed("c", "q", "o"), printed("c", "q", "o", "--embedding", "m")
    assert checked == [*check, "--gin_bindings=check_road.embedding='m'"]
    added = [job for job in more if job not in plain]
    assert [job for job in more if job in plain] == plain
    assert verbs(added) == ["embed", "embed", "score"]
    assert values(added[2]) | {"score.method": "embedding"} == values(added[2])
    for side, examples, job in zip(("train", "query"), ("o/corpus", "o/queries"), added, strict=False):
        assert values(job) == {"embed.model": "m", "embed.examples": examples}
        assert values(added[2])[f"score.{side}"] == f"o/embeddings/{side}"
    assert more.index(added[2]) < [job[2] for job in more].index("jax_tda.jobs.evaluate")


def test_a_seed_reaches_every_job_and_is_read_as_a_whole_number():
    """Every draw of a road hangs on the one seed."""
    for job in printed("c", "q", "o", "--seed", "07"):
        seeds = {name: value for name, value in values(job).items() if name.endswith(".seed")}
        assert "pretrain.seed" in seeds and set(seeds.values()) == {7}


def test_every_job_is_divided_among_the_processes_asked_for():
    """The launcher stands before each job; what it starts is the job of one process."""
    alone, divided = printed("c", "q", "o"), printed("c", "q", "o", "--processes", "3")
    for one, several in zip(alone, divided, strict=True):
        assert several[1:3] == ["-m", "jax_tda.pipeline.local_processes"]
        assert several[3:6] == ["--processes", "3", "--"] and several[6:] == one


def test_a_small_format_is_for_the_corpus_alone():
    """What a config says of the store does not reach the queries' encodings."""
    jobs = {job[4]: values(job) for job in printed("c", "q", "o") if job[2] == "jax_tda.jobs.encode"}
    plain = {"store.type": "float32", "store.rank": 0, "store.step": 0.0}
    for output, given in jobs.items():
        said = {name: value for name, value in given.items() if name.startswith("store.")}
        assert said == (plain if output.endswith("/query") else {})
    assert len(jobs) == 4


@pytest.mark.parametrize(
    "arguments",
    [
        ("c", "q"),
        ("c", "q", "o", "x"),
        ("c", "q", "o", "--seed", "-1"),
        ("--nonsense",),
        ("c", "q", "o", "--checkpoint", "a", "--continue_from", "b"),
        ("c", "q", "o", "--processes", "2", "--multiprocess"),
        *(("c", "q", "o", f"--processes={wrong}") for wrong in ("0", "-1", "two", "")),
    ],
)
def test_a_command_that_cannot_be_meant_is_refused_with_the_usage(arguments, capsys):
    """Nothing runs."""
    with pytest.raises(SystemExit) as ended:
        pipelines.main("trackstar", arguments)
    said = capsys.readouterr()
    assert ended.value.code == 2 and "CORPUS QUERIES OUT" in said.err and not said.out


@pytest.mark.parametrize(
    ("arguments", "near"),
    [(("--procesess", "2"), "--processes"), (("--only", "rankings/trackstr"), "rankings/trackstar")],
)
def test_an_option_and_a_step_that_do_not_exist_are_told_from_the_nearest(arguments, near, capsys):
    """Law: code 2, and the name that was probably meant."""
    try:
        assert pipelines.main("trackstar", ["c", "q", "o", *arguments]) == 2
    except SystemExit as ended:
        assert ended.code == 2
    assert f"did you mean `{near}`?" in capsys.readouterr().err


def test_a_dry_run_checks_every_setting_and_says_each_step_in_its_order(tmp_path, capsys):
    """Law: a line or more per step, nothing is written; what waits for an earlier step says for which."""
    assert pipelines.main("trackstar", ["c", "q", str(tmp_path / "o"), "--dry_run"]) == 0
    said = capsys.readouterr().out
    order = [line.partition(":")[0] for line in said.splitlines() if not line.startswith(" ")]
    assert order == verbs(printed("c", "q", str(tmp_path / "o"))) and not list(tmp_path.iterdir())
    assert "tokenize: after vocabulary, queries →" in said
    assert pipelines.main("trackstar", ["c", "q", "o", "--dry_run", "--gin_bindings=page.shown_querys=5"]) == 2
    assert "did you mean `shown_queries`?" in capsys.readouterr().err
