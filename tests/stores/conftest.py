"""Both kinds of object stores, each with one server for all tests of this folder."""

import contextlib

import pytest

from tests.stores import servers


@pytest.fixture(scope="session")
def started():
    """From "s3" or "gs" to what a client's environment has to say, with one server each: clients remember the first."""
    running: dict[str, dict[str, str]] = {}
    with contextlib.ExitStack() as stack:

        def start(kind: str) -> dict[str, str]:
            if kind not in running:
                running[kind] = stack.enter_context(getattr(servers, kind)())
            return running[kind]

        yield start


@pytest.fixture(params=["s3", "gs"])
def store(request, started, monkeypatch):
    """`SCHEME://BUCKET` of a running server, which every client of this process finds by its environment."""
    for name, value in started(request.param).items():
        monkeypatch.setenv(name, value)
    return f"{request.param}://{servers.BUCKET}"


@pytest.fixture
def place(store, request):
    """A prefix of its own in the store, with a space in it."""
    return f"{store}/a place/{request.node.name.partition('[')[0]}"
