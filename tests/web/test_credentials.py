"""`/auth` over HTTP: what is issued, in which shape, and every reason for which nothing is."""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokensvc.core.window import MAX_LIFETIME_SECONDS
from tokensvc.web.json_bodies import MAX_BODY_BYTES

from .conftest import assert_problem, problem_of

if TYPE_CHECKING:
    from werkzeug.test import TestResponse

    from tests.support.app import Service

    from .conftest import ServiceMaker

EXPIRE_REMEDY = (
    "Send an absolute time in Unix seconds, such as now + 1800, or leave expire out and use the one in the answer."
)


def hmac_sha1(key: str, message: str) -> str:
    return hmac.new(key.encode(), message.encode(), hashlib.sha1).hexdigest()


def assert_credential_headers(answer: TestResponse) -> None:
    assert answer.content_type == "application/json"
    assert answer.headers["Cache-Control"] == "no-store, private"
    assert answer.headers["Pragma"] == "no-cache"
    assert set(answer.vary) == {"Origin", "Authorization", "Cookie"}
    assert not {"ETag", "Last-Modified", "Expires", "Location", "Set-Cookie"} & set(answer.headers.keys())


# v1


def test_get_issues_a_v1_credential(service: Service) -> None:
    answer = service.get()
    assert answer.status_code == 200
    body = answer.get_json()
    token, expire = body["token"], service.clock.now + 1800
    assert body == {
        "token": token,
        "expire": expire,
        "signature": hmac_sha1(service.private_key, f"{token}{expire}"),
        "publicKey": service.public_key,
    }
    assert type(body["expire"]) is int
    assert uuid.UUID(token).version == 4
    assert str(uuid.UUID(token)) == token
    assert_credential_headers(answer)


def test_what_get_issues_is_good_for_an_upload(service: Service) -> None:
    assert service.upload_v1(service.credential()).status_code == 200


def test_two_asks_get_two_credentials(service: Service) -> None:
    assert service.get().get_json()["token"] != service.get().get_json()["token"]


@pytest.mark.parametrize("query", ["t=0.123", "sdk-version=android-1.0.0", "t=1&t=2&x=%00&%ff=%ff", "expire=&token="])
def test_unknown_and_empty_query_members_are_passed_over(service: Service, query: str) -> None:
    body = service.get(query).get_json()
    assert body.keys() == {"token", "expire", "signature", "publicKey"}
    assert body["expire"] == service.clock.now + 1800


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ahead=st.none() | st.integers(1, 1800),
    token=st.none() | st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=100),
)
def test_the_signature_is_over_what_is_returned(service: Service, ahead: int | None, token: str | None) -> None:
    query: dict[str, Any] = {} if ahead is None else {"expire": service.clock.now + ahead}
    if token is not None:
        query["token"] = token + uuid.uuid4().hex[:8]
    body = service.send("GET", "/auth", service.bearer, query_string=query).get_json()
    assert body["signature"] == hmac_sha1(service.private_key, f"{body['token']}{body['expire']}")
    assert {"expire": body["expire"], "token": body["token"]} == {
        "expire": service.clock.now + (ahead or 1800),
        "token": query.get("token", body["token"]),
    }


@pytest.mark.parametrize("ahead", [1, 59, 60])
def test_a_clients_expire_is_honoured_to_the_second_as_a_number(service: Service, ahead: int) -> None:
    expire = service.clock.now + ahead
    body = service.get(f"expire={expire}", profile="short").get_json()
    assert (body["expire"], type(body["expire"])) == (expire, int)
    assert service.upload_v1({name: str(value) for name, value in body.items()}).status_code == 200


