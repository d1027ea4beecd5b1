"""What must never be written anywhere: private keys, api keys, tokens, signatures, JWTs, cookies.

Good and bad requests of every kind pass through the application as production builds it, with everything that it
says on record: its log, standard output and standard error. Every secret of the test's configuration has CANARY in it.
"""

from __future__ import annotations

import gc
import io
import json
import logging
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.app import ORIGIN, Service, basic
from tests.support.valkey import Valkey
from tokensvc import application
from tokensvc.adapters.demo_sign_in import COOKIE
from tokensvc.adapters.logs import lines
from tokensvc.core.grants import GrantNote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


@pytest.fixture
def spoken() -> Iterator[io.StringIO]:
    """Everything that any logger says, with tracebacks, at every level; and tokensvc's own lines as it writes them."""
    logger, root, stream = logging.getLogger("tokensvc"), logging.getLogger(), io.StringIO()
    before = (logger.handlers[:], logger.level, logger.propagate, root.level)
    logger.handlers.clear()
    before_stream, lines.SINK.stream = lines.SINK.stream, None
    lines.write_to(stream)
    all_others = logging.StreamHandler(stream)
    root.addHandler(all_others)
    root.setLevel(logging.DEBUG)
    yield stream
    lines.SINK.stream = before_stream
    root.removeHandler(all_others)
    logger.handlers[:], logger.level, logger.propagate, level = before
    root.setLevel(level)


def exercise(service: Service) -> set[str]:
    """Send good and bad requests of every kind, and return what was secret in them."""
    presented: set[str] = set()

    def hand_over(fields: dict[str, Any]) -> dict[str, str]:
        presented.update(str(fields[name]) for name in ("token", "signature"))
        return {name: str(value) for name, value in fields.items()}

    def jwt(payload: dict[str, Any]) -> str:
        token = service.jwt(payload)
        presented.update((token, *token.split(".")))
        return token

    good, replayed = (hand_over(service.get().get_json()) for _ in range(2))
    service.get(f"token={good['token']}")
    service.get("expire=300&token=CANARY-token")
    service.get("token=CANARY%0Atoken")
    service.get("publicKey=private_CANARY")
    service.get(profile="CANARY-profile")
    service.get(Origin="https://CANARY.example")
    service.post({"uploadPayload": {"fileName": "a.png", "CANARY": "eyJ"}})
    service.post(b'{"CANARY')
    service.post({"uploadPayload": {"token": "CANARY"}})
    for key in (service.api_key[:-1], service.private_key, "tsk_CANARY", "eyJhbGciOiJIUzI1NiJ9.e30.CANARY"):
        service.send("GET", "/auth", {"Authorization": f"Bearer {key}"})
    service.upload_v1(good, Origin=ORIGIN)
    service.upload_v1(good)
    service.upload_v1({**replayed, "signature": "CANARY" + replayed["signature"]})
    service.upload_v1({**replayed, "expire": "0" + replayed["expire"]})
    service.upload_v1(replayed, None)
    service.upload_v1(hand_over(service.own_credential("CANARY-unissued", service.clock.now + 60)))
    service.upload_v1(hand_over(service.own_credential("CANARY-expired", service.clock.now - 60)))
    token = jwt({"fileName": "a.png"})
    service.upload_v2(token[:-1], fileName="a.png")
    service.upload_v2(token, fileName="b.png")
    service.upload_v2(token, fileName="a.png")
    service.upload_v2(jwt({"fileName": "c.png"}), fileName="c.png")
    service.upload("v1", {"fileName": "CANARY.png"}, Authorization=basic(service.private_key))
    service.upload("v1", {"fileName": "a.png"}, Authorization=basic(service.private_key[:-1]))
    service.upload("v2", {"fileName": "a.png", "token": "x"}, Authorization=basic(service.private_key, "CANARY"))
    service.upload("v1", [("CANARY", "x"), ("CANARY", "y")])
    service.send("POST", "/demo/session")
    cookie = service.client.get_cookie(COOKIE)
    assert cookie is not None
    presented.add(cookie.value)
    service.send("GET", "/auth", {"Sec-Fetch-Site": "same-origin"})
    service.client.set_cookie(COOKIE, "CANARY" + cookie.value)
    service.send("GET", "/auth", {"Sec-Fetch-Site": "same-origin"})
    service.client.delete_cookie(COOKIE)
    service.send("GET", "/nowhere?token=CANARY")
    return presented


