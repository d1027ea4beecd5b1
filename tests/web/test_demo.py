"""The demo page's sign-in: for this machine, for its own page, and for nobody else."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Any

import pytest
import time_machine
from itsdangerous import URLSafeTimedSerializer

from tests.support.service import ROOT
from tokensvc.adapters.demo_sign_in import COOKIE, MAX_AGE_SECONDS
from tokensvc.web import create_app

from .conftest import assert_problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.app import Service

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
STATIC = ROOT / "tokensvc/web/static"
OWN_PAGE = {"Sec-Fetch-Site": "same-origin"}
NOT_HERE = "The demo sign-in works on the same machine only."
NOT_FOR_OTHERS = "The demo sign-in is not for other sites' pages."


def sign_in(service: Service) -> str:
    """The cookie's value."""
    answer = service.send("POST", "/demo/session")
    assert answer.status_code == 200
    cookie = service.client.get_cookie(COOKIE)
    assert cookie is not None
    return cookie.value


def session(service: Service) -> dict[str, Any]:
    body: dict[str, Any] = service.send("GET", "/demo/session").get_json()
    return body


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/static/demo.js", "text/javascript; charset=utf-8"),
        ("/static/demo.css", "text/css; charset=utf-8"),
    ],
)
def test_the_page_may_load_and_send_nothing_elsewhere(service: Service, path: str, content_type: str) -> None:
    answer = service.send("GET", path)
    assert (answer.status_code, answer.content_type) == (200, content_type)
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store, private"


def test_the_page_refers_to_its_own_files_only(service: Service) -> None:
    page = service.send("GET", "/").get_data(as_text=True)
    referred = re.findall(r'(?:src|href)="([^"#]+)"', page)
    assert referred
    for path in referred:
        assert path.startswith("/static/"), path
        assert service.send("GET", path).status_code == 200
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\son[a-z]+=|\sstyle=", page), "the policy forbids inline code"


def test_every_colour_is_in_the_palette_and_has_a_light_and_a_dark_form() -> None:
    palette, *others = ((STATIC / f"{name}.css").read_text() for name in ("palette", "demo", "page"))
    light, _, dark = palette.partition("@media")
    names = re.findall(r"(--[a-z-]+):", light)
    assert names == re.findall(r"(--[a-z-]+):", dark)
    for style in others:
        assert not re.search(r"#[0-9a-f]{3,8}\b|(?:rgb|hsl|oklch)\(", style)
        assert set(re.findall(r"var\((--[a-z-]+)\)", style)) <= {*names, *re.findall(r"(--[a-z-]+):", style)}


def test_a_sign_in_lets_the_page_fetch_credentials(service: Service) -> None:
    assert service.send("GET", "/auth").status_code == 401
    answer = service.send("POST", "/demo/session")
    assert answer.get_json() == {"signed_in": True, "subject": "demo"}
    assert session(service) == {"signed_in": True, "subject": "demo"}
    assert service.send("GET", "/auth", OWN_PAGE).status_code == 200
    assert service.send("POST", "/auth", OWN_PAGE, json={"uploadPayload": {"fileName": "a.png"}}).status_code == 200


def test_the_cookie_is_kept_from_scripts_and_other_sites(service: Service) -> None:
    header = service.send("POST", "/demo/session").headers["Set-Cookie"]
    assert set(header.split("; ")[1:]) == {"HttpOnly", "Path=/", "SameSite=Strict"}
    over_tls = service.send("POST", "/demo/session", base_url="https://localhost").headers["Set-Cookie"]
    assert set(over_tls.split("; ")[1:]) == {"Secure", "HttpOnly", "Path=/", "SameSite=Strict"}


def test_who_signed_out_fetches_nothing(service: Service) -> None:
    sign_in(service)
    answer = service.send("DELETE", "/demo/session")
    assert answer.get_json() == {"signed_in": False, "subject": None}
    assert service.client.get_cookie(COOKIE) is None
    assert session(service) == {"signed_in": False, "subject": None}
    assert service.send("GET", "/auth").status_code == 401


