"""What the tests of Python share."""

import uuid

import pytest

import strata


@pytest.fixture(name="uri")
def uri_fixture():
    uri = "shm:py-%s" % uuid.uuid4().hex
    yield uri
    try:
        strata.remove(uri, force=True)
    except strata.NotFoundError:
        pass
