"""A disk that is full or may not be written is said in four parts; any other fault stays what it is."""

import errno
import os

import pytest
from etils import epath

from jax_tda.artifacts.artifact import begin
from jax_tda.artifacts.faults import explained
from jax_tda.core.errors import InputError


@pytest.mark.parametrize("write", ["write_bytes", "write_json", "write_lines"])
def test_text_on_a_full_disk_is_named(tmp_path, write):
    """The device that is always full stands in for the file."""
    writer = begin(str(tmp_path / "a"), "thing", {}, {})
    (tmp_path / "a" / "rows.jsonl").symlink_to("/dev/full")
    data = {"write_bytes": b"text", "write_json": 1, "write_lines": ["row"] * 10_000}[write]
    with pytest.raises(InputError, match=r"(?s)no space left while writing .*a/rows\.jsonl.*goes on where it stopped"):
        getattr(writer, write)("rows.jsonl", data)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        ValueError("UNKNOWN: Error writing: [OS error 28: ENOSPC No space left on device]"),
        ValueError("RESOURCE_EXHAUSTED: [OS error 122: EDQUOT Disk quota exceeded]"),
    ],
)
def test_every_spelling_of_a_full_disk_is_understood(error):
    """By number from the operating system, by text from TensorStore."""
    with pytest.raises(InputError, match=r"(?s)no space left while writing OUT.*remedy: +free space") as said:
        with explained("OUT"):
            raise error
    assert said.value.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, "Permission denied"),
        OSError(errno.EROFS, "Read-only file system"),
        PermissionError(errno.EPERM, "Operation not permitted"),
        NotADirectoryError(errno.ENOTDIR, "Not a directory"),
        ValueError("PERMISSION_DENIED: Error opening: [OS error 13: EACCES Permission denied]"),
        ValueError("FAILED_PRECONDITION: [OS error 30: EROFS Read-only file system]"),
    ],
)
def test_every_spelling_of_a_place_that_may_not_be_written_is_understood(error):
    """The remedy is another place."""
    with pytest.raises(InputError, match=r"(?s)OUT may not be written.*remedy: +choose another --output_dir"):
        with explained("OUT"):
            raise error


@pytest.mark.parametrize("error", [OSError(errno.EIO, "I/O error"), ValueError("a fault of our own"), KeyError("x")])
def test_other_faults_pass_unchanged(error):
    """No wrong remedy is offered, and what was already said stays said."""
    said = InputError("said", got=1, expected=2, remedy="permission denied")
    for raised in (error, said):
        with pytest.raises(type(raised)) as passed, explained("OUT"):
            raise raised
        assert passed.value is raised


def test_an_output_that_may_not_be_made_is_refused_at_the_claim(tmp_path, monkeypatch):
    """Before anything is computed."""

    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(type(epath.Path(tmp_path)), "mkdir", refuse)
    with pytest.raises(InputError, match=r"(?s)a may not be written.*Read-only"):
        begin(str(tmp_path / "a"), "thing", {}, {})


def test_a_unit_that_cannot_be_recorded_is_said(tmp_path, monkeypatch):
    """Also while work goes on."""
    writer = begin(str(tmp_path / "a"), "thing", {}, {})

    def refuse(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(type(epath.Path(tmp_path)), "mkdir", refuse)
    with pytest.raises(InputError, match="no space left"):
        writer.finish_unit("shard_0", {})
