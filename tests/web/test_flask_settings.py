"""What Flask would decide by its configuration: each number, and what has to be off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from flask import Flask

from tests.support.app import Service
from tokensvc import application
from tokensvc.web import batch, json_bodies, paced_bodies
from tokensvc.web.multipart import FormLimits

if TYPE_CHECKING:
    from .conftest import ServiceMaker


def test_what_is_read_of_a_body_is_bounded_by_its_route() -> None:
    """Both sides of each are tried where it is read; Flask's own limits would be the same for all routes."""
    form = FormLimits(max_file_bytes=1)
    assert json_bodies.MAX_BODY_BYTES == 64 * 1024
    assert batch.MOST_BYTES == 1024 * 1024
    assert (form.max_field_bytes, form.max_fields_bytes, form.max_header_bytes) == (64 * 1024, 256 * 1024, 8 * 1024)
    assert form.max_parts == 50
    assert (paced_bodies.GRACE_SECONDS, paced_bodies.SLOWEST_BYTES_PER_SECOND) == (5, 2048)


@pytest.mark.parametrize("built_by", ["production", "test"])
def test_flask_has_no_key_no_session_and_no_debugger(service: Service, built_by: str) -> None:
    app: Flask = service.app if built_by == "test" else application.create(service.settings)
    assert app.secret_key is None, "it signs nothing, least of all with ImageKit's key"
    assert (app.debug, app.testing, app.config["PROPAGATE_EXCEPTIONS"]) == (False, False, None)
    assert app.config["TRAP_HTTP_EXCEPTIONS"] is False
    assert app.static_folder is None


def test_a_variable_that_switches_flask_s_debugger_on_changes_no_answer(
    make_service: ServiceMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLASK_DEBUG", "1")
    service: Service = make_service()
    assert service.app.debug
    assert service.get().status_code == 200
    assert service.get("expire=1").status_code == 400
    assert service.send("GET", "/console").status_code == 404
