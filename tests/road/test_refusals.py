"""A road that cannot end well does not begin: refused at its start, in four parts, before anything is written."""

import pytest

from jax_tda.core.errors import InputError
from jax_tda.data.corpus import open_corpus
from tests.jobs.tiny_road import write_lines
from tests.road import texts, walk
from tests.road.conftest import SETTINGS


def refused(ended, out, steps=0) -> str:
    """What was said by a road that stopped before its first job, or at it."""
    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert ended.stdout.count("── ") == ended.stdout.count("── check_road") == steps and not out.exists()
    assert "Traceback" not in ended.stderr
    assert all(part in ended.stderr for part in ("got:", "expected:", "remedy:"))
    return ended.stderr


def test_too_few_queries_for_the_rule_of_lambda_stop_the_road_at_its_start(road, tmp_path):
    """Both numbers are named, and the config line that fixes λ; with that line the road is open."""
    config = tmp_path / "few.gin"
    config.write_text(SETTINGS + "mix_curvature.component = 50\n")
    said = refused(road.command("--config", str(config), out=tmp_path / "out"), tmp_path / "out", steps=1)
    assert "12 queries" in said and "rank at most 48" in said and "at least 50" in said
    line = "mix_curvature.query_weight = 0.9"
    assert f"`{line}`" in said
    config.write_text(config.read_text() + line + "\n")
    check, *_ = walk.jobs(road.command("--print", "--config", str(config), out=tmp_path / "out").stdout)
    walk.run(*check)


def test_a_misspelt_setting_of_the_last_job_stops_the_road_at_its_start(road, tmp_path):
    """By file, line and the nearest name that exists."""
    config = tmp_path / "misspelt.gin"
    config.write_text(SETTINGS.strip() + "\npage.shown_querys = 5\n")
    said = refused(road.command("--config", str(config), out=tmp_path / "out"), tmp_path / "out")
    number = len(config.read_text().splitlines())
    assert f"misspelt.gin, line {number}: `page.shown_querys` does not exist" in said
    assert "did you mean `shown_queries`?" in said


def first_job(road, out, *options, **places):
    return next(walk.jobs(road.command("--print", *options, out=out, **places).stdout))


def test_a_missing_checkpoint_is_refused_at_the_start(road, tmp_path):
    """With the path of the manifest that is not there."""
    check = first_job(road, tmp_path / "out", "--checkpoint", str(tmp_path / "absent"))
    with pytest.raises(InputError, match=r"(?s)no finished checkpoint at .*absent.*absent/manifest\.json.*remedy"):
        walk.run(*check)


def test_a_wrong_sentence_encoder_is_refused_at_the_start(road, tmp_path):
    """A folder that is not there, and one that holds no encoder, by the file that is missing."""
    (tmp_path / "empty").mkdir()
    for name in ("empty", "absent"):
        check = first_job(road, tmp_path / "out", "--embedding", str(tmp_path / name))
        with pytest.raises(InputError, match=rf"(?s){name}/config\.json cannot be read.*remedy"):
            walk.run(*check)


def test_the_queries_that_gained_need_a_model_that_is_trained_on(road, gone, tmp_path):
    """Of a model trained anew nothing was known before; with --continue_from the road is open."""
    config = tmp_path / "gained.gin"
    config.write_text(SETTINGS + "evaluate.over = 'gained'\n")
    options = ("--config", str(config))
    with pytest.raises(InputError, match=r"(?s)'gained' is not possible.*no --continue_from.*remedy"):
        walk.run(*first_job(road, tmp_path / "out", *options))
    continued = first_job(road, tmp_path / "out", *options, "--continue_from", str(gone.out / "checkpoint"))
    walk.run(*continued)


def test_queries_that_cannot_be_read_are_refused_at_the_start(road, tmp_path):
    """Missing, or broken at a line; so is a corpus that is not there."""
    broken = tmp_path / "broken.jsonl"
    broken.write_text((road.queries.read_text()) + '{"id": "x", "prompt"\n')
    for queries, said in ((broken, r"broken\.jsonl, line 13: broken JSON"), (tmp_path / "absent.jsonl", "absent")):
        with pytest.raises(InputError, match=said):
            walk.run(*first_job(road, tmp_path / "out", queries=queries))
    check = first_job(road, tmp_path / "out")
    object.__setattr__(check[1], "corpus", str(tmp_path / "nowhere.jsonl"))
    with pytest.raises(InputError, match=r"nowhere\.jsonl"):
        walk.run(*check)


def test_a_query_longer_than_the_checkpoints_context_is_refused_by_file_and_line(gone, tmp_path):
    """Before anything is encoded; the context of a model is what it was trained with."""
    longer = {"id": "long", "prompt": "The capital " * 40, "target": " is"}
    queries = tmp_path / "longer.jsonl"
    write_lines(queries, [*texts.QUERIES, longer])
    printed = gone.command(
        "--print", "--checkpoint", str(gone.out / "checkpoint"), queries=queries, out=tmp_path / "out"
    )
    check, tokenize, *_ = walk.jobs(printed.stdout)
    context = max(24, open_corpus(str(gone.out / "queries")).longest)
    walk.run(*check)
    with pytest.raises(
        InputError, match=rf"(?s)longer\.jsonl, line 13: query 'long' is longer.*at most {context} tokens"
    ):
        walk.run(*tokenize)


def test_a_tail_patch_rate_of_zero_is_refused_at_the_start(road, tmp_path):
    """A step of 0 changes nothing, and the figure would be 0 for every method."""
    config = tmp_path / "zero.gin"
    config.write_text(SETTINGS + "tail_patch.rate = 0.0\n")
    with pytest.raises(InputError, match=r"(?s)tail_patch\.rate is not possible.*0\.0.*remedy.*tail_patch\.rate"):
        first_job(road, tmp_path / "out", "--config", str(config))


def test_an_output_directory_of_other_settings_is_refused_by_what_differs(gone):
    """A road with another seed does not go on in the same tree."""
    jobs = {
        verb: (verb, config, output)
        for verb, config, output in walk.jobs(gone.command("--print", "--seed", "1").stdout)
    }
    with pytest.raises(InputError, match=r"(?s)checkpoint holds something else.*differs in settings\.seed"):
        walk.run(*jobs["pretrain"])