def assert_silent(said: str, service: Service, presented: set[str]) -> None:
    secrets = {service.private_key, service.api_key, service.reader_key, service.stranger_key, service.sign_in_secret}
    assert not [secret for secret in secrets | presented if secret in said]
    assert "eyJ" not in said
    assert "CANARY" not in said.replace('"field": "CANARY"', "")  # the name of a form field is told


@pytest.fixture
def own_store() -> Iterator[Valkey]:
    with Valkey() as own:
        yield own


@pytest.mark.parametrize("built_by", ["production", "test"])
def test_nothing_secret_is_said(
    own_store: Valkey, tmp_path: Path, spoken: io.StringIO, capfd: pytest.CaptureFixture[str], built_by: str
) -> None:
    service = Service(own_store.url, tmp_path)
    if built_by == "production":
        service.app = application.create(service.settings)
        service.client = service.app.test_client()
    presented = exercise(service)
    own_store.kill()
    assert service.get().status_code == 503
    assert service.upload_v1(service.own_credential("CANARY-outage", service.clock.now + 60)).status_code == 503
    service.close()
    said = spoken.getvalue() + "".join(capfd.readouterr())
    events = [json.loads(line)["event"] for line in spoken.getvalue().splitlines() if line.startswith('{"time"')]
    assert {"issued", "redeemed", "replayed", "refused", "stored", "outage"} <= set(events), "nothing was said at all"
    assert_silent(said, service, presented)


def test_an_unexpected_error_says_nothing_secret(
    own_store: Valkey, tmp_path: Path, spoken: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deepest frames hold keys and tokens in their variables; the traceback shows none of them."""
    service = Service(own_store.url, tmp_path)
    credential, token = service.credential(), service.jwt({"fileName": "a.png"})

    def fail(*_arguments: object) -> None:
        raise TypeError("unexpected")

    for place in ("tokensvc.core.v1.sign", "tokensvc.core.mac.same", "tokensvc.core.jws.signed"):
        with monkeypatch.context() as broken:
            broken.setattr(place, fail)
            answers = [
                service.get(),
                service.post({"uploadPayload": {"fileName": "a.png"}}),
                service.upload_v1(credential),
                service.upload("v1", {"fileName": "a.png"}, Authorization=basic(service.private_key)),
            ]
            assert 500 in [answer.status_code for answer in answers]
    service.close()
    assert "TypeError: unexpected" in spoken.getvalue()
    assert_silent(spoken.getvalue(), service, {*credential.values(), token} - {service.public_key})


def ours_below(root: object) -> Iterator[object]:
    """Every object of a class of ours that the root leads to, by whatever way."""
    seen, found = set[int](), [root]
    while found:
        one = found.pop()
        if id(one) in seen or isinstance(one, ModuleType | type):
            continue
        seen.add(id(one))
        if type(one).__module__.partition(".")[0] == "tokensvc":
            yield one
        if isinstance(one, FunctionType):  # not by its globals, which lead to all modules
            found += [one.__closure__, one.__defaults__, one.__kwdefaults__]
        else:
            found += gc.get_referents(one)


def shown(things: Iterable[object]) -> str:
    return "".join(f"{thing!r}{thing!s}" for thing in things)


def test_no_repr_shows_a_secret(own_store: Valkey, tmp_path: Path) -> None:
    """A debugger, an assertion or a log line may print any of these: each object of ours that a worker has."""
    service = Service(own_store.url, tmp_path)
    exercise(service)
    things = [*ours_below(application.doors(service.settings)), *ours_below(service.app), service.app, service.redis]
    assert {"Settings", "KeyPair", "Secret", "Issue", "Accept", "ApiKeys", "DemoSignIn", "RedisNonces"} <= {
        type(thing).__name__ for thing in things
    }
    service.close()
    assert_silent(shown(things) + service.settings.model_dump_json(), service, set())


def test_a_repr_that_would_show_one_is_found(own_store: Valkey, tmp_path: Path) -> None:
    service = Service(own_store.url, tmp_path)
    note = GrantNote(service.private_key, "p", "s", "u", 1)
    service.app.config["DEEP"] = [{"in": lambda: note}]
    service.close()
    with pytest.raises(AssertionError):
        assert_silent(shown(ours_below(service.app)), service, set())


def test_the_store_holds_nothing_secret(own_store: Valkey, tmp_path: Path) -> None:
    """Whoever gets hold of the store, its file or its backup learns no credential."""
    service = Service(own_store.url, tmp_path)
    presented = exercise(service)
    held = ""
    for key in service.redis.scan_iter():
        held += f"{key!r}{service.redis.get(key)!r}"
    service.close()
    assert held
    assert_silent(held, service, presented)
