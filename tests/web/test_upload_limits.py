"""How large a file may be, by its kind and by what is known of its sender before its body is read."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.app import BOUNDARY, KEPT_NONE, Service, Tables, basic, form, png
from tokensvc.core.plans import PLANS

from .conftest import ServiceMaker
from .imagekit_answers import REFUSED_ACCOUNT, SIGNATURE, TOO_LARGE, USED_V2, assert_kept, assert_refused, used_v1

MP4 = b"\0\0\0\x18ftypisom\0\0\2\0isomiso2"
FILE, VIDEO, UNVERIFIED = 100_000, 300_000, 50_000


@pytest.fixture
def limited(make_service: ServiceMaker) -> Service:
    def change(tables: Tables) -> None:
        tables["upload"]["plan"] |= {"max_video_bytes": VIDEO, "max_unverified_bytes": UNVERIFIED}

    service: Service = make_service(change=change)
    return service


def headers_of(credential: dict[str, str]) -> dict[str, str]:
    names = {"token": "Token", "expire": "Expire", "signature": "Signature", "publicKey": "Public-Key"}
    return {f"X-Upload-{names[name]}": text for name, text in credential.items()}


def refused_as_too_large(answer: Any, most: int) -> None:
    assert_refused(answer, 400, "too_large", TOO_LARGE, f"The file is larger than {most:,} bytes. Send a smaller file.")


@pytest.mark.parametrize(
    ("content", "most"), [(png(), FILE), (b"ftypisom", FILE), (MP4, VIDEO), (b"\x1aE\xdf\xa3webm", VIDEO)]
)
@pytest.mark.parametrize("over", [0, 1])
def test_a_video_may_be_larger_than_other_files(limited: Service, content: bytes, most: int, over: int) -> None:
    content = content.ljust(most + over, b"\0")
    answer = limited.upload("v1", {"fileName": "a.mp4"}, content, Authorization=basic(limited.private_key))
    if not over:
        assert assert_kept(answer)["size"] == most
        return
    refused_as_too_large(answer, most)
    assert limited.on_disk() == KEPT_NONE


@pytest.mark.parametrize("content", [png(), MP4])
@pytest.mark.parametrize("over", [0, 1])
def test_who_is_not_known_before_the_body_may_send_less(limited: Service, content: bytes, over: int) -> None:
    content, credential = content.ljust(UNVERIFIED + over, b"\0"), limited.credential()
    answer = limited.upload_v1(credential, content)
    if not over:
        assert assert_kept(answer)["size"] == UNVERIFIED
        return
    refused_as_too_large(answer, UNVERIFIED)
    assert_kept(limited.upload("v1", {"fileName": "a.png"}, content, **headers_of(credential)))


@pytest.mark.parametrize("also_in_form", [False, True])
def test_a_credential_may_come_in_headers(limited: Service, *, also_in_form: bool) -> None:
    content, credential = png(padding=FILE - 1000), limited.credential()
    fields = {"fileName": "a.png", **(credential if also_in_form else {})}
    assert_kept(limited.upload("v1", fields, content, **headers_of(credential)))
    answer = limited.upload("v1", fields, content, **headers_of(credential))
    assert_refused(answer, 400, "credential.replayed", used_v1(credential["token"]))
    token = limited.jwt({"fileName": "a.png"})
    fields = {"fileName": "a.png", **({"token": token} if also_in_form else {})}
    assert_kept(limited.upload("v2", fields, content, **{"X-Upload-Token": token}))
    answer = limited.upload("v2", fields, content, **{"X-Upload-Token": token})
    assert_refused(answer, 400, "credential.replayed", USED_V2)


class Unread:
    """A body that tells how much of it was read."""

    def __init__(self, content: bytes) -> None:
        self.left, self.size = content, len(content)

    def read(self, size: int = -1) -> bytes:
        taken = self.left[:size] if size >= 0 else self.left
        self.left = self.left[len(taken) :]
        return taken

    @property
    def taken(self) -> int:
        return self.size - len(self.left)


@pytest.mark.parametrize("what", ["signature", "private key"])
def test_a_body_whose_credential_is_refused_is_not_read(limited: Service, what: str) -> None:
    credential = limited.credential()
    if what == "signature":
        headers, code, status, text = (
            headers_of({**credential, "signature": "0" * 40}),
            "credential.invalid",
            400,
            SIGNATURE,
        )
    else:
        headers, code, status, text = {"Authorization": basic("private_other")}, "caller.invalid", 403, REFUSED_ACCOUNT
    body = Unread(form([("fileName", "a.png")], bytes(8_000_000)))
    answer = limited.send(
        "POST",
        "/api/v1/files/upload",
        {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", **headers},
        environ_overrides={"wsgi.input": body, "CONTENT_LENGTH": str(body.size)},
    )
    assert_refused(answer, status, code, text)
    assert body.taken <= 1024 * 1024
    assert limited.on_disk() == KEPT_NONE
    assert_kept(limited.upload_v1(credential))


def test_a_header_that_says_otherwise_than_the_form_is_refused(limited: Service) -> None:
    first, second = limited.credential(), limited.credential()
    answer = limited.upload("v1", {"fileName": "a.png", **second}, png(), **headers_of(first))
    assert answer.status_code == 400
    assert "differs between form and header" in answer.get_json()["help"]
    for credential in (first, second):
        assert_kept(limited.upload_v1(credential))


def test_plans_are_as_documented() -> None:
    assert (PLANS["free"].max_bytes, PLANS["free"].max_video_bytes) == (25_000_000, 100_000_000)
    assert (PLANS["paid-2023"].max_bytes, PLANS["paid-2023"].max_video_bytes) == (25_000_000, 300_000_000)
    assert all(plan.max_bytes <= plan.max_video_bytes for plan in PLANS.values())
