"""`/livez`: the process answers. `/readyz`: it could issue and redeem now, and will still be here in a moment."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Response, json


def health_blueprint(ready: Callable[[], None], stopping: Callable[[], bool]) -> Blueprint:
    """The probes; `ready` raises an outage when the nonce store does not answer."""
    blueprint = Blueprint("health", __name__)

    @blueprint.get("/livez")
    def livez() -> Response:
        return _answer("alive")

    @blueprint.get("/readyz")
    def readyz() -> Response:
        if stopping():
            return _answer("stopping", 503)
        ready()
        return _answer("ready")

    return blueprint


def _answer(status: str, code: int = 200) -> Response:
    answer = Response(json.dumps({"status": status}), code, mimetype="application/json")
    answer.headers["Cache-Control"] = "no-store"
    return answer
