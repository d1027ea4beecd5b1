"""The upload API over a bucket: what clients see is the same, and while the bucket is away it is an outage."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest
from werkzeug.test import TestResponse

from tests.support.app import KEPT_NONE, Service, Tables, png
from tests.support.object_store import BUCKET, ObjectStore, client_environment
from tests.support.topologies import free_ports

from .conftest import ServiceMaker
from .imagekit_answers import assert_kept


def in_a_bucket(tables: Tables) -> None:
    tables["upload"]["store"] = f"s3://{BUCKET}/tests/{secrets.token_hex(8)}"


@pytest.fixture
def service(make_service: ServiceMaker, object_store: ObjectStore) -> Service:
    with client_environment(object_store.environment):
        made: Service = make_service(change=in_a_bucket)
    return made


@pytest.fixture
def cut_off(make_service: ServiceMaker, object_store: ObjectStore) -> Service:
    """Nobody listens where its bucket should be."""
    with client_environment(object_store.environment_at(*free_ports(1))):
        made: Service = make_service(change=in_a_bucket)
    return made


def test_a_file_in_a_bucket_is_answered_and_served_as_any(service: Service) -> None:
    content = png(padding=70_000)
    body = assert_kept(service.upload_v1(service.credential(), content))
    path = body["url"].removeprefix("http://localhost")
    assert service.send("GET", path).get_data() == content
    part = service.send("GET", path, {"Range": "bytes=60000-60009"})
    assert (part.status_code, part.get_data()) == (206, content[60_000:60_010])
    assert service.send("HEAD", path).content_length == len(content)
    assert service.send("GET", "/files/nothing.png").status_code == 404
    assert list((service.root.parent / "incoming").iterdir()) == []


def test_an_overwritten_file_in_a_bucket_has_versions(service: Service) -> None:
    same = {"useUniqueFileName": "false", "overwriteFile": "true"}
    first, second = (
        assert_kept(service.upload_v1(service.credential(), png(padding=padding), **same)) for padding in (1, 2)
    )
    assert second["versionInfo"]["name"] == "Version 2"
    assert service.send("GET", "/files/a.png").get_data() == png(padding=2)
    earlier = service.send("GET", f"/files/a.png?ik-obj-version={first['versionInfo']['id']}")
    assert earlier.get_data() == png(padding=1)


ASKS: dict[str, Callable[[Service], TestResponse]] = {
    "upload": lambda service: service.upload_v1(service.credential()),
    "download": lambda service: service.send("GET", "/files/a.png"),
}


@pytest.mark.parametrize("what", ASKS)
def test_a_bucket_that_is_away_is_never_a_yes(cut_off: Service, what: str) -> None:
    answer = ASKS[what](cut_off)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert b"127.0.0.1" not in answer.get_data()
    assert cut_off.on_disk() == KEPT_NONE
    assert list((cut_off.root.parent / "incoming").iterdir()) == []