@pytest.mark.parametrize(
    ("expire", "detail"),
    [
        ("300", "expire is 300, which looks like a duration."),
        ("1800", "expire is 1800, which looks like a duration."),
        ("0", "expire is 0, which looks like a duration."),
        ("{now}000", "expire looks like milliseconds; divide by 1000."),
        ("{now}", "expire is 0 s in the past."),
        ("{earlier}", "expire is 10 s in the past."),
        ("999999999", "expire is in the past."),
        ("{later}", "expire is 61 s ahead; this profile allows at most 60 s."),
        ("99999999999", "expire is too far ahead."),
        ("9" * 5000, "expire is too large."),
        ("0{soon}", "expire starts with a zero; write it without."),
        ("%2B{soon}", "expire is not a whole number of Unix seconds."),
        ("{soon}.0", "expire is not a whole number of Unix seconds."),
        ("1e9", "expire is not a whole number of Unix seconds."),
        ("soon", "expire is not a whole number of Unix seconds."),
        ("%20{soon}", "expire is not a whole number of Unix seconds."),
        ("1_795_000_000", "expire is not a whole number of Unix seconds."),
        ("-5", "expire is not a whole number of Unix seconds."),
        ("%D9%A1%D9%A7" * 5, "expire is not a whole number of Unix seconds."),
        ("%FF", "expire is not a whole number of Unix seconds."),
    ],
)
def test_an_expire_that_cannot_be_honoured_is_refused_in_words(service: Service, expire: str, detail: str) -> None:
    now, before = service.clock.now, service.on_record()
    text = expire.format(now=now, earlier=now - 10, later=now + 61, soon=now + 30)
    assert_problem(service.get(f"expire={text}", profile="short"), 400, "expire.invalid", detail, EXPIRE_REMEDY)
    assert service.on_record() <= before


@pytest.mark.parametrize("name", ["expire", "token", "publicKey"])
def test_a_member_that_is_given_twice_is_refused(service: Service, name: str) -> None:
    answer = service.get(f"{name}=1&{name}=1")
    assert_problem(answer, 400, "request.malformed", f"{name} is given twice.", "Give it once.")


def test_a_clients_token_is_used_as_it_is(service: Service) -> None:
    token = f"mine-{uuid.uuid4()}~!'()*"
    body = service.send("GET", "/auth", service.bearer, query_string={"token": token}).get_json()
    assert body["token"] == token
    assert body["signature"] == hmac_sha1(service.private_key, f"{token}{body['expire']}")


@pytest.mark.parametrize(("length", "status"), [(1, 200), (128, 200), (129, 400)])
def test_a_token_has_from_1_to_128_characters(service: Service, length: int, status: int) -> None:
    token = uuid.uuid4().hex[:length] + "x" * (length - 32)
    assert service.get(f"token={token}").status_code == status


@pytest.mark.parametrize("token", ["a%20b", "a%00b", "a%0Ab", "%C3%A4", "%7F", "+"])
def test_a_token_that_not_every_sdk_signs_alike_is_refused(service: Service, token: str) -> None:
    before = service.on_record()
    detail = "token must be 1 to 128 printable ASCII characters without blanks."
    assert_problem(service.get(f"token={token}"), 400, "token.invalid", detail, "Send a UUID, or leave token out.")
    assert service.on_record() <= before


def test_a_token_is_issued_once_and_the_first_stays_good(service: Service) -> None:
    token = uuid.uuid4().hex
    first = {name: str(value) for name, value in service.get(f"token={token}").get_json().items()}
    remedy = "Send a new UUID each time, or leave token out."
    assert_problem(service.get(f"token={token}"), 409, "token.exists", "token was issued before.", remedy)
    assert service.upload_v1(first).status_code == 200
    assert_problem(service.get(f"token={token}"), 409, "token.exists", "token was issued before.", remedy)


def test_the_services_own_public_key_may_be_named(service: Service) -> None:
    assert service.get(f"publicKey={service.public_key}").status_code == 200


@pytest.mark.parametrize("key", ["public_other", "PUBLIC", "private_x", "*"])
def test_another_public_key_is_refused(service: Service, key: str) -> None:
    before = service.on_record()
    detail = "publicKey is not the public key that this service signs with."
    remedy = f"Leave publicKey out, or send {service.public_key}, the one of this service's account."
    assert_problem(service.get(f"publicKey={key}"), 400, "key.mismatch", detail, remedy)
    answer = service.post({"uploadPayload": {"fileName": "a.png"}, "publicKey": key})
    assert_problem(answer, 400, "key.mismatch", detail, remedy)
    assert service.on_record() <= before


@pytest.mark.parametrize("path", ["/auth", "/auth/short"])
def test_head_issues_nothing(service: Service, path: str) -> None:
    before = service.on_record()
    answer = service.send("HEAD", path, service.bearer)
    assert (answer.status_code, answer.get_data(), answer.headers["Allow"]) == (405, b"", "GET, POST")
    assert service.on_record() <= before


def test_one_ask_makes_one_record_that_tells_nothing_of_the_token(service: Service) -> None:
    before = service.on_record()
    token = service.get().get_json()["token"]
    (key,) = service.on_record() - before
    value = service.redis.get(key)
    assert isinstance(value, bytes)
    assert token.encode() not in key + value
    assert json.loads(value.split(b":", 3)[3]) == {
        "account": "default",
        "profile": "default",
        "source": "backend",
        "subject": "ci",
        "issued_at": service.clock.now,
    }
    until = service.redis.expiretime(key.decode())
    assert until == service.clock.now + 1800 + 10


