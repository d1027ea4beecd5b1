"""What the browser sends by itself counts only in a request that no page of another site can have caused."""

from __future__ import annotations

import time
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support.app import ORIGIN, Service, Tables
from tests.support.callers import SiblingApp, seat
from tokensvc.adapters.callers.anonymous import Anonymous
from tokensvc.adapters.callers.forwarded import Forwarded
from tokensvc.adapters.callers.session import FlaskSession
from tokensvc.adapters.callers.ticket import Tickets
from tokensvc.adapters.demo_sign_in import COOKIE, DemoSignIn
from tokensvc.core.addresses import Peers
from tokensvc.core.keys import Secret
from tokensvc.embed.tickets import TicketSigner
from tokensvc.web import create_app
from tokensvc.web.origins import Origins

from .conftest import ServiceMaker, assert_problem

KEY = "key-" * 8
OWN = "http://localhost"
EVIL = "https://evil.example"
UNLISTED = (
    "Pages of this origin may not use the service.",
    "Add the exact origin (scheme, host, port) to [cors] origins.",
)
FOREIGN = (
    "Pages of another site may not ask in the name of who is signed in here.",
    "Add the exact origin (scheme, host, port) to [cors] origins, and ask by fetch with credentials.",
)
UNMARKED = (
    "The request does not show which site's page it comes from, and a cookie alone does not count.",
    "Send the header X-Requested-With: XMLHttpRequest.",
)
OF_SCRIPTS = [
    {"X-Requested-With": "XMLHttpRequest"},
    {"Authorization": "Bearer of-somebody-else"},
    {"Authorization": "Ticket of-somebody-else"},
]


def clock() -> int:
    return int(time.time())


@pytest.fixture
def seated(make_service: ServiceMaker) -> Service:
    """A profile for each source; `backend` is the api key's, and `default` trusts what a test does not use."""

    def trust(tables: Tables) -> None:
        for name in ("web", "proxy", "guests", "ticket", "demo", "backend"):
            tables["profiles"][name] = {"callers": [name]}

    service: Service = make_service(change=trust)
    return seat(
        service,
        {
            "web": FlaskSession("web", [Secret(KEY)], clock=clock),
            "proxy": Forwarded("proxy", header="X-Forwarded-User", trusted=Peers.parse(["127.0.0.1"])),
            "guests": Anonymous("guests", proxies=Peers()),
            "ticket": Tickets("ticket", [Secret(KEY)], clock=clock),
            "demo": DemoSignIn("demo", Secret(KEY)),
        },
    )


def evidence(service: Service, name: str) -> dict[str, str]:
    match name:
        case "web":
            return {"Cookie": f"session={SiblingApp(KEY).sign_in(user_id='u1')}"}
        case "demo":
            return {"Cookie": f"{COOKIE}={DemoSignIn('demo', Secret(KEY))._serializer.dumps('demo')}"}
        case "proxy":
            return {"X-Forwarded-User": "u1"}
        case "ticket":
            return {"X-Upload-Ticket": TicketSigner(KEY).sign(subject="u1")}
        case "backend":
            return service.bearer
        case _:
            return {}


def ask(service: Service, name: str, headers: dict[str, str], method: str = "GET", **how: Any) -> TestResponse:
    """Not by `Service.send`, which holds every answer to be without leave for cookies."""
    shown = {**headers, **evidence(service, name)}
    if method == "POST":
        how["json"] = {"uploadPayload": {"fileName": "a.png"}}
    return service.client.open(f"/auth/{name}", method=method, headers=shown, **how)


COOKIES = ["web", "demo", "proxy"]
LISTED = ["web", "proxy"]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("name", COOKIES)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": OWN},
        {"Origin": OWN, "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"X-Requested-With": "XMLHttpRequest"},
    ],
)
def test_the_own_sites_pages_ask_with_cookies(seated: Service, name: str, headers: dict[str, str], method: str) -> None:
    before = seated.on_record()
    assert ask(seated, name, headers, method).status_code == 200
    assert len(seated.on_record() - before) == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("name", LISTED)
