"""JSON has one kind of number, so `60.0` is as whole as `60`, wherever a body has a whole number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.app import Service, Tables
from tokensvc.core import strict_json

if TYPE_CHECKING:
    from tests.web.conftest import ServiceMaker


@pytest.mark.parametrize(("value", "number"), [(17, 17), (17.0, 17), (-0.0, 0), (1e9, 10**9)])
def test_whole(value: object, number: int) -> None:
    assert strict_json.whole(value) == number
    assert type(strict_json.whole(value)) is int


@pytest.mark.parametrize("value", [17.5, True, "17", None, float("inf"), [17]])
def test_not_whole(value: object) -> None:
    assert strict_json.whole(value) is None


def test_the_lifetime_of_a_v2_credential(service: Service) -> None:
    assert service.post(b'{"uploadPayload": {"fileName": "a.png"}, "expire": 60.0}').status_code == 200
    assert service.post(b'{"uploadPayload": {"fileName": "b.png"}, "expire": 60.5}').status_code == 400


def test_the_size_of_a_batch(service: Service) -> None:
    answer = service.send("POST", "/auth/batch", service.bearer, data=b'{"version": "v1", "count": 2.0}')
    assert len(answer.get_json()["credentials"]) == 2
    assert (
        service.send("POST", "/auth/batch", service.bearer, data=b'{"version": "v1", "count": 2.5}').status_code == 400
    )


def test_the_end_of_a_v1_credential_that_is_redeemed(service: Service) -> None:
    credential = service.credential()
    body = {"version": "v1", **credential, "expire": float(credential["expire"])}
    answer = service.send("POST", "/redeem", {"Authorization": f"Bearer {service.reader_key}"}, json=body)
    assert answer.get_json()["outcome"] == "spent"


def test_the_second_before_which_all_is_revoked(make_service: ServiceMaker) -> None:
    def may_operate(tables: Tables) -> None:
        tables["callers"]["backend"]["keys"][0]["may"] = ["operate"]

    service = make_service(change=may_operate)
    for second, status in ((1_700_000_000.0, 200), (1_700_000_000.5, 400)):
        mark = {"profile": "short", "issued_before": second}
        assert service.send("POST", "/revoke", service.bearer, json=mark).status_code == status
