"""`/livez`: the process answers. `/readyz`: it could issue and redeem now."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Response, json


def health_blueprint(ready: Callable[[], None]) -> Blueprint:
    """The probes; `ready` raises an outage when the nonce store does not answer."""
    blueprint = Blueprint("health", __name__)

    @blueprint.get("/livez")
    def livez() -> Response:
        return _answer("alive")

    @blueprint.get("/readyz")
    def readyz() -> Response:
        ready()
        return _answer("ready")

    return blueprint


def _answer(status: str) -> Response:
    answer = Response(json.dumps({"status": status}), mimetype="application/json")
    answer.headers["Cache-Control"] = "no-store"
    return answer
