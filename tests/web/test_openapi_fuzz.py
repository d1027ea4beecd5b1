"""Schemathesis asks all that the document lets it ask, and much that it does not, of the application on a real store.

These of its checks are left out, each for its reason:
- `positive_data_acceptance` is ours below instead: that a request of a good shape is refused is daily business here (a
  key of another account, a time in the past), so what is held is that it is never called malformed.
- `ignored_auth` cannot ask an application in this process: `test_openapi` asks it of every operation itself.
- `negative_data_rejection` of uploads: in a form all is text, v1 passes over fields that it does not know, and a wrong
  Authorization is replaced by the right one here. `test_upload_fuzz` sends wrong forms.
- `use_after_free`, `ensure_resource_availability` and the stateful phase: there is nothing to create, fetch and delete.
- `max_response_time`: a time is no proof of anything on a shared machine.
"""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import pytest
import schemathesis
from schemathesis import engine
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events
from schemathesis.hooks import unregister

from tests.support.app import Service, basic
from tests.support.documented import DOCUMENT
from tokensvc.web.openapi.page import operations

if TYPE_CHECKING:
    from tests.web.conftest import ServiceMaker

MOST_EXAMPLES: Final = 4
NEVER_MALFORMED: Final = "a_good_shape_is_never_malformed"
JUDGED_BY_CONTENT: Final = re.compile(r"/revoke$|/files/")
"""A name that is not configured, or a form whose file is no file, is called malformed too."""

CREDENTIAL: Final = {"token", "expire", "signature", "publicKey"}

WELL: Final = {
    *("POST /auth", "GET /auth", "POST /auth/batch", "GET /auth/limits", "POST /explain", "POST /introspect"),
    *("POST /auth/{profile}", "GET /auth/{profile}", "POST /auth/{profile}/batch", "GET /auth/{profile}/limits"),
    *("POST /revoke", "POST /api/v1/files/upload", "POST /api/v2/files/upload", "POST /v1/files/upload"),
    *("GET /livez", "GET /readyz", "GET /metrics", "GET /docs", "GET /docs/errors/{code}"),
}
"""Operations that also answered 200. The others need a genuine credential, which other tests have."""


@pytest.fixture
def checks() -> Iterator[None]:
    """Our own check, known to schemathesis while the test runs."""

    def a_good_shape_is_never_malformed(_ctx: object, response: Any, case: Any) -> None:
        if not case.meta.generation.mode.is_positive or JUDGED_BY_CONTENT.search(case.operation.path):
            return
        code = response.headers.get("x-tokensvc-code", [""])[0]
        assert code != "request.malformed", response.text

    schemathesis.check(a_good_shape_is_never_malformed)
    schemathesis.hook(before_call)
    yield
    unregister(before_call)
    schemathesis.checks.CHECKS.unregister(NEVER_MALFORMED)


def configured(tables: dict[str, Any]) -> None:
    """One key that may do all, a proxy that may ask, and nobody who is slowed down: 429 would end the questions."""
    tables["callers"]["backend"]["keys"][0]["may"] = ["issue", "redeem", "operate"]
    tables["forward_auth"] = {"trusted": ["127.0.0.1/32"]}
    tables["throttle"] = {"failures": "10000/second"}


def before_call(_context: object, case: Any, _options: object) -> None:
    """Take the credential out of a good upload, half of the times: it comes with the private key, so not with both."""
    if case.operation.path.endswith("/files/upload") and case.meta.generation.mode.is_positive:
        case.headers = {name: text for name, text in case.headers.items() if not name.lower().startswith("x-upload-")}
        if isinstance(case.body, dict) and len(case.body) % 2 == 0:
            case.body = {name: text for name, text in case.body.items() if name not in CREDENTIAL}


@pytest.mark.usefixtures("checks")
def test_schemathesis_finds_nothing(make_service: ServiceMaker) -> None:
    service: Service = make_service(change=configured)

    @service.app.before_request
    def go_on() -> None:  # the store's clock does, too, and what is asked for lives for as little as a second
        service.clock.now = int(time.time())

    config = SchemathesisConfig.from_dict(
        {
            "seed": 1,
            "headers": {"Authorization": f"Bearer {service.api_key}"},
            "generation": {"max-examples": MOST_EXAMPLES, "deterministic": True, "database": "none"},
            "phases": {"stateful": {"enabled": False}},
            "checks": {"positive_data_acceptance": {"enabled": False}, "ignored_auth": {"enabled": False}},
            "operations": [
                {
                    "include-path-regex": "/files/upload$",
                    "headers": {"Authorization": basic(service.private_key)},
                    "checks": {
                        "negative_data_rejection": {"enabled": False},
                        "positive_data_acceptance": {"enabled": False},
                    },
                }
            ],
        }
    )
    schema = schemathesis.openapi.from_wsgi("/openapi.json", service.app, config=config)
    found: set[tuple[object, ...]] = set()
    answers: dict[str, Counter[int]] = defaultdict(Counter)
    for event in engine.from_schema(schema).execute():
        assert not isinstance(event, events.NonFatalError | events.FatalError), event
        if isinstance(event, events.ScenarioFinished):
            told = event.recorder
            for each in told.interactions.values():
                if each.response is not None:
                    answers[told.label][each.response.status_code] += 1
            for case, results in told.checks.items():
                for result in results:
                    if result.failure_info is not None:
                        failure = result.failure_info.failure
                        answer = told.interactions[case].response
                        body = b"" if answer is None else answer.content[:300]
                        found.add((told.label, result.name, failure.title, failure.message[:300], body))
    assert not found
    asked = {f"{method.upper()} {path}" for path, method, _ in operations(DOCUMENT)}
    assert answers.keys() == asked - {"GET /openapi.json"}  # which it is asked for first, to know the others
    assert {label for label, statuses in answers.items() if statuses[200]} >= WELL
    assert sum(sum(statuses.values()) for statuses in answers.values()) > 1000
