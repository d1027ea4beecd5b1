"""Requests as caller sources see them, a sibling Flask app, and the service with other sources in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask, session
from werkzeug.datastructures import Headers

from tests.support.app import Service
from tokensvc.core.callers import Presented
from tokensvc.core.errors import Code, Refusal
from tokensvc.ports import CallerSource
from tokensvc.web import create_app
from tokensvc.web.identity import presented

_APP = Flask(__name__)


def request_with(*headers: tuple[str, str], peer: str = "192.0.2.1") -> Presented:
    """What the sources are shown of a request with these headers, in this order; made by the web's own code."""
    address = "" if peer == "unix" else peer
    with _APP.test_request_context("/auth", headers=Headers(list(headers)), environ_base={"REMOTE_ADDR": address}):
        return presented()


def ticket_in(text: str) -> Presented:
    """A request with this ticket."""
    return request_with(("Authorization", f"Ticket {text}"))


def cookie_in(text: str, name: str = "session") -> Presented:
    """A request with this cookie."""
    return request_with(("Cookie", f"{name}={text}"))


def refusal_of(source: CallerSource, shown: Presented) -> str:
    """The sentence with which the source refuses the evidence; every such refusal has the same code."""
    with pytest.raises(Refusal) as caught:
        source.identify(shown)
    assert caught.value.code is Code.CALLER_INVALID
    return caught.value.detail


class SiblingApp:
    """A web app with Flask's own sessions, as people write it."""

    def __init__(self, secret_key: str, *, fallbacks: Iterable[str] = (), cookie: str = "session") -> None:
        self.app = Flask("sibling")
        self.app.config.update(
            SECRET_KEY=secret_key, SECRET_KEY_FALLBACKS=list(fallbacks), SESSION_COOKIE_NAME=cookie, TESTING=True
        )
        self.cookie = cookie
        self._entries: Mapping[str, Any] = {}

        @self.app.post("/sign-in")
        def sign_in() -> str:
            session.update(self._entries)
            return ""

        @self.app.get("/")
        def page() -> dict[str, Any]:
            return dict(session)

    def sign_in(self, **entries: Any) -> str:
        """Sign in, and return the cookie that the browser then has."""
        self._entries = entries
        client = self.app.test_client()
        assert client.post("/sign-in").status_code == 200
        cookie = client.get_cookie(self.cookie)
        assert cookie is not None
        return cookie.value

    def knows(self, cookie: str) -> bool:
        """Whether the app itself still takes the cookie for a session."""
        client = self.app.test_client()
        client.set_cookie(self.cookie, cookie)
        return bool(client.get("/").get_json())


def seat(service: Service, sources: Mapping[str, CallerSource]) -> Service:
    """Put further sources into a service whose configuration names them in its profiles."""
    service.issue = replace(service.issue, sources={**service.issue.sources, **sources})
    service.app = create_app(service.doors())
    service.client = service.app.test_client(use_cookies=False)  # a Cookie header is sent as it stands
    return service
