"""`/metrics`: the totals of all workers, for Prometheus.

An api key that may `operate` reads them, and who asks from this machine without a proxy in between. Every sign of a
proxy counts, for one on the same machine is a loopback peer too, with everybody's requests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from flask import Blueprint, Response, current_app, request

from tokensvc.core.addresses import NOBODY, parse_address
from tokensvc.service.rights import Rights

from .identity import presented

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SIGNS_OF_A_PROXY: Final = ("X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Forwarded", "Via")


def metrics_blueprint(text: Callable[[], bytes], rights: Rights) -> Blueprint:
    """The route; `text` is what it answers."""
    blueprint = Blueprint("metrics", __name__)

    @blueprint.get("/metrics")
    def metrics() -> Response:
        if "Authorization" in request.headers or not _asked_from_here():
            rights.require(presented(), "operate")
        answer = Response(text(), content_type=CONTENT_TYPE)
        answer.headers["Cache-Control"] = "no-store"
        return answer

    return blueprint


def _asked_from_here() -> bool:
    peer = request.remote_addr or "unix"
    if peer in current_app.config.get("PROXIES", NOBODY) or any(name in request.headers for name in _SIGNS_OF_A_PROXY):
        return False
    # The name that was asked for too, because a page of any site can give its own name our address.
    host = urlsplit(f"//{request.host}").hostname or ""
    return _is_loopback(peer) and (host == "localhost" or _is_loopback(host))


def _is_loopback(text: str) -> bool:
    try:
        return parse_address(text).is_loopback
    except ValueError:
        return False
