"""What a profile says, end to end over HTTP: in the credential that is issued, and in the upload that brings it."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import jwt
import pytest
from werkzeug.test import TestResponse

from tests.support.app import KEPT_NONE, MAX_FILE_BYTES, Service, Tables, png
from tests.support.processes import until
from tokensvc.core.nonces import Version
from tokensvc.embed.tickets import TicketSigner

from .conftest import ServiceMaker, problem_of
from .imagekit_answers import PAYLOAD, TOO_LARGE, USED_V2, assert_kept, assert_refused, used_v1

KEY: Final = "a-key-of-the-tests-for-tickets-0"
SUBJECT: Final = "u1"
FAILED: Final = "Your request failed 'checks' validation."
WRONG_FILE: Final = "Your request contains invalid value for file parameter."
WRONG_FOLDER: Final = "Your request contains invalid value for folder parameter."
MOST: Final = 500
"""Bytes that the profile `users` lets a file have; a small picture has fewer."""


def configure(tables: Tables) -> None:
    """Users by ticket, each in a folder of its own; and one profile for each limit of what a subject may have."""
    tables["callers"]["app"] = {"kind": "ticket", "secret_key": KEY}
    tables["profiles"] |= {
        "users": {
            "callers": ["app"],
            "force": {"folder": "/users/{subject}"},
            "allow": {"fileName": True, "tags": ["summer", "dress"], "useUniqueFileName": True},
            "limits": {"max_bytes": MOST, "types": ["image/*"]},
        },
        "checked": {"callers": ["app"], "allow": {"fileName": True, "checks": True}},
        "ten": {"callers": ["app"], "limits": {"outstanding": 10}},
        "minute": {"callers": ["app"], "limits": {"rate": "60/minute"}},
        "second": {"callers": ["app"], "limits": {"rate": "5/1s"}},
        "day": {"callers": ["app"], "limits": {"per_day": 3}},
    }


@pytest.fixture
def service(make_service: ServiceMaker) -> Service:
    made: Service = make_service(change=configure)
    return made


def ticket(subject: str = SUBJECT) -> dict[str, str]:
    return {"Authorization": f"Ticket {TicketSigner(KEY).sign(subject=subject)}"}


def somebody() -> str:
    """A subject that no other test has."""
    return f"u-{os.urandom(8).hex()}"


def ask_v2(
    service: Service, payload: Mapping[str, Any], *, profile: str = "users", subject: str = SUBJECT
) -> TestResponse:
    return service.send("POST", f"/auth/{profile}", ticket(subject), json={"uploadPayload": dict(payload)})


def granted(service: Service, payload: Mapping[str, Any], *, profile: str = "users") -> tuple[str, dict[str, str]]:
    """The token of a credential, and the form that a client makes of its claims."""
    answer = ask_v2(service, payload, profile=profile)
    assert answer.status_code == 200, answer.get_data()
    token = str(answer.get_json()["token"])
    claims = jwt.decode(
        token, service.private_key, algorithms=["HS256"], options={"verify_exp": False, "verify_iat": False}
    )
    return token, {name: text for name, text in claims.items() if name not in ("iat", "exp")}


def granted_v1(service: Service, profile: str = "users") -> dict[str, str]:
    answer = service.send("GET", f"/auth/{profile}", ticket())
    assert answer.status_code == 200, answer.get_data()
    return {name: str(value) for name, value in answer.get_json().items()}


# The decision


@pytest.mark.parametrize("folder", ["/admin", "/", "../..", "/users/u2", None])
def test_whatever_folder_the_client_asks_for_its_own_is_signed(service: Service, folder: str | None) -> None:
    token, form = granted(service, {"fileName": "a.png", **({} if folder is None else {"folder": folder})})
    assert form["folder"] == "/users/u1"
    body = assert_kept(service.upload_v2(token, png(), **form))
    assert body["filePath"].startswith("/users/u1/a_")


@pytest.mark.parametrize("subject", ["../x", "u1/../u2", "..", ".", "u 1", "ü1", "u1%2f", "{subject}", "u1,u2"])
def test_a_subject_that_is_no_name_of_a_folder_gets_no_credential_at_all(service: Service, subject: str) -> None:
    before = service.on_record()
    answers = (
        ask_v2(service, {"fileName": "a.png"}, subject=subject),
        service.send("GET", "/auth/users", ticket(subject)),
    )
    for answer in answers:
        detail = problem_of(answer, 403, "caller.forbidden")
        assert "folder is made with {subject}" in detail
        assert len(subject) == 1 or subject not in detail.replace("{subject}", "")
    assert service.on_record() == before


def test_what_is_not_allowed_is_refused_by_name_with_the_rule(service: Service) -> None:
    for payload, words in (
        ({"tags": "winter"}, "tags: 'winter' is not one of summer, dress."),
        ({"extensions": "[]"}, "Profile users does not let clients choose extensions."),
        ({"overwriteFile": "true"}, "Profile users does not let clients choose overwriteFile."),
    ):
        assert problem_of(ask_v2(service, payload), 422, "parameter.forbidden") == words


def test_a_file_s_name_is_kept_in_a_folder_of_ones_own_and_nowhere_else(service: Service) -> None:
    keep = {"fileName": "a.png", "useUniqueFileName": "false"}
    first, form = granted(service, keep)
    assert assert_kept(service.upload_v2(first, png(), **form))["filePath"] == "/users/u1/a.png"
    again, form = granted(service, keep)
    assert assert_kept(service.upload_v2(again, png(4, 4), **form))["filePath"] == "/users/u1/a.png"
    detail = problem_of(service.post({"uploadPayload": keep}), 422, "parameter.forbidden")
    assert "does not name overwriteFile" in detail


# The upload


def test_a_v2_credential_holds_the_compiled_checks_and_uploads_with_them(service: Service) -> None:
    """The client knows its form from the token alone."""
    token, form = granted(service, {"fileName": "a.png", "tags": "summer"})
    assert form == {
        "fileName": "a.png",
        "tags": "summer",
        "folder": "/users/u1",
        "checks": f'"file.size" <= {MOST} AND "file.mime" : "image/" AND "request.folder" IN ["/users/u1", "users/u1"]',
    }
    body = assert_kept(service.upload_v2(token, png(), **form))
    assert (body["size"], body["fileType"]) == (len(png()), "image")


def test_checks_are_bound_and_neither_left_out_nor_changed(service: Service) -> None:
    for change in ({}, {"checks": '"file.size" > 0'}):
        token, form = granted(service, {"fileName": "a.png"})
        rest = {name: text for name, text in form.items() if name != "checks"}
        assert_refused(service.upload_v2(token, png(), **rest, **change), 400, "parameter.forbidden", PAYLOAD)
    assert service.on_disk() == KEPT_NONE


def sent(service: Service, version: Version, content: bytes, **fields: str) -> tuple[TestResponse, TestResponse, str]:
    """An upload with a fresh credential of that version, the same again with a good file, and the v1 token."""
    if version == "v1":
        credential, form = granted_v1(service), {"folder": "/users/u1", **fields}
        first = service.upload_v1(credential, content, **form)
        return first, service.upload_v1(credential, png(), folder="/users/u1"), credential["token"]
    token, form = granted(service, {"fileName": "a.png"})
    first = service.upload_v2(token, content, **{**form, **fields})
    return first, service.upload_v2(token, png(), **form), ""


def require_spent(service: Service, again: TestResponse, token: str) -> None:
    """What was refused has used the credential up, as at ImageKit."""
    assert_refused(again, 400, "credential.replayed", used_v1(token) if token else USED_V2)
    assert service.on_disk() == KEPT_NONE


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_file_of_just_the_size_is_kept(service: Service, version: Version) -> None:
    first, again, token = sent(service, version, png(padding=MOST - len(png())))
    assert assert_kept(first)["size"] == MOST
    assert_refused(again, 400, "credential.replayed", used_v1(token) if token else USED_V2)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_file_that_is_too_large_for_the_profile_is_refused(service: Service, version: Version) -> None:
    first, again, token = sent(service, version, png(padding=MOST + 1 - len(png())))
    assert MOST + 1 < MAX_FILE_BYTES
    assert_refused(
        first,
        400,
        "too_large",
        TOO_LARGE,
        f"The file has {MOST + 1} bytes; at most {MOST} are allowed. Send a smaller file.",
    )
    require_spent(service, again, token)


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("content", [b"%PDF-1.7\n", b"GIF", b"<svg xmlns='http://www.w3.org/2000/svg'"])
def test_a_file_of_another_type_is_refused_whatever_its_name(
    service: Service, version: Version, content: bytes
) -> None:
    first, again, token = sent(service, version, content)
    assert_refused(first, 400, "parameter.invalid", WRONG_FILE)
    assert "allowed is image/*" in first.get_json()["help"]
    require_spent(service, again, token)


@pytest.mark.parametrize("folder", ["/admin", "", "/users/u2", "/users/u1/a"])
def test_a_folder_that_is_not_the_forced_one_is_refused(service: Service, folder: str) -> None:
    """A v1 credential binds nothing, so this is where it is held to its profile; at ImageKit it is not."""
    first, again, token = sent(service, "v1", png(), folder=folder)
    assert_refused(first, 400, "parameter.forbidden", WRONG_FOLDER)
    assert "'/users/u1'" in first.get_json()["help"]
    require_spent(service, again, token)
    first, again, token = sent(service, "v2", png(), folder=folder)
    assert_refused(first, 400, "parameter.forbidden", PAYLOAD)
    require_spent(service, again, token)


@pytest.mark.parametrize(
    ("checks", "holds"),
    [
        ('"file.size" < 10', False),
        ('"file.size" > 10', True),
        ('"file.size" < 10 OR "request.fileName" = "a.png"', True),
        ('"mediaMetadata.width" = 4', False),
        ('"mediaMetadata.width" = 3', True),
    ],
)
def test_a_client_s_own_checks_are_held_too(service: Service, checks: str, holds: bool) -> None:
    token, form = granted(service, {"fileName": "a.png", "checks": checks}, profile="checked")
    assert form == {"fileName": "a.png", "checks": checks}
    first = service.upload_v2(token, png(), **form)
    if holds:
        assert_kept(first)
        return
    assert_refused(first, 400, "parameter.forbidden", FAILED)
    assert "does not hold" in first.get_json()["help"]
    assert_refused(service.upload_v2(token, png(4, 4), **form), 400, "credential.replayed", USED_V2)
    assert service.on_disk() == KEPT_NONE


# The limits, as they are configured

REQUESTS: Final = 100


def test_of_a_hundred_at_once_exactly_ten_are_outstanding(service: Service) -> None:
    headers, start = ticket(somebody()), threading.Barrier(REQUESTS)

    def one(_: int) -> TestResponse:
        client = service.app.test_client()
        start.wait()
        return client.get("/auth/ten", headers=headers)

    before = service.on_record()
    with ThreadPoolExecutor(REQUESTS) as threads:
        answers = list(threads.map(one, range(REQUESTS)))
    assert Counter(answer.status_code for answer in answers) == {200: 10, 429: 90}
    assert {answer.headers["X-Tokensvc-Code"] for answer in answers if answer.status_code == 429} == {"quota.exceeded"}
    assert len(service.on_record() - before) == 10
    credential = next(answer.get_json() for answer in answers if answer.status_code == 200)
    assert_kept(service.upload_v1({name: str(value) for name, value in credential.items()}))
    statuses = [service.send("GET", "/auth/ten", headers).status_code for _ in range(2)]
    assert statuses == [200, 429], "what is spent makes room for one"


def test_the_sixty_first_in_a_minute_is_told_when_to_come_back(service: Service) -> None:
    headers = ticket(somebody())
    assert {service.send("GET", "/auth/minute", headers).status_code for _ in range(60)} == {200}
    before = service.on_record()
    answer = service.send("GET", "/auth/minute", headers)
    problem_of(answer, 429, "rate.limited")
    wait = int(answer.headers["Retry-After"])
    assert 1 <= wait <= 60
    assert answer.headers["RateLimit-Policy"] == '"rate";q=60;w=60'
    assert answer.headers["RateLimit"] == f'"rate";r=0;t={wait}'
    assert service.on_record() == before
    assert service.send("GET", "/auth/minute", ticket(somebody())).status_code == 200, "another one has its own"


def test_after_the_window_the_rate_is_there_again_and_is_never_more(service: Service) -> None:
    """Who asks all the time gets five in any second, and the next five after it."""
    headers = ticket(somebody())
    times: list[tuple[float, float]] = []

    def asked() -> bool:
        began = time.monotonic()
        if service.send("GET", "/auth/second", headers).status_code == 200:
            times.append((began, time.monotonic()))
        return len(times) == 11

    until(asked, "eleven credentials")
    assert [later[1] - earlier[0] >= 0.99 for earlier, later in zip(times, times[5:], strict=False)] == [True] * 6


def test_a_day_s_share_is_not_there_again_by_using_it(service: Service) -> None:
    headers = ticket(somebody())
    for _ in range(3):
        credential = service.send("GET", "/auth/day", headers).get_json()
        assert_kept(service.upload_v1({name: str(value) for name, value in credential.items()}))
    answer = service.send("GET", "/auth/day", headers)
    problem_of(answer, 429, "quota.exceeded")
    assert 1 <= int(answer.headers["Retry-After"]) <= 86_400
