"""A credential is good once: over replays, outages and restarts, and if it was minted elsewhere."""

from __future__ import annotations

import contextlib
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from imagekitio import ImageKit

from tests.support.app import KEPT_NONE, KEPT_ONE, png
from tests.support.valkey import Valkey
from tokensvc.adapters.nonces import fence
from tokensvc.core.nonces import nonce_id

from .imagekit_answers import (
    AGAIN,
    REFUSED_ACCOUNT,
    USED_V2,
    assert_kept,
    assert_refused,
    assert_success,
    used_v1,
)

if TYPE_CHECKING:
    from werkzeug.test import TestResponse

    from tests.support.app import Service

    from .conftest import ServiceMaker


# Used once


def test_a_v1_credential_is_used_once(service: Service) -> None:
    credential = service.credential()
    assert_kept(service.upload_v1(credential, png(1)))
    for _ in range(2):
        assert_refused(
            service.upload_v1(credential, png(2), fileName="b.png"),
            400,
            "credential.replayed",
            used_v1(credential["token"]),
            f"The credential has been used before. {AGAIN}",
        )
    assert service.on_disk() == KEPT_ONE


def test_a_v2_credential_is_used_once(service: Service) -> None:
    token = service.jwt({"fileName": "a.png"})
    assert_kept(service.upload_v2(token, png(1), fileName="a.png"))
    for _ in range(2):
        assert_refused(
            service.upload_v2(token, png(2), fileName="a.png"),
            400,
            "credential.replayed",
            USED_V2,
            f"The credential has been used before. {AGAIN}",
        )
    assert service.on_disk() == KEPT_ONE


def test_a_used_credential_is_remembered_until_it_could_not_be_accepted_anyway(service: Service) -> None:
    """The last second of the leeway is where other services have had a window for a second use."""
    credential = service.credential()
    assert_kept(service.upload_v1(credential))
    service.clock.now += 1804
    assert_refused(service.upload_v1(credential), 400, "credential.replayed", used_v1(credential["token"]))
    (until,) = [
        service.redis.expiretime(key.decode())
        for key in service.on_record()
        if nonce_id("default", "v1", credential["token"].encode()).encode() in key
    ]
    assert until > service.clock.now + 5


def test_a_credential_that_is_not_on_record_is_refused(service: Service) -> None:
    """Genuine, and not issued here: absence means no."""
    first = service.upload_v1(service.own_credential(str(uuid.uuid4()), service.clock.now + 60))
    claims = b'{"fileName":"a.png","iat":%d,"exp":%d}' % (service.clock.now, service.clock.now + 60)
    second = service.upload_v2(service.own_jwt(claims), fileName="a.png")
    for answer in (first, second):
        detail = "The credential is not on record: not issued here, or long expired."
        assert_refused(answer, 403, "credential.unissued", REFUSED_ACCOUNT, f"{detail} {AGAIN}")
    assert service.on_disk() == KEPT_NONE


def test_a_revoked_credential_is_refused(service: Service) -> None:
    credential = service.credential()
    service.nonces.revoke(nonce_id("default", "v1", credential["token"].encode()), actor="test")
    detail = f"The credential was revoked. {AGAIN}"
    assert_refused(service.upload_v1(credential), 403, "credential.revoked", REFUSED_ACCOUNT, detail)


# Outages


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_an_outage_shows_nothing_and_spends_nothing(make_service: ServiceMaker, version: str) -> None:
    """The store crashes before an upload, and is started again by somebody who knows that it lost nothing."""
    with Valkey(appendonly="yes") as own:
        with contextlib.closing(own.client()) as operator:
            fence.initialise(operator, 0, "epoch-00")
        service: Service = make_service(store=own, on_fence="wait")
        first, second = service.credential(), service.jwt({"fileName": "a.png"})

        def upload() -> TestResponse:
            return service.upload_v1(first) if version == "v1" else service.upload_v2(second, fileName="a.png")

        own.kill()
        answer = upload()
        assert_refused(answer, 503, "store.unavailable", "A store that the service needs does not answer.")
        assert service.on_disk() == KEPT_NONE
        own.start()
        with contextlib.closing(own.client()) as operator:
            fence.rebind(operator, 0, "epoch-01")
        assert_success(service, upload(), png())
        assert upload().headers["X-Tokensvc-Code"] == "credential.replayed"


def test_a_store_that_was_replaced_refuses_what_was_outstanding(make_service: ServiceMaker) -> None:
    with Valkey(appendonly="yes") as own:
        service: Service = make_service(store=own)
        used, unused = service.credential(), service.credential()
        assert_kept(service.upload_v1(used))
        own.restart()
        detail = f"The credential was issued before the nonce store was replaced. {AGAIN}"
        for credential in (used, unused):
            assert_refused(service.upload_v1(credential), 403, "credential.stale", REFUSED_ACCOUNT, detail)
        assert_kept(service.upload_v1(service.credential()))


def test_an_emptied_store_refuses_what_was_outstanding(make_service: ServiceMaker) -> None:
    with Valkey() as own:
        service: Service = make_service(store=own)
        used, unused = service.credential(), service.credential()
        assert_kept(service.upload_v1(used))
        own.command("FLUSHALL")
        for credential in (used, unused):
            assert_refused(service.upload_v1(credential), 403, "credential.unissued", REFUSED_ACCOUNT)


# Credentials minted elsewhere with the account's key


def crossing_off(tables: dict[str, Any]) -> None:
    tables["profiles"]["default"]["unissued"] = "cross-off"


def minted_by_the_sdk(service: Service) -> dict[str, Any]:
    sdk = ImageKit(private_key=service.private_key)
    try:
        return {**sdk.helper.get_authentication_parameters(), "publicKey": service.public_key}
    finally:
        sdk.close()


def test_a_credential_of_imagekits_sdk_is_taken_once_where_the_profile_says_so(make_service: ServiceMaker) -> None:
    service: Service = make_service(change=crossing_off)
    for _ in range(2):
        credential = minted_by_the_sdk(service)
        assert_kept(service.upload_v1(credential))
        for _ in range(2):
            answer = service.upload_v1(credential)
            assert_refused(answer, 400, "credential.replayed", used_v1(credential["token"]))


def test_a_jwt_minted_elsewhere_is_taken_once_where_the_profile_says_so(make_service: ServiceMaker) -> None:
    service: Service = make_service(change=crossing_off)
    token = service.own_jwt(b'{"fileName":"a.png","iat":%d,"exp":%d}' % (service.clock.now, service.clock.now + 60))
    assert_kept(service.upload_v2(token, fileName="a.png"))
    assert_refused(service.upload_v2(token, fileName="a.png"), 400, "credential.replayed", USED_V2)


def test_crossing_off_takes_no_more_than_one_of_ours_either(make_service: ServiceMaker) -> None:
    service: Service = make_service(change=crossing_off)
    credential = service.credential()
    assert_kept(service.upload_v1(credential))
    assert_refused(service.upload_v1(credential), 400, "credential.replayed", used_v1(credential["token"]))


def test_a_credential_of_imagekits_sdk_is_refused_otherwise(service: Service) -> None:
    assert_refused(service.upload_v1(minted_by_the_sdk(service)), 403, "credential.unissued", REFUSED_ACCOUNT)
    assert service.on_disk() == KEPT_NONE