# Profiles and callers, for both versions


def test_the_default_profile_has_its_name_too_and_nobody_is_redirected(service: Service) -> None:
    for path in ("/auth/default", "/auth"):
        assert service.send("GET", path, service.bearer).status_code == 200
        assert service.send("POST", path, service.bearer, json={"uploadPayload": {}}).status_code == 200
        assert service.send("GET", f"{path}/limits", service.bearer).get_json()["profile"] == "default"
        batch = service.send("POST", f"{path}/batch", service.bearer, json={"version": "v1", "count": 1})
        assert batch.status_code == 200


def test_a_profile_by_path_has_its_own_lifetime(service: Service) -> None:
    assert service.get(profile="short").get_json()["expire"] == service.clock.now + 60


def both(service: Service, profile: str = "", **headers: str) -> list[TestResponse]:
    return [
        service.get(profile=profile, **headers),
        service.post({"uploadPayload": {"fileName": "a.png"}}, profile=profile, **headers),
    ]


@pytest.mark.parametrize("profile", ["nowhere", "Default", "%2e%2e", "short%00"])
def test_an_unknown_profile_is_refused(service: Service, profile: str) -> None:
    for answer in both(service, profile):
        remedy = "Use /auth for the default profile, or a name from the configuration."
        assert_problem(answer, 404, "profile.unknown", "There is no such profile.", remedy)


def test_a_profile_may_issue_one_version_only(service: Service) -> None:
    first, second = both(service, "only-v1")
    assert first.status_code == 200
    detail, remedy = "Profile only-v1 does not issue v2 credentials.", "Ask for v1: GET fetches v1, POST v2."
    assert_problem(second, 403, "version.forbidden", detail, remedy)
    first, second = both(service, "only-v2")
    assert second.status_code == 200
    detail, remedy = "Profile only-v2 does not issue v1 credentials.", "Ask for v2: GET fetches v1, POST v2."
    assert_problem(first, 403, "version.forbidden", detail, remedy)


@pytest.mark.parametrize("evidence", ["", "Bearer", "Bearer ", "Basic dHNrX3g6", "Bearer eyJhbGciOiJub25lIn0.e30."])
def test_who_does_not_say_who_it_is_gets_nothing(service: Service, evidence: str) -> None:
    before = service.on_record()
    for method in ("GET", "POST"):
        answer = service.send(
            method, "/auth", {"Authorization": evidence}, data=b'{"uploadPayload":{}}' if method == "POST" else None
        )
        detail, remedy = (
            "The request does not say who is asking.",
            ("Sign in, or send an api key as Authorization: Bearer tsk_…"),
        )
        assert_problem(answer, 401, "caller.missing", detail, remedy)
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="tokensvc"'
    assert service.on_record() <= before


def test_a_wrong_api_key_is_refused(service: Service) -> None:
    before = service.on_record()
    for key in (service.api_key[:-1], service.api_key + "=", "tsk_", "tsk_\xe4", service.stranger_key):
        for answer in both(service, Authorization=f"Bearer {key}"):
            remedy = "Make one with `tokensvc keys new` and configure it."
            assert_problem(answer, 401, "caller.invalid", "The api key is not known here.", remedy)
    assert service.on_record() <= before


def test_a_caller_that_may_not_issue_is_refused(service: Service) -> None:
    for answer in both(service, Authorization=f"Bearer {service.reader_key}"):
        detail = "This caller may not fetch credentials."
        assert_problem(answer, 403, "caller.forbidden", detail, 'Add "issue" to its may list.')


def test_a_profile_trusts_its_own_sources_only(service: Service) -> None:
    """The key of another source is not even known here: a profile asks nobody else."""
    for answer in both(service, "closed"):
        assert_problem(
            answer,
            401,
            "caller.invalid",
            "The api key is not known here.",
            "Make one with `tokensvc keys new` and configure it.",
        )
    for answer in both(service, "closed", Authorization=f"Bearer {service.stranger_key}"):
        assert answer.status_code == 200


# v2


def decoded(service: Service, token: str) -> dict[str, Any]:
    """Header and payload as another library reads them. Times are checked by the test: the clock is the service's."""
    off = {"verify_exp": False, "verify_iat": False}
    return jwt.decode_complete(token, service.private_key, algorithms=["HS256"], options=off)  # type: ignore[arg-type] # a plain dict


