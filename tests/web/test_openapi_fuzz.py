"""Schemathesis asks all that the document lets it ask, and much that it does not, of the application on a real store.

First every operation by itself, then chains of them: what one answers goes into the next by the document's links, and
no chain may spend a credential twice, or spend one that it revoked.

These of its checks are left out, each for its reason:
- `positive_data_acceptance` is ours below instead: that a request of a good shape is refused is daily business here (a
  key of another account, a time in the past), so what is held is that it is never called malformed.
- `ignored_auth` cannot ask an application in this process: `test_openapi` asks it of every operation itself.
- `negative_data_rejection` of uploads: in a form all is text, v1 passes over fields that it does not know, and a wrong
  Authorization is replaced by the right one here. `test_upload_fuzz` sends wrong forms. In chains nothing is wrong.
- `max_response_time`: a time is no proof of anything on a shared machine.
"""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pytest
import schemathesis
from schemathesis import engine
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events
from schemathesis.generation.meta import TestPhase
from schemathesis.hooks import unregister

from tests.support.app import Service, basic, png
from tests.support.documented import DOCUMENT, let_all_be_done, links
from tokensvc.web.openapi.page import operations

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from tests.web.conftest import ServiceMaker

EXAMPLES: Final = 100
"""Of each operation by itself, besides those that the shapes of its parameters ask for."""

CHAINS: Final = 200
STEPS: Final = 8
OFF: Final = {"enabled": False}
JUDGED_BY_CONTENT: Final = re.compile(r"/revoke$|/files/")
"""A name that is not configured, or a form whose file is no file, is called malformed too."""

CREDENTIAL: Final = {"token", "expire", "signature", "publicKey"}

OPERATIONS: Final = {f"{method.upper()} {path}" for path, method, _ in operations(DOCUMENT)} - {"GET /openapi.json"}
"""All but the document, which is asked for before the first of them."""

NEED_WHAT_IS_GENUINE: Final = {
    *(f"{method} /files/{{path}}" for method in ("GET", "HEAD")),
    *(f"{method} /forward-auth" for method in ("GET", "POST", "PUT", "PATCH")),
}
"""A file that is there, or a credential. The chains have them."""


@dataclass
class Asked:
    """What was asked, and what became of it."""

    service: Service
    answers: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    found: set[tuple[object, ...]] = field(default_factory=set)
    spent: Counter[str] = field(default_factory=Counter)
    revoked: set[str] = field(default_factory=set)
    issued: int = 0

    def complete(self, case: Any) -> None:
        """Put in what the document does not know. An upload's credential is an example's, and worth nothing."""
        body = case.body if case.meta.generation.mode.is_positive and isinstance(case.body, dict) else {}
        uploads = case.operation.path.endswith("/files/upload")
        if case.meta.phase.name is TestPhase.STATEFUL:
            self._complete_in_chain(case, body, uploads=uploads)
        elif uploads and body:  # it comes with the private key; half of them have no credential besides
            case.headers = {name: text for name, text in case.headers.items() if not name.lower().startswith("x-up")}
            if len(body) % 2 == 0:
                case.body = {name: text for name, text in body.items() if name not in CREDENTIAL}

    def _complete_in_chain(self, case: Any, body: dict[str, Any], *, uploads: bool) -> None:
        """Make a step end the same way whenever its chain is the same, or Hypothesis gives up: no name comes twice."""
        case.headers = {name: str(text) for name, text in (case.headers or {}).items() if name != "Idempotency-Key"}
        if uploads and "token" in body and body.keys() <= {*CREDENTIAL, "fileName"}:
            case.headers, case.body = {}, {"fileName": "a.png", **body, "file": png()}
        elif uploads:
            case.headers = {"Authorization": basic(self.service.private_key)}
            case.body = {"fileName": "a.png", "file": png()}
        else:
            case.headers["Authorization"] = f"Bearer {self.service.api_key}"
        jwt = case.headers.get("X-Upload-Token", "")
        if case.operation.path == "/forward-auth" and jwt.count(".") == 2:
            case.headers = {"X-Upload-Token": jwt}
        if case.operation.path.startswith("/auth"):
            case.query = {}
        if "uploadPayload" in body:
            self.issued += 1
            case.body = {"uploadPayload": {"fileName": f"{self.issued}.png"}}

    def require_once(self, response: Any, case: Any) -> None:
        """No credential is spent twice, or after it was revoked."""
        path, headers = case.operation.path, {name.lower(): text for name, text in (case.headers or {}).items()}
        token = headers.get("x-upload-token") or (isinstance(case.body, dict) and case.body.get("token"))
        if response.status_code not in {200, 204} or not isinstance(token, str):
            return
        if path == "/revoke" and response.json().get("outcome") == "revoked":
            self.revoked.add(token)
        if path in {"/redeem", "/forward-auth"} or (path.endswith("/files/upload") and "authorization" not in headers):
            self.spent[token] += 1
            assert token not in self.revoked
            assert self.spent[token] == 1 or "idempotency-key" in headers

    def note(self, event: events.ScenarioFinished) -> None:
        """Keep what a scenario brought."""
        told = event.recorder
        for name, each in told.interactions.items():
            if each.response is not None:
                self.answers[told.cases[name].value.operation.label][each.response.status_code] += 1
        for case, results in told.checks.items():
            for result in results:
                if result.failure_info is not None:
                    failure, answer = result.failure_info.failure, told.interactions[case].response
                    body = b"" if answer is None else answer.content[:300]
                    self.found.add((told.label, result.name, failure.title, failure.message[:300], body))