@pytest.mark.parametrize("site", [None, "same-site", "cross-site"])
def test_pages_of_a_listed_origin_ask_with_cookies(seated: Service, name: str, site: str | None, method: str) -> None:
    headers = {"Origin": ORIGIN} | ({"Sec-Fetch-Site": site} if site else {})
    assert ask(seated, name, headers, method).status_code == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("site", [None, "same-site", "same-origin"])
def test_even_a_listed_origin_does_not_ask_as_the_demo_user(seated: Service, site: str | None, method: str) -> None:
    headers = {"Origin": ORIGIN} | ({"Sec-Fetch-Site": site} if site else {})
    answer = ask(seated, "demo", headers, method)
    assert (answer.status_code, answer.get_json()["code"]) == (403, "origin.forbidden")


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("name", COOKIES)
@pytest.mark.parametrize("origin", [EVIL, "null", "", "http://localhost:81", "https://localhost", f"{OWN}, {ORIGIN}"])
@pytest.mark.parametrize("site", [None, "same-origin", "cross-site"])
def test_other_origins_do_not(seated: Service, name: str, origin: str, site: str | None, method: str) -> None:
    """Whatever else they send: a script's header gets here only if a preflight allowed it, and none did."""
    before = seated.on_record()
    headers = {"Origin": origin, **OF_SCRIPTS[0]} | ({"Sec-Fetch-Site": site} if site else {})
    assert_problem(ask(seated, name, headers, method), 403, "origin.forbidden", *UNLISTED)
    assert seated.on_record() == before


@pytest.mark.parametrize("name", LISTED)
@pytest.mark.parametrize(
    "site", ["cross-site", "same-site", "", "Same-Origin", "none, cross-site", "same-origin, none"]
)
@pytest.mark.parametrize("headers", [{}, *OF_SCRIPTS])
def test_a_picture_on_another_sites_page_issues_nothing(
    seated: Service, name: str, site: str, headers: dict[str, str]
) -> None:
    """A GET without an Origin, as for <img>, <script>, a link or a prefetch."""
    before = seated.on_record()
    answer = ask(seated, name, {"Sec-Fetch-Site": site, **headers})
    assert_problem(answer, 403, "origin.forbidden", *FOREIGN)
    assert seated.on_record() == before