@pytest.mark.parametrize("site", ["cross-site", "same-site", "nonsense", ""])
def test_another_sites_page_is_refused(service: Service, site: str) -> None:
    assert_problem(
        service.send("POST", "/demo/session", {"Sec-Fetch-Site": site}), 403, "origin.forbidden", NOT_FOR_OTHERS
    )
    assert service.client.get_cookie(COOKIE) is None
    sign_in(service)
    before = service.on_record()
    for method in ("GET", "POST"):
        answer = service.send(method, "/auth", {"Sec-Fetch-Site": site}, data=b'{"uploadPayload":{}}')
        assert_problem(answer, 403, "origin.forbidden", NOT_FOR_OTHERS)
    assert service.on_record() <= before


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_its_own_page_and_the_address_bar_are_let_in(service: Service, site: str) -> None:
    assert service.send("POST", "/demo/session", {"Sec-Fetch-Site": site}).status_code == 200
    assert service.send("GET", "/auth", {"Sec-Fetch-Site": site}).status_code == 200


@pytest.mark.parametrize(
    "peer", ["10.0.0.1", "192.168.1.5", "8.8.8.8", "::2", "fe80::1", "0.0.0.0", "::", "localhost", "", "unix"]
)
def test_a_peer_on_another_machine_is_refused(service: Service, peer: str) -> None:
    cookie = sign_in(service)
    far = {"REMOTE_ADDR": peer}
    spoofed = {"X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1"}
    for method, path in (("POST", "/demo/session"), ("GET", "/demo/session"), ("GET", "/auth")):
        answer = service.send(method, path, {**spoofed, "Cookie": f"{COOKIE}={cookie}"}, environ_overrides=far)
        assert_problem(answer, 403, "caller.forbidden", NOT_HERE)


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.9.9.9", "::1"])
def test_a_peer_on_this_machine_is_let_in(service: Service, peer: str) -> None:
    near = {"REMOTE_ADDR": peer}
    assert service.send("POST", "/demo/session", environ_overrides=near).status_code == 200
    assert service.send("GET", "/auth", OWN_PAGE, environ_overrides=near).status_code == 200


FORGERIES: dict[str, Callable[[Service, str], str]] = {
    "text": lambda _service, _cookie: "demo",
    "last character": lambda _service, cookie: cookie[:-1] + ("A" if cookie[-1] != "A" else "Q"),
    "cut": lambda _service, cookie: cookie[:-5],
    "no signature": lambda _service, cookie: cookie.rpartition(".")[0],
    "other payload": lambda _service, cookie: "ImFkbWluIg." + cookie.partition(".")[2],
    "other key": lambda _service, _cookie: URLSafeTimedSerializer("x" * 40, salt="tokensvc demo sign-in").dumps("demo"),
    "other salt": lambda service, _cookie: URLSafeTimedSerializer(service.sign_in_secret, salt="other").dumps("demo"),
    "the private key": lambda service, _cookie: URLSafeTimedSerializer(
        service.private_key, salt="tokensvc demo sign-in"
    ).dumps("demo"),
}


@pytest.mark.parametrize("case", FORGERIES)
def test_a_forged_cookie_is_refused_in_the_one_shape(service: Service, case: str) -> None:
    """It is not passed over either, with another source's good evidence beside it: the first that is there decides."""
    cookie = FORGERIES[case](service, sign_in(service))
    service.client.set_cookie(COOKIE, cookie)
    for path in ("/auth", "/demo/session"):
        detail = "The demo sign-in is not valid or too old."
        assert_problem(service.send("GET", path), 401, "caller.invalid", detail, "Sign in again.")


def test_a_cookie_lives_twelve_hours(service: Service) -> None:
    begin = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)
    with time_machine.travel(begin, tick=False) as clock:
        sign_in(service)
        clock.shift(MAX_AGE_SECONDS)
        assert session(service)["signed_in"] is True
        clock.shift(1)
        detail = "The demo sign-in is not valid or too old."
        assert_problem(service.send("GET", "/demo/session"), 401, "caller.invalid", detail, "Sign in again.")


def test_a_cookie_from_the_future_is_refused(service: Service) -> None:
    begin = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)
    with time_machine.travel(begin, tick=False) as clock:
        sign_in(service)
        clock.shift(-1)
        assert service.send("GET", "/demo/session").status_code == 401


def test_without_a_demo_source_there_is_no_page(service: Service) -> None:
    """What makes a demo is its configuration; production has none of its doors."""
    doors = service.doors(demo=None)
    client = create_app(doors).test_client()
    for path in ("/", "/demo/session", "/static/demo.js"):
        assert client.get(path).status_code == 404
    assert client.post("/demo/session").status_code == 404
