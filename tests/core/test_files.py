"""Files are read and written alike wherever they lie; what may pass is tried again, what will not is said at once."""

import errno
import importlib.util

import pytest

from jax_tda.core import files
from jax_tda.core.errors import InputError


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


def test_what_does_not_pass_after_many_tries_is_the_error_that_it_was():
    """Neither for ever nor silently."""
    error, waits = ConnectionError("down"), []
    action = Flaky(1000, error)
    with pytest.raises(ConnectionError) as raised:
        files.retried("gs://bucket/x", action, waits.append)
    assert raised.value is error and action.calls == 8 and sum(waits) < 100


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
