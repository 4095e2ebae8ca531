"""Files are read and written alike wherever they lie; what may pass is tried again, what will not is said at once."""

import errno
import importlib.util
import os
import time
from collections import Counter

import pytest

from jax_tda.core import files
from jax_tda.core.errors import InputError
from jax_tda.data import sources, train_vocabulary
from tests import missing


class Flaky:
    """An action that fails so many times before it succeeds."""

    def __init__(self, failures: int, error: Exception):
        self.failures, self.error, self.calls = failures, error, 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return "done"


class Answer(Exception):  # noqa: N818
    """What a store's package raises for an answer of its server."""

    def __init__(self, code: int):
        super().__init__(f"status {code}")
        self.code = code


PASSING = [ConnectionResetError(), TimeoutError(), OSError(errno.EIO, "input/output"), Answer(503), Answer(429)]
LASTING = [FileNotFoundError(), OSError(errno.ENOSPC, "full"), Answer(400), ValueError(), KeyError()]
REFUSALS = [PermissionError("Access Denied"), Answer(401), Answer(403), type("NoCredentialsError", (Exception,), {})()]


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_what_may_pass_is_tried_again_with_growing_waits(error):
    """Until it succeeds; the waits grow about twofold, each by chance its own."""
    action, waits = Flaky(5, error), []
    assert files.retried("s3://bucket/x", action, waits.append) == "done"
    assert action.calls == 6 and len(waits) == 5
    assert all(0.5 <= wait / (0.25 * 2**number) <= 1.5 for number, wait in enumerate(waits))


UNREACHED = (
    r"(?s)gs://bucket/x cannot be reached.*{} attempts.*expected.*answer of its store.*remedy.*same command again"
)


def test_what_does_not_pass_after_many_tries_is_said_in_four_parts():
    """Neither for ever nor silently."""
    error, waits = ConnectionError("down"), []
    action = Flaky(1000, error)
    with pytest.raises(InputError, match=UNREACHED.format(8)) as raised:
        files.retried("gs://bucket/x", action, waits.append)
    assert raised.value.__cause__ is error and action.calls == 8 and sum(waits) < 60


@pytest.mark.parametrize(("seconds", "calls"), [(1, 8), (10, 5), (25, 2), (40, 1), (300, 1)])
def test_a_store_that_does_not_answer_is_given_up_after_a_minute(seconds, calls):
    """Law: however long its package repeats within an attempt, no attempt begins that would end beyond the minute."""
    now, action = [0.0], Flaky(1000, ConnectionError("no network"))

    def attempt() -> str:
        now[0] += seconds
        return action()

    def sleep(wait: float) -> None:
        now[0] += wait

    with pytest.raises(InputError, match=UNREACHED.format(".")):
        files.retried("gs://bucket/x", attempt, sleep, lambda: now[0])
    assert calls - 1 <= action.calls <= calls and now[0] <= max(60, seconds)


def test_one_line_says_what_is_waited_for(monkeypatch, capsys):
    """While an attempt still hangs; once for a bucket."""
    monkeypatch.setattr(files, "_SILENCE", 0.01)
    for name in ("x", "y"):
        files.retried(f"gs://silent/{name}", lambda: time.sleep(0.1))
    assert capsys.readouterr().out == "waiting for gs://silent/x since 0 s, for 60 s at most\n"


def test_gcsfs_gives_a_host_up_that_does_not_answer():
    """By its own option, which leaves slow answers their time."""
    gcsfs = missing.need("gcsfs")
    files.at("gs://bucket/x")
    made = gcsfs.GCSFileSystem(token="anon")
    assert made.requests_timeout.sock_connect == 5 and made.requests_timeout.total is None


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_can_be_read_only_once_is_refused(tmp_path, kind):
    """Before it is opened, which would wait for its other end; whatever reads files."""
    path = tmp_path / "source.jsonl"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    assert not files.is_file(path)
    readers = [files.read, lambda p: list(files.lines(p)), lambda p: sources.identity(p, "", ""), sources.check_exists]
    readers.append(lambda p: list(sources.read(p, "", "", "passages", "refuse", Counter())))
    trained = train_vocabulary.TrainVocabularyConfig
    readers.append(lambda p: train_vocabulary.run(trained(source=p), str(tmp_path / "out")))
    for read in readers:
        with pytest.raises(
            InputError, match=r"(?s)is no regular file.*got.*expected.*remedy.*write the data to a file"
        ):
            read(str(path))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("error", LASTING, ids=repr)
def test_what_will_not_pass_is_raised_at_once(error):
    """Nobody waits for a file that is not there."""
    action = Flaky(1, error)
    with pytest.raises(type(error)):
        files.retried("s3://bucket/x", action, pytest.fail)
    assert action.calls == 1


@pytest.mark.parametrize("error", REFUSALS, ids=repr)
def test_credentials_that_are_missing_or_refused_are_said_at_once(error):
    """In four parts, with the path and the store's own words."""
    said = rf"(?s)s3://bucket/x may not be used.*{type(error).__name__}.*expected.*credentials.*remedy"
    with pytest.raises(InputError, match=said) as raised:
        files.retried("s3://bucket/x", Flaky(1, error), pytest.fail)
    assert raised.value.__cause__ is error


def test_a_local_disk_is_asked_once():
    """Its faults do not pass."""
    action = Flaky(1, ConnectionError())
    with pytest.raises(ConnectionError):
        files.retried("/some/where", action, pytest.fail)


def test_lines_and_blocks_are_those_of_the_bytes(tmp_path, monkeypatch):
    """Whatever the block; a line ends with a newline and with nothing else that looks like one."""
    data = b"one\r\n\ntwo\x0b\x0c\xe2\x80\xa8three\n" * 300_000 + b"the end"
    files.write(tmp_path / "deep" / "file", data)
    assert files.read(tmp_path / "deep" / "file") == data and files.size_of(tmp_path / "deep" / "file") == len(data)
    assert b"".join(files.blocks(tmp_path / "deep" / "file")) == data
    lines = list(files.lines(tmp_path / "deep" / "file"))
    assert lines == [line + b"\n" for line in data.split(b"\n")[:-1]] + [b"the end"]
    assert files.read_range(tmp_path / "deep" / "file", 3, 9) == data[3:9]
    files.write_stream(tmp_path / "deep" / "file", [b"a", b"", b"bc"])
    assert files.read(tmp_path / "deep" / "file") == b"abc" and files.names(tmp_path) == ["deep"]


def test_sizes_are_of_every_file_below(tmp_path):
    """By its path from there, as a walk finds them."""
    for name in ("a", "b/c", "b/d/e~", "b/d/.f"):
        files.write(tmp_path / name, b"x" * len(name))
    files.make_folder(tmp_path / "empty")
    assert files.sizes(tmp_path) == {name: len(name) for name in ("a", "b/c", "b/d/e~", "b/d/.f")}
    files.delete(tmp_path / "b")
    files.delete(tmp_path / "a")
    files.delete(tmp_path / "never there")
    assert files.names(tmp_path) == ["empty"] and files.names(tmp_path / "absent") == []


def test_a_store_whose_package_is_missing_is_said_with_the_extra_that_brings_it(monkeypatch):
    """In four parts."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"(?s)s3fs is not installed.*pip install 'jax_tda\[s3\]'"):
        files.at("s3://bucket/x")


def test_an_unknown_store_is_said():
    """With those that are known."""
    with pytest.raises(InputError, match=r"(?s)ftp://.*gs://BUCKET.*s3://BUCKET"):
        files.at("ftp://host/x")
