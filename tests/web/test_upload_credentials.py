"""The credentials of uploads, guard by guard: each refusal in ImageKit's words, and with nothing kept."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.app import KEPT_NONE, basic
from tokensvc.core import v1
from tokensvc.core.mac import Keyed

from .imagekit_answers import (
    AGAIN,
    EXPIRE,
    GOOD,
    PAYLOAD,
    REFUSED_ACCOUNT,
    SIGNATURE,
    UNCHANGED,
    USED_V2,
    assert_kept,
    assert_refused,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.app import Service
    from tokensvc.core.nonces import Version


# Refusals of a v1 credential. Each leaves nothing on disk.


def refuse_v1(service: Service, change: Mapping[str, str | None], **expected: Any) -> None:
    """An upload with one thing changed is refused, and the unchanged credential is still good."""
    credential = service.credential()
    fields = {"fileName": "a.png", **credential, **change}
    answer = service.upload("v1", {name: value for name, value in fields.items() if value is not None})
    assert_refused(answer, **expected)
    assert service.on_disk() == KEPT_NONE
    assert_kept(service.upload_v1(credential))


NEEDS = "A v1 upload needs token, expire, signature and publicKey, as they were issued."


@pytest.mark.parametrize(
    ("name", "message"),
    [("token", SIGNATURE), ("signature", SIGNATURE), ("publicKey", SIGNATURE), ("expire", EXPIRE)],
)
@pytest.mark.parametrize("value", [None, ""])
def test_a_part_of_a_v1_credential_that_is_missing_is_named(
    service: Service, name: str, message: str, value: str | None
) -> None:
    help_text = f"{name} is missing. {NEEDS}"
    refuse_v1(service, {name: value}, status=400, code="credential.invalid", message=message, help_text=help_text)


def test_no_evidence_at_all_is_told_as_imagekit_does(service: Service) -> None:
    assert_refused(
        service.upload("v1", {"fileName": "a.png"}),
        401,
        "caller.missing",
        "Your request does not contain private API key.",
        "The request has neither signature nor Basic authentication. "
        "Fetch a credential and send its fields with the file.",
    )
    for fields in ({"fileName": "a.png"}, {"fileName": "a.png", "token": ""}, {"publicKey": "x", "expire": "1"}):
        assert_refused(
            service.upload("v2", fields),
            400,
            "caller.missing",
            "Your request is missing token parameter.",
            "The request has neither token nor Basic authentication. "
            "Fetch a credential and send its fields with the file.",
        )
    assert service.on_disk() == KEPT_NONE


@pytest.mark.parametrize("text", ["0" * 40, "F" * 40, "0" * 39, "0" * 41, " " + "0" * 39, "é" * 40, "x"])
def test_a_wrong_signature_is_refused_and_the_owner_still_uploads(service: Service, text: str) -> None:
    refuse_v1(service, {"signature": text}, status=400, code="credential.invalid", message=SIGNATURE)


def test_an_upper_case_signature_is_another_spelling_and_refused(service: Service) -> None:
    credential = service.own_credential("x", service.clock.now + 60)
    answer = service.upload_v1({**credential, "signature": credential["signature"].upper()})
    assert_refused(answer, 400, "credential.invalid", SIGNATURE)


def test_a_token_of_another_signature_is_refused(service: Service) -> None:
    refuse_v1(
        service,
        {"token": str(uuid.uuid4())},
        status=400,
        code="credential.invalid",
        message=SIGNATURE,
        help_text=f"{GOOD} {UNCHANGED}",
    )


@pytest.mark.parametrize("key", ["public_other", "PUBLIC", "../x"])
def test_an_unknown_public_key_is_answered_like_a_wrong_signature(service: Service, key: str) -> None:
    refuse_v1(
        service,
        {"publicKey": key},
        status=400,
        code="credential.invalid",
        message=SIGNATURE,
        help_text=f"{GOOD} {UNCHANGED}",
    )


@pytest.mark.parametrize(
    ("expire", "code"),
    [
        ("300", "expire.invalid"),
        ("1800", "expire.invalid"),
        ("{now}000", "expire.invalid"),
        ("0{soon}", "expire.invalid"),
        ("+{soon}", "expire.invalid"),
        ("{soon}.0", "expire.invalid"),
        ("soon", "expire.invalid"),
        ("{past}", "credential.expired"),
        ("{far}", "credential.invalid"),
    ],
)
def test_an_expire_that_is_not_within_the_hour_is_refused_in_imagekits_words(
    service: Service, expire: str, code: str
) -> None:
    """Signed as it stands, so that only the expire can be what is refused."""
    now = service.clock.now
    text = expire.format(now=now, soon=now + 60, past=now - 5, far=now + 3601)
    assert_refused(service.upload_v1(service.own_credential("x", text)), 400, code, EXPIRE)
    assert service.on_disk() == KEPT_NONE


def test_an_expire_is_cut_off_from_its_token_in_one_way_only(service: Service) -> None:
    """A token that ends in 0 with expire 17…, and one without it with expire 017…, have one signature."""
    now = service.clock.now
    token = f"{uuid.uuid4().hex}0"
    fields = service.get(f"token={token}").get_json()
    shifted = {**fields, "token": token[:-1], "expire": f"0{fields['expire']}"}
    assert v1.sign(Keyed(service.private_key.encode()), token[:-1], f"0{now + 1800}") == fields["signature"]
    assert_refused(service.upload_v1(shifted), 400, "expire.invalid", EXPIRE)
    assert_kept(service.upload_v1(fields))
    assert_refused(service.upload_v1(shifted), 400, "expire.invalid", EXPIRE)


@pytest.mark.parametrize(("late", "status"), [(4, 200), (5, 400)])
def test_a_credential_ends_with_its_leeway(service: Service, late: int, status: int) -> None:
    first, second = service.credential(), service.jwt({"fileName": "a.png"})
    service.clock.now += 1800 + late
    assert service.upload_v1(first).status_code == status
    assert service.upload_v2(second, fileName="a.png").status_code == status


def test_an_expired_credential_is_told_in_imagekits_words(service: Service) -> None:
    first, second = service.credential(), service.jwt({"fileName": "a.png"})
    service.clock.now += 1805
    help_text = f"The credential expired 5 s ago. {AGAIN}"
    assert_refused(service.upload_v1(first), 400, "credential.expired", EXPIRE, help_text)
    message = "Your request contains expired token."
    assert_refused(service.upload_v2(second, fileName="a.png"), 400, "credential.expired", message, help_text)


# Refusals of a v2 credential


@pytest.mark.parametrize(
    "text", ["x", "a.b.c", "6f2c3d0e-2b6c-4b9a-9a55-0c8f6b1d7e21", "{token}=", "{token}\u00e9", "x" * 9000, "{token}.x"]
)
def test_a_text_that_is_not_the_jwt_is_refused(service: Service, text: str) -> None:
    token = service.jwt({"fileName": "a.png"})
    answer = service.upload_v2(text.format(token=token), fileName="a.png")
    assert_refused(answer, 400, "credential.invalid", "Your request has invalid token.")
    assert service.on_disk() == KEPT_NONE
    assert_kept(service.upload_v2(token, fileName="a.png"))


def test_a_jwt_with_another_signature_does_not_spend_the_good_one(service: Service) -> None:
    token = service.jwt({"fileName": "a.png"})
    last = "A" if token[-1] != "A" else "E"
    answer = service.upload_v2(token[:-1] + last, fileName="a.png")
    message, help_text = "Your request has invalid token.", f"{GOOD} {UNCHANGED}"
    assert_refused(answer, 400, "credential.invalid", message, help_text)
    assert_kept(service.upload_v2(token, fileName="a.png"))


def test_the_versions_do_not_take_each_others_credentials(service: Service) -> None:
    first = service.upload("v2", {"fileName": "a.png", **service.credential()})
    assert_refused(first, 400, "credential.invalid", "Your request has invalid token.")
    second = service.upload("v1", {"fileName": "a.png", "token": service.jwt({"fileName": "a.png"})})
    assert_refused(second, 400, "credential.invalid", EXPIRE, f"expire is missing. {NEEDS}")
    assert service.on_disk() == KEPT_NONE


SENT = {"fileName": "a.png", "tags": "a,b"}


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ({**SENT, "folder": "/x"}, "folder was sent, but not signed"),
        ({**SENT, "unknown": "x"}, "unknown was sent, but not signed"),
        ({**SENT, "publicKey": "x"}, "publicKey was sent, but not signed"),
        ({**SENT, "iat": "1"}, "iat was sent, but not signed"),
        ({"fileName": "a.png"}, "tags was signed, but not sent"),
        ({"tags": "a,b"}, "fileName was signed, but not sent"),
        ({**SENT, "tags": "b,a"}, "tags differs from what was signed"),
        ({**SENT, "tags": "a, b"}, "tags differs from what was signed"),
        ({**SENT, "tags": ""}, "tags differs from what was signed"),
        ({**SENT, "fileName": "A.png"}, "fileName differs from what was signed"),
    ],
)
def test_a_form_that_is_not_what_was_signed_is_refused_and_the_credential_spent(
    service: Service, sent: dict[str, str], reason: str
) -> None:
    token = service.jwt(SENT)
    help_text = (
        f"The form does not match the credential: {reason}. Send exactly the fields of uploadPayload, as the same text."
    )
    assert_refused(service.upload_v2(token, **sent), 400, "parameter.forbidden", PAYLOAD, help_text)
    assert service.on_disk() == KEPT_NONE
    used = f"The credential has been used before. {AGAIN}"
    assert_refused(service.upload_v2(token, **SENT), 400, "credential.replayed", USED_V2, used)
    assert service.on_disk() == KEPT_NONE


def test_characters_that_only_look_alike_are_not_what_was_signed(service: Service) -> None:
    token = service.jwt({"fileName": "a\u030a.png"})
    assert_refused(service.upload_v2(token, fileName="\xe5.png"), 400, "parameter.forbidden", PAYLOAD)


# Both methods, and the private key


@pytest.mark.parametrize(("version", "name"), [("v1", "signature"), ("v2", "token")])
def test_two_methods_at_once_are_refused(service: Service, version: Version, name: str) -> None:
    fields = service.credential() if version == "v1" else {"token": service.jwt({"fileName": "a.png"})}
    assert_refused(
        service.upload(version, {"fileName": "a.png", **fields}, Authorization=basic(service.private_key)),
        400,
        "request.malformed",
        f"Your request contains both {name} and basic auth parameter. Use only one method, you might be exposing your "
        "private API key.",
        f"The request has both {name} and Basic authentication. "
        "Send one of them. The private key never belongs in a client.",
    )
    assert service.on_disk() == KEPT_NONE
    assert_kept(service.upload(version, {"fileName": "a.png", **fields}))


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_an_unknown_private_key_is_refused(service: Service, version: Version) -> None:
    for key in ("private_wrong", service.private_key[:-1], service.public_key, "", "private_\xe4"):
        assert_refused(
            service.upload(version, {"fileName": "a.png"}, Authorization=basic(key)),
            403,
            "caller.invalid",
            REFUSED_ACCOUNT,
            "The private key is not one of this service's.",
        )
    assert service.on_disk() == KEPT_NONE


@pytest.mark.parametrize("header", ["Basic !!!", "Bearer x", "Digest a=b"])
def test_an_authorization_that_is_not_basic_is_none(service: Service, header: str) -> None:
    answer = service.upload("v2", {"fileName": "a.png"}, Authorization=header)
    assert_refused(answer, 400, "caller.missing", "Your request is missing token parameter.")


def test_the_password_is_not_the_private_key(service: Service) -> None:
    answer = service.upload("v1", {"fileName": "a.png"}, Authorization=basic("x", service.private_key))
    assert_refused(answer, 403, "caller.invalid", REFUSED_ACCOUNT)