@pytest.mark.parametrize("name", COOKIES)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Referer": f"{OWN}/"},
        {"Authorization": "Basic dTpw"},
        {"Authorization": "Negotiate YII"},
        {"Authorization": "Bearer"},
        {"X-Requested-With": ""},
        {"X-Requested-With": "com.example.app"},
        {"Accept": "application/json", "Content-Type": "text/plain"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_cookie_in_a_request_of_unknown_descent_issues_nothing(
    seated: Service, name: str, headers: dict[str, str], method: str
) -> None:
    """An old browser sends no Sec-Fetch-Site, and with a GET no Origin; nor does any browser to a plain http host."""
    before = seated.on_record()
    assert_problem(ask(seated, name, headers, method), 403, "origin.forbidden", *UNMARKED)
    assert seated.on_record() == before


@pytest.mark.parametrize("headers", OF_SCRIPTS)
def test_a_header_that_only_a_script_can_send_shows_its_descent(seated: Service, headers: dict[str, str]) -> None:
    assert ask(seated, "web", headers).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_picture_does_not_use_up_what_its_viewers_address_may_have(seated: Service, site: str) -> None:
    before = seated.on_record()
    assert_problem(ask(seated, "guests", {"Sec-Fetch-Site": site}), 403, "origin.forbidden", *FOREIGN)
    assert seated.on_record() == before


@pytest.mark.parametrize("headers", [{}, {"Sec-Fetch-Site": "same-origin"}, {"Origin": ORIGIN}, {"Origin": OWN}])
def test_a_guest_needs_no_browser(seated: Service, headers: dict[str, str]) -> None:
    assert ask(seated, "guests", headers).status_code == 200


@pytest.mark.parametrize("name", ["ticket", "backend"])
@pytest.mark.parametrize(
    "headers", [{}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site", "Origin": ORIGIN}]
)
def test_what_is_sent_on_purpose_needs_nothing_else(seated: Service, name: str, headers: dict[str, str]) -> None:
    assert ask(seated, name, headers).status_code == 200


@pytest.mark.parametrize("name", COOKIES)
def test_a_rebound_name_is_no_host_of_ours(make_service: ServiceMaker, name: str) -> None:
    """Its page is of the same origin as the service, to the browser; the list of hosts is what tells."""

    def listed(tables: Tables) -> None:
        tables["hosts"] = ["localhost"]
        tables["profiles"][name] = {"callers": [name]}

    service: Service = make_service(change=listed)
    seat(service, {"web": FlaskSession("web", [Secret(KEY)], clock=clock), "demo": DemoSignIn("demo", Secret(KEY))})
    seat(service, {"proxy": Forwarded("proxy", header="X-Forwarded-User", trusted=Peers.parse(["127.0.0.1"]))})
    before, marks = service.on_record(), {"Sec-Fetch-Site": "same-origin"}
    assert ask(service, name, {**marks, "Origin": EVIL}, "POST", base_url=EVIL).status_code == 400
    assert ask(service, name, marks, base_url=EVIL).status_code == 400
    assert service.on_record() == before
    assert ask(service, name, {**marks, "Origin": OWN}, "POST").status_code == 200


# Leave for listed origins to ask with cookies.


def preflight(service: Service, origin: str) -> TestResponse:
    headers = {"Origin": origin, "Access-Control-Request-Method": "GET"}
    return service.client.options("/auth/web", headers={**headers, **evidence(service, "web")})


def test_a_listed_origin_has_leave_to_ask_with_cookies_if_cookies_count(seated: Service) -> None:
    before = seated.on_record()
    answers = [
        preflight(seated, ORIGIN),
        ask(seated, "web", {"Origin": ORIGIN}),
        ask(seated, "closed", {"Origin": ORIGIN}),
    ]
    assert [answer.status_code for answer in answers] == [204, 200, 401]
    for answer in answers:
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert len(seated.on_record() - before) == 1  # none by the preflight


@pytest.mark.parametrize("origin", [EVIL, "null", "*", OWN])
def test_no_other_origin_has_it(seated: Service, origin: str) -> None:
    for answer in (preflight(seated, origin), ask(seated, "web", {"Origin": origin})):
        assert not [name for name, _ in answer.headers if name.startswith("Access-Control-")]


@pytest.mark.parametrize("kept", [["backend"], ["backend", "demo"], ["backend", "demo", "ticket", "guests"]])
def test_where_no_cookie_counts_nobody_has_it(seated: Service, kept: list[str]) -> None:
    sources = {name: source for name, source in seated.issue.sources.items() if name in {*kept, "demo"}}
    object.__setattr__(seated.issue, "sources", sources)
    seated.app = create_app(seated.doors())
    seated.client = seated.app.test_client(use_cookies=False)
    for answer in (preflight(seated, ORIGIN), ask(seated, "backend", {"Origin": ORIGIN})):
        assert answer.status_code in {200, 204}
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize("cookies", [True, False])
def test_the_wildcard_is_no_origin(*, cookies: bool) -> None:
    with pytest.raises(ValueError, match="exact"):
        Origins(["https://app.example", "*"], cookies=cookies)


def test_a_cookie_of_somebody_else_that_is_no_utf8_is_no_error(seated: Service) -> None:
    answer = seated.client.get("/auth/backend", headers={**seated.bearer, "Cookie": "theme=\xff"})
    assert answer.status_code == 200
    answer = seated.client.get("/auth/web", headers={"Cookie": "theme=\xff; session=\xff", **OF_SCRIPTS[0]})
    assert (answer.status_code, answer.get_json()["code"]) == (401, "caller.invalid")