def require_good_shape(response: Any, case: Any) -> None:
    """What is as its schema says is not called malformed."""
    if not case.meta.generation.mode.is_positive or JUDGED_BY_CONTENT.search(case.operation.path):
        return
    if case.meta.phase.name is TestPhase.STATEFUL:
        return  # a link puts an answer into a body, and what comes out may have another shape
    code = response.headers.get("x-tokensvc-code", [""])[0]
    assert code != "request.malformed", response.text


def hooks(asked: Asked) -> list[Callable[..., None]]:
    """What schemathesis calls by these names: before the questions, and before each."""

    def before_load_schema(_context: object, raw_schema: dict[str, Any]) -> None:
        for _, _, link in links(raw_schema):  # its body is the whole, and not a part of another
            link["x-schemathesis"] = {"merge_body": False}

    def before_call(_context: object, case: Any, _options: object) -> None:
        asked.complete(case)

    return [before_load_schema, before_call]


def checks(asked: Asked) -> list[Callable[..., None]]:
    """Our own, of every answer."""

    def a_good_shape_is_never_malformed(_context: object, response: Any, case: Any) -> None:
        require_good_shape(response, case)

    def a_credential_is_spent_once(_context: object, response: Any, case: Any) -> None:
        asked.require_once(response, case)

    return [a_good_shape_is_never_malformed, a_credential_is_spent_once]


@pytest.fixture
def asked(make_service: ServiceMaker) -> Iterator[Asked]:
    """A service whose clock goes on, and our hooks and checks, which schemathesis knows while the test runs."""
    asked = Asked(make_service(change=let_all_be_done))

    @asked.service.app.before_request
    def go_on() -> None:  # the store's clock does, too, and what is asked for lives for as little as a second
        asked.service.clock.now = int(time.time())

    ours, theirs = checks(asked), hooks(asked)
    for check in ours:
        schemathesis.check(check)
    for hook in theirs:
        schemathesis.hook(hook)
    yield asked
    for hook in theirs:
        unregister(hook)
    for check in ours:
        schemathesis.checks.CHECKS.unregister(check.__name__)


def ask(asked: Asked, *left_out: str, **how: Any) -> None:
    """Let schemathesis ask; it must find nothing."""

    def as_a_server_does(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        answer = asked.service.app({**environ, "REMOTE_ADDR": "127.0.0.1"}, start)
        try:
            return [b"".join(answer)]
        finally:
            getattr(answer, "close", bool)()

    off = dict.fromkeys(("positive_data_acceptance", "ignored_auth", *left_out), OFF)
    config = SchemathesisConfig.from_dict({"seed": 1, "checks": off, **how})
    schema = schemathesis.openapi.from_wsgi("/openapi.json", as_a_server_does, config=config)
    for event in engine.from_schema(schema).execute():
        assert not isinstance(event, events.NonFatalError | events.FatalError), event
        if isinstance(event, events.ScenarioFinished):
            asked.note(event)
    assert not asked.found


def answered_well(answers: dict[str, Counter[int]]) -> set[str]:
    """What had a good answer, at least once."""
    return {label for label, statuses in answers.items() if statuses[200] + statuses[204]}


def test_each_operation_by_itself(asked: Asked) -> None:
    uploads = {
        "include-path-regex": "/files/upload$",
        "headers": {"Authorization": basic(asked.service.private_key)},
        "checks": {"negative_data_rejection": OFF},
    }
    ask(
        asked,
        headers={"Authorization": f"Bearer {asked.service.api_key}"},
        generation={"max-examples": EXAMPLES, "deterministic": True, "database": "none"},
        phases={"stateful": OFF},
        operations=[uploads],
    )
    assert asked.answers.keys() == OPERATIONS
    assert answered_well(asked.answers) == OPERATIONS - NEED_WHAT_IS_GENUINE
    assert sum(sum(statuses.values()) for statuses in asked.answers.values()) > 3000


def test_what_one_operation_answers_in_the_next(asked: Asked) -> None:
    alone = dict.fromkeys(("examples", "coverage", "fuzzing"), OFF)
    chains = {"max-steps": STEPS, "inference": {"algorithms": []}}
    ask(
        asked,
        "negative_data_rejection",
        generation={"max-examples": CHAINS, "deterministic": True, "database": "none", "mode": "positive"},
        phases={**alone, "stateful": chains},
        parameters={"path.profile": "open"},
    )
    assert asked.spent, "which chains there are is chance; what each link leads to, test_openapi_links tries"
