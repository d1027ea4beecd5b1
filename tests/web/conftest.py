"""A fresh application for each test, its log, and the one shape of an error."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.app import Service
from tokensvc.adapters.logs import lines
from tokensvc.web import problems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from werkzeug.test import TestResponse

    from tests.support.valkey import Valkey

ServiceMaker = Any
"""Takes what `Service` takes after its store and folder, and `store` for another store than the session's."""


class Lines(logging.Handler):
    """Keeps the lines of the service's log, tracebacks included."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    def write(self, text: str) -> None:
        """What a stream has, for the lines of events."""
        self.lines += text.splitlines()


@pytest.fixture(autouse=True)
def log() -> Iterator[list[str]]:
    handler, logger = Lines(), logging.getLogger("tokensvc")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    with lines.written_to(handler):  # type: ignore[type-var] # all that is needed of a stream
        yield handler.lines
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.fixture
def make_service(valkey: Valkey, tmp_path: Path) -> Iterator[ServiceMaker]:
    made: list[Service] = []

    def make(*, store: Valkey = valkey, **options: Any) -> Service:
        made.append(Service(store.url, tmp_path / f"data{len(made)}", **options))
        return made[-1]

    yield make
    for service in made:
        service.close()


@pytest.fixture
def service(make_service: Callable[[], Service]) -> Service:
    return make_service()


def assert_problem(answer: TestResponse, status: int, code: str, detail: str, remedy: str = "") -> None:
    """The whole answer is this problem and nothing else."""
    request_id = answer.headers["X-Request-Id"]
    assert len(request_id) == 24
    assert answer.get_json() == {
        "type": f"/docs/errors/{code}",
        "title": problems.STATUS[code][1],
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
        "message": detail,
        "help": remedy,
    }
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    assert answer.headers["X-Tokensvc-Code"] == code
    assert answer.headers["Cache-Control"] == "no-store, private"
    assert ("WWW-Authenticate" in answer.headers) is (status == 401)


def problem_of(answer: TestResponse, status: int, code: str) -> str:
    """The detail of a problem, whose shape is checked too; for where a sentence is checked in part."""
    body = answer.get_json()
    assert_problem(answer, status, code, body["detail"], body["help"])
    return str(body["detail"])
