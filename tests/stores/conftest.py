"""Both kinds of object stores, each with one server for all tests of this folder."""

import os

import pytest

from tests.stores import servers


@pytest.fixture(scope="session", params=["s3", "gs"])
def store(request):
    """`SCHEME://BUCKET` of a running server, which every client of this process finds by its environment."""
    with pytest.MonkeyPatch.context() as patch, getattr(servers, request.param)() as environment:
        for name, value in environment.items():
            patch.setitem(os.environ, name, value)
        yield f"{request.param}://{servers.BUCKET}"


@pytest.fixture
def place(store, request):
    """A prefix of its own in the store, with a space in it."""
    return f"{store}/a place/{request.node.name.partition('[')[0]}"