def test_post_issues_a_v2_credential_that_binds_the_payload(service: Service) -> None:
    payload = {"fileName": "ä 1.png", "tags": "a,b", "useUniqueFileName": "true"}
    answer = service.post({"uploadPayload": payload})
    assert answer.status_code == 200
    token = answer.get_json()["token"]
    assert answer.get_json() == {"token": token}
    assert_credential_headers(answer)
    whole = decoded(service, token)
    assert whole["header"] == {"alg": "HS256", "typ": "JWT", "kid": service.public_key}
    assert whole["payload"] == {**payload, "iat": service.clock.now, "exp": service.clock.now + 1800}
    assert {type(whole["payload"][name]) for name in ("iat", "exp")} == {int}


def test_what_post_issues_is_good_for_an_upload(service: Service) -> None:
    assert service.upload_v2(service.jwt({"fileName": "a.png"}), fileName="a.png").status_code == 200


CONTENT_TYPES = [
    "application/json",
    "application/json; charset=utf-8",
    "application/x-www-form-urlencoded",
    "application/x-www-form-urlencoded; charset=UTF-8",
    "multipart/form-data; boundary=x",
    "text/plain",
    "application/octet-stream",
    "nonsense",
    None,
]


@pytest.mark.parametrize("content_type", CONTENT_TYPES)
def test_the_body_is_read_as_json_whatever_its_label(service: Service, content_type: str | None) -> None:
    body = b'{"uploadPayload": {"fileName": "a.png"}, "expire": 60, "more": [1]}'
    answer = service.send("POST", "/auth", service.bearer, data=body, content_type=content_type)
    assert answer.status_code == 200
    assert decoded(service, answer.get_json()["token"])["payload"]["exp"] == service.clock.now + 60


def read(reason: str) -> str:
    return f"The body cannot be used: {reason}."


