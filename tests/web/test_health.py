"""The probes: `/livez` never depends on the store, `/readyz` does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.app import ORIGIN
from tests.support.valkey import Valkey
from tokensvc.web import create_app

from .conftest import problem_of

if TYPE_CHECKING:
    from tests.support.app import Service

    from .conftest import ServiceMaker


@pytest.mark.parametrize(("path", "status"), [("/livez", "alive"), ("/readyz", "ready")])
def test_a_probe_is_answered_without_anybody_signing_in(service: Service, path: str, status: str) -> None:
    answer = service.send("GET", path)
    assert (answer.status_code, answer.get_json()) == (200, {"status": status})
    assert answer.content_type == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert service.send("HEAD", path).status_code == 200


def test_ready_follows_the_store_and_live_does_not(make_service: ServiceMaker) -> None:
    with Valkey() as own:
        service: Service = make_service(store=own)
        assert service.send("GET", "/readyz").status_code == 200
        own.kill()
        answer = service.send("GET", "/readyz")
        assert problem_of(answer, 503, "store.unavailable") == "A store that the service needs does not answer."
        assert 1 <= int(answer.headers["Retry-After"]) <= 5
        assert service.send("GET", "/livez").status_code == 200
        own.start()
        assert service.send("GET", "/readyz").status_code == 200


def test_a_store_that_evicts_is_not_ready(make_service: ServiceMaker) -> None:
    """It would forget what was issued, and worse."""
    with Valkey(maxmemory="64mb", maxmemory_policy="allkeys-lru") as own:
        service: Service = make_service(store=own)
        assert problem_of(service.send("GET", "/readyz"), 503, "store.unavailable")


def test_the_probes_issue_nothing(service: Service) -> None:
    before = service.on_record()
    for path in ("/livez", "/readyz"):
        service.send("GET", path, {**service.bearer, "Origin": ORIGIN})
    assert service.on_record() <= before


def test_a_service_that_is_about_to_stop_is_not_ready_and_serves_on(make_service: ServiceMaker) -> None:
    service = make_service()
    service.app = create_app(service.doors(stopping=lambda: True))
    service.client = service.app.test_client()
    answer = service.send("GET", "/readyz")
    assert (answer.status_code, answer.get_json()) == (503, {"status": "stopping"})
    assert service.send("GET", "/livez").status_code == 200
    assert service.credential()
