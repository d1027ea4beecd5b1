"""A `file` that is a URL: who may send one, which, what is kept of it, and ImageKit's words where it is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.app import KEPT_NONE, KEPT_ONE, MAX_FILE_BYTES, Service, basic, png
from tests.support.remote_host import HOST, OTHER, RemoteHost, head, ok
from tokensvc.core.hosts import HostNames
from tokensvc.web import create_app

from .conftest import ServiceMaker
from .imagekit_answers import PAYLOAD, TOO_LARGE, assert_kept, assert_refused, assert_success

if TYPE_CHECKING:
    from tests.support.app import Tables

URL = f"https://{HOST}/users/ci/a.png"
INVALID = "Your request contains invalid value for file parameter."
NOT_ALLOWED = "file is a URL, which the profile does not let clients send. Send the file itself."
Made = Callable[..., Service]


@pytest.fixture(scope="module")
def host() -> Iterator[RemoteHost]:
    with RemoteHost() as made:
        yield made


@pytest.fixture
def make(make_service: ServiceMaker, host: RemoteHost) -> Made:
    """A service whose profile `remote` has this rule for `file`, and that reaches the host."""
    host.answers = {"/users/ci/a.png": ok(png()), "/users/u2/a.png": ok(png())}
    host.requests.clear()

    def made(allow: Any = True, *, change: Callable[[Tables], None] | None = None, **remote: Any) -> Service:
        def changed(tables: Tables) -> None:
            rules = {"fileName": True, "folder": True} | ({} if allow is None else {"file": allow})
            tables["profiles"]["remote"] = {"callers": ["backend"], "allow": rules}
            tables["upload"]["remote"] = remote
            if change is not None:
                change(tables)

        service: Service = make_service(change=changed)
        assert service.accept.fetching is not None
        hosts = HostNames.of(service.settings.upload.remote.hosts)
        fetching = replace(service.accept.fetching, files=host.files(hosts=hosts))
        service.accept = replace(service.accept, fetching=fetching)
        service.app = create_app(service.doors())
        service.client = service.app.test_client()
        return service

    return made


def v1(service: Service, url: str = URL, profile: str = "remote", **fields: Any) -> Any:
    credential = {name: str(value) for name, value in service.get(profile=profile).get_json().items()}
    return service.upload_v1(credential, None, file=url, **fields)


def v2(service: Service, url: str = URL, profile: str = "remote", **fields: Any) -> Any:
    fields = {"fileName": "a.png", **fields}
    token = service.post({"uploadPayload": fields}, profile=profile).get_json()["token"]
    return service.upload_v2(token, None, **fields, file=url)


def batched(service: Service, url: str = URL, profile: str = "remote", **fields: Any) -> Any:
    uploads = {"version": "v2", "uploads": [{"fileName": "a.png", **fields}]}
    issued = service.send("POST", f"/auth/{profile}/batch", service.bearer, json=uploads).get_json()
    token = issued["credentials"][0]["token"]
    return service.upload_v2(token, None, fileName="a.png", **fields, file=url)


def by_key(service: Service, url: str = URL, **fields: Any) -> Any:
    key = basic(service.private_key)
    return service.upload("v2", {"fileName": "a.png", "file": url, **fields}, None, Authorization=key)


EACH = pytest.mark.parametrize("upload", [v1, v2, batched])


@EACH
def test_a_file_is_fetched_and_kept_as_if_it_had_been_sent(make: Made, host: RemoteHost, upload: Any) -> None:
    service = make()
    assert_success(service, upload(service), png())
    assert len(host.requests) == 1


@EACH
def test_without_a_word_of_the_profile_nothing_is_fetched(make: Made, host: RemoteHost, upload: Any) -> None:
    """Off by default; also where servers may."""
    service = make(None, enabled=True)
    for profile in ("remote", "default"):
        answer = upload(service, profile=profile)
        assert_refused(answer, 400, "parameter.forbidden", INVALID, NOT_ALLOWED)
    assert service.on_disk() == KEPT_NONE
    assert host.requests == []


RULES = [
    ([URL], f"https://{HOST}/users/u2/a.png"),
    ([f"https://{HOST}/users/{{subject}}/a.png"], f"https://{HOST}/users/u2/a.png"),
    (f"https://{HOST}/users/{{subject}}/**", f"https://{HOST}/users/u2/a.png"),
    (f"https://{HOST}/**", f"https://{OTHER}/users/ci/a.png"),
    ("https://*.example/users/ci/*", f"https://{HOST}/users/u2/a.png"),
    ({"regex": r"https://files\.example/users/ci/[a-z.]+"}, f"{URL}?x=https://files.example/users/ci/a.png"),
    ({"max_length": len(URL)}, f"{URL}?x"),
]


@EACH
@pytest.mark.parametrize(("rule", "other"), RULES, ids=range(len(RULES)))
def test_a_profile_says_which_urls(make: Made, host: RemoteHost, upload: Any, rule: Any, other: str) -> None:
    service = make(rule)
    answer = upload(service, other)
    assert_refused(answer, 400, "parameter.forbidden", INVALID)
    assert answer.get_json()["help"].startswith("file is, or is redirected to, a URL that ")
    assert host.requests == []
    assert_kept(upload(service, URL.replace("https", "HTTPS").replace(HOST, HOST.upper()) + "#page"))
    assert service.on_disk() == KEPT_ONE


def test_a_redirect_is_held_to_the_profile_too(make: Made, host: RemoteHost) -> None:
    host.answers["/users/ci/old"] = head("302 Found", "Location: /users/u2/a.png", "Content-Length: 0")
    host.answers["/users/ci/new"] = head("302 Found", "Location: a.png", "Content-Length: 0")
    service = make(f"https://{HOST}/users/{{subject}}/**")
    assert_refused(v1(service, f"https://{HOST}/users/ci/old"), 400, "parameter.forbidden", INVALID)
    assert service.on_disk() == KEPT_NONE
    assert_kept(v1(service, f"https://{HOST}/users/ci/new"))


def test_a_profile_that_is_gone_lets_nobody(make: Made) -> None:
    service = make()
    assert service.accept.fetching is not None
    service.accept = replace(service.accept, fetching=replace(service.accept.fetching, profiles={}))
    service.client = create_app(service.doors()).test_client()
    assert_refused(v1(service), 400, "parameter.forbidden", INVALID, NOT_ALLOWED)


def test_a_credential_that_was_minted_elsewhere_lets_nobody(make: Made) -> None:
    """Whatever profile takes it: nobody has said what it is for."""

    def cross_off(tables: Tables) -> None:
        tables["profiles"]["remote"]["unissued"] = "cross-off"

    service = make(change=cross_off)
    own = service.own_credential("token-of-another", service.clock.now + 60)
    assert_refused(service.upload_v1(own, None, file=URL), 400, "parameter.forbidden", INVALID, NOT_ALLOWED)
    assert_kept(service.upload_v1(service.own_credential("token-two", service.clock.now + 60)))


def test_servers_may_where_the_service_says_so(make: Made, host: RemoteHost) -> None:
    assert_success(service := make(enabled=True), by_key(service), png())
    refusing = make()
    help_text = "file is a URL, and this service does not fetch files. Send the file itself."
    assert_refused(by_key(refusing), 400, "parameter.forbidden", INVALID, help_text)
    assert len(host.requests) == 1


def test_hosts_are_for_everybody(make: Made, host: RemoteHost) -> None:
    service = make(enabled=True, hosts=["Other.example"])
    for upload in (v1, v2, by_key):
        assert_refused(upload(service), 400, "parameter.forbidden", INVALID)
        assert_kept(upload(service, f"https://{OTHER}/users/ci/a.png"))
    assert len(host.requests) == 3


@pytest.mark.parametrize(
    ("url", "help_text"),
    [
        ("http://files.example/a.png", "file is a URL that does not begin with https://."),
        ("file:///etc/passwd", "file is a URL that does not begin with https://."),
        (f"https://u@{HOST}/a.png", "file is a URL that names a user."),
        ("https://127.0.0.1/a.png", "file cannot be fetched: its host has no public address, or does not answer."),
        ("https://[::1]/a.png", "file cannot be fetched: its host has no public address, or does not answer."),
        (f"https://{HOST}/nothing", "file cannot be fetched: its host answers with status 404."),
    ],
)
def test_what_cannot_be_fetched_is_told_as_imagekit_does(make: Made, url: str, help_text: str) -> None:
    service = make(enabled=True)
    for upload in (v1, v2, by_key):
        answer = upload(service, url)
        assert_refused(answer, 400, "parameter.invalid", INVALID)
        assert answer.get_json()["help"].startswith(help_text)
    assert service.on_disk() == KEPT_NONE


@pytest.mark.parametrize(("size", "is_kept"), [(MAX_FILE_BYTES, True), (MAX_FILE_BYTES + 1, False)])
@pytest.mark.parametrize("is_announced", [True, False])
def test_the_plan_s_limit_holds_while_it_comes_in(
    make: Made, host: RemoteHost, size: int, *, is_kept: bool, is_announced: bool
) -> None:
    content = png(padding=size - len(png()))
    host.answers["/users/ci/a.png"] = ok(content) if is_announced else head("200 OK") + content
    service = make(enabled=True)
    for upload in (v1, v2, by_key):
        answer = upload(service)
        if is_kept:
            assert assert_kept(answer)["size"] == size
        else:
            assert_refused(
                answer, 400, "too_large", TOO_LARGE, "The file is larger than 100,000 bytes. Send a smaller file."
            )
            assert service.on_disk() == KEPT_NONE


def test_a_body_without_end_is_not_received(make: Made, host: RemoteHost) -> None:
    sent: list[int] = []

    def flood(host: RemoteHost, connection: Any) -> None:
        connection.sendall(head("200 OK"))
        while not host.closing.is_set():
            connection.sendall(bytes(65536))
            sent.append(65536)

    host.answers["/users/ci/a.png"] = flood
    service = make()
    assert_refused(v1(service), 400, "too_large", TOO_LARGE)
    assert service.on_disk() == KEPT_NONE
    assert sum(sent) < 20_000_000, "what fits into the buffers on the way"


def test_the_profile_s_limits_hold_for_what_was_fetched(make: Made, host: RemoteHost) -> None:
    def limit(tables: Tables) -> None:
        tables["profiles"]["remote"]["limits"] = {"types": ["image/*"], "max_bytes": 500}

    service = make(change=limit)
    host.answers["/text"] = ok(b"no picture")
    host.answers["/large"] = ok(png(padding=500))
    for path in ("/text", "/large"):
        assert v1(service, f"https://{HOST}{path}").status_code == 400
    assert service.on_disk() == KEPT_NONE
    assert_kept(v1(service))


def test_the_form_is_held_to_the_credential_before_anything_is_fetched(make: Made, host: RemoteHost) -> None:
    service = make()
    token = service.post({"uploadPayload": {"fileName": "a.png"}}, profile="remote").get_json()["token"]
    answer = service.upload_v2(token, None, fileName="b.png", file=URL)
    assert_refused(answer, 400, "parameter.forbidden", PAYLOAD)
    assert_refused(v1(service, folder="a.b"), 400, "parameter.invalid", INVALID.replace("file", "folder"))
    credential = {name: str(value) for name, value in service.get(profile="remote").get_json().items()}
    nameless = service.upload("v1", {**credential, "file": URL}, None)
    assert_refused(nameless, 400, "parameter.invalid", INVALID.replace("file", "fileName"))
    forged = {**credential, "signature": "0" * 40, "token": "other"}
    assert service.upload("v1", {"fileName": "a.png", **forged, "file": URL}, None).status_code == 400
    assert host.requests == []


def test_a_credential_is_spent_by_a_fetch_that_fails(make: Made, host: RemoteHost) -> None:
    """As by any form that is refused once the credential is known to be genuine; and then nothing is fetched."""
    service = make()
    credential = {name: str(value) for name, value in service.get(profile="remote").get_json().items()}
    first = service.upload_v1(credential, None, file=f"https://{HOST}/nothing")
    again = service.upload_v1(credential, None, file=URL)
    assert [answer.headers["X-Tokensvc-Code"] for answer in (first, again)] == [
        "parameter.invalid",
        "credential.replayed",
    ]
    assert len(host.requests) == 1


def test_a_url_that_is_none_spends_nothing(make: Made) -> None:
    service = make()
    credential = {name: str(value) for name, value in service.get(profile="remote").get_json().items()}
    assert service.upload_v1(credential, None, file="ftp://x").headers["X-Tokensvc-Code"] == "parameter.invalid"
    assert_kept(service.upload_v1(credential, None, file=URL))


def test_what_the_type_of_a_text_is_its_file_name_says(make: Made, host: RemoteHost) -> None:
    """Not the URL, nor the Content-Type that it came with."""
    host.answers["/users/ci/a.html"] = ok(b"<p>hello", "Content-Type: text/html")
    service = make()
    body = assert_kept(v1(service, f"https://{HOST}/users/ci/a.html", fileName="notes.txt"))
    served = service.send("GET", f"/files/{body['name']}")
    assert (served.content_type.split(";")[0], body["name"][:6]) == ("text/plain", "notes_")


def test_file_is_no_member_of_a_payload(make: Made) -> None:
    """What is signed has no file in it, at ImageKit either."""
    service = make()
    answer = service.post({"uploadPayload": {"fileName": "a.png", "file": URL}}, profile="remote")
    assert (answer.status_code, answer.get_json()["code"]) == (422, "parameter.invalid")


def test_a_page_is_told_that_it_may_send_a_url(make: Made) -> None:
    ask = ("GET", "/auth/remote/limits")
    shown = make(f"https://{HOST}/users/{{subject}}/**")
    offered = shown.send(*ask, shown.bearer).get_json()["parameters"]
    assert offered["file"] == {"choose": f"like https://{HOST}/users/ci/**"}
    silent = make(None)
    assert "file" not in silent.send(*ask, silent.bearer).get_json()["parameters"]


def test_the_url_is_in_no_log(make: Made, log: list[str]) -> None:
    """It may hold a signature; the host is told."""
    v1(make(), f"https://{HOST}/nothing?signature=CANARY")
    assert not [line for line in log if "CANARY" in line]


def test_what_a_stranger_s_body_may_weigh_is_no_limit_for_a_file_that_is_fetched(make: Made) -> None:
    """By then its sender is known."""
    service = make()
    doors = service.doors()
    assert doors.uploads is not None
    app = create_app(replace(doors, uploads=replace(doors.uploads, max_unverified_bytes=10)))
    service.client = app.test_client()
    assert assert_kept(v1(service))["size"] == len(png()) > 10
