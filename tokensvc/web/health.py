"""`/livez`: the process answers. `/readyz`: it could issue and redeem now, and which parts of a cluster could not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flask import Blueprint, Response, json


def health_blueprint(ready: Callable[[], Sequence[str]]) -> Blueprint:
    """The probes; `ready` raises an outage when the nonce store does not answer, and names parts of it that do not."""
    blueprint = Blueprint("health", __name__)

    @blueprint.get("/livez")
    def livez() -> Response:
        return _answer("alive")

    @blueprint.get("/readyz")
    def readyz() -> Response:
        down = ready()
        return _answer("ready", **({"down": list(down)} if down else {}))

    return blueprint


def _answer(status: str, **more: list[str]) -> Response:
    answer = Response(json.dumps({"status": status, **more}), mimetype="application/json")
    answer.headers["Cache-Control"] = "no-store"
    return answer
