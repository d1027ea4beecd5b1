"""`/livez`: the process answers. `/readyz`: it could issue and redeem now, and will still be here in a moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flask import Blueprint, Response, json


def health_blueprint(ready: Callable[[], Sequence[str]], stopping: Callable[[], bool]) -> Blueprint:
    """The probes; `ready` raises an outage when the nonce store does not answer, and names parts of it that do not."""
    blueprint = Blueprint("health", __name__)

    @blueprint.get("/livez")
    def livez() -> Response:
        return _answer("alive")

    @blueprint.get("/readyz")
    def readyz() -> Response:
        if stopping():
            return _answer("stopping", 503)
        return _answer("ready", down=ready())

    return blueprint


def _answer(status: str, code: int = 200, down: Sequence[str] = ()) -> Response:
    answer = Response(
        json.dumps({"status": status, **({"down": down} if down else {})}), code, mimetype="application/json"
    )
    answer.headers["Cache-Control"] = "no-store"
    return answer