MALFORMED = {
    "deep objects": (b'{"a":' * 100_000, None),
    "deep lists": (b'{"uploadPayload":' + b"[" * 20_000 + b"]" * 20_000 + b"}", None),
    "17 levels": (
        b'{"a":' * 17 + b"{}" + b"}" * 17,
        read("it is nested more than 16 levels deep"),
    ),
    "NaN": (b'{"uploadPayload":{"fileName":NaN}}', read("NaN is not JSON")),
    "Infinity": (b'{"uploadPayload":{},"expire":Infinity}', read("Infinity is not JSON")),
    "1e999": (b'{"uploadPayload":{},"expire":1e999}', read("a number is too large")),
    "duplicate": (b'{"uploadPayload":{"fileName":"a","fileName":"b"}}', read("a member occurs twice")),
    "duplicate outside": (b'{"uploadPayload":{},"uploadPayload":{}}', read("a member occurs twice")),
    "5000 digits": (b'{"uploadPayload":{},"expire":' + b"9" * 5000 + b"}", read("a number is too large")),
    "lone surrogate": (b'{"uploadPayload":{"fileName":"\\ud800"}}', read("a string contains half of a surrogate pair")),
    "lone surrogate in a name": (b'{"\\udfff":1}', read("a string contains half of a surrogate pair")),
    "bad UTF-8": (b'{"uploadPayload":{"fileName":"\xff"}}', read("it is not valid UTF-8")),
    "UTF-16": ('{"uploadPayload":{}}'.encode("utf-16"), read("it is not valid UTF-8")),
    "byte order mark": (b'\xef\xbb\xbf{"uploadPayload":{}}', read("it starts with a byte order mark")),
    "list": (b'[{"uploadPayload":{}}]', read("it is a list, not an object")),
    "string": (b'"uploadPayload"', read("it is a string, not an object")),
    "null": (b"null", read("it is null, not an object")),
    "empty": (b"", read("it is not JSON: Expecting value at line 1 column 1")),
    "form": (b"uploadPayload=%7B%7D", read("it is not JSON: Expecting value at line 1 column 1")),
    "cut off": (b'{"uploadPayload":{', None),
    "two values": (b'{"uploadPayload":{}}{}', read("it is not JSON: Extra data at line 1 column 21")),
    "NUL": (b'{"uploadPayload":{"fileName":"a\x00"}}', None),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_body_that_is_not_one_json_object_is_refused(service: Service, case: str) -> None:
    body, detail = MALFORMED[case]
    before = service.on_record()
    answer = service.post(body[:MAX_BODY_BYTES])
    assert problem_of(answer, 400, "request.malformed").startswith("The body cannot be used: ")
    assert detail is None or answer.get_json()["detail"] == detail
    assert answer.get_json()["help"] == "Send one JSON object."
    assert service.on_record() <= before


@pytest.mark.parametrize("payload", [None, [], "{}", 1, True])
def test_the_upload_payload_is_an_object(service: Service, payload: Any) -> None:
    detail = "uploadPayload is missing, or not an object."
    remedy = 'Send {"uploadPayload": {"fileName": "a.jpg"}}, with the fields that the upload will have.'
    assert_problem(service.post({"uploadPayload": payload}), 400, "request.malformed", detail, remedy)
    assert_problem(service.post({"fileName": "a.png"}), 400, "request.malformed", detail, remedy)


def test_an_empty_payload_is_a_payload(service: Service) -> None:
    token = service.post({"uploadPayload": {}}).get_json()["token"]
    assert decoded(service, token)["payload"] == {"iat": service.clock.now, "exp": service.clock.now + 1800}


@pytest.mark.parametrize(("size", "status"), [(MAX_BODY_BYTES, 200), (MAX_BODY_BYTES + 1, 413)])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_has_at_most_64_kib(service: Service, size: int, status: int, *, chunked: bool) -> None:
    start = b'{"uploadPayload":{"fileName":"a.png"}'
    body = start + b" " * (size - len(start) - 1) + b"}"
    options: dict[str, Any] = {"data": body}
    if chunked:  # a server that takes chunks gives no length, and says that the stream ends by itself
        options["environ_overrides"] = {"wsgi.input_terminated": True, "CONTENT_LENGTH": ""}
    answer = service.send("POST", "/auth", service.bearer, **options)
    assert answer.status_code == status
    if status == 413:
        detail = "The body is larger than 65536 bytes."
        assert_problem(answer, 413, "too_large", detail, "Send the parameters only.")


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip", "x"])
def test_an_encoded_body_is_not_decoded(service: Service, encoding: str) -> None:
    answer = service.post(b'{"uploadPayload":{}}', **{"Content-Encoding": encoding})
    remedy = "Send an upload as multipart/form-data, and no body with Content-Encoding."
    assert_problem(answer, 415, "request.malformed", "Unsupported Media Type.", remedy)


class BrokenBody:
    """A body whose reading ends as gunicorn's does when the chunks are not chunks: its errors are of several kinds."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def read(self, _size: int = -1) -> bytes:
        raise self.error

    readline = read


@pytest.mark.parametrize("error", [OSError("reset"), ValueError("chunk"), Exception("InvalidChunkSize")])
def test_a_body_that_cannot_be_read_to_its_end_is_malformed(service: Service, error: Exception) -> None:
    answer = service.send(
        "POST",
        "/auth",
        service.bearer,
        environ_overrides={"wsgi.input": BrokenBody(error), "wsgi.input_terminated": True},
    )
    assert_problem(answer, 400, "request.malformed", "The request's body could not be read to its end.")


def test_a_body_that_is_shorter_than_it_says_is_malformed(service: Service) -> None:
    good = json.dumps({"uploadPayload": {"fileName": "a.jpg"}})
    for more, status in ((0, 200), (1, 400)):
        length = {"CONTENT_LENGTH": str(len(good) + more)}
        answer = service.send("POST", "/auth", service.bearer, data=good, environ_overrides=length)
        assert answer.status_code == status
    assert_problem(answer, 400, "request.malformed", "The request's body could not be read to its end.")


@pytest.mark.parametrize(("expire", "lifetime"), [(1, 1), (59, 59), (60, 60), (None, 60)])
def test_a_v2_clients_expire_is_a_duration_and_is_honoured(service: Service, expire: int | None, lifetime: int) -> None:
    body = {"uploadPayload": {"fileName": "a.png"}, "expire": expire}
    payload = decoded(service, service.post(body, profile="short").get_json()["token"])["payload"]
    assert (payload["iat"], payload["exp"]) == (service.clock.now, service.clock.now + lifetime)


RANGE_REMEDY = "Send a number from 1 to 60, or leave expire out."


@pytest.mark.parametrize(
    ("expire", "detail"),
    [
        (0, "expire is 0 s; this profile allows 1 to 60 s."),
        (-1, "expire is -1 s; this profile allows 1 to 60 s."),
        (61, "expire is 61 s; this profile allows 1 to 60 s."),
        (1_800_000_000, "expire looks like a point in time; for a v2 credential it is a duration in seconds."),
        ("60", "expire is a string; it must be a whole number of seconds."),
        (60.5, "expire is a number; it must be a whole number of seconds."),
        (True, "expire is true or false; it must be a whole number of seconds."),
        ([60], "expire is a list; it must be a whole number of seconds."),
        ({}, "expire is an object; it must be a whole number of seconds."),
    ],
)
def test_a_v2_expire_that_cannot_be_honoured_is_refused(service: Service, expire: Any, detail: str) -> None:
    answer = service.post({"uploadPayload": {"fileName": "a.png"}, "expire": expire}, profile="short")
    assert_problem(answer, 400, "expire.invalid", detail, RANGE_REMEDY)


def test_no_profile_reaches_beyond_an_hour(make_service: ServiceMaker) -> None:
    def longest(tables: dict[str, Any]) -> None:
        tables["profiles"]["default"]["lifetime"] = MAX_LIFETIME_SECONDS

    service: Service = make_service(change=longest)
    assert service.get(f"expire={service.clock.now + 3600}").status_code == 200
    assert service.get(f"expire={service.clock.now + 3601}").status_code == 400
    assert service.post({"uploadPayload": {}, "expire": 3600}).status_code == 200
    assert service.post({"uploadPayload": {}, "expire": 3601}).status_code == 400


@pytest.mark.parametrize("name", ["folder", "overwriteFile", "checks", "extensions", "webhookUrl", "transformation"])
def test_a_parameter_that_is_not_the_clients_to_choose_is_refused_by_name(service: Service, name: str) -> None:
    before = service.on_record()
    answer = service.post({"uploadPayload": {"fileName": "a.png", name: "x"}})
    detail = f"Profile default does not let clients choose {name}."
    remedy = f"Leave {name} out, or allow it in the profile."
    assert_problem(answer, 422, "parameter.forbidden", detail, remedy)
    assert service.on_record() <= before


@pytest.mark.parametrize("name", ["iat", "exp", "nbf", "jti", "token", "file", "signature", "expire", "publicKey"])
def test_a_payload_cannot_hold_what_is_ours_or_the_forms(service: Service, name: str) -> None:
    before = service.on_record()
    answer = service.post({"uploadPayload": {"fileName": "a.png", name: "1"}}, profile="open")
    detail = f"uploadPayload holds {name}, which is not a parameter of the upload."
    assert_problem(answer, 422, "parameter.invalid", detail, f"Leave {name} out of uploadPayload.")
    assert service.on_record() <= before


def test_an_unknown_parameter_is_refused_by_name(service: Service) -> None:
    answer = service.post({"uploadPayload": {"filename": "a.png"}})
    remedy = "Leave it out; names are case-sensitive."
    assert_problem(answer, 422, "parameter.invalid", "'filename' is not an upload parameter.", remedy)


def test_values_are_signed_verbatim_or_as_the_sdks_write_them(service: Service) -> None:
    metadata = '{"b": "\\u0026", "a":1}'
    payload = {"fileName": "a.png", "tags": ["x", "y"], "isPrivateFile": True, "customMetadata": metadata}
    assert decoded(service, service.jwt(payload))["payload"] == {
        "fileName": "a.png",
        "tags": "x,y",
        "isPrivateFile": "true",
        "customMetadata": metadata,
        "iat": service.clock.now,
        "exp": service.clock.now + 1800,
    }


def test_a_payload_that_makes_too_long_a_token_is_refused(service: Service) -> None:
    payload = {"fileName": "a.png", "description": "x" * 4096, "customMetadata": json.dumps({"a": "y" * 4000})}
    detail = problem_of(service.post({"uploadPayload": payload}, profile="open"), 422, "parameter.invalid")
    assert detail.startswith("The parameters make a token of ")
    assert detail.endswith(" characters; at most 8192 are allowed.")


def test_two_equal_asks_in_one_second_get_two_good_tokens(service: Service) -> None:
    tokens = [service.jwt({"fileName": "a.png"}) for _ in range(2)]
    assert tokens[0] != tokens[1]
    now = service.clock.now
    windows = [(claims["iat"], claims["exp"]) for claims in (decoded(service, t)["payload"] for t in tokens)]
    assert windows == [(now, now + 1800), (now - 1, now + 1799)]
    assert [service.upload_v2(token, fileName="a.png").status_code for token in tokens] == [200, 200]
